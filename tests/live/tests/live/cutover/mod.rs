//! A stream moves from one broker to another while both deliver every message.

mod deciding;
mod holding;
mod lanes;
mod moving;
mod switching;

use std::collections::BTreeMap;

use anyhow::{Result, ensure};
use holdfast_live::{Effect, Host, claim_path};
use serde_json::Value;

/// Messages `m-0` and so on, of which a fifth fails once or twice at first. Each
/// counts and publishes to the queue `out`.
fn messages(count: usize, out: &str) -> Vec<(String, Vec<u8>)> {
    let body = |n: usize| {
        format!(
            r#"{{"fail_times":{},"state_incr":"seen","publish_to":"{out}"}}"#,
            fails(n)
        )
    };
    (0..count)
        .map(|n| (format!("m-{n}"), body(n).into_bytes()))
        .collect()
}

/// How often message `n` fails.
fn fails(n: usize) -> u64 {
    match n % 10 {
        3 => 1,
        8 => 2,
        _ => 0,
    }
}

/// How many messages a host has completed, on one side or on both.
fn completed(host: &Host, labels: &[&str]) -> Result<f64> {
    let mut all = vec!["ending=\"completed\""];
    all.extend(labels);
    host.metric("holdfast_messages_total", &all)
}

/// The effects that one side made.
fn of_side<'e>(effects: &'e BTreeMap<String, Effect>, side: &str) -> Vec<&'e Effect> {
    effects.values().filter(|e| e.side == side).collect()
}

/// Every attempt at a claim, as the store remembers it, was made by the side
/// that made its effect.
fn expect_one_side(host: &Host, effect: &Effect) -> Result<()> {
    let claim = host.json(&claim_path("work", &effect.key))?;
    ensure!(claim["side"] == effect.side.as_str(), "{claim} {effect:?}");
    let steps = claim["history"].as_array().cloned().unwrap_or_default();
    let attempts = steps.iter().filter(|step| step["step"] == "begin");
    let attempts: Vec<&Value> = attempts.collect();
    ensure!(
        attempts
            .iter()
            .all(|step| step["side"] == effect.side.as_str()),
        "{claim}"
    );
    ensure!(
        attempts.len() as u64 == effect.attempt,
        "{claim} {effect:?}"
    );
    Ok(())
}
