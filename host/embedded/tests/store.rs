//! The embedded store keeps the rules of every store, in memory and on disk,
//! and a file outlives the value.

use std::sync::Arc;

use holdfast_embedded::EmbeddedStore;
use holdfast_ports::conformance;
use holdfast_ports::store::{Open, Store};

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_in_memory_keeps_every_rule() {
    let store = Arc::new(EmbeddedStore::open(None).unwrap());
    conformance::store::run(async || store.clone() as Arc<dyn Store>).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_on_disk_keeps_every_rule() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/on/demand/claims.redb");
    let store = Arc::new(EmbeddedStore::open(Some(path)).unwrap());
    conformance::store::run(async || store.clone() as Arc<dyn Store>).await;
}

#[tokio::test]
async fn a_store_on_disk_is_the_same_store_after_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("claims.redb");
    let store = EmbeddedStore::open(Some(path.clone())).unwrap();
    let first = store.open(Open::Create).await.unwrap().unwrap();
    let first = first.incarnation;
    store.pulse(&first).await.unwrap();
    drop(store);
    let store = EmbeddedStore::open(Some(path)).unwrap();
    let second = store.open(Open::Look).await.unwrap().unwrap();
    let second = second.incarnation;
    assert_eq!((second.id, second.pulse), (first.id, 1));
}

#[tokio::test]
async fn a_file_that_is_open_already_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("claims.redb");
    let first = EmbeddedStore::open(Some(path.clone())).unwrap();
    let error = EmbeddedStore::open(Some(path.clone())).unwrap_err();
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );
    assert!(error.to_string().contains("only one process"), "{error}");
    drop(first);
    EmbeddedStore::open(Some(path)).unwrap();
}

#[tokio::test]
async fn a_file_that_is_no_store_is_refused_by_name() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("claims.redb");
    std::fs::write(&path, "not a database, but quite long, to be sure").unwrap();
    let error = EmbeddedStore::open(Some(path.clone())).unwrap_err();
    assert!(
        error.to_string().contains(path.to_str().unwrap()),
        "{error}"
    );
}

/// Bad input: Store | an embedded file with damaged bytes, or cut | refused by its name, or read; no crash, and the host goes on to say so
#[tokio::test]
async fn a_damaged_file_is_an_error_and_no_crash() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("claims.redb");
    let store = Arc::new(EmbeddedStore::open(Some(path.clone())).unwrap());
    conformance::store::run(async || store.clone() as Arc<dyn Store>).await;
    drop(store);
    let whole = std::fs::read(&path).unwrap();
    let mut refused = 0;
    for seed in 0..40_u64 {
        let mut bytes = whole.clone();
        // Of a linear congruential generator (Knuth, MMIX).
        let mut state = seed;
        let mut next = move || {
            state = state
                .wrapping_mul(6_364_136_223_846_793_005)
                .wrapping_add(1_442_695_040_888_963_407);
            (state >> 33) as usize
        };
        if seed % 4 == 0 {
            bytes.truncate(next() % whole.len());
        }
        for _ in 0..(1 << (seed % 12)) {
            if !bytes.is_empty() {
                let place = next() % bytes.len();
                bytes[place] ^= 1 << (next() % 8);
            }
        }
        let path = folder.path().join(format!("damaged-{seed}.redb"));
        std::fs::write(&path, &bytes).unwrap();
        match EmbeddedStore::open(Some(path.clone())) {
            Err(error) => {
                refused += 1;
                let text = error.to_string();
                assert!(text.contains(path.to_str().unwrap()), "{text}");
            }
            // What it finds later is an error of the call, whichever.
            Ok(store) => drop(store.open(Open::Create).await),
        }
    }
    assert!(refused > 0, "none was damaged enough");
}
