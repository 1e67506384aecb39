//! How a delivery ends, and what proves it.

use std::time::Duration;

use crate::claim::ParkReason;
use crate::retry::Backoff;

/// The ways in which a delivery ends. Each consumes it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// Its claim is done.
    Completed,
    /// Its claim was done before.
    Duplicate,
    /// Its lane's sequence was past it.
    Stale,
    /// Its dead letter is safe.
    DeadLettered,
    /// The other side owns it.
    LeftToOwner,
    /// A confirmed copy waits in a delay queue.
    Deferred,
    /// Nothing is recorded; the broker delivers it again.
    Abandoned,
}

impl Ending {
    /// Every ending, in the order of the books.
    pub const ALL: [Self; 7] = [
        Self::Completed,
        Self::Duplicate,
        Self::Stale,
        Self::DeadLettered,
        Self::LeftToOwner,
        Self::Deferred,
        Self::Abandoned,
    ];

    /// The label in metrics and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Completed => "completed",
            Self::Duplicate => "duplicate",
            Self::Stale => "stale",
            Self::DeadLettered => "dead_lettered",
            Self::LeftToOwner => "left_to_owner",
            Self::Deferred => "deferred",
            Self::Abandoned => "abandoned",
        }
    }
}

/// The broker confirmed a publish and did not return it. Only a broker adapter
/// makes one.
#[derive(Debug)]
pub struct Confirmed {
    _private: (),
}

impl Confirmed {
    /// For broker adapters: call it in the branch that saw the confirmation.
    #[must_use]
    pub fn by_broker() -> Self {
        Self { _private: () }
    }
}

/// Proof that a delivery's ending is recorded. Only the claim rules make one.
///
/// ```compile_fail
/// use holdfast_core::settle::{Ending, Proof};
/// // An acknowledgement cannot be built before its ending is recorded.
/// let proof = Proof { ending: Ending::Completed };
/// ```
#[derive(Debug)]
pub struct Proof {
    ending: Ending,
}

impl Proof {
    pub(crate) fn mint(ending: Ending) -> Self {
        Self { ending }
    }

    /// What is proven.
    #[must_use]
    pub fn ending(&self) -> Ending {
        self.ending
    }
}

/// What happens to a delivery.
#[derive(Debug)]
pub enum Settlement {
    /// Acknowledge it: its ending is recorded.
    Ack(Proof),
    /// Hand it back to the broker, which will deliver it again.
    Abandon,
}

impl Settlement {
    /// The ending that this brings.
    #[must_use]
    pub fn ending(&self) -> Ending {
        match self {
            Self::Ack(proof) => proof.ending,
            Self::Abandon => Ending::Abandoned,
        }
    }
}

/// How a call of the handler failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CallFailure {
    /// The handler asks for another attempt, perhaps not before a time.
    Retry {
        /// What it said.
        reason: String,
        /// Not before this.
        after: Option<Duration>,
    },
    /// The handler says that it can never succeed.
    Reject(String),
    /// It trapped, ran out of time or memory, or answered what it must not.
    Broken(String),
}

/// What follows a call of the handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// Commit its effects.
    Commit,
    /// Record the failure and try again after this time.
    Retry {
        /// The wait, jitter included.
        after: Duration,
        /// What went wrong.
        error: String,
    },
    /// Park it.
    GiveUp {
        /// Why.
        reason: ParkReason,
        /// What went wrong.
        error: String,
    },
}

/// Decides what follows a call. `jitter` is a fresh random number in 0..1.
#[must_use]
pub fn decide(
    result: Result<(), CallFailure>,
    attempt: u32,
    backoff: &Backoff,
    jitter: f64,
) -> Verdict {
    let (error, after) = match result {
        Ok(()) => return Verdict::Commit,
        Err(CallFailure::Reject(error)) => {
            return Verdict::GiveUp {
                reason: ParkReason::Rejected,
                error,
            };
        }
        Err(CallFailure::Retry { reason, after }) => (reason, after),
        Err(CallFailure::Broken(error)) => (error, None),
    };
    if attempt >= backoff.attempts {
        return Verdict::GiveUp {
            reason: ParkReason::AttemptsSpent,
            error,
        };
    }
    let after = after.unwrap_or_else(|| backoff.wait(attempt, jitter));
    Verdict::Retry { after, error }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn backoff() -> Backoff {
        Backoff {
            attempts: 3,
            ..Backoff::default()
        }
    }

    #[test]
    fn the_last_attempt_is_not_followed_by_another() {
        let broken = || Err(CallFailure::Broken("trap".into()));
        assert!(matches!(
            decide(broken(), 2, &backoff(), 0.0),
            Verdict::Retry { .. }
        ));
        let last = decide(broken(), 3, &backoff(), 0.0);
        assert_eq!(
            last,
            Verdict::GiveUp {
                reason: ParkReason::AttemptsSpent,
                error: "trap".into()
            }
        );
    }

    #[test]
    fn a_rejection_is_final_at_the_first_attempt() {
        let verdict = decide(Err(CallFailure::Reject("no".into())), 1, &backoff(), 0.0);
        assert_eq!(
            verdict,
            Verdict::GiveUp {
                reason: ParkReason::Rejected,
                error: "no".into()
            }
        );
    }

    #[test]
    fn a_handler_may_name_its_own_wait() {
        let after = Some(Duration::from_secs(77));
        let verdict = decide(
            Err(CallFailure::Retry {
                reason: "later".into(),
                after,
            }),
            1,
            &backoff(),
            0.9,
        );
        assert_eq!(
            verdict,
            Verdict::Retry {
                after: Duration::from_secs(77),
                error: "later".into()
            }
        );
    }
}
