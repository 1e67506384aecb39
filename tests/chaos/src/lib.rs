//! Whole hosts on real servers, under load, while everything around them is
//! killed, cut, frozen, blocked and reconfigured. At the end nothing may be lost,
//! nothing may have taken effect twice, lanes are in order, and no key has
//! changed sides.
//!
//! What is judged is seen from outside: what was published, what handlers told a
//! third party at each call, what they published, and the dead letters. `cargo
//! xtask chaos` runs it for as long as you like; a short run is one of the tests.

mod check;
mod dice;
mod drain;
mod fault;
mod flow;
mod history;
mod load;
mod progress;
mod promises;
pub mod report;
mod run;
mod sampler;
mod stand;
mod watch;

pub use check::{Verdict, Violation, check};
pub use fault::{Family, Kind};
pub use history::{Call, Effect, Fault, History, Id, Letter, Micros, Sent};
pub use load::{End, Fate, LOADS, Load};
pub use run::{Options, Outcome, run};
