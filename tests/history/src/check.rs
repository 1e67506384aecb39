//! Reads a history from its beginning to its end.

use std::collections::{BTreeMap, BTreeSet};

use crate::event::{Event, How, What};
use crate::finding::{Counts, Finding, Report};
use crate::keys::{Keys, Known};

/// What the run promised.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Rules {
    /// Messages of one lane end in their order.
    pub ordered: bool,
    /// Every message publishes at least one other.
    pub publishes: bool,
    /// So many calls may be repeated raw; none: they are only counted.
    pub raw_repeats: Option<u64>,
}

/// Says which promises a history breaks.
#[must_use]
pub fn check(history: &[Event], rules: &Rules) -> Report {
    let commits_are_recorded = history
        .iter()
        .any(|event| matches!(event.what, What::Committed { .. }));
    let mut reading = Reading {
        rules: *rules,
        commits_are_recorded,
        ..Reading::default()
    };
    for event in history {
        reading.take(&event.what);
    }
    reading.finish()
}

#[derive(Default)]
struct Reading {
    rules: Rules,
    commits_are_recorded: bool,
    keys: Keys,
    epochs: BTreeMap<String, u64>,
    inverted: BTreeSet<(String, String)>,
    findings: Vec<Finding>,
    counts: Counts,
}

impl Reading {
    fn take(&mut self, what: &What) {
        match what {
            What::Published {
                key,
                lane,
                number,
                conflicting,
            } => {
                self.counts.copies += 1;
                let known = self.keys.of(key);
                known.copies += 1;
                known.conflicting += u64::from(*conflicting);
                if !conflicting {
                    self.keys.place(key, lane.as_deref(), *number);
                }
            }
            What::Called {
                key, side, fence, ..
            } => {
                self.counts.calls += 1;
                self.in_order(key);
                self.by_side(key, side);
                let known = self.keys.of(key);
                known.calls += 1;
                known.newest_fence = known.newest_fence.max(*fence);
            }
            What::Failed { key, .. } => self.keys.of(key).explained += 1,
            What::Committed {
                key,
                side,
                fence,
                lease,
                epoch,
            } => self.committed(key, side, *fence, lease.as_deref().zip(*epoch)),
            What::Effect { key, id, fence } => self.effect(key, id, *fence),
            What::Acknowledged {
                key: Some(key),
                how,
                ..
            } => self.acknowledged(key, *how),
            What::Acknowledged { key: None, .. } => {}
            What::Deferred { key, .. } => self.keys.of(key).copies_deferred += 1,
            What::Letter { key, reason } => {
                self.counts.letters += 1;
                let Some(key) = key else { return };
                if reason != "key-conflict" {
                    self.in_order(key);
                }
                self.keys.of(key).letters.push(reason.clone());
            }
            What::Leads { lease, epoch } => {
                let current = self.epochs.entry(lease.clone()).or_default();
                *current = (*current).max(*epoch);
            }
            What::Reopened { key } => {
                let known = self.keys.of(key);
                known.reopened = true;
                known.explained += 1;
                known.side = None;
            }
            What::State { lane, applied } => self.state(lane, applied),
            What::Fault { .. } => self.counts.faults += 1,
        }
    }

    fn found(&mut self, finding: Finding) {
        self.findings.push(finding);
    }

    fn in_order(&mut self, key: &str) {
        if !self.rules.ordered {
            return;
        }
        if let Some((lane, earlier)) = self.keys.not_ended_before(key)
            && self.inverted.insert((earlier.clone(), key.to_owned()))
        {
            let later = key.to_owned();
            self.found(Finding::Inversion {
                lane,
                earlier,
                later,
            });
        }
    }

    fn by_side(&mut self, key: &str, side: &str) {
        let known = self.keys.of(key);
        let before = known.side.replace(side.to_owned());
        if let Some(from) = before
            && from != side
        {
            let (key, to) = (key.to_owned(), side.to_owned());
            self.found(Finding::SideFlip { key, from, to });
        }
    }

    fn committed(&mut self, key: &str, side: &str, fence: u64, lease: Option<(&str, u64)>) {
        self.counts.commits += 1;
        self.in_order(key);
        self.by_side(key, side);
        if let Some((lease, epoch)) = lease
            && let Some(&current) = self.epochs.get(lease)
            && epoch < current
        {
            let key = key.to_owned();
            self.found(Finding::OldEpoch {
                key,
                epoch,
                current,
            });
        }
        let known = self.keys.of(key);
        let newer = known.newest_fence;
        known.commits.push(fence);
        if fence < newer {
            let key = key.to_owned();
            self.found(Finding::OldAttempt { key, fence, newer });
        }
    }

    fn effect(&mut self, key: &str, id: &str, fence: u64) {
        let commits_are_recorded = self.commits_are_recorded;
        let known = self.keys.of(key);
        let committed = known.commits.contains(&fence);
        let fences = known.effects.entry(id.to_owned()).or_default();
        if !fences.insert(fence) {
            self.counts.sent_again += 1;
            return;
        }
        if commits_are_recorded && !committed {
            let key = key.to_owned();
            self.found(Finding::Uncommitted { key });
        } else if !commits_are_recorded {
            self.in_order(key);
        }
    }

    fn acknowledged(&mut self, key: &str, how: How) {
        let past = self.keys.lane_is_past(key);
        let known = self.keys.of(key);
        let recorded = match how {
            How::Completed | How::Duplicate => known.took_effect() || known.stale,
            How::DeadLettered => !known.letters.is_empty(),
            How::LeftToOwner => known.ended(),
            How::Deferred => {
                known.acknowledged_deferred += 1;
                known.acknowledged_deferred <= known.copies_deferred
            }
            How::Stale => {
                known.stale |= past;
                past
            }
        };
        if !recorded {
            let key = key.to_owned();
            self.found(Finding::Unrecorded { key, how });
        }
    }

    fn state(&mut self, lane: &str, applied: &[String]) {
        let mut times: BTreeMap<&str, usize> = BTreeMap::new();
        for key in applied {
            *times.entry(key).or_default() += 1;
        }
        for (key, times) in &times {
            let key = (*key).to_owned();
            if *times > 1 {
                self.found(Finding::Duplicated { key, times: *times });
            } else if self.commits_are_recorded && !self.keys.of(&key).took_effect() {
                self.found(Finding::Uncommitted { key });
            }
        }
        if self.commits_are_recorded {
            let belongs = |(key, known): (&String, &Known)| {
                let of = known
                    .place
                    .as_ref()
                    .map_or(key.as_str(), |place| place.0.as_str());
                (of == lane && known.took_effect() && !times.contains_key(key.as_str()))
                    .then(|| key.clone())
            };
            let missing: Vec<String> = self.keys.by_key.iter().filter_map(belongs).collect();
            for key in missing {
                self.found(Finding::Lost { key });
            }
        }
        if self.rules.ordered {
            for pair in applied.windows(2) {
                let [first, second] = pair else { continue };
                let (one, two) = (self.keys.number(first), self.keys.number(second));
                if let (Some(one), Some(two)) = (one, two)
                    && one > two
                {
                    self.found(Finding::Inversion {
                        lane: lane.to_owned(),
                        earlier: second.clone(),
                        later: first.clone(),
                    });
                }
            }
        }
    }

    fn finish(mut self) -> Report {
        let keys = std::mem::take(&mut self.keys.by_key);
        for (key, known) in keys {
            self.counts.messages += u64::from(known.copies > 0);
            self.counts.raw_repeats += known.raw_repeats();
            self.at_the_end(key, &known);
        }
        if let Some(allowed) = self.rules.raw_repeats
            && self.counts.raw_repeats > allowed
        {
            let times = self.counts.raw_repeats;
            self.found(Finding::RawRepeats { times, allowed });
        }
        Report {
            findings: self.findings,
            counts: self.counts,
        }
    }

    fn at_the_end(&mut self, key: String, known: &Known) {
        let times = known.times();
        if known.copies == 0 {
            if known.ended() || !known.letters.is_empty() {
                self.found(Finding::Unexpected { key });
            }
            return;
        }
        if times > 1 {
            let key = key.clone();
            self.found(Finding::Duplicated { key, times });
        }
        if let Some(reason) = known.both() {
            let (key, reason) = (key.clone(), reason.to_owned());
            self.found(Finding::Both { key, reason });
        }
        if !known.ended() || known.conflict_is_missing() {
            self.found(Finding::Lost { key });
        } else if self.rules.publishes
            && !known.commits.is_empty()
            && known.effects.is_empty()
            && !known.undeliverable()
        {
            self.found(Finding::Unsent { key });
        }
    }
}
