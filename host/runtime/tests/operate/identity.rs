//! A store that went back, or was exchanged, is not gone on with before an
//! operator accepts it.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::incarnation::Difference;
use holdfast_embedded::{EmbeddedStore, Faults, FaultyStore};
use holdfast_ports::broker::{Broker, Incarnation, Keep};
use holdfast_ports::store::{Open, Store};
use holdfast_runtime::identity::{Gate, Guard};
use tokio::time::sleep;

use crate::bed::{Bed, Does, spec};

/// A store and an older copy of it.
struct Stores {
    current: FaultyStore<EmbeddedStore>,
    older: Arc<EmbeddedStore>,
    _folder: tempfile::TempDir,
}

impl Stores {
    async fn new() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let [path, copy] = ["current", "older"].map(|name| folder.path().join(name));
        let first = EmbeddedStore::open(Some(path.clone())).expect("a store");
        first.open(Open::Create).await.expect("an incarnation");
        drop(first);
        std::fs::copy(&path, &copy).expect("a copy");
        let current = EmbeddedStore::open(Some(path)).expect("a store");
        Self {
            current: FaultyStore::new(current),
            older: Arc::new(EmbeddedStore::open(Some(copy)).expect("a store")),
            _folder: folder,
        }
    }

    /// As one host sees it.
    fn client(&self) -> (Arc<dyn Store>, Faults) {
        let client = self.current.client();
        let faults = client.faults();
        (Arc::new(client), faults)
    }

    /// The older copy is as many beats behind.
    async fn fall_behind(&self, beats: u64) -> Incarnation {
        let now = at(&self.current).await;
        while at(self.older.as_ref()).await.pulse + beats < now.pulse {
            let old = at(self.older.as_ref()).await;
            self.older.pulse(&old).await.expect("raised");
        }
        at(self.older.as_ref()).await
    }
}

async fn at(store: &dyn Store) -> Incarnation {
    let found = store.open(Open::Look).await.expect("an answer");
    found.expect("an incarnation").incarnation
}

/// A host's guard, whose broker remembers this.
fn guard(bed: &Bed, store: Arc<dyn Store>) -> Guard {
    let broker: Arc<dyn Broker> = bed.broker("work");
    Guard::new(store, "test", BTreeMap::from([("main".to_owned(), broker)]))
}

async fn looked(guard: &Guard) -> Gate {
    guard.look().await.expect("an answer");
    guard.gate().borrow().clone()
}

/// Why it halted.
fn halted(gate: Gate) -> String {
    match gate {
        Gate::Halted(why) => why,
        other => panic!("it goes on: {other:?}"),
    }
}

#[tokio::test]
async fn a_store_that_went_back_by_as_many_beats_as_there_are_hosts_is_noticed_by_each() {
    let (bed, stores) = (Bed::new(), Stores::new().await);
    let [(one, one_faults), (two, two_faults)] = [stores.client(), stores.client()];
    let guards = [guard(&bed, one), guard(&bed, two)];
    for _ in 0..3 {
        for guard in &guards {
            assert_eq!(looked(guard).await, Gate::Open);
        }
    }
    let old = stores.fall_behind(2).await;
    for faults in [one_faults, two_faults] {
        faults.fail_over(stores.older.clone());
    }
    // The first sees two beats less, the second one beat less.
    for guard in &guards {
        let why = halted(looked(guard).await);
        assert!(why.contains("holdfast store accept"), "{why}");
    }
    assert_eq!(at(stores.older.as_ref()).await, old, "nobody raised it");
}

#[tokio::test]
async fn a_restart_is_no_way_around_what_was_noticed() {
    let (bed, stores) = (Bed::new(), Stores::new().await);
    let (store, faults) = stores.client();
    let first = guard(&bed, store);
    assert_eq!(looked(&first).await, Gate::Open);
    first.confirm("main").await.expect("an answer");
    for _ in 0..4 {
        looked(&first).await;
    }
    // Less than the broker's copy is behind, which is not renewed with each beat.
    stores.fall_behind(1).await;
    faults.fail_over(stores.older.clone());
    halted(looked(&first).await);
    for _ in 0..2 {
        let restarted = guard(&bed, stores.older.clone());
        let why = halted(looked(&restarted).await);
        assert!(why.contains("remembered by the broker main"), "{why}");
        halted(looked(&restarted).await);
    }
}

#[tokio::test]
async fn a_host_that_starts_afresh_sees_that_the_store_is_another_or_empty() {
    let (bed, stores) = (Bed::new(), Stores::new().await);
    let (store, _) = stores.client();
    let first = guard(&bed, store);
    looked(&first).await;
    first.confirm("main").await.expect("an answer");
    let empty = EmbeddedStore::open(None).expect("a store");
    let other = EmbeddedStore::open(None).expect("a store");
    other.open(Open::Create).await.expect("an incarnation");
    for (store, expected) in [(empty, "lost its incarnation"), (other, "another store")] {
        let store = Arc::new(store);
        let why = halted(looked(&guard(&bed, store.clone())).await);
        assert!(why.contains(expected), "{why}");
        let found = store.open(Open::Look).await.expect("an answer");
        let pulse = found.map_or(0, |found| found.incarnation.pulse);
        assert_eq!(pulse, 0, "nothing was written");
    }
}

/// Also those whose broker nobody told, as a host of one side of a migration does
/// not know the other side's broker.
#[tokio::test]
async fn accepting_at_one_host_is_heard_by_all() {
    let (mut bed, stores) = (Bed::new(), Stores::new().await);
    let [(one, one_faults), (two, two_faults)] = [stores.client(), stores.client()];
    let first = guard(&bed, one);
    let kept = std::mem::take(&mut bed.kept);
    let second = guard(&bed, two);
    for guard in [&first, &second] {
        looked(guard).await;
        guard.confirm("main").await.expect("an answer");
        looked(guard).await;
    }
    stores.fall_behind(3).await;
    for faults in [one_faults, two_faults] {
        faults.fail_over(stores.older.clone());
    }
    halted(looked(&first).await);
    halted(looked(&second).await);
    let accepted = first.accept().await.expect("accepted");
    assert_eq!(*first.gate().borrow(), Gate::Open);
    assert_eq!(looked(&second).await, Gate::Open);
    for guard in [&first, &second] {
        guard.confirm("main").await.expect("an answer");
        assert_eq!(looked(guard).await, Gate::Open);
    }
    for copy in [kept, bed.kept.clone()] {
        let copy = copy.lock().expect("whole").clone();
        assert_eq!(copy.map(|copy| copy.id), Some(accepted.id.clone()));
    }
    assert_eq!(looked(&guard(&bed, stores.older.clone())).await, Gate::Open);
    // What was accepted is watched as what was before.
    let more = Incarnation {
        pulse: 1_000,
        ..accepted
    };
    let broker = bed.broker("work");
    broker
        .incarnation("test", Keep::Replace(more))
        .await
        .expect("kept");
    halted(looked(&guard(&bed, stores.older.clone())).await);
}

/// Its claim is there, with its token: only that the host knows better keeps it
/// from committing.
#[tokio::test(start_paused = true)]
async fn what_a_halted_host_has_in_hand_is_neither_committed_nor_acknowledged() {
    let bed = Bed::new();
    let mut spec = spec();
    spec.backoff.attempts = 2;
    let stage = bed.host(spec).await;
    bed.handler.with("a", Does::Waits);
    bed.publish("work", "a", "a").await;
    let in_flight = || stage.host.status()[0].1.ledger.in_flight;
    stage
        .until("it has it in hand", async || in_flight() == 1)
        .await;

    let known = at(bed.store.as_ref()).await;
    let older = Difference::Older {
        remembered: known.pulse + 1,
        found: known.pulse,
    };
    stage.host.guard().halt(&older, &known, "");
    stage
        .until("it says so", async || stage.phase() == "waiting")
        .await;
    bed.handler.let_go(1);
    stage
        .until("nothing is in hand", async || in_flight() == 0)
        .await;
    sleep(Duration::from_secs(5)).await;
    assert_eq!(stage.state("a").await, "running");
    assert_eq!(stage.depth("work").await, 1);

    bed.handler.mend();
    // The lock of the attempt that was not recorded.
    bed.pass(Duration::from_secs(60));
    stage.host.guard().accept().await.expect("accepted");
    stage
        .until("it is done", async || stage.state("a").await == "done")
        .await;
    stage.settle().await;
    stage.host.drain().await;
}
