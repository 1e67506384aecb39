//! Numbers that grow in each lane, up to the largest that 64 bits hold.

use holdfast_core::claim::{BeginAnswer, CommitAnswer, ReleaseAnswer, StateName, StepAnswer};

use super::bed::{Bed, Message};
use super::cases;
use crate::message::{Effects, StateChange};

cases![
    a_number_that_is_not_above_the_last_applied_is_stale,
    numbers_are_compared_as_whole_64_bit_numbers,
    a_stale_message_is_finished_as_stale,
    lanes_have_numbers_of_their_own,
    only_a_commit_raises_the_last_number,
    a_failed_attempt_that_is_overtaken_becomes_stale,
    a_commit_that_is_overtaken_writes_nothing_and_becomes_stale,
    a_replayed_message_is_exempt_and_does_not_lower_the_last_number,
];

fn numbered(bed: &Bed, sequence: u64) -> Message {
    bed.message(&format!("number {sequence}"))
        .lane("lane")
        .sequence(sequence)
}

async fn a_number_that_is_not_above_the_last_applied_is_stale(bed: Bed) {
    numbered(&bed, 0).done().await;
    numbered(&bed, 7).done().await;
    let stale = BeginAnswer::Stale { last: 7 };
    assert_eq!(numbered(&bed, 6).begin().await, stale);
    let equal = bed.message("another seven").lane("lane").sequence(7);
    assert_eq!(equal.begin().await, stale);
    numbered(&bed, 8).done().await;
}

async fn numbers_are_compared_as_whole_64_bit_numbers(bed: Bed) {
    let exact = 1_u64 << 53;
    let growing = [
        9,
        10,
        99,
        100,
        exact - 1,
        exact,
        exact + 1,
        exact + 2,
        u64::MAX / 2,
        i64::MAX as u64 + 1,
        u64::MAX - 1,
        u64::MAX,
    ];
    for (at, sequence) in growing.iter().enumerate() {
        numbered(&bed, *sequence).done().await;
        let stale = BeginAnswer::Stale { last: *sequence };
        if let Some(below) = at.checked_sub(1).map(|at| growing[at]) {
            let late = bed.message(&format!("late {below}"));
            let late = late.lane("lane").sequence(below);
            assert_eq!(late.begin().await, stale, "{below} after {sequence}");
        }
    }
}

async fn a_stale_message_is_finished_as_stale(bed: Bed) {
    numbered(&bed, 7).done().await;
    let late = numbered(&bed, 3);
    let stale = BeginAnswer::Stale { last: 7 };
    assert_eq!(late.begin().await, stale);
    assert_eq!(late.begin().await, stale, "the same call again");
    assert_eq!(late.again().begin().await, BeginAnswer::Done);
    assert_eq!(late.commit().await, CommitAnswer::Lost);
    let view = late.show().await.expect("it is remembered");
    assert_eq!(view.state, StateName::Done);
    assert_eq!(view.reason.as_deref(), Some("stale"));
}

async fn lanes_have_numbers_of_their_own(bed: Bed) {
    numbered(&bed, 7).done().await;
    let other = bed.message("other").lane("other lane").sequence(1);
    other.done().await;
    let look_alike = bed.message("alike").lane("lane:").sequence(1);
    look_alike.done().await;
}

async fn only_a_commit_raises_the_last_number(bed: Bed) {
    let nine = numbered(&bed, 9);
    nine.granted().await;
    nine.fail("no").await;
    numbered(&bed, 8).done().await;
    nine.again().done().await;
    let stale = BeginAnswer::Stale { last: 9 };
    assert_eq!(numbered(&bed, 5).begin().await, stale);
}

async fn a_failed_attempt_that_is_overtaken_becomes_stale(bed: Bed) {
    let three = numbered(&bed, 3);
    three.granted().await;
    assert_eq!(three.fail("no").await, StepAnswer::Ok);
    numbered(&bed, 4).done().await;
    let stale = BeginAnswer::Stale { last: 4 };
    assert_eq!(three.again().begin().await, stale);
}

async fn a_commit_that_is_overtaken_writes_nothing_and_becomes_stale(bed: Bed) {
    // As on two sides whose queues have the lane in different orders.
    let three = numbered(&bed, 3);
    three.granted().await;
    let four = numbered(&bed, 4);
    let read = four.granted().await.state;
    four.done().await;
    let effects = Effects {
        state: vec![StateChange::Set("total".to_owned(), vec![3])],
        ..Effects::default()
    };
    let overtaken = three.commit_with(effects).await;
    assert_eq!(overtaken, CommitAnswer::StateMoved);
    assert_eq!(three.commit().await, CommitAnswer::StateMoved);
    let after = numbered(&bed, 5).granted().await.state;
    assert_eq!(after, read, "nothing was written");
    assert_eq!(three.abandon().await, StepAnswer::Ok);
    let stale = BeginAnswer::Stale { last: 4 };
    assert_eq!(three.again().begin().await, stale);
}

async fn a_replayed_message_is_exempt_and_does_not_lower_the_last_number(bed: Bed) {
    let three = numbered(&bed, 3);
    three.parked().await;
    numbered(&bed, 7).done().await;
    assert_eq!(three.replay().await, ReleaseAnswer::Released);
    three.again().done().await;
    let stale = BeginAnswer::Stale { last: 7 };
    assert_eq!(numbered(&bed, 5).begin().await, stale);
}
