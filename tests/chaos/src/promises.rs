//! The same history for the checker that the simulation uses, as a second judge.

use std::collections::BTreeMap;

use holdfast_history::{Event, Finding, Rules, What};

use crate::history::{History, Id};

/// What the common checker finds broken, in words.
#[must_use]
pub(crate) fn findings(history: &History) -> Vec<String> {
    let rules = Rules {
        ordered: true,
        publishes: true,
        // They are put down to faults, one by one, by our own judge.
        raw_repeats: None,
    };
    let report = holdfast_history::check(&events(history), &rules);
    report.findings.iter().map(Finding::to_string).collect()
}

/// The events in the order of the store's clock, which is where attempts begin;
/// an effect is committed right after its attempt began, a letter written right
/// after the last attempt. What arrives here late was not late there.
fn events(history: &History) -> Vec<Event> {
    let mut events = Vec::new();
    let key = |id: &Id| format!("{}/{}", id.0, id.1);
    for (id, sent) in &history.sent {
        let lane = sent.lane.map(|lane| format!("{}/{lane}", id.0));
        events.push((
            (0, 0),
            What::Published {
                key: key(id),
                lane,
                number: id.1,
                conflicting: false,
            },
        ));
    }
    let mut calls: BTreeMap<Id, u32> = BTreeMap::new();
    let mut last: BTreeMap<Id, u64> = BTreeMap::new();
    for call in &history.calls {
        let attempt = calls.entry(call.id).or_default();
        *attempt += 1;
        let latest = last.entry(call.id).or_default();
        *latest = call.fence.max(*latest);
        events.push((
            (call.fence, 1),
            What::Called {
                key: key(&call.id),
                side: call.side.clone(),
                attempt: *attempt,
                fence: call.fence,
            },
        ));
    }
    for effect in &history.effects {
        let (key, fence) = (key(&effect.id), effect.fence);
        events.push(((fence, 2), What::committed(&key, &effect.side, fence)));
        let id = effect.name.clone();
        events.push(((fence, 3), What::Effect { key, id, fence }));
    }
    for letter in &history.letters {
        let at = last.get(&letter.id).copied().unwrap_or_default();
        events.push((
            (at, 2),
            What::Letter {
                key: Some(key(&letter.id)),
                reason: letter.reason.clone(),
            },
        ));
    }
    events.sort_by_key(|(at, _)| *at);
    let event = |((at, _), what)| Event::new(at, what);
    events.into_iter().map(event).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::history::{Call, Effect, Letter, Sent};

    /// Three messages of a lane; the second fails once, the third is given up.
    fn good() -> History {
        let mut history = History::default();
        for (number, calls) in [(0, 1), (10, 2), (20, 1)] {
            let id = ("pairs", number);
            let reason = (number == 20).then_some("rejected");
            let lane = Some(0);
            history.sent.insert(
                id,
                Sent {
                    lane,
                    calls,
                    reason,
                },
            );
            for call in 0..u64::from(calls) {
                let at = 100 + number * 10 + call;
                history.calls.push(Call {
                    at,
                    id,
                    side: "old".into(),
                    fence: at,
                });
            }
            if reason.is_none() {
                history.effects.push(Effect {
                    at: 1_000 - number,
                    name: format!("pairs/{number}/1"),
                    id,
                    side: "old".into(),
                    attempt: calls.into(),
                    fence: 100 + number * 10 + u64::from(calls) - 1,
                    count: number / 10 + 1,
                });
            }
        }
        history.letters.push(Letter {
            id: ("pairs", 20),
            reason: "rejected".into(),
        });
        history
    }

    #[test]
    fn what_arrives_late_is_judged_by_the_store_s_clock() {
        assert_eq!(findings(&good()), [""; 0]);
    }

    #[test]
    fn both_judges_find_what_is_planted() {
        let plants: [fn(&mut History); 4] = [
            |history| drop(history.effects.pop()),
            |history| history.calls[2].side = "new".into(),
            |history| history.letters.clear(),
            |history| {
                history.calls[0].fence = 205;
                history.effects[0].fence = 205;
            },
        ];
        for (place, plant) in plants.iter().enumerate() {
            let mut history = good();
            plant(&mut history);
            assert_ne!(findings(&history), [""; 0], "{place}");
            assert_ne!(crate::check(&history).violations, [], "{place}");
        }
    }
}
