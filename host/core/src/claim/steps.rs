//! The steps after `begin`, each one decision over one record.

use super::answer::{CommitAnswer, ReleaseAnswer, StepAnswer, UndeliverableAnswer};
use super::begin::{Decision, Scope, fenced};
use super::record::{Ending, ParkReason, Record, State, Token, bounded};
use crate::name::Side;

/// What every step of an attempt shows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Shown {
    /// The token of the attempt.
    pub token: Token,
    /// The lease epoch, for a leased consumer.
    pub epoch: Option<u64>,
}

/// What `commit` is to store, as far as the claim is concerned.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct CommitFacts {
    /// Messages in the outbox.
    pub outbox: usize,
    /// The version of the state that the handler worked on, when it used any.
    pub state_version: Option<u64>,
    /// The version of that state in the store.
    pub current_version: u64,
    /// The sequence of the message, where the consumer has them.
    pub sequence: Option<u64>,
}

/// Records success: effects go to the store with the claim, or nothing does.
#[must_use]
pub fn commit(
    record: Option<&Record>,
    shown: Shown,
    facts: CommitFacts,
    scope: &Scope,
) -> Decision<CommitAnswer> {
    if let Some(by) = fenced(shown.epoch, scope) {
        return Decision::unchanged(CommitAnswer::Fenced(by));
    }
    let Some(record) = record.filter(|record| record.token == Some(shown.token)) else {
        return Decision::unchanged(CommitAnswer::Lost);
    };
    match record.state {
        State::Running { .. } => {}
        // A repeat of a call whose answer was lost; the store adds the numbers
        // that it minted the first time.
        State::Committed { .. } => {
            return Decision::unchanged(CommitAnswer::Committed { minted: Vec::new() });
        }
        State::Done {
            ending: Ending::Completed,
        } => return Decision::unchanged(CommitAnswer::Done),
        _ => return Decision::unchanged(CommitAnswer::Lost),
    }
    if facts
        .state_version
        .is_some_and(|read| read != facts.current_version)
    {
        return Decision::unchanged(CommitAnswer::StateMoved);
    }
    // Two sides may run messages of one lane at the same time, where their queues
    // differ in order: the earlier one must not take effect after the later one.
    // It is found stale when it is asked for again.
    let overtaken = facts.sequence.is_some() && facts.sequence <= scope.last_sequence;
    if overtaken && !record.replayed {
        return Decision::unchanged(CommitAnswer::StateMoved);
    }
    let mut record = record.clone();
    record.error = None;
    let answer = if facts.outbox == 0 {
        record.state = State::Done {
            ending: Ending::Completed,
        };
        CommitAnswer::Done
    } else {
        record.state = State::Committed { tries: 0 };
        CommitAnswer::Committed { minted: Vec::new() }
    };
    let side = record.side.clone();
    record.note(scope.now, "commit", &side, "");
    Decision::write(answer, record)
}

/// A step that only the running attempt may take.
fn attempt_step(
    record: Option<&Record>,
    shown: Shown,
    scope: &Scope,
    repeated: impl FnOnce(&Record) -> bool,
    change: impl FnOnce(&mut Record),
) -> Decision<StepAnswer> {
    if let Some(by) = fenced(shown.epoch, scope) {
        return Decision::unchanged(StepAnswer::Fenced(by));
    }
    let Some(record) = record.filter(|record| record.token == Some(shown.token)) else {
        return Decision::unchanged(StepAnswer::Lost);
    };
    if repeated(record) {
        return Decision::unchanged(StepAnswer::Ok);
    }
    if !matches!(record.state, State::Running { .. }) {
        return Decision::unchanged(StepAnswer::Lost);
    }
    let mut record = record.clone();
    change(&mut record);
    Decision::write(StepAnswer::Ok, record)
}

/// Records a failure. The claim is kept: only its side may try again.
#[must_use]
pub fn fail(
    record: Option<&Record>,
    shown: Shown,
    error: &str,
    scope: &Scope,
) -> Decision<StepAnswer> {
    attempt_step(
        record,
        shown,
        scope,
        |record| record.state == State::Failed,
        |record| {
            record.state = State::Failed;
            record.error = Some(bounded(error));
            let side = record.side.clone();
            record.note(scope.now, "fail", &side, error);
        },
    )
}

/// Gives the message up; the dead letter is published next.
#[must_use]
pub fn park(
    record: Option<&Record>,
    shown: Shown,
    reason: ParkReason,
    error: Option<&str>,
    scope: &Scope,
) -> Decision<StepAnswer> {
    attempt_step(
        record,
        shown,
        scope,
        |record| record.state == State::Parking { reason },
        |record| {
            record.state = State::Parking { reason };
            if let Some(error) = error {
                record.error = Some(bounded(error));
            }
            let side = record.side.clone();
            record.note(scope.now, "park", &side, reason.as_str());
        },
    )
}

/// Undoes a `begin` whose handler was never called: the lock is free and the
/// attempt not counted.
#[must_use]
pub fn abandon(record: Option<&Record>, shown: Shown, scope: &Scope) -> Decision<StepAnswer> {
    attempt_step(
        record,
        shown,
        scope,
        |record| record.state == State::Failed,
        |record| {
            record.state = State::Failed;
            record.attempt = record.attempt.saturating_sub(1);
            let side = record.side.clone();
            record.note(scope.now, "abandon", &side, "");
        },
    )
}

/// A step that finishes what another began; it is the same whoever does it.
fn closing_step(
    record: Option<&Record>,
    scope: &Scope,
    next: impl FnOnce(&State) -> Option<State>,
    step: &'static str,
) -> Decision<StepAnswer> {
    if let Some(by) = fenced(None, scope) {
        return Decision::unchanged(StepAnswer::Fenced(by));
    }
    let Some(record) = record else {
        return Decision::unchanged(StepAnswer::Lost);
    };
    match next(&record.state) {
        Some(state) if state == record.state => Decision::unchanged(StepAnswer::Ok),
        Some(state) => {
            let mut record = record.clone();
            record.state = state;
            let side = record.side.clone();
            record.note(scope.now, step, &side, "");
            Decision::write(StepAnswer::Ok, record)
        }
        None => Decision::unchanged(StepAnswer::Lost),
    }
}

/// The outbox was published and confirmed: the claim is done.
#[must_use]
pub fn published(record: Option<&Record>, scope: &Scope) -> Decision<StepAnswer> {
    closing_step(
        record,
        scope,
        |state| match state {
            State::Committed { .. }
            | State::Done {
                ending: Ending::Completed,
            } => Some(State::Done {
                ending: Ending::Completed,
            }),
            _ => None,
        },
        "published",
    )
}

/// The dead letter was published and confirmed: the claim is parked. `fence` is
/// that of the claim when it was given up: a call that comes late must not be
/// taken for the letter of a later giving up, after a replay, that may not be
/// written yet.
#[must_use]
pub fn buried(record: Option<&Record>, fence: u64, scope: &Scope) -> Decision<StepAnswer> {
    let meant =
        |record: &&Record| record.fence == fence || !matches!(record.state, State::Parking { .. });
    closing_step(
        record.filter(meant),
        scope,
        |state| match state {
            State::Parking { reason } | State::Parked { reason } => {
                Some(State::Parked { reason: *reason })
            }
            _ => None,
        },
        "buried",
    )
}

/// The outbox could not be delivered once more. At `limit` failures the claim
/// goes to the dead letters; its effects stay.
#[must_use]
pub fn undeliverable(
    record: Option<&Record>,
    error: &str,
    limit: u32,
    scope: &Scope,
) -> Decision<UndeliverableAnswer> {
    if let Some(by) = fenced(None, scope) {
        return Decision::unchanged(UndeliverableAnswer::Fenced(by));
    }
    let Some(record) = record else {
        return Decision::unchanged(UndeliverableAnswer::Lost);
    };
    let reason = ParkReason::OutboxUndeliverable;
    let tries = match record.state {
        State::Committed { tries } => tries.saturating_add(1),
        State::Parking { reason: given } if given == reason => {
            return Decision::unchanged(UndeliverableAnswer::GivenUp);
        }
        _ => return Decision::unchanged(UndeliverableAnswer::Lost),
    };
    let mut record = record.clone();
    record.error = Some(bounded(error));
    let answer = if tries >= limit {
        record.state = State::Parking { reason };
        UndeliverableAnswer::GivenUp
    } else {
        record.state = State::Committed { tries };
        UndeliverableAnswer::Again { tries }
    };
    let side = record.side.clone();
    record.note(scope.now, "undeliverable", &side, error);
    Decision::write(answer, record)
}

/// An operator forgets side and attempts of an unfinished claim. With `to`, that
/// side is the owner from now on; without, the record goes away (`forget`) and
/// the next sight of the key applies the cut-over rule.
#[must_use]
pub fn release(
    record: Option<&Record>,
    to: Option<&Side>,
    force: bool,
    scope: &Scope,
) -> Decision<ReleaseAnswer> {
    let Some(record) = record else {
        return Decision::unchanged(ReleaseAnswer::NotFound);
    };
    match record.state {
        State::Committed { .. }
        | State::Parking { .. }
        | State::Done { .. }
        | State::Parked { .. } => {
            return Decision::unchanged(ReleaseAnswer::Refused(record.state.name()));
        }
        State::Running { lock_until, .. } if lock_until > scope.now && !force => {
            return Decision::unchanged(ReleaseAnswer::Locked {
                wait: lock_until.since(scope.now),
            });
        }
        State::Running { .. } | State::Assigned { .. } | State::Failed => {}
    }
    let mut record = record.clone();
    let by = record.side.clone();
    record.note(scope.now, "release", &by, to.map_or("", Side::as_str));
    record.attempt = 0;
    record.token = None;
    record.error = None;
    // Without a named side the store deletes the record after this answer; the
    // fence goes on growing, since it is never below the store's clock.
    record.state = State::Assigned { since: scope.now };
    if let Some(to) = to {
        record.side = to.clone();
    }
    Decision::write(ReleaseAnswer::Released, record)
}

/// Re-opens a given-up claim for a replay from the dead letters: same side,
/// attempts from zero, not compared with the lane's sequence, and with a new
/// fence, so that steps of the time before are told apart. A claim that is
/// committed under `outbox-undeliverable` goes back to publishing instead, since
/// its effects are stored.
#[must_use]
pub fn replay(record: Option<&Record>, scope: &Scope) -> Decision<ReleaseAnswer> {
    let Some(record) = record else {
        return Decision::unchanged(ReleaseAnswer::NotFound);
    };
    let state = match record.state {
        State::Parking { reason } | State::Parked { reason } => {
            if reason == ParkReason::OutboxUndeliverable {
                State::Committed { tries: 0 }
            } else {
                State::Failed
            }
        }
        _ if record.replayed && matches!(record.state, State::Failed) => {
            return Decision::unchanged(ReleaseAnswer::Released);
        }
        _ => return Decision::unchanged(ReleaseAnswer::Refused(record.state.name())),
    };
    let mut record = record.clone();
    if state == State::Failed {
        record.attempt = 0;
    }
    record.fence = (record.fence + 1).max(scope.now.0);
    record.token = None;
    record.replayed = true;
    record.state = state;
    let side = record.side.clone();
    record.note(scope.now, "replay", &side, "");
    Decision::write(ReleaseAnswer::Released, record)
}
