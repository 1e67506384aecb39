//! `begin`: may this side run this message now?

use std::time::Duration;

use super::answer::{BeginAnswer, FencedBy};
use super::record::{Ending, Fingerprint, Record, State, Token};
use crate::key::Lane;
use crate::name::Side;
use crate::time::Micros;

/// What the host says when it asks.
#[derive(Clone, Debug)]
pub struct BeginFacts {
    /// Who asks.
    pub side: Side,
    /// Who owns the key if it is new, by the cut-over rule.
    pub owner_if_new: Side,
    /// Fresh for this attempt; the same when a call is repeated.
    pub token: Token,
    /// The body, where the group compares bodies.
    pub fingerprint: Option<Fingerprint>,
    /// The lane of the message.
    pub lane: Option<Lane>,
    /// The sequence of the message, where the consumer has them.
    pub sequence: Option<u64>,
    /// The lease epoch, for a leased consumer.
    pub epoch: Option<u64>,
    /// How long the attempt may hold the claim: the call's deadline and a margin.
    pub lock: Duration,
    /// After how long an assigned key that was never begun may be taken over.
    pub assign_timeout: Duration,
    /// The revision of the cut-over rule that named the owner; none where there
    /// is no rule, or the store cannot compare it in the same step.
    pub rule: Option<u64>,
}

/// What the store knows besides the record.
#[derive(Clone, Copy, Debug)]
pub struct Scope {
    /// The store's clock.
    pub now: Micros,
    /// The store is the one the host started with.
    pub same_store: bool,
    /// The current lease epoch of the consumer; none when nobody leads.
    pub epoch: Option<u64>,
    /// The last applied sequence of the message's lane.
    pub last_sequence: Option<u64>,
    /// The revision of the group's cut-over rule; none when it has no rule.
    pub rule: Option<u64>,
}

/// An answer and what is to be written with it; nothing when `record` is none.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Decision<A> {
    /// What the host is told.
    pub answer: A,
    /// What the store keeps from now on.
    pub record: Option<Record>,
}

impl<A> Decision<A> {
    pub(super) fn unchanged(answer: A) -> Self {
        Self {
            answer,
            record: None,
        }
    }

    pub(super) fn write(answer: A, record: Record) -> Self {
        Self {
            answer,
            record: Some(record),
        }
    }
}

/// Is a step under this epoch, against this store, void?
pub(super) fn fenced(shown: Option<u64>, scope: &Scope) -> Option<FencedBy> {
    if !scope.same_store {
        Some(FencedBy::Store)
    } else if shown.is_some() && shown != scope.epoch {
        Some(FencedBy::Epoch)
    } else {
        None
    }
}

/// Decides whether an attempt may start. The order in which the answers are
/// looked for is part of the rule: what an existing claim says comes before the
/// sequence, since a committed claim whose outbox is not published yet must not
/// be dropped as stale.
#[must_use]
pub fn begin(record: Option<&Record>, facts: &BeginFacts, scope: &Scope) -> Decision<BeginAnswer> {
    if let Some(by) = fenced(facts.epoch, scope) {
        return Decision::unchanged(BeginAnswer::Fenced(by));
    }
    match record {
        None => first_sight(facts, scope),
        Some(record) => known(record, facts, scope),
    }
}

fn first_sight(facts: &BeginFacts, scope: &Scope) -> Decision<BeginAnswer> {
    if facts.rule.is_some() && facts.rule != scope.rule {
        return Decision::unchanged(BeginAnswer::RuleMoved);
    }
    let mut record = Record {
        side: facts.owner_if_new.clone(),
        state: State::Assigned { since: scope.now },
        token: None,
        attempt: 0,
        fence: 0,
        fingerprint: facts.fingerprint,
        lane: facts.lane.clone(),
        error: None,
        replayed: false,
        first_seen: scope.now,
        history: Vec::new(),
    };
    if facts.owner_if_new != facts.side {
        record.note(
            scope.now,
            "assigned",
            &facts.side,
            facts.owner_if_new.as_str(),
        );
        let answer = BeginAnswer::Assigned {
            side: facts.owner_if_new.clone(),
        };
        return Decision::write(answer, record);
    }
    own(record, facts, scope)
}

fn known(record: &Record, facts: &BeginFacts, scope: &Scope) -> Decision<BeginAnswer> {
    if let (Some(known), Some(shown)) = (record.fingerprint, facts.fingerprint)
        && known != shown
    {
        return Decision::unchanged(BeginAnswer::Conflict);
    }
    if record.side != facts.side {
        return if overdue(record, facts, scope) {
            let mut record = record.clone();
            let late = std::mem::replace(&mut record.side, facts.side.clone());
            record.note(scope.now, "takeover", &facts.side, late.as_str());
            own(record, facts, scope)
        } else {
            let (side, state) = (record.side.clone(), record.state.name());
            Decision::unchanged(BeginAnswer::Foreign { side, state })
        };
    }
    own(record.clone(), facts, scope)
}

/// Was the key assigned longer ago than its owner may take to begin it? The
/// cut-over rule is not asked again: the first answer sticks to the key.
fn overdue(record: &Record, facts: &BeginFacts, scope: &Scope) -> bool {
    matches!(record.state, State::Assigned { since } if scope.now >= since.plus(facts.assign_timeout))
}

/// The record is this side's: what does its state say?
fn own(mut record: Record, facts: &BeginFacts, scope: &Scope) -> Decision<BeginAnswer> {
    let repeated = record.token == Some(facts.token);
    match &record.state {
        State::Done {
            ending: Ending::Stale,
        } if repeated => {
            return Decision::unchanged(BeginAnswer::Stale {
                last: scope.last_sequence.unwrap_or(0),
            });
        }
        State::Done { .. } => return Decision::unchanged(BeginAnswer::Done),
        State::Committed { tries } => {
            let answer = BeginAnswer::Committed {
                outbox: (),
                tries: *tries,
                attempt: record.attempt,
            };
            return Decision::unchanged(answer);
        }
        State::Parking { reason } => {
            return Decision::unchanged(BeginAnswer::Parking {
                reason: *reason,
                error: record.error.clone(),
                attempt: record.attempt,
                first_seen_ms: record.first_seen.0 / 1000,
                fence: record.fence,
                outbox: (),
            });
        }
        State::Parked { reason } => {
            return Decision::unchanged(BeginAnswer::Parked { reason: *reason });
        }
        State::Running { epoch, .. } if repeated => {
            // The handler is called when this answer arrives, so that the lock
            // counts from now: that of the first call may have run out while the
            // store was away.
            record.state = State::Running {
                lock_until: scope.now.plus(facts.lock),
                epoch: *epoch,
            };
            return Decision::write(granted(&record), record);
        }
        State::Running { lock_until, epoch } => {
            let deposed =
                matches!((epoch, facts.epoch), (Some(theirs), Some(ours)) if theirs < &ours);
            if *lock_until > scope.now && !deposed {
                return Decision::unchanged(BeginAnswer::Busy {
                    wait: lock_until.since(scope.now),
                });
            }
        }
        State::Assigned { .. } | State::Failed => {}
    }
    if let (Some(sequence), Some(last)) = (facts.sequence, scope.last_sequence)
        && sequence <= last
        && !record.replayed
    {
        record.token = Some(facts.token);
        record.state = State::Done {
            ending: Ending::Stale,
        };
        record.note(
            scope.now,
            "stale",
            &facts.side,
            &format!("{sequence} is not above {last}"),
        );
        return Decision::write(BeginAnswer::Stale { last }, record);
    }
    record.attempt = record.attempt.saturating_add(1);
    record.fence = (record.fence + 1).max(scope.now.0);
    record.token = Some(facts.token);
    record.state = State::Running {
        lock_until: scope.now.plus(facts.lock),
        epoch: facts.epoch,
    };
    record.fingerprint = record.fingerprint.or(facts.fingerprint);
    record.note(scope.now, "begin", &facts.side, "");
    Decision::write(granted(&record), record)
}

fn granted(record: &Record) -> BeginAnswer {
    BeginAnswer::Granted {
        attempt: record.attempt,
        fence: record.fence,
        error: record.error.clone(),
        first_seen_ms: record.first_seen.0 / 1000,
        state: (),
    }
}
