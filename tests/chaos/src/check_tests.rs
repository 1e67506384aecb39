//! Planted histories: a good one, and one for each thing that can be wrong.

use super::*;
use crate::history::{Letter, Sent};

fn sent(lane: Option<u64>) -> Sent {
    Sent {
        lane,
        calls: 1,
        reason: None,
    }
}

fn call(at: Micros, id: Id, side: &str) -> Call {
    Call {
        at,
        id,
        side: side.to_owned(),
        fence: at,
    }
}

fn effect(at: Micros, id: Id, count: u64) -> Effect {
    Effect {
        at,
        name: format!("{}/{}/1", id.0, id.1),
        id,
        side: "old".to_owned(),
        attempt: 1,
        fence: at,
        count,
    }
}

fn fault(begin: Micros, end: Micros, in_flight: u64) -> Fault {
    Fault {
        kind: "host-kill".into(),
        family: "host",
        target: "host 1".into(),
        begin,
        over: end,
        recovered: Some(end),
        in_flight,
        paired: false,
    }
}

/// Three messages of lane 0 in `pairs`, ten apart, and two without lane in `moved`.
fn good() -> History {
    let mut history = History::default();
    for (at, number) in [(100, 0), (200, 10), (300, 20)] {
        let id = ("pairs", number);
        history.sent.insert(id, sent(Some(0)));
        history.calls.push(call(at, id, "old"));
        history.effects.push(effect(at, id, number / 10 + 1));
    }
    for (at, number) in [(400, 0), (500, 1)] {
        let id = ("moved", number);
        history.sent.insert(id, sent(None));
        history.calls.push(call(at, id, "old"));
        history.effects.push(effect(at, id, 1));
    }
    history
}

fn kinds(history: &History) -> Vec<&'static str> {
    let violations = check(history).violations;
    violations.iter().map(Violation::kind).collect()
}

#[test]
fn a_good_history_is_good() {
    assert_eq!(check(&good()).violations, []);
}

#[test]
fn a_message_without_effect_and_letter_is_lost() {
    let mut history = good();
    history.effects.pop();
    assert_eq!(kinds(&history), ["lost"]);
    history.calls.pop();
    assert_eq!(kinds(&history), ["lost"]);
}

#[test]
fn a_second_effect_and_a_state_counted_twice_are_found() {
    let mut history = good();
    let mut second = effect(600, ("moved", 1), 1);
    second.fence += 1;
    history.effects.push(second);
    assert!(kinds(&history).contains(&"duplicated"));

    let mut history = good();
    history.effects[4].count = 2;
    assert_eq!(kinds(&history), ["duplicated"]);

    // A commit of the lane that nobody saw.
    let mut history = good();
    history.effects[2].count = 4;
    assert_eq!(kinds(&history), ["duplicated"]);
}

#[test]
fn effects_and_calls_out_of_order_are_found() {
    let mut history = good();
    history.effects[0].count = 2;
    history.effects[1].count = 1;
    assert_eq!(kinds(&history), ["inverted"]);

    let mut history = good();
    (history.effects[1].fence, history.effects[2].fence) = (300, 200);
    assert_eq!(kinds(&history), ["inverted"]);

    let mut history = good();
    (history.calls[1].at, history.calls[2].at) = (300, 200);
    assert_eq!(kinds(&history), ["inverted"]);
}

#[test]
fn a_second_side_is_found() {
    let mut history = good();
    history.sent.get_mut(&("moved", 1)).unwrap().calls = 2;
    history.calls.push(call(510, ("moved", 1), "new"));
    assert_eq!(kinds(&history), ["side flips"]);

    let mut history = good();
    history.effects[4].side = "new".into();
    assert_eq!(kinds(&history), ["side flips"]);
}

#[test]
fn a_wrong_ending_and_a_stranger_are_found() {
    let mut history = good();
    history.letters.push(Letter {
        id: ("moved", 1),
        reason: "attempts-spent".into(),
    });
    assert_eq!(kinds(&history), ["unexpected"]);

    let mut history = good();
    history.sent.get_mut(&("moved", 1)).unwrap().reason = Some("rejected");
    assert_eq!(kinds(&history), ["unexpected"]);
    history.effects.pop();
    history.letters.push(Letter {
        id: ("moved", 1),
        reason: "attempts-spent".into(),
    });
    assert_eq!(kinds(&history), ["unexpected"]);
    history.letters[0].reason = "rejected".into();
    // A letter may be written again.
    history.letters.push(history.letters[0].clone());
    assert_eq!(kinds(&history), [""; 0]);

    history.effects.push(effect(900, ("moved", 77), 1));
    assert_eq!(kinds(&history), ["unexpected"]);
}

#[test]
fn a_repeat_needs_a_fault_between_the_calls_with_as_many_messages_in_flight() {
    let mut history = good();
    history.calls.push(call(900, ("moved", 0), "old"));
    history.calls.push(call(900, ("moved", 1), "old"));
    assert_eq!(
        kinds(&history),
        ["unexplained repeats", "unexplained repeats"]
    );
    history.faults.push(fault(910, 950, 9));
    history.faults.push(fault(100, 390, 9));
    assert_eq!(check(&history).repeats.len(), 0);
    history.faults.push(fault(450, 600, 1));
    assert_eq!(kinds(&history), ["unexplained repeats"]);
    history.faults.push(fault(600, 700, 5));
    let verdict = check(&history);
    assert_eq!(verdict.violations, []);
    assert_eq!(verdict.all_repeats(), 2);
}

#[test]
fn attempts_that_fail_are_no_repeats() {
    let mut history = good();
    history.sent.get_mut(&("moved", 1)).unwrap().calls = 3;
    history.calls.push(call(510, ("moved", 1), "old"));
    history.calls.push(call(520, ("moved", 1), "old"));
    let verdict = check(&history);
    assert_eq!(verdict.violations, []);
    assert_eq!(verdict.all_repeats(), 0);
}
