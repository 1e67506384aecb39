//! Judges a history: what of the promise did not hold.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

use crate::history::{Call, Effect, Fault, History, Id, Micros};
use crate::load::Load;

/// Something that must not be.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Violation {
    /// A message was confirmed by the broker, and neither took effect nor left a letter.
    Lost(Id),
    /// A message took effect more than once.
    Duplicated(Id, String),
    /// A message of a lane began, or took effect, before an earlier one.
    Inverted(Id, String),
    /// A message was handled on two sides.
    SideFlip(Id, String),
    /// A handler was called again without a fault that explains it.
    Repeated(Id, String),
    /// A message took effect that should have been given up, or the other way.
    Unexpected(Id, String),
    /// The checker that the simulation uses says so.
    Broken(String),
    /// A host did what it must not do, or did not come back.
    Misbehaved(String),
}

impl Violation {
    /// The kind, as tables name it.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Lost(_) => "lost",
            Self::Duplicated(..) => "duplicated",
            Self::Inverted(..) => "inverted",
            Self::SideFlip(..) => "side flips",
            Self::Repeated(..) => "unexplained repeats",
            Self::Unexpected(..) => "unexpected",
            Self::Broken(_) => "second judge",
            Self::Misbehaved(_) => "misbehaved",
        }
    }

    /// All kinds, in the order in which they are shown.
    pub const KINDS: [&'static str; 8] = [
        "lost",
        "duplicated",
        "inverted",
        "side flips",
        "unexplained repeats",
        "unexpected",
        "second judge",
        "misbehaved",
    ];
}

impl fmt::Display for Violation {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost((group, number)) => write!(f, "lost: {group}/{number}"),
            Self::Duplicated((group, number), what)
            | Self::Inverted((group, number), what)
            | Self::SideFlip((group, number), what)
            | Self::Repeated((group, number), what)
            | Self::Unexpected((group, number), what) => {
                write!(f, "{}: {group}/{number}: {what}", self.kind())
            }
            Self::Broken(what) | Self::Misbehaved(what) => write!(f, "{}: {what}", self.kind()),
        }
    }
}

/// What a history shows.
#[derive(Clone, Debug, Default)]
pub struct Verdict {
    /// What must not be.
    pub violations: Vec<Violation>,
    /// Calls beyond those that a message needs, each explained by the fault in
    /// this place of the history.
    pub repeats: BTreeMap<usize, u64>,
}

impl Verdict {
    /// How many violations there are of a kind.
    #[must_use]
    pub fn count(&self, kind: &str) -> usize {
        let mut count = 0;
        for violation in &self.violations {
            count += usize::from(violation.kind() == kind);
        }
        count
    }

    /// Calls beyond those that messages need.
    #[must_use]
    pub fn all_repeats(&self) -> u64 {
        self.repeats.values().sum::<u64>() + self.count("unexplained repeats") as u64
    }
}

/// Judges it.
#[must_use]
pub fn check(history: &History) -> Verdict {
    let mut violations = Vec::new();
    let calls = by_message(&history.calls, |call| call.id);
    let effects = by_message(&history.effects, |effect| effect.id);
    endings(history, &effects, &mut violations);
    once(history, &effects, &mut violations);
    sides(&calls, &effects, &mut violations);
    order(history, &calls, &effects, &mut violations);
    let repeats = repeats(history, &calls, &mut violations);
    violations.sort();
    Verdict {
        violations,
        repeats,
    }
}

type By<'h, T> = BTreeMap<Id, Vec<&'h T>>;

fn by_message<T>(all: &[T], id: impl Fn(&T) -> Id) -> By<'_, T> {
    let mut by: By<'_, T> = BTreeMap::new();
    for one in all {
        by.entry(id(one)).or_default().push(one);
    }
    by
}

/// Each message ended in the way that was asked for, and nothing else did.
fn endings(history: &History, effects: &By<'_, Effect>, violations: &mut Vec<Violation>) {
    let mut letters: BTreeMap<Id, BTreeSet<&str>> = BTreeMap::new();
    for letter in &history.letters {
        letters.entry(letter.id).or_default().insert(&letter.reason);
    }
    for (id, sent) in &history.sent {
        let (effect, given_up) = (effects.contains_key(id), letters.get(id));
        match (sent.reason, effect, given_up) {
            (_, false, None) => violations.push(Violation::Lost(*id)),
            (None, true, None) => {}
            (Some(reason), false, Some(reasons)) if reasons.iter().eq([&reason]) => {}
            (reason, effect, reasons) => {
                let asked = reason.unwrap_or("effect");
                let what = format!("asked for {asked}; effect: {effect}, letters: {reasons:?}");
                violations.push(Violation::Unexpected(*id, what));
            }
        }
    }
    let known = |id: &&Id| !history.sent.contains_key(*id);
    let foreign: BTreeSet<&Id> = effects.keys().chain(letters.keys()).filter(known).collect();
    for id in foreign {
        violations.push(Violation::Unexpected(*id, "nobody published it".into()));
    }
}

/// One effect for each message, and its state was counted once. In a lane the
/// counts are 1, 2, 3 … without a gap.
fn once(history: &History, effects: &By<'_, Effect>, violations: &mut Vec<Violation>) {
    for (id, effects) in effects {
        if let [first, second, ..] = effects[..] {
            let what = format!("{first:?} and {second:?}");
            violations.push(Violation::Duplicated(*id, what));
        }
    }
    let mut counts = BTreeMap::<(&str, Option<u64>, Option<u64>), Vec<&Effect>>::new();
    for effect in &history.effects {
        let Some(sent) = history.sent.get(&effect.id) else {
            continue;
        };
        // Where there are no lanes, state belongs to the key.
        let lane = sent.lane.filter(|_| counts_by_lane(effect.id.0));
        let key = lane.is_none().then_some(effect.id.1);
        counts
            .entry((effect.id.0, lane, key))
            .or_default()
            .push(effect);
    }
    for effects in counts.values_mut() {
        effects.sort_by_key(|effect| effect.count);
        for (place, effect) in effects.iter().enumerate() {
            if effect.count != place as u64 + 1 {
                let what = format!(
                    "its state was counted {} times before: {effect:?} in place {}",
                    effect.count,
                    place + 1
                );
                violations.push(Violation::Duplicated(effect.id, what));
                // The counts behind it are off by as many.
                break;
            }
        }
    }
}

fn counts_by_lane(group: &str) -> bool {
    Load::of(group).is_some_and(|load| load.lanes > 1)
}

/// All that was done for a message was done by one side.
fn sides(calls: &By<'_, Call>, effects: &By<'_, Effect>, violations: &mut Vec<Violation>) {
    for (id, calls) in calls {
        let mut sides: BTreeSet<&str> = calls.iter().map(|call| call.side.as_str()).collect();
        let effects = effects.get(id).into_iter().flatten();
        sides.extend(effects.map(|effect| effect.side.as_str()));
        if sides.len() > 1 {
            violations.push(Violation::SideFlip(*id, format!("{sides:?}")));
        }
    }
}

/// In a lane, messages began and took effect in the order in which they were
/// published.
fn order(
    history: &History,
    calls: &By<'_, Call>,
    effects: &By<'_, Effect>,
    violations: &mut Vec<Violation>,
) {
    let mut lanes: BTreeMap<(&str, u64), Vec<Id>> = BTreeMap::new();
    for (id, sent) in &history.sent {
        if let Some(lane) = sent.lane {
            lanes.entry((id.0, lane)).or_default().push(*id);
        }
    }
    for ids in lanes.values() {
        let mut last_call: Option<(Id, Micros)> = None;
        let mut last_effect: Option<&Effect> = None;
        for id in ids {
            if let Some(first) = calls.get(id).and_then(|calls| calls.first().copied()) {
                if let Some((before, at)) = last_call
                    && first.at < at
                {
                    let what = format!("called first at {} µs, {} at {at} µs", first.at, before.1);
                    violations.push(Violation::Inverted(*id, what));
                }
                last_call = Some((*id, first.at));
            }
            if let Some(effect) = effects.get(id).and_then(|effects| effects.first().copied()) {
                if let Some(before) = last_effect {
                    let counted = counts_by_lane(id.0) && effect.count < before.count;
                    if effect.fence <= before.fence || counted {
                        let what = format!("{effect:?}, and before it {before:?}");
                        violations.push(Violation::Inverted(*id, what));
                    }
                }
                last_effect = Some(effect);
            }
        }
    }
}

/// Calls that a message did not need, each put down to a fault between it and the
/// call before; to no fault more than there were messages in flight.
fn repeats(
    history: &History,
    calls: &By<'_, Call>,
    violations: &mut Vec<Violation>,
) -> BTreeMap<usize, u64> {
    let mut repeats: BTreeMap<usize, u64> = BTreeMap::new();
    for (id, calls) in calls {
        let Some(sent) = history.sent.get(id) else {
            continue;
        };
        let extra = calls.len().saturating_sub(sent.calls as usize);
        // The calls that a message needs follow each other closely; those with
        // the longest time before them are the ones made again.
        let mut gaps: Vec<(Micros, Micros)> = calls
            .windows(2)
            .map(|pair| (pair[0].at, pair[1].at))
            .collect();
        gaps.sort_by_key(|(from, to)| std::cmp::Reverse(to - from));
        for gap in gaps.into_iter().take(extra) {
            match explanation(&history.faults, &repeats, gap) {
                Some(fault) => *repeats.entry(fault).or_default() += 1,
                None => {
                    let what = format!("called at {} µs and again at {} µs", gap.0, gap.1);
                    violations.push(Violation::Repeated(*id, what));
                }
            }
        }
    }
    repeats
}

/// The fault between these two calls that can explain the most further repeats.
fn explanation(
    faults: &[Fault],
    used: &BTreeMap<usize, u64>,
    (from, to): (Micros, Micros),
) -> Option<usize> {
    let between = faults.iter().enumerate();
    let between = between.filter(|(_, fault)| fault.begin <= to && from <= fault.end());
    let room = between.map(|(at, fault)| {
        let used = used.get(&at).copied().unwrap_or_default();
        (fault.in_flight.saturating_sub(used), at)
    });
    room.filter(|(room, _)| *room > 0).max().map(|(_, at)| at)
}

#[cfg(test)]
#[path = "check_tests.rs"]
mod tests;
