//! The runtime as it is, in simulated surroundings: hosts that die at any await,
//! freeze, and lose their ways to store and broker; a store that answers late or
//! not at all; brokers that deliver again. Time is simulated, too, so that
//! minutes pass in milliseconds, and everything comes from a seed: a red seed
//! can be looked at as often as one likes.
//!
//! ```
//! let outcome = holdfast_sim::run(1);
//! assert!(outcome.holds(), "{:?}", outcome.wrong);
//! assert_eq!(outcome.hash, holdfast_sim::run(1).hash);
//! ```
//!
//! | module | does |
//! |---|---|
//! | `plan` | what a seed asks for: messages, handlers, faults |
//! | `setup` | the kinds of consumers that are run |
//! | `run` | carries a plan out, heals everything, judges |
//! | `host` | one host over its lives |
//! | `life` | the tasks of one process: they freeze and die together |
//! | `net` | the way to a server, and what becomes of a call on it |
//! | `store`, `broker`, `wire`, `guest` | the ports as one host sees them |
//! | `rest` | what is left at the end |
//! | `record` | trace and history |

mod broker;
mod call;
mod dice;
mod guest;
mod host;
mod life;
mod net;
mod plan;
mod record;
mod rest;
mod run;
mod setup;
mod store;
mod wire;
mod world;

pub use run::{Outcome, run};
pub use setup::{SETUPS, Setup};

pub(crate) use rest::{final_state, left_over};
