//! Every rule about the steps after `begin`, as a sentence.

#[expect(dead_code, reason = "each test file uses some of the stories")]
mod story;

use std::time::Duration;

use holdfast_core::claim::{
    BeginAnswer, CommitAnswer, MAX_HISTORY, ParkReason, ReleaseAnswer, State, StateName,
    StepAnswer, UndeliverableAnswer,
};
use story::{Asking, Story, asks, in_state};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_step_with_another_token_is_lost_in_every_state() {
    for state in StateName::ALL {
        let mut story = in_state(state);
        let before = story.record.clone();
        assert_eq!(story.commit(2, 0), CommitAnswer::Lost);
        assert_eq!(story.fail(2, "no"), StepAnswer::Lost);
        assert_eq!(story.park(2, ParkReason::Rejected), StepAnswer::Lost);
        assert_eq!(story.abandon(2), StepAnswer::Lost);
        assert_eq!(story.record, before);
    }
}

#[test]
fn a_commit_without_anything_to_publish_is_done_at_once() {
    let mut story = in_state(StateName::Running);
    assert_eq!(story.commit(1, 0), CommitAnswer::Done);
    assert_eq!(story.state(), Some(StateName::Done));
    assert_eq!(story.commit(1, 0), CommitAnswer::Done, "the same call");
}

#[test]
fn a_commit_with_messages_waits_for_them_to_be_published() {
    let mut story = in_state(StateName::Running);
    let committed = CommitAnswer::Committed { minted: Vec::new() };
    assert_eq!(story.commit(1, 3), committed);
    assert_eq!(story.commit(1, 3), committed, "the same call");
    assert_eq!(story.published(), StepAnswer::Ok);
    assert_eq!(story.published(), StepAnswer::Ok, "the same call");
    assert_eq!(story.state(), Some(StateName::Done));
}

#[test]
fn a_commit_on_state_that_moved_writes_nothing() {
    let mut story = in_state(StateName::Running);
    let before = story.record.clone();
    assert_eq!(story.commit_on(1, 0, Some(4), 5), CommitAnswer::StateMoved);
    assert_eq!(story.record, before);
    assert_eq!(story.commit_on(1, 0, None, 5), CommitAnswer::Done);
}

#[test]
fn a_commit_that_was_overtaken_in_its_lane_writes_nothing_and_is_stale() {
    for last in [5, 6, u64::MAX] {
        let mut story = Story::new();
        let asked = asks(1).number(5);
        story.granted(&asked);
        story.scope.last_sequence = Some(last);
        let before = story.record.clone();
        assert_eq!(story.commit_number(1, 5), CommitAnswer::StateMoved);
        assert_eq!(story.record, before);
        assert_eq!(story.abandon(1), StepAnswer::Ok);
        let stale = BeginAnswer::Stale { last };
        assert_eq!(story.begin(&asks(2).number(5)), stale);
    }
    let mut story = Story::new();
    story.granted(&asks(1).number(5));
    story.scope.last_sequence = Some(4);
    assert_eq!(story.commit_number(1, 5), CommitAnswer::Done);
    story.scope.last_sequence = Some(5);
    assert_eq!(
        story.commit_number(1, 5),
        CommitAnswer::Done,
        "the same call"
    );
}

#[test]
fn a_replayed_message_commits_although_its_lane_went_on() {
    let mut story = in_state(StateName::Parked);
    story.scope.last_sequence = Some(9);
    assert_eq!(story.replay(), ReleaseAnswer::Released);
    story.granted(&asks(2).number(5).body("body"));
    assert_eq!(story.commit_number(2, 5), CommitAnswer::Done);
}

/// Hazard: Redis and leases | a claim that is deleted or released on failure lets a twin in | kept, for the same side
#[test]
fn a_failure_keeps_the_claim_for_its_side_and_frees_the_lock() {
    let mut story = in_state(StateName::Running);
    assert_eq!(story.fail(1, "the bank said no"), StepAnswer::Ok);
    assert_eq!(story.fail(1, "the bank said no"), StepAnswer::Ok);
    assert_eq!(story.record().error.as_deref(), Some("the bank said no"));
    let foreign = story.begin(&asks(2).by("old"));
    assert!(
        matches!(foreign, BeginAnswer::Foreign { .. }),
        "{foreign:?}"
    );
    assert_eq!(story.granted(&asks(3)).0, 2);
}

#[test]
fn an_abandoned_attempt_is_not_counted() {
    let mut story = in_state(StateName::Failed);
    assert_eq!(story.granted(&asks(2)).0, 2);
    assert_eq!(story.abandon(2), StepAnswer::Ok);
    assert_eq!(story.abandon(2), StepAnswer::Ok, "the same call");
    assert_eq!(story.granted(&asks(3)).0, 2);
}

#[test]
fn parking_ends_when_the_letter_is_safe() {
    let mut story = in_state(StateName::Running);
    assert_eq!(story.buried(), StepAnswer::Lost);
    assert_eq!(story.park(1, ParkReason::AttemptsSpent), StepAnswer::Ok);
    assert_eq!(story.park(1, ParkReason::AttemptsSpent), StepAnswer::Ok);
    assert_eq!(story.park(1, ParkReason::Rejected), StepAnswer::Lost);
    assert_eq!(story.buried(), StepAnswer::Ok);
    assert_eq!(story.buried(), StepAnswer::Ok, "the same call");
    assert_eq!(story.state(), Some(StateName::Parked));
}

#[test]
fn a_letter_counts_for_the_giving_up_that_it_was_written_for() {
    let mut story = in_state(StateName::Parking);
    let first = story.record().fence;
    story.replay();
    assert_eq!(
        story.buried_under(first),
        StepAnswer::Lost,
        "it was re-opened"
    );
    story.granted(&asks(2).body("body"));
    story.park(2, ParkReason::Rejected);
    assert_eq!(story.buried_under(first), StepAnswer::Lost, "comes late");
    assert_eq!(story.state(), Some(StateName::Parking));
    assert_eq!(story.buried(), StepAnswer::Ok);
    assert_eq!(
        story.buried_under(first),
        StepAnswer::Ok,
        "nothing is missing"
    );
}

#[test]
fn an_outbox_that_was_given_up_twice_needs_a_second_letter() {
    let mut story = in_state(StateName::Committed);
    story.undeliverable(1);
    let first = story.record().fence;
    story.buried();
    story.replay();
    story.undeliverable(1);
    assert_eq!(story.buried_under(first), StepAnswer::Lost);
    assert_eq!(story.buried(), StepAnswer::Ok);
}

#[test]
fn only_a_running_attempt_can_end_in_another_way() {
    for state in StateName::ALL {
        if state == StateName::Running {
            continue;
        }
        let reason = ParkReason::AttemptsSpent;
        assert_eq!(in_state(state).park(1, reason), StepAnswer::Lost, "{state}");
        let mut story = in_state(state);
        let before = story.record.clone();
        story.commit(1, 1);
        story.fail(1, "no");
        story.abandon(1);
        assert_eq!(story.record, before, "{state}");
    }
}

#[test]
fn a_closing_step_closes_only_what_waits_for_it() {
    for state in StateName::ALL {
        let mut story = in_state(state);
        let closes = matches!(state, StateName::Committed | StateName::Done);
        let expected = if closes {
            StepAnswer::Ok
        } else {
            StepAnswer::Lost
        };
        assert_eq!(story.published(), expected, "published from {state}");

        let mut story = in_state(state);
        let closes = matches!(state, StateName::Parking | StateName::Parked);
        let expected = if closes {
            StepAnswer::Ok
        } else {
            StepAnswer::Lost
        };
        assert_eq!(story.buried(), expected, "buried from {state}");
    }
}

#[test]
fn an_outbox_that_cannot_be_delivered_is_given_up_at_the_limit() {
    let mut story = in_state(StateName::Committed);
    let again = |tries| UndeliverableAnswer::Again { tries };
    assert_eq!(story.undeliverable(3), again(1));
    assert_eq!(story.undeliverable(3), again(2));
    assert_eq!(story.undeliverable(3), UndeliverableAnswer::GivenUp);
    assert_eq!(story.undeliverable(3), UndeliverableAnswer::GivenUp);
    let reason = ParkReason::OutboxUndeliverable;
    assert_eq!(story.record().state, State::Parking { reason });
    assert_eq!(story.buried(), StepAnswer::Ok);
    assert_eq!(story.replay(), ReleaseAnswer::Released);
    assert_eq!(story.record().state, State::Committed { tries: 0 });
    assert_eq!(story.published(), StepAnswer::Ok);
}

#[test]
fn only_a_committed_outbox_can_be_undeliverable() {
    for state in StateName::ALL {
        if state == StateName::Committed {
            continue;
        }
        let answer = in_state(state).undeliverable(1);
        assert_eq!(answer, UndeliverableAnswer::Lost, "{state}");
    }
}

#[test]
fn a_release_forgets_side_and_attempts() {
    let mut story = in_state(StateName::Failed);
    assert_eq!(story.release(None, false), ReleaseAnswer::Released);
    assert_eq!(story.release(None, false), ReleaseAnswer::NotFound);
    story.after(SECOND);
    assert_eq!(story.granted(&asks(2).by("old")).0, 1);
}

#[test]
fn a_release_to_a_side_makes_it_the_owner() {
    let mut story = in_state(StateName::Failed);
    let (_, fence) = (1, story.record().fence);
    assert_eq!(story.release(Some("old"), false), ReleaseAnswer::Released);
    let here = story.begin(&asks(2).body("body"));
    assert!(matches!(here, BeginAnswer::Foreign { .. }), "{here:?}");
    let (attempt, next) = story.granted(&asks(3).by("old").body("body"));
    assert_eq!(attempt, 1);
    assert!(next > fence);
    assert_eq!(story.fail(1, "late"), StepAnswer::Lost);
}

#[test]
fn a_live_lock_is_released_by_force_only() {
    let mut story = in_state(StateName::Running);
    story.after(10 * SECOND);
    let wait = 20 * SECOND;
    assert_eq!(story.release(None, false), ReleaseAnswer::Locked { wait });
    assert_eq!(story.release(None, true), ReleaseAnswer::Released);
    let mut story = in_state(StateName::Running);
    story.after(30 * SECOND);
    assert_eq!(story.release(None, false), ReleaseAnswer::Released);
}

#[test]
fn what_has_effects_or_a_letter_is_never_released() {
    for state in [
        StateName::Committed,
        StateName::Done,
        StateName::Parking,
        StateName::Parked,
    ] {
        for to in [None, Some("old")] {
            let mut story = in_state(state);
            let refused = ReleaseAnswer::Refused(state);
            assert_eq!(story.release(to, true), refused);
            assert_eq!(story.state(), Some(state));
        }
    }
}

#[test]
fn only_what_was_given_up_is_replayed_and_starts_anew_for_its_side() {
    for state in StateName::ALL {
        let mut story = in_state(state);
        let replayed = story.replay();
        if !matches!(state, StateName::Parking | StateName::Parked) {
            assert_eq!(replayed, ReleaseAnswer::Refused(state));
            continue;
        }
        assert_eq!(replayed, ReleaseAnswer::Released);
        assert_eq!(story.replay(), ReleaseAnswer::Released, "the same call");
        let other = story.begin(&asks(2).by("old").body("body"));
        assert!(matches!(other, BeginAnswer::Foreign { .. }), "{other:?}");
        assert_eq!(story.granted(&asks(3).body("body")).0, 1);
    }
    assert_eq!(Story::new().replay(), ReleaseAnswer::NotFound);
}

#[test]
fn a_replayed_message_is_not_compared_with_the_last_number() {
    let mut story = in_state(StateName::Parked);
    story.scope.last_sequence = Some(100);
    story.replay();
    story.granted(&asks(2).body("body").number(3));
    story.fail(2, "no");
    story.granted(&asks(3).body("body").number(3));
}

#[test]
fn the_history_is_bounded_and_keeps_the_latest() {
    let mut story = Story::new();
    for token in 1..100 {
        story.granted(&asks(token));
        story.fail(token, &format!("error {token}"));
    }
    let history = &story.record().history;
    assert_eq!(history.len(), MAX_HISTORY);
    let last = history.last().unwrap();
    assert_eq!((last.step, last.detail.as_str()), ("fail", "error 99"));
}
