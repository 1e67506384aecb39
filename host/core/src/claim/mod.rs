//! The claim: one record per (group, claim key) that says which side owns a
//! message and how far it got.
//!
//! ```text
//!             begin                     commit                published
//!  (none) ───────────► running ───────────────────► committed ───────────► done
//!     │                  │  ▲ begin, same side        (outbox to publish)
//!     │ given to         │  │ (lock free or expired)
//!     │ the other side   ▼  │
//!     └──► assigned    failed ──────────► parking ─────────────► parked
//!          (never run)      attempts spent, rejected   letter confirmed
//! ```
//!
//! - `begin` from nothing, `failed`, `assigned` or an expired `running` gives a
//!   new attempt with a new token and a larger fence; the attempt is counted
//!   before the handler is called, so that a crash counts.
//! - `commit` and `fail` need the token of the running attempt; a failed claim
//!   stays, under the side that took it.
//! - `park` needs the token too; `buried` follows once the dead letter is safe,
//!   and shows the fence of the attempt that was given up.
//! - `abandon` undoes a `begin` whose handler was never called.
//! - `release` is an operator's step and forgets side and attempts.
//!
//! [`begin()`] and the functions of [`steps`] are the reference for every store:
//! the embedded store calls them, the Redis scripts repeat them, and tests hold
//! the two against each other.

mod answer;
mod begin;
mod foreign;
mod held;
mod record;
pub mod steps;

pub use answer::{
    BeginAnswer, CommitAnswer, FencedBy, ReleaseAnswer, StepAnswer, UndeliverableAnswer,
};
pub use begin::{BeginFacts, Decision, Scope, begin};
pub use foreign::{Look, look};
pub use held::{
    Asked, Claim, Committed, Next, OnForeign, Refused, buried, buried_without_claim, deferred,
    interpret, published,
};
pub use record::{
    Ending, Fingerprint, MAX_ERROR_BYTES, MAX_HISTORY, ParkReason, Record, State, StateName, Token,
    Transition, bounded,
};
