//! Asking all hosts of the service what they have in hand.
//!
//! Whoever audits puts a question into the store; each host sees it within a
//! second and puts its answer beside it. Nothing of it outlives the audit, or
//! one minute, should the asking host die.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_core::key::ClaimKey;
use holdfast_ports::error::PortError;
use holdfast_ports::store::Store;
use serde_json::{Value, json};
use tokio::time::{Instant, sleep};

/// Flags of questions, and of the answers to them.
const PREFIX: &str = "muster/";

/// A host that does not consume, since it drains, answers within this time.
const AT_LEAST: Duration = Duration::from_millis(1500);
/// Afterwards a host that should answer and does not is told as such.
const AT_MOST: Duration = Duration::from_secs(5);
const LOOK: Duration = Duration::from_millis(50);

/// A question that is still there then was left behind.
const LEFT_BEHIND: Duration = Duration::from_secs(60);

/// What one host says about one consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Answer {
    /// Which host, by a random number.
    pub(super) host: u64,
    pub(super) group: String,
    pub(super) side: String,
    pub(super) queue: String,
    /// It takes messages from the queue now.
    pub(super) consumes: bool,
    /// The keys of what it has in hand.
    pub(super) held: BTreeSet<ClaimKey>,
}

/// The questions that a host knows, since when.
#[derive(Debug, Default)]
pub(crate) struct Known(BTreeMap<String, Instant>);

/// Answers the questions that are new. To be called whenever the store changed,
/// and once a second.
pub(crate) async fn answer(
    store: &dyn Store,
    host: u64,
    known: &mut Known,
    say: impl Fn() -> Vec<Value>,
) -> Result<(), PortError> {
    let flags = store.flags(PREFIX).await?;
    let asked: BTreeSet<&str> = flags.iter().filter_map(|(name, _)| nonce(name)).collect();
    known.0.retain(|nonce, _| asked.contains(nonce.as_str()));
    for nonce in asked {
        match known.0.get(nonce) {
            None => {
                known.0.insert(nonce.to_owned(), Instant::now());
                let name = format!("{PREFIX}{nonce}/{host:016x}");
                let said = Value::Array(say()).to_string();
                store.set_flag(&name, Some(&said)).await?;
            }
            Some(since) if since.elapsed() > LEFT_BEHIND => forget(store, nonce, &flags).await?,
            Some(_) => {}
        }
    }
    Ok(())
}

/// What a host says about one of its consumers.
pub(crate) fn about(
    group: &str,
    side: &str,
    queue: &str,
    consumes: bool,
    held: &BTreeSet<ClaimKey>,
) -> Value {
    let held: Vec<&str> = held.iter().map(ClaimKey::as_str).collect();
    json!({"group": group, "side": side, "queue": queue, "consumes": consumes, "held": held})
}

/// Asks all hosts. `enough` says whether these are the answers of all.
pub(super) async fn ask(
    store: &dyn Store,
    nonce: u64,
    enough: impl Fn(&[Answer]) -> bool,
) -> Result<Vec<Answer>, PortError> {
    let nonce = format!("{nonce:016x}");
    store
        .set_flag(&format!("{PREFIX}{nonce}"), Some("?"))
        .await?;
    let start = Instant::now();
    let answers = loop {
        sleep(LOOK).await;
        let flags = store.flags(&format!("{PREFIX}{nonce}/")).await?;
        let answers: Vec<Answer> = flags.iter().flat_map(read).collect();
        let waited = start.elapsed();
        if waited >= AT_MOST || (waited >= AT_LEAST && enough(&answers)) {
            break answers;
        }
    };
    let flags = store.flags(PREFIX).await?;
    forget(store, &nonce, &flags).await?;
    Ok(answers)
}

/// The answers go first: without its question an answer would be left behind.
async fn forget(
    store: &dyn Store,
    nonce: &str,
    flags: &[(String, String)],
) -> Result<(), PortError> {
    let question = format!("{PREFIX}{nonce}");
    let answers = format!("{question}/");
    for (name, _) in flags.iter().filter(|(name, _)| name.starts_with(&answers)) {
        store.set_flag(name, None).await?;
    }
    store.set_flag(&question, None).await
}

/// The question in the name of a flag.
fn nonce(name: &str) -> Option<&str> {
    let rest = name.strip_prefix(PREFIX)?;
    Some(rest.split('/').next().unwrap_or(rest))
}

/// What one host said. What cannot be understood says nothing.
fn read((name, said): &(String, String)) -> Vec<Answer> {
    let host = name.rsplit('/').next().unwrap_or_default();
    let Ok(host) = u64::from_str_radix(host, 16) else {
        return Vec::new();
    };
    let Ok(Value::Array(all)) = serde_json::from_str(said) else {
        return Vec::new();
    };
    let text = |value: &Value| value.as_str().unwrap_or_default().to_owned();
    let answers = all.iter().map(|one| Answer {
        host,
        group: text(&one["group"]),
        side: text(&one["side"]),
        queue: text(&one["queue"]),
        consumes: one["consumes"] == true,
        held: one["held"]
            .as_array()
            .into_iter()
            .flatten()
            .filter_map(Value::as_str)
            .map(ClaimKey::from_known)
            .collect(),
    });
    answers.collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_a_host_says_is_understood_by_another() {
        let held = BTreeSet::from([ClaimKey::from_known("a/b\"é")]);
        let said = Value::Array(vec![about("g", "s", "q", true, &held)]).to_string();
        let name = format!("{PREFIX}0000000000000007/{:016x}", 255);
        let expected = Answer {
            host: 255,
            group: "g".into(),
            side: "s".into(),
            queue: "q".into(),
            consumes: true,
            held,
        };
        assert_eq!(nonce(&name), Some("0000000000000007"));
        assert_eq!(read(&(name.clone(), said)), [expected]);
        assert_eq!(read(&(name, "{".into())), []);
        assert_eq!(nonce("paused/a"), None);
    }
}
