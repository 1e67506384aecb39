//! What becomes of a dead letter that an operator replays or drops.
//!
//! Nothing here depends on how far an earlier try got: a letter stays in its
//! queue until its message is at the work queue again, so a try that died is
//! simply made again, and what the claim says by then decides.
//!
//! ```text
//!   reopen the claim ──► publish to the work queue ──► remove the letter
//!        died: the claim        died: the claim              died: nothing
//!        is failed, publish     may be anything,             is left to do
//!                               publish or remove
//! ```
//!
//! - A claim that is given up is **reopened** first: published sooner, the
//!   message would be acknowledged as dead-lettered.
//! - A claim that is open is **published** for once more. Two copies of a
//!   message are no harm: the claim lets one run, the other is a duplicate.
//! - A claim that is done needs nothing but the **removal** of its letter.

use crate::claim::{Fingerprint, ParkReason, StateName};
use crate::name::Side;

/// What is known about a letter and its claim.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// The side of the consumer whose dead letter it is.
    pub side: &'a Side,
    /// Why the message was given up.
    pub reason: ParkReason,
    /// The body's fingerprint, where the group compares bodies.
    pub fingerprint: Option<Fingerprint>,
    /// The consumer drops messages whose number is not above their lane's last.
    pub sequenced: bool,
    /// The operator named a key that the message shall have from now on.
    pub new_key: bool,
    /// The claim under the key that the message will have.
    pub claim: Option<Known<'a>>,
}

/// A claim, as far as it matters here.
#[derive(Clone, Copy, Debug)]
pub struct Known<'a> {
    /// Its owner.
    pub side: &'a Side,
    /// Where it stands.
    pub state: StateName,
    /// It is finished without having been run: its number was too low.
    pub stale: bool,
    /// The body it belongs to, where the group compares bodies.
    pub fingerprint: Option<Fingerprint>,
}

/// What a replay does with a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Replay {
    /// Reopen the claim, publish, remove the letter.
    Reopen,
    /// Publish, remove the letter: the claim is open, or there is none.
    Publish,
    /// Remove the letter: its message was run since.
    Finished,
    /// Nothing; the letter stays.
    Refused(Refusal),
}

/// Why a letter stays.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// Under its own key it would be a conflict.
    #[error("its key belongs to a message with another body; it can be replayed under a new key")]
    OtherBody,
    /// The new key is in use.
    #[error("the new key belongs to another message already; name one that is free")]
    KeyTaken,
    /// The other side has it.
    #[error("the side {side} owns its key ({state}); nothing is to be done for it on this side")]
    OtherSide {
        /// The owner.
        side: Side,
        /// Where it stands there.
        state: StateName,
    },
    /// Without a claim nothing exempts it from the sequence.
    #[error(
        "it has no claim any more, so it would be compared with its lane's sequence and dropped \
         as stale; publish it anew with a number that is next, then drop the letter"
    )]
    Sequenced,
    /// Its claim was finished as stale.
    #[error("its claim is finished as stale: a newer message of its lane was applied")]
    Stale,
    /// Its effects are stored, and what was to be sent is forgotten.
    #[error(
        "its effects are stored, and its claim with the messages that were not sent is no longer \
         kept; under a new key its handler would run, and do everything once more"
    )]
    EffectsStored,
    /// An operator drops a letter whose message may be nowhere else.
    #[error(
        "its claim is {0}, so a replay has begun and its message may be in this letter only; \
         replay it again, or release the claim first"
    )]
    Unfinished(StateName),
}

impl ParkReason {
    /// Is a claim parked for a letter with this reason? The others belong to
    /// messages that never had one.
    #[must_use]
    pub fn has_claim(self) -> bool {
        match self {
            Self::Rejected | Self::AttemptsSpent | Self::OutboxUndeliverable => true,
            Self::KeyConflict
            | Self::NoKey
            | Self::NoLane
            | Self::BadSequence
            | Self::TooLarge
            | Self::BadRecord => false,
        }
    }
}

/// Decides about the replay of a letter whose message has a key and a lane.
#[must_use]
pub fn replay(facts: &Facts<'_>) -> Replay {
    let Some(claim) = facts.claim else {
        return without_claim(facts);
    };
    match (claim.fingerprint, facts.fingerprint) {
        (Some(theirs), Some(ours)) if theirs == ours => {}
        // Where bodies are not compared a claim under a new key is someone's.
        _ if facts.new_key => return Replay::Refused(Refusal::KeyTaken),
        (Some(_), Some(_)) => return Replay::Refused(Refusal::OtherBody),
        _ => {}
    }
    if claim.side != facts.side {
        return Replay::Refused(Refusal::OtherSide {
            side: claim.side.clone(),
            state: claim.state,
        });
    }
    match claim.state {
        StateName::Parking | StateName::Parked => Replay::Reopen,
        StateName::Done if claim.stale => Replay::Refused(Refusal::Stale),
        StateName::Done => Replay::Finished,
        StateName::Assigned | StateName::Running | StateName::Failed | StateName::Committed => {
            Replay::Publish
        }
    }
}

fn without_claim(facts: &Facts<'_>) -> Replay {
    if facts.reason == ParkReason::OutboxUndeliverable && !facts.new_key {
        Replay::Refused(Refusal::EffectsStored)
    } else if facts.sequenced {
        Replay::Refused(Refusal::Sequenced)
    } else {
        Replay::Publish
    }
}

/// Decides whether a letter may be dropped. Its claim stays as it is.
///
/// # Errors
/// [`Refusal::Unfinished`] when the letter may be all that is left of a message
/// that is still to be run.
pub fn drop_letter(facts: &Facts<'_>) -> Result<(), Refusal> {
    let Some(claim) = facts.claim.filter(|_| facts.reason.has_claim()) else {
        return Ok(());
    };
    let other = matches!(
        (claim.fingerprint, facts.fingerprint),
        (Some(theirs), Some(ours)) if theirs != ours
    );
    if other || claim.side != facts.side {
        return Ok(());
    }
    match claim.state {
        StateName::Done | StateName::Parking | StateName::Parked => Ok(()),
        StateName::Assigned | StateName::Running | StateName::Failed | StateName::Committed => {
            Err(Refusal::Unfinished(claim.state))
        }
    }
}
