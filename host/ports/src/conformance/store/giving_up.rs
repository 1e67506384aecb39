//! Parking: the way to the dead letters.

use holdfast_core::claim::{BeginAnswer, ParkReason, ReleaseAnswer, StateName, StepAnswer};

use super::bed::Bed;
use super::cases;

cases![
    a_parking_claim_tells_what_its_letter_needs,
    every_reason_is_kept,
    a_parked_claim_stays_parked_however_often_it_is_said,
    a_repeated_park_is_recorded_once,
    a_claim_in_parking_can_be_replayed_before_its_letter_is_safe,
    a_letter_counts_for_the_giving_up_that_it_was_written_for,
    a_claim_is_shown_with_its_history,
];

async fn a_parking_claim_tells_what_its_letter_needs(bed: Bed) {
    let first = bed.message("k");
    let seen = first.granted().await.first_seen_ms;
    first.fail("first error").await;
    let second = first.again();
    second.granted().await;
    let step = bed
        .store
        .park(&second.at, second.shown(), ParkReason::AttemptsSpent, None)
        .await;
    assert_eq!(step.expect("park"), StepAnswer::Ok);
    match first.again().begin().await {
        BeginAnswer::Parking {
            reason,
            error,
            attempt,
            first_seen_ms,
            fence,
            outbox,
        } => {
            assert_eq!(fence, first.last_fence().await);
            assert_eq!(reason, ParkReason::AttemptsSpent);
            assert_eq!(error.as_deref(), Some("first error"));
            assert_eq!((attempt, first_seen_ms), (2, seen));
            assert_eq!(outbox.messages, []);
        }
        other => panic!("{other:?}"),
    }
}

async fn every_reason_is_kept(bed: Bed) {
    for reason in ParkReason::ALL {
        let message = bed.message(reason.as_str());
        message.granted().await;
        assert_eq!(message.park(reason).await, StepAnswer::Ok);
        match message.again().begin().await {
            BeginAnswer::Parking { reason: kept, .. } => assert_eq!(kept, reason),
            other => panic!("{other:?}"),
        }
        assert_eq!(message.buried().await, StepAnswer::Ok);
        let parked = BeginAnswer::Parked { reason };
        assert_eq!(message.again().begin().await, parked);
        let view = message.show().await.expect("it is remembered");
        assert_eq!(view.reason.as_deref(), Some(reason.as_str()));
    }
}

async fn a_parked_claim_stays_parked_however_often_it_is_said(bed: Bed) {
    let message = bed.message("k");
    message.granted().await;
    assert_eq!(message.buried().await, StepAnswer::Lost, "not yet");
    message.park(ParkReason::Rejected).await;
    assert_eq!(message.buried().await, StepAnswer::Ok);
    assert_eq!(message.buried().await, StepAnswer::Ok);
    assert_eq!(message.published().await, StepAnswer::Lost);
}

async fn a_repeated_park_is_recorded_once(bed: Bed) {
    let message = bed.message("k");
    message.granted().await;
    assert_eq!(message.park(ParkReason::Rejected).await, StepAnswer::Ok);
    assert_eq!(message.park(ParkReason::Rejected).await, StepAnswer::Ok);
    let history = message.show().await.expect("it is kept").history;
    let steps: Vec<_> = history.iter().map(|entry| entry.step.as_str()).collect();
    assert_eq!(steps, ["begin", "park"]);
}

async fn a_claim_in_parking_can_be_replayed_before_its_letter_is_safe(bed: Bed) {
    let message = bed.message("k");
    message.granted().await;
    message.park(ParkReason::Rejected).await;
    assert_eq!(message.replay().await, ReleaseAnswer::Released);
    assert_eq!(message.buried().await, StepAnswer::Lost);
    assert_eq!(message.again().granted().await.attempt, 1);
}

async fn a_letter_counts_for_the_giving_up_that_it_was_written_for(bed: Bed) {
    let message = bed.message("k");
    let first = message.granted().await.fence;
    message.park(ParkReason::Rejected).await;
    assert_eq!(message.replay().await, ReleaseAnswer::Released);
    let again = message.again();
    let second = again.granted().await.fence;
    again.park(ParkReason::Rejected).await;
    assert_eq!(message.buried_under(first).await, StepAnswer::Lost, "late");
    let answer = again.again().begin().await;
    assert!(
        matches!(answer, BeginAnswer::Parking { fence, .. } if fence == second),
        "{answer:?}"
    );
    assert_eq!(again.buried_under(second).await, StepAnswer::Ok);
    assert_eq!(message.buried_under(first).await, StepAnswer::Ok);
}

async fn a_claim_is_shown_with_its_history(bed: Bed) {
    let message = bed.message("order é 1").body("b").lane("customer/7");
    let first = message.granted().await;
    let view = message.show().await.expect("it runs");
    assert_eq!(view.key, message.at.key);
    assert_eq!(view.side, message.facts.side);
    assert_eq!(view.state, StateName::Running);
    assert_eq!((view.attempt, view.fence), (1, first.fence));
    assert_eq!(view.lane.as_deref(), Some("customer/7"));
    assert_eq!(view.fingerprint, message.facts.fingerprint);
    assert!(view.locked_until_ms > Some(first.first_seen_ms));
    message.fail("the error").await;
    let second = message.again();
    second.granted().await;
    second.commit().await;
    let view = second.show().await.expect("it is remembered");
    assert_eq!((view.state, view.reason), (StateName::Done, None));
    assert_eq!(view.locked_until_ms, None);
    let steps: Vec<_> = view
        .history
        .iter()
        .map(|entry| (entry.step.as_str(), entry.side.as_str(), entry.attempt))
        .collect();
    assert_eq!(
        steps,
        [
            ("begin", "new", 1),
            ("fail", "new", 1),
            ("begin", "new", 2),
            ("commit", "new", 2)
        ]
    );
    assert_eq!(view.history[1].detail, "the error");
}
