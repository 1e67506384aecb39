//! A good history passes, and each kind of bad one is found.

use holdfast_history::{Event, Finding, How, Rules, What, check, read, write};

const ORDERED: Rules = Rules {
    ordered: true,
    publishes: true,
    raw_repeats: Some(1),
};

fn published(key: &str, number: u64) -> What {
    What::Published {
        key: key.into(),
        lane: Some("l".into()),
        number,
        conflicting: false,
    }
}

fn called(key: &str, attempt: u32, fence: u64) -> What {
    What::Called {
        key: key.into(),
        side: "old".into(),
        attempt,
        fence,
    }
}

fn failed(key: &str, fence: u64) -> What {
    What::Failed {
        key: key.into(),
        fence,
    }
}

fn committed(key: &str, fence: u64, epoch: u64) -> What {
    What::Committed {
        key: key.into(),
        side: "old".into(),
        fence,
        lease: Some("c".into()),
        epoch: Some(epoch),
    }
}

fn effect(key: &str, fence: u64) -> What {
    What::Effect {
        key: key.into(),
        id: format!("g/{key}/1"),
        fence,
    }
}

fn acknowledged(key: &str, how: How) -> What {
    What::Acknowledged {
        key: Some(key.into()),
        side: "old".into(),
        how,
    }
}

fn letter(key: &str, reason: &str) -> What {
    What::Letter {
        key: Some(key.into()),
        reason: reason.into(),
    }
}

fn leads(epoch: u64) -> What {
    What::Leads {
        lease: "c".into(),
        epoch,
    }
}

fn state(applied: &[&str]) -> What {
    What::State {
        lane: "l".into(),
        applied: applied.iter().map(|&key| key.to_owned()).collect(),
    }
}

/// `a` fails once and succeeds, `b` is given up, `c` comes twice and is called
/// twice over a crash.
fn good() -> Vec<What> {
    vec![
        leads(1),
        published("a", 1),
        published("b", 2),
        published("c", 3),
        published("c", 3),
        called("a", 1, 10),
        failed("a", 10),
        called("a", 2, 11),
        committed("a", 11, 1),
        effect("a", 11),
        effect("a", 11),
        acknowledged("a", How::Completed),
        called("b", 1, 20),
        failed("b", 20),
        letter("b", "rejected"),
        letter("b", "rejected"),
        acknowledged("b", How::DeadLettered),
        called("c", 1, 30),
        leads(2),
        called("c", 2, 31),
        committed("c", 31, 2),
        effect("c", 31),
        acknowledged("c", How::Completed),
        acknowledged("c", How::Duplicate),
        state(&["a", "c"]),
    ]
}

fn findings_under(history: Vec<What>, rules: &Rules) -> Vec<Finding> {
    let events: Vec<Event> = history
        .into_iter()
        .enumerate()
        .map(|(at, what)| Event::new(at as u64, what))
        .collect();
    check(&events, rules).findings
}

fn findings(history: Vec<What>) -> Vec<Finding> {
    findings_under(history, &ORDERED)
}

/// The good history without what `leaves` names.
fn without(leaves: impl Fn(&What) -> bool) -> Vec<What> {
    good().into_iter().filter(|what| !leaves(what)).collect()
}

/// The good history with this in place of the first `of`.
fn with(of: &What, instead: impl IntoIterator<Item = What>) -> Vec<What> {
    let mut history = good();
    let at = history
        .iter()
        .position(|what| what == of)
        .expect("it is there");
    history.splice(at..=at, instead);
    history
}

fn kinds(findings: &[Finding]) -> Vec<&'static str> {
    findings.iter().map(Finding::kind).collect()
}

#[test]
fn a_good_history_breaks_no_promise() {
    assert_eq!(findings(good()), []);
}

#[test]
fn a_message_that_never_ends_is_lost() {
    let history = without(|what| {
        matches!(what, What::Letter { key: Some(key), .. } if key == "b")
            || matches!(what, What::Acknowledged { key: Some(key), .. } if key == "b")
            || matches!(what, What::Called { key, .. } | What::Committed { key, .. } | What::Effect { key, .. } | What::Published { key, .. } if key == "c")
            || matches!(what, What::Acknowledged { key: Some(key), .. } if key == "c")
            || matches!(what, What::State { .. })
    });
    assert_eq!(findings(history), [Finding::Lost { key: "b".into() }]);
}

#[test]
fn a_message_whose_state_is_gone_is_lost() {
    let history = with(&state(&["a", "c"]), [state(&["a"])]);
    assert_eq!(findings(history), [Finding::Lost { key: "c".into() }]);
}

#[test]
fn a_second_message_under_a_key_without_a_letter_is_lost() {
    let second = What::Published {
        key: "a".into(),
        lane: Some("l".into()),
        number: 1,
        conflicting: true,
    };
    let mut history = good();
    history.push(second.clone());
    assert_eq!(findings(history), [Finding::Lost { key: "a".into() }]);
    let mut history = good();
    history.extend([second, letter("a", "key-conflict")]);
    assert_eq!(findings(history), []);
}

#[test]
fn effects_that_come_twice_are_duplicated() {
    let twice = [committed("a", 11, 1), committed("a", 11, 1)];
    let found = findings(with(&committed("a", 11, 1), twice));
    let duplicated = Finding::Duplicated {
        key: "a".into(),
        times: 2,
    };
    assert_eq!(found, std::slice::from_ref(&duplicated));
    let found = findings(with(&state(&["a", "c"]), [state(&["a", "a", "c"])]));
    assert_eq!(found, std::slice::from_ref(&duplicated));
    // Without commits, the same id from two attempts tells.
    let mut history = good();
    history.push(effect("a", 12));
    history.retain(|what| !matches!(what, What::Committed { .. }));
    assert_eq!(findings(history), [duplicated]);
}

#[test]
fn a_later_message_that_goes_ahead_is_an_inversion() {
    let ahead = [
        committed("c", 31, 1),
        effect("c", 31),
        committed("a", 11, 1),
    ];
    let history = with(&committed("a", 11, 1), ahead)
        .into_iter()
        .filter(|what| !matches!(what, What::Committed { epoch: Some(2), .. }))
        .collect();
    let inversion = Finding::Inversion {
        lane: "l".into(),
        earlier: "a".into(),
        later: "c".into(),
    };
    assert_eq!(findings(history), std::slice::from_ref(&inversion));
    let history = with(&state(&["a", "c"]), [state(&["c", "a"])]);
    assert_eq!(findings(history), std::slice::from_ref(&inversion));
    let history = with(
        &called("a", 1, 10),
        [called("c", 1, 29), called("a", 1, 10)],
    );
    let found = findings(history);
    assert_eq!(found[0], inversion, "also when it is only called");
}

#[test]
fn a_letter_ahead_of_an_earlier_message_is_an_inversion() {
    let early = [letter("b", "rejected"), called("a", 1, 10)];
    let found = findings(with(&called("a", 1, 10), early));
    assert_eq!(kinds(&found), ["inversion"]);
}

#[test]
fn a_key_that_another_side_handles_has_flipped() {
    let other = What::Called {
        key: "c".into(),
        side: "new".into(),
        attempt: 1,
        fence: 30,
    };
    let found = findings(with(&called("c", 1, 30), [other.clone()]));
    assert_eq!(
        found,
        [Finding::SideFlip {
            key: "c".into(),
            from: "new".into(),
            to: "old".into()
        }]
    );
    let released = [other, What::Reopened { key: "c".into() }];
    assert_eq!(findings(with(&called("c", 1, 30), released)), []);
}

#[test]
fn a_commit_under_an_old_epoch_is_found() {
    let found = findings(with(&committed("c", 31, 2), [committed("c", 31, 1)]));
    let old = Finding::OldEpoch {
        key: "c".into(),
        epoch: 1,
        current: 2,
    };
    assert_eq!(found, [old]);
}

#[test]
fn a_commit_of_an_attempt_that_was_replaced_is_found() {
    let history = with(&committed("c", 31, 2), [committed("c", 30, 2)])
        .into_iter()
        .map(|what| {
            if what == effect("c", 31) {
                effect("c", 30)
            } else {
                what
            }
        })
        .collect();
    let old = Finding::OldAttempt {
        key: "c".into(),
        fence: 30,
        newer: 31,
    };
    assert_eq!(findings(history), [old]);
}

#[test]
fn an_acknowledgement_without_a_record_is_found() {
    for (before, early) in [
        (called("a", 1, 10), acknowledged("a", How::Completed)),
        (called("a", 1, 10), acknowledged("a", How::Duplicate)),
        (called("a", 1, 10), acknowledged("a", How::DeadLettered)),
        (called("a", 1, 10), acknowledged("a", How::LeftToOwner)),
        (called("a", 1, 10), acknowledged("a", How::Deferred)),
        (called("a", 1, 10), acknowledged("a", How::Stale)),
    ] {
        let found = findings(with(&before, [early, before.clone()]));
        assert_eq!(kinds(&found), ["unrecorded"]);
    }
    let deferred = What::Deferred {
        key: "a".into(),
        side: "old".into(),
    };
    let in_order = [
        deferred,
        acknowledged("a", How::Deferred),
        called("a", 2, 11),
    ];
    assert_eq!(findings(with(&called("a", 2, 11), in_order)), []);
}

#[test]
fn a_committed_message_that_never_arrived_is_unsent() {
    let history = without(|what| matches!(what, What::Effect { key, .. } if key == "c"));
    assert_eq!(findings(history), [Finding::Unsent { key: "c".into() }]);
}

#[test]
fn a_message_of_an_attempt_that_was_not_committed_is_found() {
    let found = findings(with(
        &called("c", 2, 31),
        [effect("c", 30), called("c", 2, 31)],
    ));
    assert!(kinds(&found).contains(&"uncommitted"), "{found:?}");
}

#[test]
fn a_message_that_took_effect_and_was_given_up_is_found() {
    let mut history = good();
    history.push(letter("c", "attempts-spent"));
    let both = Finding::Both {
        key: "c".into(),
        reason: "attempts-spent".into(),
    };
    assert_eq!(findings(history), [both]);
}

#[test]
fn what_nobody_published_is_unexpected() {
    let mut history = good();
    history.push(letter("x", "rejected"));
    assert_eq!(findings(history), [Finding::Unexpected { key: "x".into() }]);
}

#[test]
fn calls_that_are_repeated_raw_are_counted_and_bounded() {
    assert_eq!(
        findings(with(
            &called("a", 1, 10),
            [called("a", 1, 9), called("a", 1, 10)]
        )),
        [Finding::RawRepeats {
            times: 2,
            allowed: 1
        }]
    );
    let unbounded = Rules {
        raw_repeats: None,
        ..ORDERED
    };
    let history = with(&called("a", 1, 10), vec![called("a", 1, 10); 5]);
    assert_eq!(findings_under(history, &unbounded), []);
}

#[test]
fn a_history_is_read_as_it_was_written() {
    let events: Vec<Event> = good().into_iter().map(|what| Event::new(7, what)).collect();
    let mut bytes = Vec::new();
    write(&events, &mut bytes).expect("written");
    assert_eq!(read(bytes.as_slice()).expect("read"), events);
    assert!(read(&b"{\"at\":1,\"what\":\"nonsense\"}"[..]).is_err());
}
