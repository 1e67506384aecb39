//! How claims and the other records look in the file.

use std::collections::BTreeMap;

use holdfast_core::claim::{Ending, Fingerprint, ParkReason, Record, State, Token, Transition};
use holdfast_core::key::Lane;
use holdfast_core::name::Side;
use holdfast_core::time::Micros;
use holdfast_ports::error::PortError;
use holdfast_ports::message::Staged;
use serde::{Deserialize, Serialize};

/// The steps that a transition can name.
const STEPS: [&str; 13] = [
    "assigned",
    "begin",
    "commit",
    "published",
    "fail",
    "park",
    "buried",
    "abandon",
    "release",
    "replay",
    "stale",
    "undeliverable",
    "takeover",
];

/// A claim in the file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) enum StoredClaim {
    Open(Box<StoredRecord>),
    Finished(Box<StoredEnd>),
}

/// A claim that is not finished: everything.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredRecord {
    side: String,
    state: StoredState,
    token: Option<u64>,
    attempt: u32,
    fence: u64,
    fingerprint: Option<[u8; 8]>,
    lane: Option<String>,
    error: Option<String>,
    replayed: bool,
    first_seen: u64,
    history: Vec<StoredTransition>,
    outbox: Option<StoredOutbox>,
}

/// A finished claim: what a duplicate, a repeated call and a replay need.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredEnd {
    side: String,
    state: StoredState,
    token: Option<u64>,
    fence: u64,
    fingerprint: Option<[u8; 8]>,
    first_seen: u64,
    outbox: Option<StoredOutbox>,
}

#[derive(Debug, Serialize, Deserialize)]
enum StoredState {
    Assigned { since: u64 },
    Running { lock_until: u64, epoch: Option<u64> },
    Failed,
    Committed { tries: u32 },
    Parking { reason: u8 },
    Done { stale: bool },
    Parked { reason: u8 },
}

#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredTransition {
    at: u64,
    step: u8,
    side: String,
    attempt: u32,
    detail: String,
}

/// Messages that wait to be sent, and the numbers minted for them.
#[derive(Clone, Debug, Serialize, Deserialize)]
pub(super) struct StoredOutbox {
    pub(super) messages: Vec<Staged>,
    pub(super) minted: Vec<Option<u64>>,
}

/// The state of a lane or a key.
#[derive(Debug, Default, Serialize, Deserialize)]
pub(super) struct StoredValues {
    pub(super) version: u64,
    pub(super) values: BTreeMap<String, Vec<u8>>,
}

/// A lease, live or not: the epoch outlives it.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredLease {
    pub(super) owner: u64,
    pub(super) epoch: u64,
    pub(super) until: u64,
}

/// A cut-over rule.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredRule {
    pub(super) from: String,
    pub(super) to: String,
    pub(super) enabled: bool,
    pub(super) hundredths: u16,
    pub(super) allow: Vec<String>,
    pub(super) assign_timeout: std::time::Duration,
    pub(super) revision: u64,
}

/// Splits a claim into its row and, for a finished one, the history that is
/// kept for a while beside it.
pub(super) fn store(
    record: Record,
    outbox: Option<StoredOutbox>,
) -> (StoredClaim, Option<Vec<StoredTransition>>) {
    let finished = record.state.name().is_finished();
    let undelivered = matches!(
        record.state,
        State::Parked {
            reason: ParkReason::OutboxUndeliverable
        }
    );
    let history = record.history.into_iter().map(store_transition).collect();
    let side = record.side.as_str().to_owned();
    let token = record.token.map(|token| token.0);
    let fingerprint = record.fingerprint.map(|fingerprint| fingerprint.0);
    let state = store_state(&record.state);
    if finished {
        let end = StoredEnd {
            side,
            state,
            token,
            fence: record.fence,
            fingerprint,
            first_seen: record.first_seen.0,
            outbox: outbox.filter(|_| undelivered),
        };
        return (StoredClaim::Finished(Box::new(end)), Some(history));
    }
    let open = StoredRecord {
        side,
        state,
        token,
        attempt: record.attempt,
        fence: record.fence,
        fingerprint,
        lane: record.lane.map(|lane| lane.as_str().to_owned()),
        error: record.error,
        replayed: record.replayed,
        first_seen: record.first_seen.0,
        history,
        outbox,
    };
    (StoredClaim::Open(Box::new(open)), None)
}

/// Reads a claim back. What a finished one no longer knows is empty.
///
/// # Errors
/// `BadRecord` when a name or a code in it is unknown.
pub(super) fn load(stored: StoredClaim) -> Result<(Record, Option<StoredOutbox>), PortError> {
    match stored {
        StoredClaim::Open(open) => {
            let open = *open;
            let record = Record {
                side: load_side(&open.side)?,
                state: load_state(&open.state)?,
                token: open.token.map(Token),
                attempt: open.attempt,
                fence: open.fence,
                fingerprint: open.fingerprint.map(Fingerprint),
                lane: open.lane.as_deref().map(Lane::from_known),
                error: open.error,
                replayed: open.replayed,
                first_seen: Micros(open.first_seen),
                history: load_history(open.history)?,
            };
            Ok((record, open.outbox))
        }
        StoredClaim::Finished(end) => {
            let record = Record {
                side: load_side(&end.side)?,
                state: load_state(&end.state)?,
                token: end.token.map(Token),
                attempt: 0,
                fence: end.fence,
                fingerprint: end.fingerprint.map(Fingerprint),
                lane: None,
                error: None,
                replayed: false,
                first_seen: Micros(end.first_seen),
                history: Vec::new(),
            };
            Ok((record, end.outbox))
        }
    }
}

fn store_transition(entry: Transition) -> StoredTransition {
    StoredTransition {
        at: entry.at.0,
        step: position(&STEPS, &entry.step),
        side: entry.side.as_str().to_owned(),
        attempt: entry.attempt,
        detail: entry.detail,
    }
}

/// Reads transitions back.
///
/// # Errors
/// `BadRecord` when a name or a code in one is unknown.
pub(super) fn load_history(history: Vec<StoredTransition>) -> Result<Vec<Transition>, PortError> {
    history
        .into_iter()
        .map(|entry| {
            Ok(Transition {
                at: Micros(entry.at),
                step: STEPS
                    .get(usize::from(entry.step))
                    .copied()
                    .ok_or_else(|| unknown("step"))?,
                side: load_side(&entry.side)?,
                attempt: entry.attempt,
                detail: entry.detail,
            })
        })
        .collect()
}

/// Reads a side back.
///
/// # Errors
/// `BadRecord` when it is no name.
pub(super) fn load_side(name: &str) -> Result<Side, PortError> {
    Side::new(name).map_err(|error| PortError::bad_record("read a side").because(error))
}

fn store_state(state: &State) -> StoredState {
    match state {
        State::Assigned { since } => StoredState::Assigned { since: since.0 },
        State::Running { lock_until, epoch } => StoredState::Running {
            lock_until: lock_until.0,
            epoch: *epoch,
        },
        State::Failed => StoredState::Failed,
        State::Committed { tries } => StoredState::Committed { tries: *tries },
        State::Parking { reason } => StoredState::Parking {
            reason: position(&ParkReason::ALL, reason),
        },
        State::Done { ending } => StoredState::Done {
            stale: *ending == Ending::Stale,
        },
        State::Parked { reason } => StoredState::Parked {
            reason: position(&ParkReason::ALL, reason),
        },
    }
}

fn load_state(stored: &StoredState) -> Result<State, PortError> {
    let reason = |code: u8| {
        ParkReason::ALL
            .get(usize::from(code))
            .copied()
            .ok_or_else(|| unknown("reason"))
    };
    Ok(match stored {
        StoredState::Assigned { since } => State::Assigned {
            since: Micros(*since),
        },
        StoredState::Running { lock_until, epoch } => State::Running {
            lock_until: Micros(*lock_until),
            epoch: *epoch,
        },
        StoredState::Failed => State::Failed,
        StoredState::Committed { tries } => State::Committed { tries: *tries },
        StoredState::Parking { reason: code } => State::Parking {
            reason: reason(*code)?,
        },
        StoredState::Done { stale } => State::Done {
            ending: if *stale {
                Ending::Stale
            } else {
                Ending::Completed
            },
        },
        StoredState::Parked { reason: code } => State::Parked {
            reason: reason(*code)?,
        },
    })
}

/// The code of a value: its place in the list of all, which only ever grows at
/// its end.
fn position<T: PartialEq>(all: &[T], one: &T) -> u8 {
    all.iter()
        .position(|each| each == one)
        .and_then(|at| u8::try_from(at).ok())
        .unwrap_or(u8::MAX)
}

fn unknown(what: &str) -> PortError {
    PortError::bad_record(format!("read a claim: its {what} is unknown"))
}
