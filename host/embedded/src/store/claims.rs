//! Claims: every decision is the one of the claim rules, on what the file holds.

use std::collections::BTreeMap;
use std::time::Duration;

use holdfast_core::claim::steps::{self, CommitFacts, Shown};
use holdfast_core::claim::{self, BeginAnswer, CommitAnswer, Decision, Look, Record, Scope, State};
use holdfast_core::key::{KeyValue, Lane};
use holdfast_core::name::Side;
use holdfast_ports::error::{Kind, PortError};
use holdfast_ports::message::{Outbox, Snapshot, Staged, StateChange};
use holdfast_ports::store::{Begin, Commit, LeaseName, Place, Slot};

use super::groups;
use super::keys;
use super::leases::current_epoch;
use super::records::{
    self, StoredClaim, StoredOutbox, StoredTransition, StoredValues, load_history,
};
use crate::rows::{Rows, Stop};

/// How long a finished claim's history is kept for those who ask why.
const HISTORY: Duration = Duration::from_secs(3600);

/// A claim as it is before a step.
pub(super) struct Before {
    pub(super) record: Option<Record>,
    pub(super) outbox: Option<StoredOutbox>,
}

impl Before {
    pub(super) fn load(rows: &Rows<'_>, at: &Place) -> Result<Self, Stop> {
        let stored: Option<StoredClaim> = rows.get(&keys::claim(at))?;
        let (record, outbox) = stored.map(records::load).transpose()?.unzip();
        Ok(Self {
            record,
            outbox: outbox.flatten(),
        })
    }
}

/// Writes what a step decided, if anything.
pub(super) fn save(
    rows: &mut Rows<'_>,
    at: &Place,
    record: Option<Record>,
    outbox: Option<StoredOutbox>,
) -> Result<(), Stop> {
    let Some(record) = record else { return Ok(()) };
    let (stored, history) = records::store(record, outbox);
    rows.put(&keys::claim(at), &stored, Some(at.keep))?;
    match history {
        Some(history) => {
            rows.delete(&keys::unfinished(at))?;
            rows.put(&keys::history(at), &history, Some(HISTORY.min(at.keep)))
        }
        None => rows.put(&keys::unfinished(at), &(), None),
    }
}

/// The history of a claim: its own, or what is still known of a finished one.
pub(super) fn history(
    rows: &Rows<'_>,
    at: &Place,
    record: &Record,
) -> Result<Vec<claim::Transition>, Stop> {
    if !record.history.is_empty() {
        return Ok(record.history.clone());
    }
    let kept: Option<Vec<StoredTransition>> = rows.get(&keys::history(at))?;
    Ok(load_history(kept.unwrap_or_default())?)
}

/// What a decision needs to know besides the record.
fn scope(
    rows: &Rows<'_>,
    at: &Place,
    epoch_shown: Option<u64>,
    same_store: bool,
) -> Result<Scope, Stop> {
    let epoch = match (epoch_shown, &at.lease) {
        (Some(_), Some(consumer)) => {
            let lease = LeaseName {
                group: at.group.clone(),
                consumer: consumer.clone(),
            };
            current_epoch(rows, &lease)?
        }
        _ => None,
    };
    Ok(Scope {
        now: rows.now(),
        same_store,
        epoch,
        last_sequence: None,
        rule: None,
    })
}

pub(super) fn begin(
    rows: &mut Rows<'_>,
    begin: &Begin,
    same_store: bool,
) -> Result<BeginAnswer<Snapshot, Outbox>, Stop> {
    let (at, facts) = (&begin.at, &begin.facts);
    let before = Before::load(rows, at)?;
    let mut scope = scope(rows, at, facts.epoch, same_store)?;
    if facts.sequence.is_some() {
        scope.last_sequence = rows.get(&keys::last_sequence(at, facts.lane.as_ref()))?;
    }
    if facts.rule.is_some() && before.record.is_none() {
        scope.rule = groups::rule(rows, &at.group)?.map(|rule| rule.revision);
    }
    let Decision { answer, record } = claim::begin(before.record.as_ref(), facts, &scope);
    let state = match answer {
        BeginAnswer::Granted { .. } if begin.state => snapshot(rows, at, facts.lane.as_ref())?,
        _ => Snapshot::default(),
    };
    let outbox = outbox(before.outbox.as_ref());
    save(rows, at, record, before.outbox)?;
    Ok(filled(answer, state, outbox))
}

/// A claim that cannot be read is worth asking for: its message is given up then.
pub(super) fn look_at(
    rows: &Rows<'_>,
    held: &[Place],
    side: &Side,
    assign_timeout: Duration,
) -> Result<Vec<Look>, Stop> {
    let look = |at: &Place| match Before::load(rows, at) {
        Ok(before) => Ok(claim::look(
            before.record.as_ref(),
            side,
            assign_timeout,
            rows.now(),
        )),
        Err(Stop::Refused(error)) if error.kind == Kind::BadRecord => Ok(Look::Ask),
        Err(other) => Err(other),
    };
    held.iter().map(look).collect()
}

fn snapshot(rows: &Rows<'_>, at: &Place, lane: Option<&Lane>) -> Result<Snapshot, Stop> {
    let stored: StoredValues = rows.get(&keys::state(at, lane))?.unwrap_or_default();
    Ok(Snapshot {
        version: stored.version,
        values: stored.values.into_iter().collect(),
    })
}

fn outbox(stored: Option<&StoredOutbox>) -> Outbox {
    stored.map_or_else(Outbox::default, |stored| Outbox {
        messages: stored.messages.clone(),
        minted: stored.minted.clone(),
    })
}

/// The answer of the rules with what the store adds to it.
fn filled(answer: BeginAnswer, state: Snapshot, outbox: Outbox) -> BeginAnswer<Snapshot, Outbox> {
    use BeginAnswer as A;
    match answer {
        A::Granted {
            attempt,
            fence,
            error,
            first_seen_ms,
            state: (),
        } => A::Granted {
            attempt,
            fence,
            error,
            first_seen_ms,
            state,
        },
        A::Committed {
            outbox: (),
            tries,
            attempt,
        } => A::Committed {
            outbox,
            tries,
            attempt,
        },
        A::Parking {
            reason,
            error,
            attempt,
            first_seen_ms,
            fence,
            outbox: (),
        } => A::Parking {
            reason,
            error,
            attempt,
            first_seen_ms,
            fence,
            outbox,
        },
        A::Foreign { side, state } => A::Foreign { side, state },
        A::Assigned { side } => A::Assigned { side },
        A::RuleMoved => A::RuleMoved,
        A::Done => A::Done,
        A::Parked { reason } => A::Parked { reason },
        A::Busy { wait } => A::Busy { wait },
        A::Conflict => A::Conflict,
        A::Stale { last } => A::Stale { last },
        A::Fenced(by) => A::Fenced(by),
    }
}

pub(super) fn commit(
    rows: &mut Rows<'_>,
    at: &Place,
    shown: Shown,
    commit: Commit,
    same_store: bool,
) -> Result<CommitAnswer, Stop> {
    let before = Before::load(rows, at)?;
    let mut scope = scope(rows, at, shown.epoch, same_store)?;
    let lane = commit.lane.as_ref();
    let applied = keys::last_sequence(at, lane);
    if commit.sequence.is_some() {
        scope.last_sequence = rows.get(&applied)?;
    }
    let mut values: StoredValues = rows.get(&keys::state(at, lane))?.unwrap_or_default();
    let facts = CommitFacts {
        outbox: commit.effects.outbox.len(),
        state_version: commit.effects.state_version,
        current_version: values.version,
        sequence: commit.sequence,
    };
    let Decision { mut answer, record } =
        steps::commit(before.record.as_ref(), shown, facts, &scope);
    if record.is_none() {
        if let (CommitAnswer::Committed { minted }, Some(kept)) = (&mut answer, &before.outbox) {
            minted.clone_from(&kept.minted);
        }
        return Ok(answer);
    }
    countable(at, &commit.effects.outbox)?;
    if let Some(sequence) = commit.sequence {
        let last = scope.last_sequence;
        let last = last.map_or(sequence, |last| last.max(sequence));
        rows.put(&applied, &last, Some(at.keep))?;
    }
    if !commit.effects.state.is_empty() {
        apply(&mut values.values, commit.effects.state);
        values.version += 1;
        // A lane's state stays for good; a key's as long as its claim.
        let keep = (lane.is_none() || at.slot == Slot::Key).then_some(at.keep);
        rows.put(&keys::state(at, lane), &values, keep)?;
    }
    let outbox = match &mut answer {
        CommitAnswer::Committed { minted } => {
            *minted = mint(rows, at, &commit.effects.outbox)?;
            Some(StoredOutbox {
                messages: commit.effects.outbox,
                minted: minted.clone(),
            })
        }
        _ => None,
    };
    save(rows, at, record, outbox)?;
    Ok(answer)
}

fn apply(values: &mut BTreeMap<String, Vec<u8>>, changes: Vec<StateChange>) {
    for change in changes {
        match change {
            StateChange::Set(name, value) => {
                values.insert(name, value);
            }
            StateChange::Delete(name) => {
                values.remove(&name);
            }
        }
    }
}

/// The lane of a published message, as the next consumer will know it.
fn lane_of(message: &Staged) -> Option<Lane> {
    let text = message.lane.clone()?;
    Lane::from_value(KeyValue::Text(text)).ok()
}

/// Where each key has a hash slot of its own, a clustered store could not count
/// over the keys; so no store does.
fn countable(at: &Place, outbox: &[Staged]) -> Result<(), PortError> {
    if at.slot == Slot::Key && outbox.iter().any(|message| lane_of(message).is_some()) {
        return Err(PortError::permanent(
            "mint sequence numbers: a group with slot = \"key\" cannot publish in lanes",
        ));
    }
    Ok(())
}

/// The next number of each message's lane. The counters stay for good, since a
/// number that comes again would be dropped as stale.
fn mint(rows: &mut Rows<'_>, at: &Place, outbox: &[Staged]) -> Result<Vec<Option<u64>>, Stop> {
    let mut minted = Vec::with_capacity(outbox.len());
    for message in outbox {
        let Some(lane) = lane_of(message) else {
            minted.push(None);
            continue;
        };
        let key = keys::last_minted(at, &lane);
        let number = rows.get::<u64>(&key)?.unwrap_or(0).saturating_add(1);
        rows.put(&key, &number, None)?;
        minted.push(Some(number));
    }
    Ok(minted)
}

/// A step that only changes the record.
pub(super) fn step<A>(
    rows: &mut Rows<'_>,
    at: &Place,
    epoch_shown: Option<u64>,
    same_store: bool,
    decide: impl FnOnce(Option<&Record>, &Scope) -> Decision<A>,
) -> Result<A, Stop> {
    let before = Before::load(rows, at)?;
    let scope = scope(rows, at, epoch_shown, same_store)?;
    let Decision { answer, record } = decide(before.record.as_ref(), &scope);
    save(rows, at, record, before.outbox)?;
    Ok(answer)
}

/// An operator's release. Without a named side the claim is forgotten.
pub(super) fn release(
    rows: &mut Rows<'_>,
    at: &Place,
    to: Option<&holdfast_core::name::Side>,
    force: bool,
    same_store: bool,
) -> Result<claim::ReleaseAnswer, Stop> {
    must_be(same_store)?;
    let before = Before::load(rows, at)?;
    let scope = scope(rows, at, None, same_store)?;
    let Decision { answer, record } = steps::release(before.record.as_ref(), to, force, &scope);
    if record.is_some() && to.is_none() {
        rows.delete(&keys::claim(at))?;
        rows.delete(&keys::unfinished(at))?;
    } else {
        save(rows, at, record, None)?;
    }
    Ok(answer)
}

/// Re-opens a given-up claim, with the history that is still known.
pub(super) fn replay(
    rows: &mut Rows<'_>,
    at: &Place,
    same_store: bool,
) -> Result<claim::ReleaseAnswer, Stop> {
    must_be(same_store)?;
    let mut before = Before::load(rows, at)?;
    if let Some(record) = &mut before.record {
        record.history = history(rows, at, record)?;
    }
    let scope = scope(rows, at, None, same_store)?;
    let Decision { answer, record } = steps::replay(before.record.as_ref(), &scope);
    let keeps_outbox = record
        .as_ref()
        .is_some_and(|record| matches!(record.state, State::Committed { .. }));
    save(rows, at, record, before.outbox.filter(|_| keeps_outbox))?;
    Ok(answer)
}

/// Refuses where the answer has no word for another store.
pub(super) fn must_be(same_store: bool) -> Result<(), PortError> {
    if same_store {
        Ok(())
    } else {
        Err(PortError::new(
            Kind::Fenced,
            "use the store: it is not the one this host started with",
        ))
    }
}
