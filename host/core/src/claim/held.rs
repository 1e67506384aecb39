//! What the host may do with an answer: the values that prove it.

use std::time::Duration;

use super::answer::{BeginAnswer, CommitAnswer, FencedBy, StepAnswer};
use super::record::{ParkReason, StateName, Token};
use super::steps::Shown;
use crate::key::ClaimKey;
use crate::name::{Group, Side};
use crate::settle::{Confirmed, Ending, Proof};

/// A granted attempt. It is not `Clone`, and finishing it consumes it: an
/// acknowledgement needs the [`Proof`] that only a recorded ending gives.
#[derive(Debug)]
pub struct Claim {
    group: Group,
    key: ClaimKey,
    side: Side,
    token: Token,
    epoch: Option<u64>,
    attempt: u32,
    fence: u64,
}

/// Why a finishing step gave no proof.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Refused {
    /// The claim belongs to someone else now: this message alone is abandoned.
    Lost,
    /// The consumer stops.
    Fenced(FencedBy),
}

/// What a commit allows.
#[derive(Debug)]
pub enum Committed {
    /// Everything is recorded.
    Done(Proof),
    /// The outbox has to be published first; these numbers were minted for it.
    Publish(Vec<Option<u64>>),
    /// Nothing was written; call the handler again on fresh state.
    Again(Claim),
}

impl Claim {
    /// The group of the claim.
    #[must_use]
    pub fn group(&self) -> &Group {
        &self.group
    }

    /// The key of the claim.
    #[must_use]
    pub fn key(&self) -> &ClaimKey {
        &self.key
    }

    /// The side that holds it.
    #[must_use]
    pub fn side(&self) -> &Side {
        &self.side
    }

    /// 1 for the first.
    #[must_use]
    pub fn attempt(&self) -> u32 {
        self.attempt
    }

    /// The number that only grows for this key.
    #[must_use]
    pub fn fence(&self) -> u64 {
        self.fence
    }

    /// What each step shows to the store.
    #[must_use]
    pub fn shown(&self) -> Shown {
        Shown {
            token: self.token,
            epoch: self.epoch,
        }
    }

    /// What the answer to `commit` allows.
    ///
    /// # Errors
    /// [`Refused`] when nothing was written.
    pub fn committed(self, answer: CommitAnswer) -> Result<Committed, Refused> {
        match answer {
            CommitAnswer::Done => Ok(Committed::Done(Proof::mint(Ending::Completed))),
            CommitAnswer::Committed { minted } => Ok(Committed::Publish(minted)),
            CommitAnswer::StateMoved => Ok(Committed::Again(self)),
            CommitAnswer::Lost => Err(Refused::Lost),
            CommitAnswer::Fenced(by) => Err(Refused::Fenced(by)),
        }
    }

    /// The claim is over for this attempt without an acknowledgement: it failed
    /// or was handed back, and is kept for its side.
    ///
    /// # Errors
    /// [`Refused`] when the store says that it was no longer ours.
    pub fn kept(self, answer: StepAnswer) -> Result<(), Refused> {
        accepted(answer)
    }
}

fn accepted(answer: StepAnswer) -> Result<(), Refused> {
    match answer {
        StepAnswer::Ok => Ok(()),
        StepAnswer::Lost => Err(Refused::Lost),
        StepAnswer::Fenced(by) => Err(Refused::Fenced(by)),
    }
}

/// The proof after the outbox was confirmed and `published` recorded.
///
/// # Errors
/// [`Refused`] when the store did not record it.
pub fn published(answer: StepAnswer) -> Result<Proof, Refused> {
    accepted(answer).map(|()| Proof::mint(Ending::Completed))
}

/// The proof after the dead letter was confirmed and `buried` recorded.
///
/// # Errors
/// [`Refused`] when the store did not record it.
pub fn buried(letter: Confirmed, answer: StepAnswer) -> Result<Proof, Refused> {
    let Confirmed { .. } = letter;
    accepted(answer).map(|()| Proof::mint(Ending::DeadLettered))
}

/// The proof for a message that was dead-lettered without touching a claim.
#[must_use]
pub fn buried_without_claim(letter: Confirmed) -> Proof {
    let Confirmed { .. } = letter;
    Proof::mint(Ending::DeadLettered)
}

/// The proof for a message whose waiting copy the broker confirmed.
#[must_use]
pub fn deferred(copy: Confirmed) -> Proof {
    let Confirmed { .. } = copy;
    Proof::mint(Ending::Deferred)
}

/// What a `begin` answer means for the delivery.
#[derive(Debug)]
pub enum Next<S, O> {
    /// Call the handler.
    Run {
        /// The attempt.
        claim: Claim,
        /// When the key was first seen, in milliseconds since 1970.
        first_seen_ms: u64,
        /// The state of the lane or key.
        state: S,
    },
    /// The attempts are spent: park it without calling the handler.
    GiveUp {
        /// The attempt that will not be made.
        claim: Claim,
        /// The last error.
        error: Option<String>,
        /// When the key was first seen, in milliseconds since 1970.
        first_seen_ms: u64,
    },
    /// Acknowledge.
    Ack(Proof),
    /// Publish this outbox, record `published`, acknowledge.
    Publish {
        /// What is to be published.
        outbox: O,
        /// How often publishing has failed so far.
        tries: u32,
    },
    /// Publish the dead letter, record `buried`, acknowledge.
    Bury {
        /// Why it was given up.
        reason: ParkReason,
        /// The last error.
        error: Option<String>,
        /// Calls of the handler in all.
        attempts: u32,
        /// When the key was first seen, in milliseconds since 1970.
        first_seen_ms: u64,
        /// What `buried` shows.
        fence: u64,
        /// What could not be sent, for `outbox-undeliverable`.
        outbox: O,
    },
    /// Another body has this key: dead-letter this message, leave the claim.
    Conflict,
    /// Ask again after this time.
    Wait(Duration),
    /// Hold it until the other side has finished.
    Foreign {
        /// The owner.
        side: Side,
        /// Where it stands there.
        state: StateName,
    },
    /// Read the cut-over rule again, then ask again.
    RuleMoved,
    /// Stop consuming.
    Stop(FencedBy),
}

/// What to do with a message that the other side owns and has not finished.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnForeign {
    /// Keep it until the owner is finished with it.
    Hold,
    /// Acknowledge it at once.
    Drop,
}

/// Who asked, and under what rules.
#[derive(Debug)]
pub struct Asked {
    /// The group of the key.
    pub group: Group,
    /// The key.
    pub key: ClaimKey,
    /// The asking side.
    pub side: Side,
    /// The token shown.
    pub token: Token,
    /// The lease epoch shown.
    pub epoch: Option<u64>,
    /// How often a handler is called in all.
    pub attempts: u32,
    /// The consumer's policy.
    pub on_foreign: OnForeign,
}

/// Turns a store's answer into what happens next. This is the only place where
/// an acknowledgement without a commit of our own is allowed.
#[must_use]
pub fn interpret<S, O>(asked: Asked, answer: BeginAnswer<S, O>) -> Next<S, O> {
    match answer {
        BeginAnswer::Granted {
            attempt,
            fence,
            error,
            first_seen_ms,
            state,
        } => {
            let spent = attempt > asked.attempts;
            let claim = Claim {
                group: asked.group,
                key: asked.key,
                side: asked.side,
                token: asked.token,
                epoch: asked.epoch,
                attempt,
                fence,
            };
            if spent {
                Next::GiveUp {
                    claim,
                    error,
                    first_seen_ms,
                }
            } else {
                Next::Run {
                    claim,
                    first_seen_ms,
                    state,
                }
            }
        }
        BeginAnswer::Foreign { state, .. } if state.is_finished() => {
            Next::Ack(Proof::mint(Ending::LeftToOwner))
        }
        BeginAnswer::Foreign { .. } | BeginAnswer::Assigned { .. }
            if asked.on_foreign == OnForeign::Drop =>
        {
            Next::Ack(Proof::mint(Ending::LeftToOwner))
        }
        BeginAnswer::Foreign { side, state } => Next::Foreign { side, state },
        BeginAnswer::Assigned { side } => Next::Foreign {
            side,
            state: StateName::Assigned,
        },
        BeginAnswer::RuleMoved => Next::RuleMoved,
        BeginAnswer::Done => Next::Ack(Proof::mint(Ending::Duplicate)),
        BeginAnswer::Committed { outbox, tries, .. } => Next::Publish { outbox, tries },
        BeginAnswer::Parking {
            reason,
            error,
            attempt,
            first_seen_ms,
            fence,
            outbox,
        } => Next::Bury {
            reason,
            error,
            attempts: attempt,
            first_seen_ms,
            fence,
            outbox,
        },
        BeginAnswer::Parked { .. } => Next::Ack(Proof::mint(Ending::DeadLettered)),
        BeginAnswer::Busy { wait } => Next::Wait(wait),
        BeginAnswer::Conflict => Next::Conflict,
        BeginAnswer::Stale { .. } => Next::Ack(Proof::mint(Ending::Stale)),
        BeginAnswer::Fenced(by) => Next::Stop(by),
    }
}
