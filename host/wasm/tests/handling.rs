//! What a call of a handler gives: outcomes, effects, and instances.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_core::settle::CallFailure;
use holdfast_ports::message::{Snapshot, StateChange, Target};
use holdfast_ports::plugins::{Instances, PluginSettings};
use holdfast_wasm::Options;
use support::*;

#[tokio::test]
async fn effects_are_staged_and_given_only_on_success() {
    let host = host();
    serve(&host, "probe", prebuilt("probe")).await;
    let mut with_state = call(r#"{"state_incr": "n", "publish_to": "other:out"}"#);
    with_state.state = Snapshot {
        version: 5,
        values: vec![("n".to_owned(), b"41".to_vec())],
    };
    let outcome = plugin(&host, "probe").handle(with_state).await;
    assert_eq!(outcome.result, Ok(()));
    let effects = &outcome.effects;
    assert_eq!(effects.state_version, Some(5));
    let set = StateChange::Set("n".to_owned(), b"42".to_vec());
    assert_eq!(effects.state, vec![set]);
    assert_eq!(effects.outbox.len(), 1);
    assert_eq!(effects.outbox[0].broker.as_deref(), Some("other"));
    assert_eq!(effects.outbox[0].to, Target::Queue("out".to_owned()));
    let report: serde_json::Value = serde_json::from_slice(&effects.outbox[0].body).expect("JSON");
    assert_eq!(report["key"], "k-1");
    assert_eq!(report["fence"], 9);
    assert_eq!(report["side"], "new");
    assert_eq!(report["count"], 42);
    let failing = r#"{"state_incr": "n", "publish_to": "no\nqueue"}"#;
    let outcome = handle(&host, "probe", failing).await;
    assert!(
        matches!(outcome.result, Err(CallFailure::Retry { .. })),
        "{outcome:?}"
    );
    assert!(outcome.effects.is_empty());
}

#[tokio::test]
async fn a_rejection_and_a_retry_carry_what_the_handler_said() {
    let host = host();
    serve(&host, "probe", prebuilt("probe")).await;
    let outcome = handle(&host, "probe", r#"{"reject": "why"}"#).await;
    assert_eq!(outcome.result, Err(CallFailure::Reject("why".to_owned())));
    let outcome = handle(&host, "probe", "[]").await;
    assert_eq!(
        outcome.result,
        Err(CallFailure::Reject("not json".to_owned()))
    );
    let outcome = handle(&host, "probe", r#"{"fail_times": 1}"#).await;
    assert!(matches!(outcome.result, Err(CallFailure::Retry { .. })));
    let mut second = call(r#"{"fail_times": 1}"#);
    second.attempt = 2;
    assert_eq!(plugin(&host, "probe").handle(second).await.result, Ok(()));
}

#[tokio::test]
async fn a_batch_gets_one_answer_for_each_message() {
    let host = host();
    serve(&host, "three", batch_guest(3)).await;
    let calls = |count: usize| (0..count).map(|_| call("{}")).collect::<Vec<_>>();
    let outcomes = plugin(&host, "three").handle_batch(calls(3)).await;
    assert_eq!(outcomes.len(), 3);
    assert!(outcomes.iter().all(|outcome| outcome.result == Ok(())));
    assert!(
        plugin(&host, "three")
            .handle_batch(Vec::new())
            .await
            .is_empty()
    );
    let outcomes = plugin(&host, "three").handle_batch(calls(5)).await;
    assert_eq!(outcomes.len(), 5);
    for outcome in &outcomes {
        assert!(broken(outcome).contains("3 answers to 5 messages"));
    }
}

#[tokio::test]
async fn the_wrong_kind_of_call_is_a_failure_and_says_why() {
    let host = host();
    serve(&host, "batch", batch_guest(1)).await;
    serve(&host, "probe", prebuilt("probe")).await;
    let outcome = handle(&host, "batch", "{}").await;
    assert!(broken(&outcome).contains("handles batches"));
    let outcomes = plugin(&host, "probe").handle_batch(vec![call("{}")]).await;
    assert!(broken(&outcomes[0]).contains("single messages"));
}

#[tokio::test]
async fn a_reused_instance_keeps_what_a_fresh_one_would_not() {
    // Answers success at the first call of an instance and rejects later.
    let body = format!(
        "(if (i32.eqz (i32.load (i32.const 2048))) (then
            (i32.store (i32.const 2048) (i32.const 1)) (return (i32.const 0))))
         {}",
        reject(0)
    );
    for (instances, expected) in [(Instances::Fresh, true), (Instances::Reuse, false)] {
        let host = host();
        let settings = PluginSettings {
            instances,
            ..settings()
        };
        serve_with(&host, "counts", guest(1, &body), settings).await;
        assert!(handle(&host, "counts", "{}").await.result.is_ok());
        assert_eq!(handle(&host, "counts", "{}").await.result.is_ok(), expected);
        // After the failure the next one is fresh again.
        assert!(handle(&host, "counts", "{}").await.result.is_ok());
    }
}

/// Hazard: wasmtime | instances pile up | idle ones give way
#[tokio::test]
async fn idle_instances_give_way_when_the_pool_is_full() {
    let host = with(Options {
        instances: 1,
        ..Options::default()
    });
    let reuse = PluginSettings {
        instances: Instances::Reuse,
        ..settings()
    };
    serve_with(&host, "one", guest(1, OK), reuse.clone()).await;
    serve_with(&host, "two", guest(1, OK), reuse).await;
    for name in ["one", "two", "one", "two"] {
        assert_eq!(handle(&host, name, "{}").await.result, Ok(()), "{name}");
    }
}

/// Hazard: wasmtime | a full pool is an error | permits in front of it
#[tokio::test]
async fn more_messages_than_places_wait_their_turn() {
    let host = Arc::new(with(Options {
        instances: 2,
        ..Options::default()
    }));
    serve(&host, "probe", prebuilt("probe")).await;
    let tasks: Vec<_> = (0..100)
        .map(|_| {
            let plugin = plugin(&host, "probe");
            tokio::spawn(async move { plugin.handle(call(r#"{"busy_ms": 2}"#)).await })
        })
        .collect();
    for task in tasks {
        assert_eq!(task.await.expect("no panic").result, Ok(()));
    }
}

/// Hazard: wasmtime | a call that is dropped half-way has panicked hosts | ended by its epoch deadline, never dropped
#[tokio::test]
async fn a_call_goes_on_when_its_caller_goes_away() {
    let kept = Arc::new(Kept::default());
    let host = with(Options {
        log: kept.clone(),
        ..Options::default()
    });
    serve(&host, "probe", prebuilt("probe")).await;
    let plugin = plugin(&host, "probe");
    let calls = plugin.handle(call(r#"{"log_bytes": 10, "busy_ms": 50}"#));
    let left = tokio::time::timeout(Duration::from_millis(1), calls).await;
    assert!(left.is_err(), "the caller went away");
    let until = Instant::now() + Duration::from_secs(20);
    while kept.lines().is_empty() {
        assert!(Instant::now() < until, "the call did not run");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(plugin.handle(call("{}")).await.result, Ok(()));
}
