//! What the store remembers about one key.

use std::fmt;

use sha2::{Digest as _, Sha256};

use crate::key::Lane;
use crate::name::Side;
use crate::time::Micros;

/// Transitions kept per claim; the oldest go first.
pub const MAX_HISTORY: usize = 32;

/// Longest error text kept with a claim or a dead letter, in bytes.
pub const MAX_ERROR_BYTES: usize = 1024;

/// Cuts a text to [`MAX_ERROR_BYTES`] at a character boundary and says so.
#[must_use]
pub fn bounded(text: &str) -> String {
    if text.len() <= MAX_ERROR_BYTES {
        return text.to_owned();
    }
    let mark = " … (cut)";
    let mut end = MAX_ERROR_BYTES - mark.len();
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    format!("{}{mark}", &text[..end])
}

/// A fresh random value per attempt. Every later step of that attempt shows it.
#[derive(Clone, Copy, PartialEq, Eq, Hash)]
pub struct Token(pub u64);

impl fmt::Debug for Token {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{:016x}", self.0)
    }
}

/// The first eight bytes of the SHA-256 of a body. Only ever compared within
/// one key, so a stranger would need a second preimage of 64 bits.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Fingerprint(pub [u8; 8]);

impl Fingerprint {
    /// The fingerprint of a body.
    #[must_use]
    pub fn of(body: &[u8]) -> Self {
        let digest = Sha256::digest(body);
        let mut first = [0; 8];
        first.copy_from_slice(&digest[..8]);
        Self(first)
    }
}

/// Why a message was given up. The texts are those of the dead-letter header
/// `x-holdfast-reason`.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ParkReason {
    /// The handler said that it can never succeed.
    Rejected,
    /// The configured number of attempts was used up.
    AttemptsSpent,
    /// Another message with this key has another body.
    KeyConflict,
    /// The message has no claim key.
    NoKey,
    /// The message has no lane although the consumer orders by one.
    NoLane,
    /// The sequence is missing or not an unsigned 64-bit number.
    BadSequence,
    /// The body is over the consumer's limit.
    TooLarge,
    /// What the store holds under this key is not a claim.
    BadRecord,
    /// Its effects are committed, but a published message has no target.
    OutboxUndeliverable,
}

impl ParkReason {
    /// Every reason, in the order of the documentation.
    pub const ALL: [Self; 9] = [
        Self::Rejected,
        Self::AttemptsSpent,
        Self::KeyConflict,
        Self::NoKey,
        Self::NoLane,
        Self::BadSequence,
        Self::TooLarge,
        Self::BadRecord,
        Self::OutboxUndeliverable,
    ];

    /// The text in headers, records and metrics.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Rejected => "rejected",
            Self::AttemptsSpent => "attempts-spent",
            Self::KeyConflict => "key-conflict",
            Self::NoKey => "no-key",
            Self::NoLane => "no-lane",
            Self::BadSequence => "bad-sequence",
            Self::TooLarge => "too-large",
            Self::BadRecord => "bad-record",
            Self::OutboxUndeliverable => "outbox-undeliverable",
        }
    }

    /// The reason with this text, if there is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|reason| reason.as_str() == text)
    }
}

impl fmt::Display for ParkReason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// How a finished claim ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Ending {
    /// Its handler succeeded.
    Completed,
    /// Its sequence was not above the last one applied in its lane.
    Stale,
}

/// Where a claim stands. What only one state has lives in that state.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum State {
    /// Given to a side that has not begun it.
    Assigned {
        /// When the decision was recorded.
        since: Micros,
    },
    /// An attempt runs, or its host died.
    Running {
        /// Until when no other attempt may begin.
        lock_until: Micros,
        /// The lease epoch of the attempt, for a leased consumer.
        epoch: Option<u64>,
    },
    /// The last attempt failed; the same side may begin another.
    Failed,
    /// Effects are in the store; published messages may be missing.
    Committed {
        /// How often publishing the outbox has failed for want of a target.
        tries: u32,
    },
    /// Given up; the dead letter may be missing.
    Parking {
        /// Why.
        reason: ParkReason,
    },
    /// Finished.
    Done {
        /// How.
        ending: Ending,
    },
    /// Given up, and the dead letter is safe.
    Parked {
        /// Why.
        reason: ParkReason,
    },
}

/// The name of a [`State`], as shown to people and stored.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum StateName {
    /// See [`State::Assigned`].
    Assigned,
    /// See [`State::Running`].
    Running,
    /// See [`State::Failed`].
    Failed,
    /// See [`State::Committed`].
    Committed,
    /// See [`State::Parking`].
    Parking,
    /// See [`State::Done`].
    Done,
    /// See [`State::Parked`].
    Parked,
}

impl StateName {
    /// Every state, in the order of a claim's life.
    pub const ALL: [Self; 7] = [
        Self::Assigned,
        Self::Running,
        Self::Failed,
        Self::Committed,
        Self::Parking,
        Self::Done,
        Self::Parked,
    ];

    /// The name as text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Assigned => "assigned",
            Self::Running => "running",
            Self::Failed => "failed",
            Self::Committed => "committed",
            Self::Parking => "parking",
            Self::Done => "done",
            Self::Parked => "parked",
        }
    }

    /// The state with this name, if there is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|name| name.as_str() == text)
    }

    /// Finished: nothing more will happen to it but expiry.
    #[must_use]
    pub fn is_finished(self) -> bool {
        matches!(self, Self::Done | Self::Parked)
    }
}

impl fmt::Display for StateName {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl State {
    /// The name of this state.
    #[must_use]
    pub fn name(&self) -> StateName {
        match self {
            Self::Assigned { .. } => StateName::Assigned,
            Self::Running { .. } => StateName::Running,
            Self::Failed => StateName::Failed,
            Self::Committed { .. } => StateName::Committed,
            Self::Parking { .. } => StateName::Parking,
            Self::Done { .. } => StateName::Done,
            Self::Parked { .. } => StateName::Parked,
        }
    }
}

/// One step in the life of a claim, for `explain`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Transition {
    /// When, on the store's clock.
    pub at: Micros,
    /// What happened: `assigned`, `begin`, `commit`, `published`, `fail`,
    /// `park`, `buried`, `abandon`, `release`, `replay`, `stale`,
    /// `undeliverable`, `takeover`.
    pub step: &'static str,
    /// The side that did it.
    pub side: Side,
    /// The attempt it belongs to.
    pub attempt: u32,
    /// An error, a reason or an operator's note; may be empty.
    pub detail: String,
}

/// One claim.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Record {
    /// The owner.
    pub side: Side,
    /// Where it stands.
    pub state: State,
    /// The token of the last attempt; none before the first.
    pub token: Option<Token>,
    /// Calls of the handler so far.
    pub attempt: u32,
    /// The last fence handed out.
    pub fence: u64,
    /// The body this key belongs to, where the group compares bodies.
    pub fingerprint: Option<Fingerprint>,
    /// The lane of the message.
    pub lane: Option<Lane>,
    /// The last error.
    pub error: Option<String>,
    /// A replayed message is not compared with the lane's last sequence.
    pub replayed: bool,
    /// When the key was first seen.
    pub first_seen: Micros,
    /// The last transitions, oldest first, at most [`MAX_HISTORY`].
    pub history: Vec<Transition>,
}

impl Record {
    /// Adds a transition and forgets the oldest over the bound.
    pub(super) fn note(&mut self, at: Micros, step: &'static str, side: &Side, detail: &str) {
        self.history.push(Transition {
            at,
            step,
            side: side.clone(),
            attempt: self.attempt,
            detail: bounded(detail),
        });
        if self.history.len() > MAX_HISTORY {
            self.history.remove(0);
        }
    }
}
