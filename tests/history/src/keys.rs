//! What is known about each message.

use std::collections::{BTreeMap, BTreeSet};

/// Letters with this reason belong to another message with the same key.
const CONFLICT: &str = "key-conflict";
/// Letters with this reason belong to a message that took effect.
const UNSENT: &str = "outbox-undeliverable";

/// One message, by its key.
#[derive(Debug, Default)]
pub(crate) struct Known {
    pub(crate) place: Option<(String, u64)>,
    pub(crate) copies: u64,
    pub(crate) conflicting: u64,
    pub(crate) calls: u64,
    /// Calls that were to be expected: after a failure, or an operator's word.
    pub(crate) explained: u64,
    pub(crate) newest_fence: u64,
    pub(crate) side: Option<String>,
    /// The fences under which it was committed.
    pub(crate) commits: Vec<u64>,
    /// The fences under which each of its messages arrived.
    pub(crate) effects: BTreeMap<String, BTreeSet<u64>>,
    pub(crate) letters: Vec<String>,
    pub(crate) copies_deferred: u64,
    pub(crate) acknowledged_deferred: u64,
    pub(crate) reopened: bool,
    pub(crate) stale: bool,
}

impl Known {
    pub(crate) fn took_effect(&self) -> bool {
        !self.commits.is_empty() || !self.effects.is_empty()
    }

    /// The reason of a letter that says that it was given up.
    pub(crate) fn given_up(&self) -> Option<&str> {
        let reasons = self.letters.iter().map(String::as_str);
        reasons.into_iter().find(|reason| *reason != CONFLICT)
    }

    /// May the lane go on?
    pub(crate) fn ended(&self) -> bool {
        self.took_effect() || self.given_up().is_some() || self.stale
    }

    /// Is the letter of the message that came second missing?
    pub(crate) fn conflict_is_missing(&self) -> bool {
        self.conflicting > 0 && !self.letters.iter().any(|reason| reason == CONFLICT)
    }

    /// Why it was given up although it took effect, if that cannot be.
    pub(crate) fn both(&self) -> Option<&str> {
        let reason = self.given_up()?;
        (self.took_effect() && !self.reopened && reason != UNSENT).then_some(reason)
    }

    pub(crate) fn undeliverable(&self) -> bool {
        self.letters.iter().any(|reason| reason == UNSENT)
    }

    /// How often it took effect.
    pub(crate) fn times(&self) -> usize {
        let arrived = self.effects.values().map(BTreeSet::len).max();
        self.commits.len().max(arrived.unwrap_or(0))
    }

    pub(crate) fn raw_repeats(&self) -> u64 {
        self.calls.saturating_sub(1 + self.explained)
    }
}

/// All messages, and their places in lanes.
#[derive(Debug, Default)]
pub(crate) struct Keys {
    pub(crate) by_key: BTreeMap<String, Known>,
    lanes: BTreeMap<String, BTreeMap<u64, String>>,
}

impl Keys {
    pub(crate) fn of(&mut self, key: &str) -> &mut Known {
        self.by_key.entry(key.to_owned()).or_default()
    }

    pub(crate) fn place(&mut self, key: &str, lane: Option<&str>, number: u64) {
        let Some(lane) = lane else { return };
        let known = self.of(key);
        if known.place.is_none() {
            known.place = Some((lane.to_owned(), number));
            let lane = self.lanes.entry(lane.to_owned()).or_default();
            lane.insert(number, key.to_owned());
        }
    }

    /// The first message of the same lane that is before this one and has not
    /// ended.
    pub(crate) fn not_ended_before(&self, key: &str) -> Option<(String, String)> {
        let (lane, number) = self.by_key.get(key)?.place.as_ref()?;
        let before = self.lanes.get(lane)?.range(..number).map(|(_, key)| key);
        let ended = |key: &&String| self.by_key.get(*key).is_some_and(Known::ended);
        let first = before.into_iter().find(|key| !ended(key))?;
        Some((lane.clone(), first.clone()))
    }

    /// Did this message or a later one of its lane take effect?
    pub(crate) fn lane_is_past(&self, key: &str) -> bool {
        let Some((lane, number)) = self.by_key.get(key).and_then(|known| known.place.as_ref())
        else {
            return false;
        };
        let from = self.lanes.get(lane).into_iter();
        let mut from = from.flat_map(|lane| lane.range(number..));
        from.any(|(_, key)| self.by_key.get(key).is_some_and(Known::took_effect))
    }

    /// Where a message stands in its lane.
    pub(crate) fn number(&self, key: &str) -> Option<u64> {
        self.by_key.get(key)?.place.as_ref().map(|place| place.1)
    }
}
