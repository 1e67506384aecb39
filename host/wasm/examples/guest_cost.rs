//! What one call of a guest costs, without broker and store: prints a line of
//! JSON with microseconds per message, on a fresh instance, on a reused one and
//! in batches of 64, each the best of several rounds on one thread; and the
//! same for fresh instances through the pool of guest threads.
//!
//! `cargo run --release -p holdfast-wasm --example guest_cost -- FOLDER`, where
//! the folder has `bench-json.wasm` and `bench-batch.wasm`. With a number behind
//! it, only fresh instances, that many times as often: for a profiler.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_core::settle::CallFailure;
use holdfast_ports::message::{Header, Incoming, Snapshot};
use holdfast_ports::plugins::{Call, Instances, Interrupt, Outcome, Plugin as _, PluginSettings};
use holdfast_wasm::{Options, Registry, Serving};

/// Short rounds and many: the best one was not disturbed.
const ROUNDS: usize = 60;
const CALLS: usize = 512;
const BATCH: usize = 64;

#[tokio::main(flavor = "multi_thread", worker_threads = 1)]
async fn main() -> Result<(), Box<dyn std::error::Error>> {
    let folder = std::env::args_os()
        .nth(1)
        .ok_or("usage: guest_cost FOLDER")?;
    let folder = PathBuf::from(folder);
    let host = Registry::new(Options::default())?;
    let json = find(&folder, "bench-json")?;
    let batch = find(&folder, "bench-batch")?;
    let fresh = serve(&host, "fresh", &json, Instances::Fresh).await?;
    let reused = serve(&host, "reused", &json, Instances::Reuse).await?;
    let batches = serve(&host, "batches", &batch, Instances::Reuse).await?;
    let times = std::env::args().nth(2).map(|times| times.parse::<u32>());
    for _ in 1..times.transpose()?.unwrap_or(1) {
        best(|calls| all(calls, |call| fresh.handle_here(call)))?;
    }
    let fresh_us = best(|calls| all(calls, |call| fresh.handle_here(call)))?;
    let reused_us = best(|calls| all(calls, |call| reused.handle_here(call)))?;
    let batch_us = best(|mut calls| {
        let mut spent = Duration::ZERO;
        while !calls.is_empty() {
            let part = calls.split_off(calls.len().saturating_sub(BATCH));
            let began = Instant::now();
            let outcomes = batches.handle_batch_here(part);
            spent += began.elapsed();
            check(&outcomes)?;
        }
        Ok(spent)
    })?;
    let pool_us = through_the_pool(&fresh).await?;
    println!(
        r#"{{"fresh_us":{fresh_us:.2},"reused_us":{reused_us:.2},"batch_us":{batch_us:.2},"pool_us":{pool_us:.2}}}"#
    );
    Ok(())
}

fn find(folder: &Path, name: &str) -> Result<Vec<u8>, String> {
    let names = [
        format!("{name}.wasm"),
        format!("{}.wasm", name.replace('-', "_")),
    ];
    let paths = names.iter().map(|name| folder.join(name));
    let mut found = paths.filter_map(|path| std::fs::read(path).ok());
    found
        .next()
        .ok_or_else(|| format!("no {} in {}", names[0], folder.display()))
}

async fn serve(
    host: &Registry,
    name: &str,
    bytes: &[u8],
    instances: Instances,
) -> Result<Arc<Serving>, Box<dyn std::error::Error>> {
    let settings = PluginSettings {
        instances,
        ..PluginSettings::default()
    };
    host.install(&host.load(name, bytes.to_vec(), settings).await?);
    Ok(host.serving(name).ok_or("it was just installed")?)
}

/// Microseconds per message of the best round.
fn best(mut round: impl FnMut(Vec<Call>) -> Result<Duration, String>) -> Result<f64, String> {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        best = best.min(round(calls())?);
    }
    Ok(per_message(best))
}

fn all(calls: Vec<Call>, mut handle: impl FnMut(Call) -> Outcome) -> Result<Duration, String> {
    let mut outcomes = Vec::with_capacity(calls.len());
    let began = Instant::now();
    for call in calls {
        outcomes.push(handle(call));
    }
    let spent = began.elapsed();
    check(&outcomes)?;
    Ok(spent)
}

/// As the runtime calls it: 64 messages at once, by the public interface.
async fn through_the_pool(plugin: &Arc<Serving>) -> Result<f64, Box<dyn std::error::Error>> {
    let mut best = Duration::MAX;
    for _ in 0..ROUNDS {
        let mut parts: Vec<Vec<Call>> = vec![Vec::new(); BATCH];
        for (index, call) in calls().into_iter().enumerate() {
            parts[index % BATCH].push(call);
        }
        let began = Instant::now();
        let tasks: Vec<_> = parts
            .into_iter()
            .map(|part| {
                let plugin = plugin.clone();
                tokio::spawn(async move {
                    let mut outcomes = Vec::with_capacity(part.len());
                    for call in part {
                        outcomes.push(plugin.handle(call).await);
                    }
                    outcomes
                })
            })
            .collect();
        for task in tasks {
            check(&task.await?)?;
        }
        best = best.min(began.elapsed());
    }
    Ok(per_message(best))
}

fn per_message(spent: Duration) -> f64 {
    spent.as_secs_f64() * 1e6 / CALLS as f64
}

fn check(outcomes: &[Outcome]) -> Result<(), String> {
    for outcome in outcomes {
        match &outcome.result {
            Ok(()) => {}
            Err(
                CallFailure::Retry { reason: text, .. }
                | CallFailure::Reject(text)
                | CallFailure::Broken(text),
            ) => return Err(format!("a call failed: {text}")),
        }
    }
    Ok(())
}

fn calls() -> Vec<Call> {
    let padding = "x".repeat(900);
    let body = format!(r#"{{"id":"A-1","customer":"c-17","amount":1250,"note":"{padding}"}}"#);
    let message = Arc::new(Incoming {
        id: Some("m-1".to_owned()),
        body: body.into_bytes().into(),
        content_type: Some("application/json".to_owned()),
        headers: vec![Header::text("source", "bench")],
        routing_key: "bench".to_owned(),
        ..Incoming::default()
    });
    let call = Call {
        message,
        key: "m-1".to_owned(),
        encoded_key: "m-1".to_owned(),
        lane: None,
        consumer: "bench".into(),
        group: "bench".into(),
        side: "bench".into(),
        attempt: 1,
        fence: 1,
        sequence: None,
        state: Snapshot::default(),
        brokers: Vec::new().into(),
        interrupt: Interrupt::default(),
    };
    vec![call; CALLS]
}
