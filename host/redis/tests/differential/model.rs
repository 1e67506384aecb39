//! The reference: a store in memory that asks holdfast-core.

use std::collections::{BTreeMap, HashMap};
use std::time::{Duration, SystemTime};

use holdfast_core::claim::{
    BeginAnswer, BeginFacts, CommitAnswer, Decision, Record, Scope, State, begin, steps,
};
use holdfast_core::key::{ClaimKey, Lane};
use holdfast_core::name::{Consumer, Group};
use holdfast_core::time::Micros;
use holdfast_ports::message::{Outbox, Snapshot, StateChange};
use holdfast_ports::store::{Begin, Commit, Incarnation, LeaseName, Place, Slot};

use crate::common::Begun;

/// State by the lane, or by the key where there is none.
type StateName = Result<String, String>;

pub(crate) struct Model {
    pub(crate) at: Place,
    pub(crate) known: Incarnation,
    pub(crate) same_store: bool,
    pub(crate) epoch: Option<u64>,
    pub(crate) last_epoch: u64,
    pub(crate) next_token: u64,
    /// The revision of the cut-over rule.
    pub(crate) rule: Option<u64>,
    records: HashMap<String, Record>,
    eventful: HashMap<String, bool>,
    outboxes: HashMap<String, Outbox>,
    sequences: HashMap<Option<String>, u64>,
    states: HashMap<StateName, (u64, BTreeMap<String, Vec<u8>>)>,
    counters: HashMap<String, u64>,
    /// The last fence that Redis gave for a key.
    pub(crate) fences: HashMap<String, u64>,
}

impl Model {
    pub(crate) fn new(group: Group, known: &Incarnation) -> Self {
        Self {
            at: Place {
                group,
                key: ClaimKey::from_known("-"),
                slot: Slot::Group,
                lease: Some(Consumer::new("leased").unwrap()),
                keep: Duration::from_secs(600),
            },
            known: known.clone(),
            same_store: true,
            epoch: None,
            last_epoch: 0,
            next_token: 1,
            rule: None,
            records: HashMap::new(),
            eventful: HashMap::new(),
            outboxes: HashMap::new(),
            sequences: HashMap::new(),
            states: HashMap::new(),
            counters: HashMap::new(),
            fences: HashMap::new(),
        }
    }

    pub(crate) fn place(&self, key: &str) -> Place {
        Place {
            key: ClaimKey::from_known(key),
            ..self.at.clone()
        }
    }

    pub(crate) fn lease(&self) -> LeaseName {
        LeaseName {
            group: self.at.group.clone(),
            consumer: self.at.lease.clone().unwrap(),
        }
    }

    pub(crate) fn record(&self, key: &str) -> Option<&Record> {
        self.records.get(key)
    }

    /// Was there more to the claim than a first attempt that succeeded?
    pub(crate) fn is_eventful(&self, key: &str) -> bool {
        self.eventful.get(key).copied().unwrap_or(false)
    }

    pub(crate) fn scope(&self) -> Scope {
        let now = SystemTime::now().duration_since(SystemTime::UNIX_EPOCH);
        Scope {
            now: Micros(u64::try_from(now.unwrap().as_micros()).unwrap()),
            same_store: self.same_store,
            epoch: self.epoch,
            last_sequence: None,
            rule: self.rule,
        }
    }

    /// Keeps what a decision wants kept; true when there was something.
    pub(crate) fn keep<A>(&mut self, key: &str, decision: &Decision<A>) -> bool {
        let Some(record) = &decision.record else {
            return false;
        };
        let quiet = record.history.iter().all(|entry| {
            matches!(entry.step, "begin" | "commit" | "published") && entry.attempt <= 1
        });
        *self.eventful.entry(key.to_owned()).or_default() |= !quiet;
        if matches!(record.state, State::Done { .. }) {
            self.outboxes.remove(key);
        }
        self.records.insert(key.to_owned(), record.clone());
        true
    }

    /// Forgets a claim that was released to nobody.
    pub(crate) fn forget(&mut self, key: &str) {
        self.records.remove(key);
        self.eventful.remove(key);
        self.outboxes.remove(key);
    }

    pub(crate) fn version(&self, key: &str, lane: Option<&Lane>) -> u64 {
        self.states
            .get(&state_name(key, lane))
            .map_or(0, |(version, _)| *version)
    }

    /// The answer, and whether something but the lock of a repeated call was
    /// written.
    pub(crate) fn begin(&mut self, asked: &Begin) -> (Begun, bool) {
        let key = asked.at.key.as_str();
        let facts: &BeginFacts = &asked.facts;
        let lane = facts.lane.as_ref().map(|lane| lane.as_str().to_owned());
        let scope = Scope {
            last_sequence: facts.sequence.and(self.sequences.get(&lane).copied()),
            ..self.scope()
        };
        let before = self.records.get(key);
        let repeated = before.is_some_and(|record| {
            record.token == Some(facts.token) && matches!(record.state, State::Running { .. })
        });
        let decision = begin(before, facts, &scope);
        let wrote = self.keep(key, &decision) && !repeated;
        let outbox = self.outboxes.get(key).cloned().unwrap_or_default();
        let answer = match decision.answer {
            BeginAnswer::Granted {
                attempt,
                fence,
                error,
                first_seen_ms,
                state: (),
            } => BeginAnswer::Granted {
                attempt,
                fence,
                error,
                first_seen_ms,
                state: if asked.state {
                    self.snapshot(key, facts.lane.as_ref())
                } else {
                    Snapshot::default()
                },
            },
            BeginAnswer::Committed { tries, attempt, .. } => BeginAnswer::Committed {
                outbox,
                tries,
                attempt,
            },
            BeginAnswer::Parking {
                reason,
                error,
                attempt,
                first_seen_ms,
                fence,
                ..
            } => BeginAnswer::Parking {
                reason,
                error,
                attempt,
                first_seen_ms,
                fence,
                outbox,
            },
            BeginAnswer::Foreign { side, state } => BeginAnswer::Foreign { side, state },
            BeginAnswer::Assigned { side } => BeginAnswer::Assigned { side },
            BeginAnswer::RuleMoved => BeginAnswer::RuleMoved,
            BeginAnswer::Done => BeginAnswer::Done,
            BeginAnswer::Parked { reason } => BeginAnswer::Parked { reason },
            BeginAnswer::Busy { wait } => BeginAnswer::Busy { wait },
            BeginAnswer::Conflict => BeginAnswer::Conflict,
            BeginAnswer::Stale { last } => BeginAnswer::Stale { last },
            BeginAnswer::Fenced(by) => BeginAnswer::Fenced(by),
        };
        (answer, wrote)
    }

    fn snapshot(&self, key: &str, lane: Option<&Lane>) -> Snapshot {
        let Some((version, values)) = self.states.get(&state_name(key, lane)) else {
            return Snapshot::default();
        };
        Snapshot {
            version: *version,
            values: values.clone().into_iter().collect(),
        }
    }

    pub(crate) fn commit(
        &mut self,
        key: &str,
        shown: steps::Shown,
        commit: &Commit,
    ) -> CommitAnswer {
        let effects = &commit.effects;
        let facts = steps::CommitFacts {
            outbox: effects.outbox.len(),
            state_version: effects.state_version,
            current_version: self.version(key, commit.lane.as_ref()),
            sequence: commit.sequence,
        };
        let lane = commit.lane.as_ref().map(|lane| lane.as_str().to_owned());
        let scope = Scope {
            last_sequence: commit
                .sequence
                .and_then(|_| self.sequences.get(&lane).copied()),
            ..self.scope()
        };
        let decision = steps::commit(self.records.get(key), shown, facts, &scope);
        if self.keep(key, &decision) {
            self.apply(key, commit);
        }
        match decision.answer {
            CommitAnswer::Committed { .. } => CommitAnswer::Committed {
                minted: self.outboxes[key].minted.clone(),
            },
            answer => answer,
        }
    }

    fn apply(&mut self, key: &str, commit: &Commit) {
        let effects = &commit.effects;
        let lane = commit.lane.as_ref();
        if !effects.state.is_empty() {
            let (version, values) = self.states.entry(state_name(key, lane)).or_default();
            *version += 1;
            for change in &effects.state {
                match change {
                    StateChange::Set(name, value) => values.insert(name.clone(), value.clone()),
                    StateChange::Delete(name) => values.remove(name),
                };
            }
        }
        if let Some(sequence) = commit.sequence {
            let lane = lane.map(|lane| lane.as_str().to_owned());
            let last = self.sequences.entry(lane).or_default();
            *last = sequence.max(*last);
        }
        if effects.outbox.is_empty() {
            return;
        }
        let mut minted: Vec<Option<u64>> = Vec::new();
        for message in &effects.outbox {
            minted.push(message.lane.as_ref().map(|lane| {
                let counter = self.counters.entry(lane.clone()).or_default();
                *counter += 1;
                *counter
            }));
        }
        if minted.iter().all(Option::is_none) {
            minted.clear();
        }
        let messages = effects.outbox.clone();
        self.outboxes
            .insert(key.to_owned(), Outbox { messages, minted });
    }
}

fn state_name(key: &str, lane: Option<&Lane>) -> StateName {
    lane.map(|lane| lane.as_str().to_owned())
        .ok_or_else(|| key.to_owned())
}
