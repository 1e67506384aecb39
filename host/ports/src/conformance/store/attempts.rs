//! One attempt after another on one side: counting, tokens, fences, the lock.

use std::time::Duration;

use holdfast_core::claim::{BeginAnswer, CommitAnswer, ParkReason, StepAnswer};

use super::bed::{Bed, eventually};
use super::cases;

cases![
    a_new_key_is_granted_to_its_owner_as_attempt_one,
    the_same_begin_again_is_the_same_attempt,
    a_live_lock_keeps_other_attempts_waiting,
    a_begin_asked_again_holds_the_lock_anew,
    an_expired_lock_lets_the_next_attempt_begin_and_counts_the_crash,
    a_failed_claim_is_kept_and_its_error_shown_to_the_next_attempt,
    an_abandoned_attempt_does_not_count,
    the_fence_grows_with_every_attempt,
    a_step_of_an_earlier_attempt_is_lost_and_changes_nothing,
    a_step_on_a_key_without_a_claim_is_lost,
    a_finished_claim_answers_done_to_a_duplicate,
    a_repeated_failure_is_recorded_once,
    an_attempt_ends_in_one_way_only,
    a_commit_asked_again_after_the_claim_is_done_answers_done,
    a_finished_claim_refuses_the_commit_of_another_token,
    a_claim_is_forgotten_when_its_keep_time_has_passed,
    keys_that_look_alike_are_different_claims,
    concurrent_begins_grant_one_attempt,
];

async fn a_new_key_is_granted_to_its_owner_as_attempt_one(bed: Bed) {
    let grant = bed.message("k").granted().await;
    assert_eq!(grant.attempt, 1);
    assert!(grant.fence > 0);
    assert_eq!(grant.error, None);
    assert_eq!(grant.state.values, []);
    assert!(
        grant.first_seen_ms > 1_000_000_000_000,
        "milliseconds since 1970, but it is {}",
        grant.first_seen_ms
    );
}

async fn the_same_begin_again_is_the_same_attempt(bed: Bed) {
    let message = bed.message("k");
    let first = message.granted().await;
    let repeated = message.granted().await;
    assert_eq!(
        (repeated.attempt, repeated.fence, repeated.first_seen_ms),
        (first.attempt, first.fence, first.first_seen_ms)
    );
}

async fn a_live_lock_keeps_other_attempts_waiting(bed: Bed) {
    let message = bed.message("k").lock_ms(60_000);
    message.granted().await;
    match message.again().begin().await {
        BeginAnswer::Busy { wait } => assert!(
            wait > Duration::from_secs(30) && wait <= Duration::from_secs(60),
            "{wait:?}"
        ),
        other => panic!("{other:?}"),
    }
}

async fn a_begin_asked_again_holds_the_lock_anew(bed: Bed) {
    let message = bed.message("k").lock_ms(1);
    let first = message.granted().await;
    let message = message.lock_ms(60_000);
    assert_eq!(message.granted().await.attempt, first.attempt);
    match message.again().begin().await {
        BeginAnswer::Busy { wait } => assert!(wait > Duration::from_secs(30), "{wait:?}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(message.commit().await, CommitAnswer::Done);
}

async fn an_expired_lock_lets_the_next_attempt_begin_and_counts_the_crash(bed: Bed) {
    let crashed = bed.message("k").lock_ms(40);
    crashed.granted().await;
    let second = eventually("the lock expires", async || {
        match crashed.again().lock_ms(60_000).begin().await {
            BeginAnswer::Busy { .. } => None,
            BeginAnswer::Granted { attempt, .. } => Some(attempt),
            other => panic!("{other:?}"),
        }
    })
    .await;
    assert_eq!(second, 2);
    assert_eq!(crashed.commit().await, CommitAnswer::Lost);
}

async fn a_failed_claim_is_kept_and_its_error_shown_to_the_next_attempt(bed: Bed) {
    let first = bed.message("k");
    let seen = first.granted().await.first_seen_ms;
    assert_eq!(first.fail("the bank said no: é\n\"").await, StepAnswer::Ok);
    let second = first.again().granted().await;
    assert_eq!(second.attempt, 2);
    assert_eq!(second.error.as_deref(), Some("the bank said no: é\n\""));
    assert_eq!(second.first_seen_ms, seen);
}

async fn an_abandoned_attempt_does_not_count(bed: Bed) {
    let first = bed.message("k");
    first.granted().await;
    first.fail("once").await;
    let second = first.again();
    assert_eq!(second.granted().await.attempt, 2);
    assert_eq!(second.abandon().await, StepAnswer::Ok);
    assert_eq!(second.abandon().await, StepAnswer::Ok, "asked again");
    assert_eq!(first.again().granted().await.attempt, 2);
}

async fn the_fence_grows_with_every_attempt(bed: Bed) {
    let mut message = bed.message("k");
    let mut last = 0;
    for attempt in 1..=5 {
        let grant = message.granted().await;
        assert_eq!(grant.attempt, attempt);
        assert!(grant.fence > last, "{} after {last}", grant.fence);
        last = grant.fence;
        message.fail("again").await;
        message = message.again();
    }
}

async fn a_step_of_an_earlier_attempt_is_lost_and_changes_nothing(bed: Bed) {
    let first = bed.message("k");
    first.granted().await;
    first.fail("once").await;
    let second = first.again();
    let grant = second.granted().await;
    assert_eq!(first.commit().await, CommitAnswer::Lost);
    assert_eq!(first.fail("late").await, StepAnswer::Lost);
    assert_eq!(first.park(ParkReason::Rejected).await, StepAnswer::Lost);
    assert_eq!(first.abandon().await, StepAnswer::Lost);
    let unchanged = second.granted().await;
    assert_eq!(
        (unchanged.attempt, unchanged.fence, unchanged.error),
        (grant.attempt, grant.fence, grant.error)
    );
    assert_eq!(second.commit().await, CommitAnswer::Done);
}

async fn a_step_on_a_key_without_a_claim_is_lost(bed: Bed) {
    let message = bed.message("k");
    assert_eq!(message.commit().await, CommitAnswer::Lost);
    assert_eq!(message.fail("what").await, StepAnswer::Lost);
    assert_eq!(message.park(ParkReason::Rejected).await, StepAnswer::Lost);
    assert_eq!(message.abandon().await, StepAnswer::Lost);
    assert_eq!(message.published().await, StepAnswer::Lost);
    assert_eq!(message.buried().await, StepAnswer::Lost);
    assert_eq!(message.show().await, None);
}

async fn a_finished_claim_answers_done_to_a_duplicate(bed: Bed) {
    let message = bed.message("k").body("b");
    message.done().await;
    assert_eq!(message.again().begin().await, BeginAnswer::Done);
    assert_eq!(message.begin().await, BeginAnswer::Done, "even its own");
}

async fn a_repeated_failure_is_recorded_once(bed: Bed) {
    let message = bed.message("k");
    message.granted().await;
    assert_eq!(message.fail("first").await, StepAnswer::Ok);
    assert_eq!(message.fail("first").await, StepAnswer::Ok);
    let history = message.show().await.expect("it is kept").history;
    let steps: Vec<_> = history.iter().map(|entry| entry.step.as_str()).collect();
    assert_eq!(steps, ["begin", "fail"]);
}

async fn an_attempt_ends_in_one_way_only(bed: Bed) {
    let failed = bed.message("failed");
    failed.granted().await;
    failed.fail("no").await;
    assert_eq!(failed.commit().await, CommitAnswer::Lost);
    assert_eq!(failed.park(ParkReason::Rejected).await, StepAnswer::Lost);

    let done = bed.message("done");
    done.done().await;
    assert_eq!(done.fail("no").await, StepAnswer::Lost);
    assert_eq!(done.abandon().await, StepAnswer::Lost);
    assert_eq!(done.park(ParkReason::Rejected).await, StepAnswer::Lost);
    assert_eq!(done.buried().await, StepAnswer::Lost);

    let parking = bed.message("parking");
    parking.granted().await;
    parking.park(ParkReason::AttemptsSpent).await;
    assert_eq!(parking.commit().await, CommitAnswer::Lost);
    assert_eq!(parking.fail("no").await, StepAnswer::Lost);
    assert_eq!(parking.published().await, StepAnswer::Lost);
    assert_eq!(parking.buried().await, StepAnswer::Ok);
    assert_eq!(parking.commit().await, CommitAnswer::Lost);
}

async fn a_commit_asked_again_after_the_claim_is_done_answers_done(bed: Bed) {
    let message = bed.message("k");
    message.done().await;
    assert_eq!(message.commit().await, CommitAnswer::Done);
    assert_eq!(message.published().await, StepAnswer::Ok);
}

async fn a_finished_claim_refuses_the_commit_of_another_token(bed: Bed) {
    let message = bed.message("k");
    message.done().await;
    assert_eq!(message.again().commit().await, CommitAnswer::Lost);
    assert_eq!(message.again().begin().await, BeginAnswer::Done);
}

async fn a_claim_is_forgotten_when_its_keep_time_has_passed(bed: Bed) {
    let message = bed.message("k").keep_ms(80);
    message.done().await;
    let attempt = eventually("the claim expires", async || {
        match message.again().begin().await {
            BeginAnswer::Done => None,
            BeginAnswer::Granted { attempt, .. } => Some(attempt),
            other => panic!("{other:?}"),
        }
    })
    .await;
    assert_eq!(attempt, 1);
}

async fn keys_that_look_alike_are_different_claims(bed: Bed) {
    let keys = [
        "a", "A", "a ", "a:b", "a%3Ab", "a%3ab", "{a}", "a}b", "a*", "a?", "a/b", "a\\b", "é", "0",
        "00", "a\u{301}",
    ];
    for key in keys {
        let message = bed.message(key);
        assert_eq!(message.granted().await.attempt, 1, "{key:?}");
        assert_eq!(message.commit().await, CommitAnswer::Done, "{key:?}");
    }
    for key in keys {
        assert_eq!(bed.message(key).begin().await, BeginAnswer::Done, "{key:?}");
    }
}

async fn concurrent_begins_grant_one_attempt(bed: Bed) {
    let mut asking = tokio::task::JoinSet::new();
    for _ in 0..32 {
        let message = bed.message("k");
        asking.spawn(async move { message.begin().await });
    }
    let mut granted = 0;
    for answer in asking.join_all().await {
        match answer {
            BeginAnswer::Granted { .. } => granted += 1,
            BeginAnswer::Busy { .. } => {}
            other => panic!("{other:?}"),
        }
    }
    assert_eq!(granted, 1);
}
