//! Every rule about who may run a message, as a sentence; the steps that
//! follow are in `step_rules`.

#[expect(dead_code, reason = "each test file uses some of the stories")]
mod story;

use std::time::Duration;

use holdfast_core::claim::{
    BeginAnswer, CommitAnswer, Ending, FencedBy, ParkReason, State, StateName, StepAnswer,
    UndeliverableAnswer,
};
use story::{Asking, START, Story, asks, in_state, side};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_new_key_whose_owner_is_my_side_is_granted() {
    let mut story = Story::new();
    let (attempt, fence) = story.granted(&asks(1));
    assert_eq!((attempt, fence), (1, START.0));
}

#[test]
fn a_new_key_of_the_other_side_is_recorded_as_assigned() {
    let mut story = Story::new();
    let answer = story.begin(&asks(1).given_to("old"));
    assert_eq!(answer, BeginAnswer::Assigned { side: side("old") });
    assert_eq!(story.record().side, side("old"));
    assert_eq!(story.state(), Some(StateName::Assigned));
    assert_eq!(story.record().attempt, 0);
}

#[test]
fn the_cut_over_rule_is_not_asked_again_for_a_known_key() {
    let mut story = Story::new();
    story.begin(&asks(1).given_to("old"));
    let answer = story.begin(&asks(2));
    let foreign = BeginAnswer::Foreign {
        side: side("old"),
        state: StateName::Assigned,
    };
    assert_eq!(answer, foreign);
    let (attempt, _) = story.granted(&asks(3).by("old").given_to("new"));
    assert_eq!(attempt, 1);
}

#[test]
fn an_assigned_key_may_be_taken_over_when_its_owner_let_the_time_pass() {
    let mut story = Story::new();
    story.begin(&asks(1).given_to("old"));
    story.after(60 * SECOND - Duration::from_micros(1));
    let early = story.begin(&asks(2));
    assert!(matches!(early, BeginAnswer::Foreign { .. }), "{early:?}");
    story.after(Duration::from_micros(1));
    assert_eq!(story.granted(&asks(3)).0, 1);
    assert_eq!(story.record().side, side("new"));
    let told: Vec<_> = story.record().history.iter().map(|e| e.step).collect();
    assert_eq!(told, ["assigned", "takeover", "begin"]);
    assert_eq!(story.record().history[1].detail, "old");
}

#[test]
fn a_key_that_was_begun_is_never_taken_over() {
    for state in StateName::ALL {
        if state == StateName::Assigned {
            continue;
        }
        let mut story = in_state(state);
        story.after(1_000_000 * SECOND);
        let answer = story.begin(&asks(5).by("old").body("body"));
        let foreign = BeginAnswer::Foreign {
            side: side("new"),
            state,
        };
        assert_eq!(answer, foreign);
    }
}

/// Hazard: Redis and leases | a retry is refused as its own duplicate | a repeated begin is the same attempt
#[test]
fn the_same_token_again_is_the_same_call() {
    let mut story = Story::new();
    let first = story.granted(&asks(1));
    story.after(100 * SECOND);
    assert_eq!(story.granted(&asks(1)), first);
}

#[test]
fn the_same_call_after_its_lock_ran_out_holds_the_claim_anew() {
    let mut story = Story::new();
    story.granted(&asks(1));
    story.after(100 * SECOND);
    story.granted(&asks(1));
    story.after(10 * SECOND);
    let wait = 20 * SECOND;
    assert_eq!(story.begin(&asks(2)), BeginAnswer::Busy { wait });
    assert_eq!(story.commit(1, 0), CommitAnswer::Done);
}

#[test]
fn a_live_lock_answers_busy_for_the_time_that_is_left() {
    let mut story = Story::new();
    story.granted(&asks(1));
    story.after(10 * SECOND);
    let wait = 20 * SECOND;
    assert_eq!(story.begin(&asks(2)), BeginAnswer::Busy { wait });
}

/// Bad input: Messages | a message that kills the process | its attempts count all the same
#[test]
fn an_expired_lock_is_free_and_its_attempt_counted() {
    let mut story = Story::new();
    let (_, before) = story.granted(&asks(1));
    story.after(30 * SECOND);
    let (attempt, fence) = story.granted(&asks(2));
    assert_eq!(attempt, 2);
    assert!(fence > before);
}

#[test]
fn a_higher_epoch_breaks_the_lock_of_a_lower_one() {
    let mut story = Story::new();
    story.scope.epoch = Some(7);
    story.granted(&asks(1).epoch(7));
    let same = story.begin(&asks(2).epoch(7));
    assert!(matches!(same, BeginAnswer::Busy { .. }), "{same:?}");
    story.scope.epoch = Some(8);
    assert_eq!(story.granted(&asks(3).epoch(8)).0, 2);
}

#[test]
fn the_fence_grows_even_when_the_clock_stands_still_or_goes_back() {
    let mut story = Story::new();
    let (_, mut last) = story.granted(&asks(1));
    for token in 2..10 {
        story.fail(token - 1, "no");
        if token > 5 {
            story.scope.now.0 -= 1_000_000;
        }
        let (_, fence) = story.granted(&asks(token));
        assert!(fence > last, "{fence} after {last}");
        last = fence;
    }
}

#[test]
fn my_finished_claim_answers_what_it_is() {
    for (state, token) in [(StateName::Done, 1), (StateName::Done, 2)] {
        let answer = in_state(state).begin(&asks(token).body("body"));
        assert_eq!(answer, BeginAnswer::Done);
    }
    let answer = in_state(StateName::Committed).begin(&asks(2).body("body"));
    let committed = BeginAnswer::Committed {
        outbox: (),
        tries: 0,
        attempt: 1,
    };
    assert_eq!(answer, committed);
    let answer = in_state(StateName::Parking).begin(&asks(2).body("body"));
    assert!(matches!(
        answer,
        BeginAnswer::Parking {
            reason: ParkReason::Rejected,
            attempt: 1,
            ..
        }
    ));
    let answer = in_state(StateName::Parked).begin(&asks(2).body("body"));
    let reason = ParkReason::Rejected;
    assert_eq!(answer, BeginAnswer::Parked { reason });
}

/// Bad input: Messages | the same key with another body | dead-lettered as a conflict; the first claim is untouched
#[test]
fn another_body_is_a_conflict_whoever_asks_and_the_claim_is_not_touched() {
    for state in StateName::ALL {
        for name in ["new", "old"] {
            let mut story = in_state(state);
            let before = story.record.clone();
            story.after(1_000_000 * SECOND);
            let answer = story.begin(&asks(5).by(name).body("another"));
            assert_eq!(answer, BeginAnswer::Conflict, "{state} {name}");
            assert_eq!(story.record, before);
        }
    }
}

#[test]
fn bodies_are_compared_only_when_both_are_known_and_the_first_is_remembered() {
    let mut story = Story::new();
    story.granted(&asks(1));
    story.fail(1, "no");
    story.granted(&asks(2).body("first"));
    story.fail(2, "no");
    story.granted(&asks(3));
    story.fail(3, "no");
    assert_eq!(story.begin(&asks(4).body("second")), BeginAnswer::Conflict);
    story.granted(&asks(5).body("first"));
}

#[test]
fn a_number_not_above_the_last_is_stale_and_finishes_the_claim() {
    for last in [5, 6, u64::MAX] {
        let mut story = Story::new();
        story.scope.last_sequence = Some(last);
        let stale = BeginAnswer::Stale { last };
        assert_eq!(story.begin(&asks(1).number(5)), stale);
        assert_eq!(story.begin(&asks(1).number(5)), stale, "the same call");
        assert_eq!(story.begin(&asks(2).number(5)), BeginAnswer::Done);
        let ending = Ending::Stale;
        assert_eq!(story.record().state, State::Done { ending });
        assert_eq!(story.record().attempt, 0);
    }
    let mut story = Story::new();
    story.scope.last_sequence = Some(4);
    story.granted(&asks(1).number(5));
}

#[test]
fn an_epoch_that_is_not_the_current_one_can_do_nothing() {
    for current in [None, Some(6), Some(8)] {
        for state in StateName::ALL {
            let mut story = in_state(state);
            story.scope.epoch = current;
            story.epoch = Some(7);
            let before = story.record.clone();
            let by = FencedBy::Epoch;
            let begun = story.begin(&asks(5).epoch(7).body("another"));
            assert_eq!(begun, BeginAnswer::Fenced(by));
            assert_eq!(story.commit(1, 0), CommitAnswer::Fenced(by));
            assert_eq!(story.fail(1, "no"), StepAnswer::Fenced(by));
            let reason = ParkReason::Rejected;
            assert_eq!(story.park(1, reason), StepAnswer::Fenced(by));
            assert_eq!(story.abandon(1), StepAnswer::Fenced(by));
            assert_eq!(story.record, before);
        }
    }
}

#[test]
fn another_store_can_do_nothing() {
    for state in StateName::ALL {
        let mut story = in_state(state);
        story.scope.same_store = false;
        let before = story.record.clone();
        let by = FencedBy::Store;
        assert_eq!(story.begin(&asks(5)), BeginAnswer::Fenced(by));
        assert_eq!(story.commit(1, 0), CommitAnswer::Fenced(by));
        assert_eq!(story.fail(1, "no"), StepAnswer::Fenced(by));
        assert_eq!(story.published(), StepAnswer::Fenced(by));
        assert_eq!(story.buried(), StepAnswer::Fenced(by));
        let undeliverable = story.undeliverable(1);
        assert_eq!(undeliverable, UndeliverableAnswer::Fenced(by));
        assert_eq!(story.record, before);
    }
}
