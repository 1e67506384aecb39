//! Many callers at once: each gets its own answer. The rates are printed only.

use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_core::claim::steps::Shown;
use holdfast_core::claim::{BeginAnswer, BeginFacts, CommitAnswer, Token};
use holdfast_core::key::ClaimKey;
use holdfast_core::name::{Group, Side};
use holdfast_embedded::EmbeddedStore;
use holdfast_ports::message::Effects;
use holdfast_ports::store::{Begin, Commit, Place, Slot, Store};

/// Claims and finishes one key.
async fn handle(store: &EmbeddedStore, key: u64) {
    let side = Side::new("new").unwrap();
    let at = Place {
        group: Group::new("orders").unwrap(),
        key: ClaimKey::from_known(&format!("order-{key}")),
        slot: Slot::Group,
        lease: None,
        keep: Duration::from_secs(600),
    };
    let shown = Shown {
        token: Token(key),
        epoch: None,
    };
    let facts = BeginFacts {
        side: side.clone(),
        owner_if_new: side,
        token: shown.token,
        fingerprint: None,
        lane: None,
        sequence: None,
        epoch: None,
        lock: Duration::from_secs(60),
        assign_timeout: Duration::from_secs(60),
        rule: None,
    };
    let begin = Begin {
        at: at.clone(),
        facts,
        state: false,
    };
    let begun = store.begin(begin).await.unwrap();
    assert!(matches!(begun, BeginAnswer::Granted { attempt: 1, .. }));
    let commit = Commit {
        lane: None,
        sequence: None,
        effects: Effects::default(),
    };
    let committed = store.commit(&at, shown, &commit).await.unwrap();
    assert_eq!(committed, CommitAnswer::Done);
}

/// Messages per second with this many handled at once.
async fn rate(store: EmbeddedStore, messages: u64, at_once: u64) -> f64 {
    let store = Arc::new(store);
    let start = Instant::now();
    let mut tasks = tokio::task::JoinSet::new();
    for first in 0..at_once {
        let store = store.clone();
        tasks.spawn(async move {
            for key in (first..messages).step_by(usize::try_from(at_once).unwrap()) {
                handle(&store, key).await;
            }
        });
    }
    tasks.join_all().await;
    #[expect(clippy::cast_precision_loss, reason = "a rate for people")]
    let rate = messages as f64 / start.elapsed().as_secs_f64();
    rate
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_of_a_store_on_disk_each_get_their_answer() {
    let folder = tempfile::tempdir().unwrap();
    let store = EmbeddedStore::open(Some(folder.path().join("claims.redb"))).unwrap();
    println!("on disk {:.0}/s", rate(store, 4000, 256).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn callers_of_a_store_in_memory_each_get_their_answer() {
    let store = EmbeddedStore::open(None).unwrap();
    println!("in memory {:.0}/s", rate(store, 4000, 64).await);
}
