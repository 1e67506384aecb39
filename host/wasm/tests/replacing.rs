//! One version replaces another while messages flow.

mod support;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use holdfast_core::settle::CallFailure;
use holdfast_ports::plugins::{PluginSettings, Plugins};
use holdfast_wasm::{Registry, RollbackError};
use support::*;

/// Two versions that can be told apart.
fn first() -> Vec<u8> {
    guest(1, OK)
}

fn second() -> Vec<u8> {
    guest(1, &reject(0))
}

/// Bad input: Plugins | a reload with calls in flight | they finish on the version they began with
#[tokio::test]
async fn a_call_in_flight_finishes_on_the_version_it_began_with() {
    let host = host();
    serve(&host, "probe", prebuilt("probe")).await;
    let old = plugin(&host, "probe");
    let old_digest = old.info().sha256.clone();
    let flying = {
        let old = old.clone();
        tokio::spawn(async move { old.handle(call(r#"{"busy_ms": 150}"#)).await })
    };
    serve(&host, "probe", second()).await;
    let outcome = handle(&host, "probe", "{}").await;
    assert!(matches!(outcome.result, Err(CallFailure::Reject(_))));
    assert_ne!(*outcome.sha256, *old_digest);
    let outcome = flying.await.expect("no panic");
    assert_eq!(outcome.result, Ok(()));
    assert_eq!(*outcome.sha256, *old_digest);
}

#[tokio::test]
async fn nothing_fails_while_versions_change_under_load() {
    let host = Arc::new(host());
    serve(&host, "orders", first()).await;
    let stop = Arc::new(AtomicBool::new(false));
    let callers: Vec<_> = (0..4)
        .map(|_| {
            let (host, stop) = (host.clone(), stop.clone());
            tokio::spawn(async move {
                let mut handled = 0;
                while !stop.load(Ordering::Acquire) {
                    let outcome = handle(&host, "orders", "{}").await;
                    assert!(
                        !matches!(outcome.result, Err(CallFailure::Broken(_))),
                        "{outcome:?}"
                    );
                    handled += 1;
                }
                handled
            })
        })
        .collect();
    for round in 0..20 {
        let bytes = if round % 2 == 0 { second() } else { first() };
        serve(&host, "orders", bytes).await;
    }
    stop.store(true, Ordering::Release);
    for caller in callers {
        assert!(caller.await.expect("no failure") > 0);
    }
}

#[tokio::test]
async fn going_back_brings_the_version_before_and_can_be_undone() {
    let host = host();
    assert_eq!(
        host.rollback("orders"),
        Err(RollbackError::NoPlugin("orders".to_owned()))
    );
    serve(&host, "orders", first()).await;
    assert!(matches!(
        host.rollback("orders"),
        Err(RollbackError::NoEarlierVersion(_))
    ));
    serve(&host, "orders", second()).await;
    let digest = |bytes: &[u8]| Registry::sha256(bytes);
    let now = host.rollback("orders").expect("there is one");
    assert_eq!(now.sha256, digest(&first()));
    assert_eq!(handle(&host, "orders", "{}").await.result, Ok(()));
    assert_eq!(
        host.before("orders").expect("the other").sha256,
        digest(&second())
    );
    let now = host.rollback("orders").expect("there is one");
    assert_eq!(now.sha256, digest(&second()));
}

#[tokio::test]
async fn a_change_of_settings_alone_is_no_other_version() {
    let host = host();
    serve(&host, "orders", first()).await;
    serve(&host, "orders", second()).await;
    let changed = PluginSettings {
        timeout: Duration::from_secs(1),
        ..settings()
    };
    serve_with(&host, "orders", second(), changed).await;
    let now = host.rollback("orders").expect("there is one");
    assert_eq!(now.sha256, Registry::sha256(&first()));
}

/// Bad input: Plugins | a file that is replaced while it is read | what was hashed is what runs
#[tokio::test]
async fn what_was_hashed_is_what_runs() {
    let host = host();
    let folder = tempfile::tempdir().expect("a folder");
    let path = folder.path().join("orders.wasm");
    std::fs::write(&path, first()).expect("written");
    let loaded = host.load_file("orders", &path, settings()).await;
    let loaded = loaded.expect("it loads");
    std::fs::write(&path, second()).expect("replaced");
    host.install(&loaded);
    std::fs::remove_file(&path).expect("deleted");
    let outcome = handle(&host, "orders", "{}").await;
    assert_eq!(outcome.result, Ok(()), "a deleted file goes on serving");
    assert_eq!(*outcome.sha256, *Registry::sha256(&first()));
}

/// Bad input: Plugins | a file that is deleted | goes on serving until the plugin is removed
#[tokio::test]
async fn a_removed_plugin_serves_no_new_messages() {
    let host = host();
    serve(&host, "orders", first()).await;
    let held = plugin(&host, "orders");
    assert!(host.remove("orders"));
    assert!(!host.remove("orders"));
    assert!(host.current("orders").is_none());
    assert!(host.list().is_empty());
    assert_eq!(held.handle(call("{}")).await.result, Ok(()));
}

#[tokio::test]
async fn the_list_says_what_serves_since_when() {
    let host = host();
    serve(&host, "b", first()).await;
    serve(&host, "a", second()).await;
    let list = host.list();
    let names: Vec<_> = list.iter().map(|info| info.name.as_str()).collect();
    assert_eq!(names, ["a", "b"]);
    assert!(list.iter().all(|info| info.since_ms > 0));
    assert_eq!(list[1].sha256, Registry::sha256(&first()));
    assert_eq!(list[1].bytes, first().len() as u64);
}
