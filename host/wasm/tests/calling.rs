//! What guests may do to the host when they are called: nothing.

mod support;

use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_core::settle::CallFailure;
use holdfast_ports::plugins::{Instances, PluginSettings};
use holdfast_wasm::{Limits, Options};
use support::*;

const SPIN: &str = "(loop $l (br $l)) (i32.const 0)";

/// Bad input: Plugins | an endless loop | ended at the limit: a failed attempt, the claim is kept
#[tokio::test]
async fn an_endless_loop_is_ended_at_its_limit_and_the_next_message_is_unharmed() {
    let host = host();
    serve_with(&host, "probe", prebuilt("probe"), hasty()).await;
    let outcome = handle(&host, "probe", r#"{"spin": true}"#).await;
    assert!(
        broken(&outcome).contains("time limit of 300ms"),
        "{outcome:?}"
    );
    assert!(outcome.ran >= Duration::from_millis(300), "{outcome:?}");
    assert_eq!(handle(&host, "probe", "{}").await.result, Ok(()));
}

#[tokio::test]
async fn guests_that_spin_on_every_thread_do_not_stop_the_messages_of_another_plugin() {
    let host = Arc::new(host());
    serve_with(
        &host,
        "spins",
        guest(1, SPIN),
        PluginSettings {
            timeout: Duration::from_secs(600),
            ..settings()
        },
    )
    .await;
    serve(&host, "probe", prebuilt("probe")).await;
    let interrupt = holdfast_ports::plugins::Interrupt::default();
    let spinning: Vec<_> = (0..8)
        .map(|_| {
            let mut call = call("{}");
            call.interrupt = interrupt.clone();
            let plugin = plugin(&host, "spins");
            tokio::spawn(async move { plugin.handle(call).await })
        })
        .collect();
    for _ in 0..20 {
        assert_eq!(handle(&host, "probe", "{}").await.result, Ok(()));
    }
    assert!(spinning.iter().all(|task| !task.is_finished()));
    interrupt.set();
    for task in spinning {
        let outcome = task.await.expect("no panic");
        assert!(broken(&outcome).contains("interrupted"), "{outcome:?}");
    }
}

/// Hazard: wasmtime | epochs do not stop calls of the host | they have deadlines
#[tokio::test]
async fn a_call_that_waits_for_the_host_is_ended_at_its_deadline() {
    let host = host();
    let settings = PluginSettings {
        deadline: Duration::from_millis(200),
        ..settings()
    };
    serve_with(&host, "sleeps", sleeper(), settings).await;
    let began = Instant::now();
    let outcome = handle(&host, "sleeps", "{}").await;
    assert!(
        broken(&outcome).contains("deadline of 200ms"),
        "{outcome:?}"
    );
    assert!(began.elapsed() < Duration::from_secs(30));
    assert!(outcome.ran < Duration::from_millis(200), "{outcome:?}");
}

#[tokio::test]
async fn many_calls_that_wait_share_the_threads() {
    let host = Arc::new(with(Options {
        threads: Some(1),
        ..Options::default()
    }));
    let settings = PluginSettings {
        deadline: Duration::from_millis(400),
        ..settings()
    };
    serve_with(&host, "sleeps", sleeper(), settings).await;
    let waiting: Vec<_> = (0..32)
        .map(|_| {
            let plugin = plugin(&host, "sleeps");
            tokio::spawn(async move { plugin.handle(call("{}")).await })
        })
        .collect();
    let began = Instant::now();
    for task in waiting {
        let outcome = task.await.expect("no panic");
        assert!(broken(&outcome).contains("deadline"), "{outcome:?}");
    }
    assert!(
        began.elapsed() < Duration::from_secs(8),
        "one after another"
    );
}

/// Bad input: Plugins | recursion without end | a failed attempt
#[tokio::test]
async fn a_deep_recursion_is_a_failure_like_any_other() {
    let host = host();
    serve(&host, "deep", guest(1, "(call $recurse (i32.const 0))")).await;
    for _ in 0..3 {
        let outcome = handle(&host, "deep", "{}").await;
        assert!(broken(&outcome).contains("call stack"), "{outcome:?}");
    }
}

/// Bad input: Plugins | memory that grows without end | ends at the limit: a failed attempt
#[tokio::test]
async fn memory_ends_at_its_limit() {
    let host = host();
    serve(&host, "probe", prebuilt("probe")).await;
    let outcome = handle(&host, "probe", r#"{"grow_mib": 200}"#).await;
    assert!(
        broken(&outcome).contains("memory limit of 64 MiB"),
        "{outcome:?}"
    );
    assert!(outcome.memory <= 64 << 20, "{outcome:?}");
    let outcome = handle(&host, "probe", r#"{"grow_mib": 40}"#).await;
    assert_eq!(outcome.result, Ok(()));
    assert!(outcome.memory > 40 << 20, "{outcome:?}");
    // What one instance had is not there for the next one.
    let outcome = handle(&host, "probe", "{}").await;
    assert!(outcome.memory < 8 << 20, "{outcome:?}");
}

/// Bad input: Plugins | a trap | a failed attempt; the next message is unharmed
/// Hazard: wasmtime | a trap poisons the store | the instance is thrown away
#[tokio::test]
async fn a_trap_leaves_the_next_message_unharmed() {
    for instances in [Instances::Fresh, Instances::Reuse] {
        let host = host();
        let settings = PluginSettings {
            instances,
            ..settings()
        };
        serve_with(&host, "probe", prebuilt("probe"), settings).await;
        for _ in 0..5 {
            let outcome = handle(&host, "probe", r#"{"trap": true}"#).await;
            assert!(broken(&outcome).contains("panicked or aborted"));
            assert_eq!(handle(&host, "probe", "{}").await.result, Ok(()));
        }
    }
}

/// Bad input: Plugins | an error text of 10 MB | cut
#[tokio::test]
async fn a_huge_error_text_is_cut() {
    let host = host();
    serve(&host, "loud", guest(200, &reject(10 << 20))).await;
    let outcome = handle(&host, "loud", "{}").await;
    let Err(CallFailure::Reject(text)) = outcome.result else {
        panic!("{outcome:?}");
    };
    assert!(text.len() <= 1024, "{}", text.len());
    let host = with(Options {
        limits: Limits {
            lift: 1 << 20,
            ..Limits::default()
        },
        ..Options::default()
    });
    serve(&host, "loud", guest(200, &reject(10 << 20))).await;
    broken(&handle(&host, "loud", "{}").await);
}

/// Bad input: Plugins | control characters in texts for the log | escaped
#[tokio::test]
async fn control_characters_in_an_error_text_are_escaped() {
    let host = host();
    let body = format!(
        "(i32.store (i32.const 32768) (i32.const 0x6d315b1b)) {}",
        reject(4)
    );
    serve(&host, "odd", guest(1, &body)).await;
    let outcome = handle(&host, "odd", "{}").await;
    let expected = CallFailure::Reject("\\u{1b}[1m".to_owned());
    assert_eq!(outcome.result, Err(expected));
}

/// Bad input: Plugins | a gigabyte of log | cut; memory stays flat
#[tokio::test]
async fn a_gigabyte_of_log_is_cut_and_costs_no_memory() {
    let kept = Arc::new(Kept::default());
    let host = with(Options {
        log: kept.clone(),
        ..Options::default()
    });
    let patient = PluginSettings {
        timeout: Duration::from_secs(50),
        ..settings()
    };
    serve_with(&host, "probe", prebuilt("probe"), patient).await;
    let before = resident();
    let outcome = handle(&host, "probe", r#"{"log_bytes": 1073741824}"#).await;
    assert_eq!(outcome.result, Ok(()), "cut, not failed");
    assert!(kept.bytes() < 80 << 10, "{}", kept.bytes());
    let lines = kept.lines();
    let last = lines.last().expect("a note");
    assert!(last.contains("cut, after 64 KiB"), "{last}");
    let grown = resident().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
    // The next message has a whole limit of its own.
    handle(&host, "probe", r#"{"log_bytes": 100}"#).await;
    assert!(
        kept.lines()
            .last()
            .expect("a line")
            .starts_with("Log k-1: xxx")
    );
}

/// Resident memory of this process in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok());
    kib.unwrap_or(0) << 10
}

/// Hazard: wasmtime | an output pipe traps when it is full | a sink that cuts
#[tokio::test]
async fn what_a_guest_prints_goes_to_the_log() {
    let kept = Arc::new(Kept::default());
    let host = with(Options {
        log: kept.clone(),
        ..Options::default()
    });
    serve(&host, "probe", prebuilt("probe")).await;
    // The standard library says on standard error why it aborts, if it does.
    let outcome = handle(&host, "probe", r#"{"grow_mib": 200}"#).await;
    broken(&outcome);
    let lines = kept.lines();
    assert!(
        lines
            .iter()
            .any(|line| line.starts_with("Stderr k-1: memory allocation")),
        "{lines:?}"
    );
}

/// Hazard: wasmtime | guests exhaust the host through calls of it | calls, log, state and outbox have limits
#[tokio::test]
async fn too_many_calls_of_the_host_end_a_call() {
    let host = with(Options {
        limits: Limits {
            host_calls: 100,
            ..Limits::default()
        },
        ..Options::default()
    });
    serve(&host, "probe", prebuilt("probe")).await;
    let outcome = handle(&host, "probe", r#"{"log_bytes": 100000000}"#).await;
    assert!(
        broken(&outcome).contains("100 calls to the host"),
        "{outcome:?}"
    );
}

/// Waits for an hour by the monotonic clock.
fn sleeper() -> Vec<u8> {
    let text = format!(
        r#"(component {TYPES}
            (import "wasi:io/poll@0.2.0" (instance $poll
                (export "pollable" (type $p (sub resource)))
                (export "[method]pollable.block" (func (param "self" (borrow $p))))))
            (alias export $poll "pollable" (type $pollable))
            (import "wasi:clocks/monotonic-clock@0.2.0" (instance $clock
                (alias outer 1 $pollable (type $p))
                (export "subscribe-duration" (func (param "when" u64) (result (own $p))))))
            (core func $block (canon lower (func $poll "[method]pollable.block")))
            (core func $after (canon lower (func $clock "subscribe-duration")))
            (core module $m
                (import "h" "block" (func $block (param i32)))
                (import "h" "after" (func $after (param i64) (result i32)))
                (memory (export "memory") 1)
                (func (export "realloc") (param i32 i32 i32 i32) (result i32) (i32.const 4096))
                (func (export "handle") (param i32) (result i32)
                    (call $block (call $after (i64.const 3600000000000)))
                    (i32.const 0)))
            (core instance $i (instantiate $m (with "h" (instance
                (export "block" (func $block)) (export "after" (func $after))))))
            (func $handle (param "message" $message) (result (result (error $failure)))
                (canon lift (core func $i "handle") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
            (instance $handler (export "handle" (func $handle)))
            (export "holdfast:consumer/handler@0.1.0" (instance $handler)))"#
    );
    component(&text)
}
