//! A store that misbehaves: what the host sees, and that asking again with the
//! same token finds out what happened.

use std::sync::Arc;
use std::time::Duration;

use holdfast_core::claim::steps::Shown;
use holdfast_core::claim::{BeginAnswer, BeginFacts, CommitAnswer, StepAnswer, Token};
use holdfast_core::key::ClaimKey;
use holdfast_core::name::{Group, Side};
use holdfast_embedded::{EmbeddedStore, FaultyStore};
use holdfast_ports::conformance;
use holdfast_ports::message::{Effects, StateChange};
use holdfast_ports::store::{Begin, Commit, Place, Slot, Store};

const SHOWN: Shown = Shown {
    token: Token(7),
    epoch: None,
};

fn place() -> Place {
    Place {
        group: Group::new("orders").unwrap(),
        key: ClaimKey::from_known("k"),
        slot: Slot::Group,
        lease: None,
        keep: Duration::from_secs(600),
    }
}

fn begin() -> Begin {
    let facts = BeginFacts {
        side: Side::new("new").unwrap(),
        owner_if_new: Side::new("new").unwrap(),
        token: SHOWN.token,
        fingerprint: None,
        lane: None,
        sequence: None,
        epoch: None,
        lock: Duration::from_secs(60),
        assign_timeout: Duration::from_secs(60),
        rule: None,
    };
    Begin {
        at: place(),
        facts,
        state: true,
    }
}

fn one_change() -> Commit {
    Commit {
        lane: None,
        sequence: None,
        effects: Effects {
            state: vec![StateChange::Set("a".to_owned(), b"1".to_vec())],
            state_version: Some(0),
            outbox: Vec::new(),
        },
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_without_faults_keeps_every_rule() {
    let store = Arc::new(FaultyStore::new(EmbeddedStore::open(None).unwrap()));
    conformance::store::run(async || store.clone() as Arc<dyn Store>).await;
}

#[tokio::test]
async fn a_failed_call_has_no_effect() {
    let store = FaultyStore::new(EmbeddedStore::open(None).unwrap());
    store.faults().fail_next(2);
    for _ in 0..2 {
        assert!(store.begin(begin()).await.unwrap_err().is_transient());
    }
    assert_eq!(store.show(&place()).await.unwrap(), None);
    assert_eq!(store.faults().calls(), ["begin", "begin", "show"]);
}

#[tokio::test]
async fn a_lost_answer_is_found_by_asking_again_with_the_same_token() {
    let store = FaultyStore::new(EmbeddedStore::open(None).unwrap());
    let faults = store.faults();
    faults.lose_replies(1);
    assert!(store.begin(begin()).await.unwrap_err().is_transient());
    let again = store.begin(begin()).await.unwrap();
    assert!(matches!(again, BeginAnswer::Granted { attempt: 1, .. }));

    faults.lose_replies(1);
    let commit = one_change();
    let lost = store.commit(&place(), SHOWN, &commit).await;
    assert!(lost.unwrap_err().is_transient());
    let again = store.commit(&place(), SHOWN, &commit).await.unwrap();
    assert_eq!(again, CommitAnswer::Done);
    let other = store.fail(&place(), SHOWN, "no").await.unwrap();
    assert_eq!(other, StepAnswer::Lost);
}

#[tokio::test]
async fn a_store_that_is_down_fails_every_call_until_it_is_back() {
    let store = FaultyStore::new(EmbeddedStore::open(None).unwrap());
    store.faults().down(true);
    assert!(!store.is_up());
    for _ in 0..3 {
        assert!(store.begin(begin()).await.unwrap_err().is_transient());
    }
    store.faults().down(false);
    assert!(store.is_up());
    store.begin(begin()).await.unwrap();
}

#[tokio::test]
async fn a_slow_store_answers_late() {
    let store = FaultyStore::new(EmbeddedStore::open(None).unwrap());
    let delay = Duration::from_millis(50);
    store.faults().delay(delay);
    let start = std::time::Instant::now();
    store.begin(begin()).await.unwrap();
    assert!(start.elapsed() >= delay);
}
