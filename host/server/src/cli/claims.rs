//! `claims` and `explain`.

use serde_json::{Value, json};
use ureq::http::StatusCode;

use super::args::{ClaimState, Claims, Global};
use super::client::Client;
use super::failure::Failure;
use super::operate::rows;
use super::output::{self, cell};

/// `claims`.
pub(super) fn claims(global: &Global, command: &Claims) -> Result<(), Failure> {
    let client = Client::find(global)?;
    match command {
        Claims::Show(of) => show(global, &client, &of.key),
        Claims::List { state, limit } => list(global, &client, *state, *limit),
        Claims::Release { key, to, force } => {
            let group = the_group(global, &client, key)?;
            let body = json!({"to": to, "force": force});
            let answer = client.post(&["claims", &group, key, "release"], &body)?;
            if global.json {
                return output::json(&answer);
            }
            let next = match to {
                Some(side) => format!("the side {side} owns it now"),
                None => "the next message with this key decides who owns it".to_owned(),
            };
            output::line(&format!("{}: released; {next}", output::shown(key)))
        }
    }
}

fn list(
    global: &Global,
    client: &Client,
    state: Option<ClaimState>,
    limit: u32,
) -> Result<(), Failure> {
    let state = state.map(|state| format!("{state:?}").to_lowercase());
    // One more tells whether these are all.
    let beyond = (limit + 1).to_string();
    let query: Vec<(&str, &str)> = [
        ("group", global.group.as_deref()),
        ("state", state.as_deref()),
        ("limit", Some(beyond.as_str())),
    ]
    .into_iter()
    .filter_map(|(name, value)| Some((name, value?)))
    .collect();
    let mut claims = client.get(&["claims"], &query)?;
    let limit = usize::try_from(limit).unwrap_or(usize::MAX);
    if let Some(all) = claims.as_array_mut()
        && all.len() > limit
    {
        all.truncate(limit);
        output::notice(&format!(
            "these are {limit} of more claims; see others with --limit, --group or --state"
        ));
    }
    if global.json {
        return output::json(&claims);
    }
    let head = ["group", "key", "side", "state", "attempt", "lane", "error"];
    let row = |claim: &Value| {
        let error = match (&claim["error"], &claim["reason"]) {
            (Value::Null, reason) => cell(reason),
            (error, _) => cell(error).chars().take(80).collect(),
        };
        [
            cell(&claim["group"]),
            cell(&claim["key"]),
            cell(&claim["side"]),
            cell(&claim["state"]),
            cell(&claim["attempt"]),
            cell(&claim["lane"]),
            error,
        ]
    };
    output::table(head, rows(&claims).map(row))
}

fn show(global: &Global, client: &Client, key: &str) -> Result<(), Failure> {
    let group = the_group(global, client, key)?;
    let claim = client.get(&["claims", &group, key], &[])?;
    if global.json {
        return output::json(&claim);
    }
    print(&claim)
}

pub(super) fn print(claim: &Value) -> Result<(), Failure> {
    output::pairs([
        ("group", cell(&claim["group"])),
        ("key", cell(&claim["key"])),
        ("side", cell(&claim["side"])),
        ("state", cell(&claim["state"])),
        ("reason", cell(&claim["reason"])),
        ("attempt", cell(&claim["attempt"])),
        ("fence", cell(&claim["fence"])),
        ("lane", cell(&claim["lane"])),
        ("error", cell(&claim["error"])),
        ("locked until", cell(&claim["locked_until"])),
    ])?;
    if rows(&claim["history"]).next().is_none() {
        return Ok(());
    }
    output::line("")?;
    let row = |step: &Value| {
        [
            cell(&step["at"]),
            cell(&step["step"]),
            cell(&step["side"]),
            cell(&step["attempt"]),
            cell(&step["detail"]),
        ]
    };
    output::table(
        ["at", "step", "side", "attempt", "detail"],
        rows(&claim["history"]).map(row),
    )
}

/// `explain`.
pub(super) fn explain(global: &Global, key: &str) -> Result<(), Failure> {
    let client = Client::find(global)?;
    let group = match find(global, &client, key)? {
        Found::In(group) => group,
        // What there is to say about a missing claim depends on its group.
        Found::Nowhere(groups) => match <[String; 1]>::try_from(groups) {
            Ok([only]) => only,
            Err(groups) => return Err(nowhere(key, &groups)),
        },
    };
    let answer = client.get(&["explain", &group, key], &[])?;
    if global.json {
        return output::json(&answer);
    }
    for sentence in rows(&answer["explanation"]) {
        output::line(&cell(sentence))?;
    }
    if answer["claim"].is_object() {
        output::line("")?;
        print(&answer["claim"])?;
    }
    Ok(())
}

/// Where a key was found.
enum Found {
    In(String),
    /// In none of these groups.
    Nowhere(Vec<String>),
}

/// The group of a key: the one named, the only one, or the only one that has a
/// claim with this key.
fn find(global: &Global, client: &Client, key: &str) -> Result<Found, Failure> {
    if key.is_empty() {
        return Err(Failure::Usage("a claim key is not empty".to_owned()));
    }
    if let Some(group) = &global.group {
        return Ok(Found::In(group.clone()));
    }
    let consumers = client.get(&["consumers"], &[])?;
    let mut groups: Vec<String> = rows(&consumers).map(|c| cell(&c["group"])).collect();
    groups.sort();
    groups.dedup();
    let mut with = Vec::new();
    for group in &groups {
        match client.ask(&["claims", group, key], &[])? {
            Ok(_) => with.push(group.clone()),
            Err(refusal) if refusal.status == StatusCode::NOT_FOUND => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
    match <[String; 1]>::try_from(with) {
        Ok([only]) => Ok(Found::In(only)),
        Err(none) if none.is_empty() => Ok(Found::Nowhere(groups)),
        Err(several) => Err(Failure::Usage(format!(
            "several groups have a claim with this key; name one with --group: {}",
            several.join(", ")
        ))),
    }
}

fn the_group(global: &Global, client: &Client, key: &str) -> Result<String, Failure> {
    match find(global, client, key)? {
        Found::In(group) => Ok(group),
        Found::Nowhere(groups) => Err(nowhere(key, &groups)),
    }
}

fn nowhere(key: &str, groups: &[String]) -> Failure {
    let groups = match groups {
        [] => "the host runs no consumer".to_owned(),
        groups => format!("looked in {}", groups.join(", ")),
    };
    Failure::Failed(format!("no claim has the key {key:?} ({groups})"))
}
