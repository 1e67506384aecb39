//! The decisions of Holdfast.
//!
//! Everything here is a plain function from facts to a decision, or a machine
//! that takes the time as an argument. Nothing in this crate reads a clock,
//! draws a random number, waits, logs or talks to anything: the caller brings
//! the facts and carries out the answer. The same code decides in production,
//! in the embedded store, in the model and in the simulation.
//!
//! | module | decides |
//! |---|---|
//! | [`claim`] | who may run a message, and what each step does to its record |
//! | [`settle`] | how a delivery ends, and what that needs to be proven |
//! | [`retry`] | how long to wait before the next attempt |
//! | [`lane`] | which message may run next when order matters |
//! | [`halt`] | what becomes of a message that stopped its lane |
//! | [`lease`] | whether this instance leads a consumer |
//! | [`share`] | how many partitions an instance leads |
//! | [`cutover`] | which side owns a new key |
//! | [`hold`] | how messages of the other side wait |
//! | [`destination`] | where the outbound requests of a handler may go |
//! | [`incarnation`] | whether the store is the one we started with |
//! | [`ledger`] | whether the books of a consumer close |
//! | [`replay`] | what becomes of a dead letter that an operator replays or drops |
//! | [`audit`] | whether every unfinished claim has its message somewhere |

pub mod audit;
pub mod claim;
pub mod cutover;
pub mod destination;
pub mod halt;
pub mod hold;
pub mod incarnation;
pub mod key;
pub mod lane;
pub mod lease;
pub mod ledger;
pub mod name;
pub mod replay;
pub mod retry;
pub mod settle;
pub mod share;
pub mod time;
