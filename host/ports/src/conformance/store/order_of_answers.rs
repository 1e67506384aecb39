//! When several answers of `begin` would fit, which one is given.

use holdfast_core::claim::{BeginAnswer, CommitAnswer, FencedBy, ParkReason, StateName};

use super::bed::{Bed, Message, side};
use super::cases;
use crate::message::{Effects, Staged, Target};
use std::time::Duration;

cases![
    another_body_under_the_same_key_is_a_conflict_in_every_state,
    bodies_are_compared_only_when_both_are_known,
    fenced_comes_before_conflict,
    conflict_comes_before_foreign,
    foreign_and_assigned_come_before_stale,
    done_comes_before_stale,
    committed_comes_before_stale,
    parking_and_parked_come_before_stale,
    busy_comes_before_stale,
];

/// A lane in which number 10 was applied, and a message of it.
async fn late(bed: &Bed, key: &str) -> Message {
    bed.message(&format!("before {key}"))
        .lane("lane")
        .sequence(10)
        .done()
        .await;
    bed.message(key).lane("lane").sequence(10)
}

async fn another_body_under_the_same_key_is_a_conflict_in_every_state(bed: Bed) {
    let message = bed.message("k").body("first");
    let other = bed.message("k").body("second");
    message.granted().await;
    assert_eq!(other.begin().await, BeginAnswer::Conflict);
    message.fail("no").await;
    assert_eq!(other.begin().await, BeginAnswer::Conflict);
    let message = message.again();
    assert_eq!(message.granted().await.attempt, 2, "the claim is untouched");
    message.commit().await;
    assert_eq!(other.begin().await, BeginAnswer::Conflict);

    let parked = bed.message("parked").body("first");
    parked.parked().await;
    let other = bed.message("parked").body("second");
    assert_eq!(other.begin().await, BeginAnswer::Conflict);
}

async fn bodies_are_compared_only_when_both_are_known(bed: Bed) {
    let message = bed.message("k");
    message.granted().await;
    message.fail("no").await;
    let with_body = message.again().body("first");
    assert_eq!(with_body.granted().await.attempt, 2);
    with_body.fail("no").await;
    assert_eq!(message.again().granted().await.attempt, 3);
    let other = message.again().body("second");
    assert_eq!(
        other.begin().await,
        BeginAnswer::Conflict,
        "the first body seen is remembered"
    );
}

async fn fenced_comes_before_conflict(bed: Bed) {
    let lease = bed.lease("orders");
    let epoch = bed.lead("orders", 1, Duration::from_secs(60)).await;
    bed.message("k").body("first").granted().await;
    let other = bed.message("k").body("second").led(&lease, epoch + 1);
    assert_eq!(other.begin().await, BeginAnswer::Fenced(FencedBy::Epoch));
    let other = bed.message("k").body("second").led(&lease, epoch);
    assert_eq!(other.begin().await, BeginAnswer::Conflict);
}

async fn conflict_comes_before_foreign(bed: Bed) {
    bed.message("k").on("old").body("first").granted().await;
    let here = bed.message("k").body("second");
    assert_eq!(here.begin().await, BeginAnswer::Conflict);
}

async fn foreign_and_assigned_come_before_stale(bed: Bed) {
    let here = late(&bed, "k").await.given_to("old");
    let assigned = BeginAnswer::Assigned { side: side("old") };
    assert_eq!(here.begin().await, assigned);
    let foreign = BeginAnswer::Foreign {
        side: side("old"),
        state: StateName::Assigned,
    };
    assert_eq!(here.again().begin().await, foreign);
}

async fn done_comes_before_stale(bed: Bed) {
    let message = late(&bed, "k").await.sequence(11);
    message.done().await;
    assert_eq!(message.again().begin().await, BeginAnswer::Done);
}

async fn committed_comes_before_stale(bed: Bed) {
    let message = late(&bed, "k").await.sequence(11);
    message.granted().await;
    let staged = Staged {
        broker: None,
        to: Target::Queue("out".to_owned()),
        body: Vec::new(),
        content_type: None,
        headers: Vec::new(),
        lane: None,
    };
    let effects = Effects {
        outbox: vec![staged],
        ..Effects::default()
    };
    let answer = message.commit_with(effects).await;
    assert!(
        matches!(answer, CommitAnswer::Committed { .. }),
        "{answer:?}"
    );
    bed.message("after").lane("lane").sequence(20).done().await;
    let answer = message.again().begin().await;
    assert!(
        matches!(answer, BeginAnswer::Committed { .. }),
        "{answer:?}"
    );
}

async fn parking_and_parked_come_before_stale(bed: Bed) {
    let message = late(&bed, "k").await.sequence(11);
    message.granted().await;
    message.park(ParkReason::Rejected).await;
    bed.message("after").lane("lane").sequence(20).done().await;
    let answer = message.again().begin().await;
    assert!(matches!(answer, BeginAnswer::Parking { .. }), "{answer:?}");
    message.buried().await;
    let answer = message.again().begin().await;
    assert!(matches!(answer, BeginAnswer::Parked { .. }), "{answer:?}");
}

async fn busy_comes_before_stale(bed: Bed) {
    let message = late(&bed, "k").await.sequence(11);
    message.granted().await;
    bed.message("after").lane("lane").sequence(20).done().await;
    let answer = message.again().begin().await;
    assert!(matches!(answer, BeginAnswer::Busy { .. }), "{answer:?}");
}
