//! What happened in a run, in the order in which it took effect, and which of
//! the promises of `docs/protocol.md` that breaks.
//!
//! Whoever runs hosts (the simulation, chaos on real servers) records
//! [`Event`]s; [`check()`] reads them and gives a [`Report`]. A recorder need not
//! see everything: what is not recorded is not checked.
//!
//! ```
//! use holdfast_history::{Event, Finding, Rules, What, check};
//!
//! let published = |key: &str| What::Published {
//!     key: key.into(),
//!     lane: None,
//!     number: 0,
//!     conflicting: false,
//! };
//! let history = [
//!     Event::new(1, published("a")),
//!     Event::new(2, published("b")),
//!     Event::new(3, What::committed("a", "old", 17)),
//! ];
//! let report = check(&history, &Rules::default());
//! assert_eq!(report.findings, [Finding::Lost { key: "b".into() }]);
//! ```

mod check;
mod event;
mod finding;
mod keys;

pub use check::{Rules, check};
pub use event::{Event, How, What, read, write};
pub use finding::{Counts, Finding, Report};
