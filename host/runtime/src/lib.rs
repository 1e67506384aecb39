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
//! | `process` | one message from delivery to settlement |
//! | [`rule`] | the cut-over rule of a group |
//! | `foreign` | messages that wait for the other side |
//! | [`route`] | key, lane and sequence of a message |
//! | `ask` | asking a store again that did not answer |
//! | [`letter`] | dead letters and outgoing messages |
//! | [`books`] | counts that have to close, and metrics |
//! | [`identity`] | is this the store we started with? |

mod ask;
mod batch;
pub mod books;
pub mod consumer;
mod foreign;
pub mod host;
pub mod identity;
mod leadership;
pub mod letter;
mod process;
pub mod route;
pub mod rule;
pub mod session;
pub mod spec;
#[cfg(test)]
mod testing;
