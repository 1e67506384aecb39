//! State: written with the claim or not at all.

use holdfast_core::claim::{BeginAnswer, CommitAnswer};

use super::bed::{Bed, Message};
use super::cases;
use crate::message::{Effects, Snapshot, StateChange};
use crate::store::Slot;

cases![
    state_is_written_with_the_commit_and_read_with_the_next_grant,
    state_is_whatever_bytes_under_whatever_name,
    changes_apply_in_their_order,
    an_attempt_that_does_not_commit_leaves_no_state,
    a_lost_commit_writes_no_state,
    a_commit_on_state_that_moved_writes_nothing_and_may_be_repeated,
    a_repeated_commit_changes_the_state_once,
    the_version_grows_only_when_the_state_changes,
    state_belongs_to_the_lane_and_without_one_to_the_key,
    where_each_key_has_its_own_slot_state_is_of_the_key,
    state_is_shared_by_the_sides_of_a_group,
    a_begin_that_does_not_ask_for_state_gets_none,
];

fn set(name: &str, value: &[u8]) -> StateChange {
    StateChange::Set(name.to_owned(), value.to_vec())
}

fn changes(state: Vec<StateChange>) -> Effects {
    Effects {
        state,
        ..Effects::default()
    }
}

fn values(snapshot: &Snapshot) -> Vec<(&str, &[u8])> {
    let mut values: Vec<_> = snapshot
        .values
        .iter()
        .map(|(name, value)| (name.as_str(), value.as_slice()))
        .collect();
    values.sort_unstable();
    values
}

/// The state of a lane as a new message of it sees it.
async fn state_of(bed: &Bed, key: &str, lane: &str) -> (Message, Snapshot) {
    let message = bed.message(key).lane(lane);
    let state = message.granted().await.state;
    (message, state)
}

async fn state_is_written_with_the_commit_and_read_with_the_next_grant(bed: Bed) {
    let (first, state) = state_of(&bed, "1", "lane").await;
    assert_eq!(state.values, []);
    let answer = first.commit_with(changes(vec![set("total", b"5")])).await;
    assert_eq!(answer, CommitAnswer::Done);
    let (_, after) = state_of(&bed, "2", "lane").await;
    assert_eq!(values(&after), [("total", &b"5"[..])]);
    assert!(after.version > state.version);
}

async fn state_is_whatever_bytes_under_whatever_name(bed: Bed) {
    let every_byte: Vec<u8> = (0..=255).collect();
    let (first, _) = state_of(&bed, "1", "lane").await;
    first
        .commit_with(changes(vec![
            set("", b"unnamed"),
            set("empty", b""),
            set("name: \u{e9}\n{}\"%", &every_byte),
            set("version", b"mine"),
        ]))
        .await;
    let (_, after) = state_of(&bed, "2", "lane").await;
    assert_eq!(
        values(&after),
        [
            ("", &b"unnamed"[..]),
            ("empty", b""),
            ("name: \u{e9}\n{}\"%", &every_byte),
            ("version", b"mine"),
        ]
    );
}

async fn changes_apply_in_their_order(bed: Bed) {
    let (first, _) = state_of(&bed, "1", "lane").await;
    first
        .commit_with(changes(vec![
            set("a", b"1"),
            set("a", b"2"),
            set("b", b"1"),
            StateChange::Delete("b".to_owned()),
            StateChange::Delete("c".to_owned()),
            set("c", b"3"),
        ]))
        .await;
    let (second, after) = state_of(&bed, "2", "lane").await;
    assert_eq!(values(&after), [("a", &b"2"[..]), ("c", b"3")]);
    second
        .commit_with(changes(vec![
            StateChange::Delete("a".to_owned()),
            StateChange::Delete("c".to_owned()),
        ]))
        .await;
    let (_, empty) = state_of(&bed, "3", "lane").await;
    assert_eq!(values(&empty), []);
    assert!(empty.version > after.version, "it goes on growing");
}

async fn an_attempt_that_does_not_commit_leaves_no_state(bed: Bed) {
    let (first, _) = state_of(&bed, "1", "lane").await;
    first.fail("no").await;
    let (_, after) = state_of(&bed, "2", "lane").await;
    assert_eq!(after, Snapshot::default());
}

async fn a_lost_commit_writes_no_state(bed: Bed) {
    let (first, _) = state_of(&bed, "1", "lane").await;
    first.release(None, true).await;
    let answer = first.commit_with(changes(vec![set("a", b"1")])).await;
    assert_eq!(answer, CommitAnswer::Lost);
    let (_, after) = state_of(&bed, "2", "lane").await;
    assert_eq!(after, Snapshot::default());
}

async fn a_commit_on_state_that_moved_writes_nothing_and_may_be_repeated(bed: Bed) {
    let (slow, read) = state_of(&bed, "1", "lane").await;
    let (quick, _) = state_of(&bed, "2", "lane").await;
    quick.commit_with(changes(vec![set("a", b"quick")])).await;
    let mut effects = changes(vec![set("a", b"slow"), set("b", b"slow")]);
    effects.state_version = Some(read.version);
    let answer = slow.commit_with(effects.clone()).await;
    assert_eq!(answer, CommitAnswer::StateMoved);
    let fresh = slow.granted().await;
    assert_eq!(fresh.attempt, 1, "it is the same attempt");
    assert_eq!(values(&fresh.state), [("a", &b"quick"[..])]);
    effects.state_version = Some(fresh.state.version);
    assert_eq!(slow.commit_with(effects).await, CommitAnswer::Done);
    let (_, after) = state_of(&bed, "3", "lane").await;
    assert_eq!(values(&after), [("a", &b"slow"[..]), ("b", b"slow")]);
}

async fn a_repeated_commit_changes_the_state_once(bed: Bed) {
    let (first, read) = state_of(&bed, "1", "lane").await;
    let mut effects = changes(vec![set("a", b"1")]);
    effects.state_version = Some(read.version);
    assert_eq!(first.commit_with(effects.clone()).await, CommitAnswer::Done);
    let (second, after) = state_of(&bed, "2", "lane").await;
    second.commit_with(changes(vec![set("a", b"2")])).await;
    assert_eq!(first.commit_with(effects).await, CommitAnswer::Done);
    let (_, last) = state_of(&bed, "3", "lane").await;
    assert_eq!(values(&last), [("a", &b"2"[..])]);
    assert!(last.version > after.version);
}

async fn the_version_grows_only_when_the_state_changes(bed: Bed) {
    let (first, read) = state_of(&bed, "1", "lane").await;
    let only_read = Effects {
        state_version: Some(read.version),
        ..Effects::default()
    };
    assert_eq!(first.commit_with(only_read).await, CommitAnswer::Done);
    let (_, after) = state_of(&bed, "2", "lane").await;
    assert_eq!(after.version, read.version);
}

async fn state_belongs_to_the_lane_and_without_one_to_the_key(bed: Bed) {
    let (first, _) = state_of(&bed, "1", "lane").await;
    first.commit_with(changes(vec![set("a", b"lane")])).await;
    let (_, other) = state_of(&bed, "2", "other lane").await;
    assert_eq!(other, Snapshot::default());

    let keyed = bed.message("keyed");
    assert_eq!(keyed.granted().await.state, Snapshot::default());
    keyed.commit_with(changes(vec![set("a", b"key")])).await;
    let other = bed.message("another key").granted().await;
    assert_eq!(other.state, Snapshot::default());
}

async fn where_each_key_has_its_own_slot_state_is_of_the_key(bed: Bed) {
    let with_slot = |key: &str| {
        let mut message = bed.message(key).lane("lane");
        message.at.slot = Slot::Key;
        message
    };
    let first = with_slot("1");
    first.granted().await;
    first.commit_with(changes(vec![set("a", b"1")])).await;
    assert_eq!(first.again().begin().await, BeginAnswer::Done);
    let other = with_slot("2").granted().await;
    assert_eq!(other.state, Snapshot::default());
}

async fn state_is_shared_by_the_sides_of_a_group(bed: Bed) {
    let (first, _) = state_of(&bed, "1", "lane").await;
    first.commit_with(changes(vec![set("a", b"new")])).await;
    let grant = bed.message("2").lane("lane").on("old").granted().await;
    assert_eq!(values(&grant.state), [("a", &b"new"[..])]);
}

async fn a_begin_that_does_not_ask_for_state_gets_none(bed: Bed) {
    let (first, _) = state_of(&bed, "1", "lane").await;
    first.commit_with(changes(vec![set("a", b"1")])).await;
    let mut message = bed.message("2").lane("lane");
    message.state = false;
    match message.begin().await {
        BeginAnswer::Granted { state, .. } => assert_eq!(values(&state), []),
        other => panic!("{other:?}"),
    }
}
