//! The runtime: moves messages from a broker through a plugin, under a claim.
//!
//! It knows ports only; no vendor crate is among its dependencies. What to do is
//! decided in `holdfast-core`, this crate carries it out.
//!
//! | module | does |
//! |---|---|
//! | [`host`] | all consumers of a process: start, reload, pause, drain |
//! | [`consumer`] | one consumer's life: prepare, subscribe, consume, again |
//! | [`session`] | the deliveries of one subscription |
//! | `ordered` | the same for consumers that keep an order |
//! | [`halts`] | lanes that were halted, and what an operator decided |
//! | [`sharing`] | spreads a row of partitions over the instances |
//! | `process` | one message from delivery to settlement |
//! | [`rule`] | the cut-over rule of a group |
//! | `foreign` | messages that wait for the other side |
//! | [`route`] | key, lane and sequence of a message |
//! | `ask` | asking a store again that did not answer |
//! | [`letter`] | dead letters and outgoing messages |
//! | [`books`] | counts that have to close, and metrics |
//! | [`in_hand`] | the keys of the deliveries in hand |
//! | `totals` | counts that outlive the process |
//! | [`dead`] | dead letters: looked at, replayed, dropped |
//! | [`audit`] | does every unfinished claim have its message somewhere? |
//! | [`identity`] | is this the store we started with? |
//! | [`tasks`] | where tasks are started |

mod ask;
pub mod audit;
mod batch;
pub mod books;
pub mod consumer;
pub mod dead;
mod foreign;
pub mod halts;
pub mod host;
pub mod identity;
pub mod in_hand;
#[doc(hidden)]
pub mod inputs;
mod leadership;
pub mod letter;
mod ordered;
mod process;
pub mod route;
pub mod rule;
pub mod session;
pub mod sharing;
pub mod spec;
pub mod stop;
pub mod tasks;
mod testing;
mod totals;
