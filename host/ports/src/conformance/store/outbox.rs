//! Published messages: kept with the claim until they are sent.

use holdfast_core::claim::{
    BeginAnswer, CommitAnswer, ParkReason, ReleaseAnswer, StateName, StepAnswer,
    UndeliverableAnswer,
};

use super::bed::{Bed, Message};
use super::cases;
use crate::error::Kind;
use crate::message::{Effects, Header, Outbox, Staged, StateChange, Target};
use crate::store::{Commit, Slot};

cases![
    a_committed_claim_hands_its_outbox_to_whoever_begins_it_next,
    numbers_are_minted_in_each_lane_and_never_twice,
    an_odd_lane_is_a_lane_and_an_empty_one_is_none,
    where_each_key_has_its_own_slot_no_number_can_be_minted,
    a_repeated_commit_answers_with_the_same_numbers,
    a_published_claim_is_done_however_often_it_is_said,
    a_committed_claim_can_neither_fail_nor_be_released,
    an_outbox_without_a_target_is_given_up_at_the_limit_and_keeps_its_effects,
    a_replay_of_an_undeliverable_outbox_publishes_it_without_running_again,
    an_outbox_that_was_given_up_twice_needs_a_second_letter,
];

fn staged(body: &[u8], lane: Option<&str>) -> Staged {
    Staged {
        broker: None,
        to: Target::Queue("out".to_owned()),
        body: body.to_vec(),
        content_type: None,
        headers: Vec::new(),
        lane: lane.map(str::to_owned),
    }
}

/// Begins and commits with these messages; gives the numbers, one for each.
async fn commit(message: &Message, outbox: &[Staged]) -> Vec<Option<u64>> {
    message.granted().await;
    commit_again(message, outbox).await
}

async fn commit_again(message: &Message, outbox: &[Staged]) -> Vec<Option<u64>> {
    let effects = Effects {
        state: vec![StateChange::Set("seen".to_owned(), b"yes".to_vec())],
        outbox: outbox.to_vec(),
        ..Effects::default()
    };
    match message.commit_with(effects).await {
        CommitAnswer::Committed { minted } => numbers(minted, outbox.len()),
        other => panic!("{other:?}"),
    }
}

/// No numbers at all is the same as none for each.
fn numbers(minted: Vec<Option<u64>>, messages: usize) -> Vec<Option<u64>> {
    if minted.is_empty() {
        vec![None; messages]
    } else {
        assert_eq!(minted.len(), messages);
        minted
    }
}

/// What `begin` says of a committed claim: outbox, tries, attempt.
async fn committed(message: &Message) -> (Outbox, u32, u32) {
    match message.begin().await {
        BeginAnswer::Committed {
            outbox,
            tries,
            attempt,
        } => (outbox, tries, attempt),
        other => panic!("{other:?}"),
    }
}

async fn a_committed_claim_hands_its_outbox_to_whoever_begins_it_next(bed: Bed) {
    let outbox = [
        Staged {
            broker: Some("other".to_owned()),
            to: Target::Exchange("events".to_owned(), "order.paid".to_owned()),
            body: (0..=255).collect(),
            content_type: Some("application/json".to_owned()),
            headers: vec![
                Header::text("a", "b"),
                Header {
                    name: "raw".to_owned(),
                    value: vec![0, 255, 10],
                },
            ],
            lane: Some("customer 7".to_owned()),
        },
        staged(b"", None),
    ];
    let message = bed.message("k");
    message.granted().await;
    message.fail("no").await;
    let message = message.again();
    let minted = commit(&message, &outbox).await;
    assert!(minted[0].is_some() && minted[1].is_none(), "{minted:?}");
    let (kept, tries, attempt) = committed(&message.again()).await;
    assert_eq!(kept.messages, outbox);
    assert_eq!(numbers(kept.minted, 2), minted);
    assert_eq!((tries, attempt), (0, 2));
}

async fn numbers_are_minted_in_each_lane_and_never_twice(bed: Bed) {
    let outbox = [
        staged(b"1", Some("a")),
        staged(b"2", None),
        staged(b"3", Some("b")),
        staged(b"4", Some("a")),
    ];
    let first = commit(&bed.message("1"), &outbox).await;
    let second = commit(&bed.message("2"), &outbox).await;
    let a: Vec<u64> = [first[0], first[3], second[0], second[3]]
        .map(|number| number.expect("a lane has numbers"))
        .to_vec();
    assert!(a[0] >= 1);
    assert_eq!(a, [a[0], a[0] + 1, a[0] + 2, a[0] + 3]);
    assert_eq!([first[1], second[1]], [None, None]);
    assert_eq!(second[2], first[2].map(|number| number + 1));
}

async fn an_odd_lane_is_a_lane_and_an_empty_one_is_none(bed: Bed) {
    let long = "x".repeat(1000);
    let outbox = [
        staged(b"1", Some("é: {y} %")),
        staged(b"2", Some("")),
        staged(b"3", Some(&long)),
        staged(b"4", Some("a\0b")),
    ];
    let first = commit(&bed.message("1"), &outbox).await;
    assert_eq!(first[1], None);
    let second = commit(&bed.message("2"), &outbox).await;
    let next = |number: &Option<u64>| number.map(|number| number + 1);
    assert!(first[0].is_some() && first[2].is_some() && first[3].is_some());
    assert_eq!(second, first.iter().map(next).collect::<Vec<_>>());
}

async fn where_each_key_has_its_own_slot_no_number_can_be_minted(bed: Bed) {
    let mut message = bed.message("k").lane("lane");
    message.at.slot = Slot::Key;
    message.granted().await;
    let refused = bed
        .store
        .commit(
            &message.at,
            message.shown(),
            &Commit {
                lane: message.facts.lane.clone(),
                sequence: None,
                effects: Effects {
                    state: vec![StateChange::Set("seen".to_owned(), b"yes".to_vec())],
                    outbox: vec![staged(b"1", Some("a"))],
                    ..Effects::default()
                },
            },
        )
        .await
        .expect_err("a number was minted");
    assert_eq!(refused.kind, Kind::Permanent, "{refused}");
    let unchanged = message.granted().await;
    assert_eq!((unchanged.attempt, unchanged.state.values.len()), (1, 0));
    let minted = commit_again(&message, &[staged(b"1", None)]).await;
    assert_eq!(minted, [None]);
}

async fn a_repeated_commit_answers_with_the_same_numbers(bed: Bed) {
    let outbox = [staged(b"1", Some("a")), staged(b"2", None)];
    let message = bed.message("k");
    let first = commit(&message, &outbox).await;
    assert_eq!(commit_again(&message, &outbox).await, first);
    let next = commit(&bed.message("next"), &outbox).await;
    assert_eq!(next[0], first[0].map(|number| number + 1));
}

async fn a_published_claim_is_done_however_often_it_is_said(bed: Bed) {
    let message = bed.message("k");
    message.granted().await;
    assert_eq!(message.published().await, StepAnswer::Lost, "not yet");
    commit_again(&message, &[staged(b"1", None)]).await;
    assert_eq!(message.published().await, StepAnswer::Ok);
    assert_eq!(message.published().await, StepAnswer::Ok);
    assert_eq!(message.again().begin().await, BeginAnswer::Done);
    assert_eq!(
        message.commit().await,
        CommitAnswer::Done,
        "a commit whose answer was lost"
    );
    assert_eq!(message.undeliverable(3).await, UndeliverableAnswer::Lost);
}

async fn a_committed_claim_can_neither_fail_nor_be_released(bed: Bed) {
    let message = bed.message("k");
    commit(&message, &[staged(b"1", None)]).await;
    assert_eq!(message.fail("no").await, StepAnswer::Lost);
    assert_eq!(message.abandon().await, StepAnswer::Lost);
    assert_eq!(message.park(ParkReason::Rejected).await, StepAnswer::Lost);
    let refused = ReleaseAnswer::Refused(StateName::Committed);
    assert_eq!(message.release(None, true).await, refused);
    let refused = ReleaseAnswer::Refused(StateName::Committed);
    assert_eq!(message.replay().await, refused);
    committed(&message.again()).await;
}

async fn an_outbox_without_a_target_is_given_up_at_the_limit_and_keeps_its_effects(bed: Bed) {
    let message = bed.message("k").lane("lane");
    let outbox = [staged(b"unsendable", Some("a"))];
    let minted = commit(&message, &outbox).await;
    for tries in 1..3 {
        let again = UndeliverableAnswer::Again { tries };
        assert_eq!(message.undeliverable(3).await, again);
        assert_eq!(committed(&message.again()).await.1, tries);
    }
    assert_eq!(message.undeliverable(3).await, UndeliverableAnswer::GivenUp);
    assert_eq!(message.undeliverable(3).await, UndeliverableAnswer::GivenUp);
    match message.again().begin().await {
        BeginAnswer::Parking {
            reason,
            error,
            outbox: kept,
            attempt,
            ..
        } => {
            assert_eq!(reason, ParkReason::OutboxUndeliverable);
            assert_eq!(error.as_deref(), Some("no queue took it"));
            assert_eq!(kept.messages, outbox);
            assert_eq!(numbers(kept.minted, 1), minted);
            assert_eq!(attempt, 1);
        }
        other => panic!("{other:?}"),
    }
    let next = bed.message("next").lane("lane").granted().await;
    assert_eq!(
        next.state.values,
        [("seen".to_owned(), b"yes".to_vec())],
        "the effects stay"
    );
}

async fn a_replay_of_an_undeliverable_outbox_publishes_it_without_running_again(bed: Bed) {
    let message = bed.message("k");
    let outbox = [staged(b"unsendable", Some("a"))];
    let minted = commit(&message, &outbox).await;
    assert_eq!(message.undeliverable(1).await, UndeliverableAnswer::GivenUp);
    assert_eq!(message.buried().await, StepAnswer::Ok);
    assert_eq!(
        message.again().begin().await,
        BeginAnswer::Parked {
            reason: ParkReason::OutboxUndeliverable
        }
    );
    assert_eq!(message.replay().await, ReleaseAnswer::Released);
    let (kept, tries, _) = committed(&message.again()).await;
    assert_eq!(kept.messages, outbox);
    assert_eq!(numbers(kept.minted, 1), minted);
    assert_eq!(tries, 0);
    assert_eq!(message.published().await, StepAnswer::Ok);
    assert_eq!(message.again().begin().await, BeginAnswer::Done);
}

async fn an_outbox_that_was_given_up_twice_needs_a_second_letter(bed: Bed) {
    let message = bed.message("k");
    commit(&message, &[staged(b"unsendable", None)]).await;
    message.undeliverable(1).await;
    let first = message.last_fence().await;
    assert_eq!(message.buried_under(first).await, StepAnswer::Ok);
    assert_eq!(message.replay().await, ReleaseAnswer::Released);
    message.undeliverable(1).await;
    assert_eq!(message.buried_under(first).await, StepAnswer::Lost);
    assert_eq!(message.buried().await, StepAnswer::Ok);
}
