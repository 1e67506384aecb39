//! What a store answers to each step.

use std::time::Duration;

use super::record::{ParkReason, StateName};
use crate::name::Side;

/// What made a step void.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FencedBy {
    /// The lease epoch shown is not the current one.
    Epoch,
    /// The store is not the one the host started with.
    Store,
}

/// The answer to `begin`. `S` is what a store hands over with a grant (the
/// lane's state), `O` the outbox it kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BeginAnswer<S = (), O = ()> {
    /// This attempt may run, or be parked when the attempts are spent.
    Granted {
        /// 1 for the first.
        attempt: u32,
        /// Larger than any fence this key had before.
        fence: u64,
        /// The last error of an earlier attempt.
        error: Option<String>,
        /// When the key was first seen, in milliseconds since 1970.
        first_seen_ms: u64,
        /// The state of the lane or key.
        state: S,
    },
    /// The other side owns it.
    Foreign {
        /// The owner.
        side: Side,
        /// Where it stands there.
        state: StateName,
    },
    /// It was new, the rule gave it to this other side, and that is recorded.
    Assigned {
        /// The owner.
        side: Side,
    },
    /// It is new, and the rule that named its owner is no longer the current
    /// one: nothing was recorded.
    RuleMoved,
    /// This side finished it before.
    Done,
    /// Effects are stored; the outbox may not be published yet.
    Committed {
        /// What is to be published.
        outbox: O,
        /// How often publishing has failed so far.
        tries: u32,
        /// The attempt that succeeded.
        attempt: u32,
    },
    /// It was given up; the dead letter may be missing.
    Parking {
        /// Why.
        reason: ParkReason,
        /// The last error.
        error: Option<String>,
        /// Calls of the handler in all.
        attempt: u32,
        /// When the key was first seen, in milliseconds since 1970.
        first_seen_ms: u64,
        /// Tells this giving up from any other of the key; `buried` shows it.
        fence: u64,
        /// What could not be sent, for `outbox-undeliverable`.
        outbox: O,
    },
    /// It was given up and the dead letter is safe.
    Parked {
        /// Why.
        reason: ParkReason,
    },
    /// Another attempt of this side holds the lock.
    Busy {
        /// For how much longer, at most.
        wait: Duration,
    },
    /// Another body has this key.
    Conflict,
    /// The sequence is not above the lane's last applied one.
    Stale {
        /// The last applied one.
        last: u64,
    },
    /// Nothing may be done under this epoch, or in this store.
    Fenced(FencedBy),
}

/// The answer to `commit`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitAnswer {
    /// Effects are stored. With an outbox, the numbers minted for its messages
    /// in their order, none where a message has no lane.
    Committed {
        /// Minted sequence numbers.
        minted: Vec<Option<u64>>,
    },
    /// Effects are stored, there is nothing to publish, the claim is done.
    Done,
    /// The state that the handler read was changed by another message in the
    /// meantime, or the lane has applied a sequence that is not below this
    /// message's; nothing was written. The attempt may be repeated.
    StateMoved,
    /// The token is no longer the claim's; nothing was written.
    Lost,
    /// Nothing may be done under this epoch, or in this store.
    Fenced(FencedBy),
}

/// The answer to the other steps of an attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum StepAnswer {
    /// Recorded.
    Ok,
    /// The token is no longer the claim's, or the claim is not in a state that
    /// this step starts from; nothing was written.
    Lost,
    /// Nothing may be done under this epoch, or in this store.
    Fenced(FencedBy),
}

/// The answer to a failed publish of a committed outbox.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum UndeliverableAnswer {
    /// Counted; try again later.
    Again {
        /// How often it has failed now.
        tries: u32,
    },
    /// Given up: the claim is now parking as `outbox-undeliverable`.
    GivenUp,
    /// The claim is not committed; nothing was written.
    Lost,
    /// The store is not the one we started with.
    Fenced(FencedBy),
}

/// The answer to an operator's `release`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum ReleaseAnswer {
    /// Side and attempts are forgotten.
    Released,
    /// There is no such claim.
    NotFound,
    /// An attempt is running; it needs force.
    Locked {
        /// For how much longer, at most.
        wait: Duration,
    },
    /// Its effects are stored or it was given up: forgetting it would run
    /// them twice.
    Refused(StateName),
}
