//! The commands that look at a running host or change it, but for claims.

use std::collections::BTreeSet;

use holdfast_core::halt::Then;
use holdfast_core::key::ClaimKey;
use serde_json::{Value, json};
use ureq::http::StatusCode;

use super::args::{Cutover, CutoverSet, Global, Lease, Plugins, Resume};
use super::client::Client;
use super::failure::Failure;
use super::output::{self, cell};
use crate::config::show_duration;

/// `pause`.
pub(super) fn pause(global: &Global, consumer: &str) -> Result<(), Failure> {
    let answer = Client::find(global)?.post(&["consumers", consumer, "pause"], &json!({}))?;
    if global.json {
        return output::json(&answer);
    }
    for name in texts(&answer["consumers"]) {
        output::line(&format!("{name}: paused; messages in flight finish"))?;
    }
    Ok(())
}

/// `resume`.
pub(super) fn resume(global: &Global, of: &Resume) -> Result<(), Failure> {
    let then = match (of.skip, of.halt_again) {
        (true, _) => Then::Skip,
        (false, true) => Then::HaltAgain,
        (false, false) => Then::GoOn,
    };
    let body = json!({"lane": of.lane, "then": then.as_str()});
    let answer = Client::find(global)?.post(&["consumers", &of.consumer, "resume"], &body)?;
    if global.json {
        return output::json(&answer);
    }
    if of.lane.is_none() {
        for name in texts(&answer["consumers"]) {
            output::line(&format!("{name}: resumed"))?;
        }
    }
    let next = match then {
        Then::GoOn => "is tried again, and dead-lettered if it is given up again",
        Then::HaltAgain => "is tried again, and halts it again if it is given up again",
        Then::Skip => "is dead-lettered",
    };
    for lane in rows(&answer["lanes"]) {
        let of = match lane["lane"].as_str() {
            Some(lane) => format!("lane {}", output::shown(lane)),
            None => "the halted queue".to_owned(),
        };
        let (name, key) = (cell(&lane["consumer"]), cell(&lane["key"]));
        output::line(&format!("{name}: {of} goes on; its message {key} {next}"))?;
    }
    Ok(())
}

/// `lease`.
pub(super) fn lease(global: &Global, command: &Lease) -> Result<(), Failure> {
    let client = Client::find(global)?;
    match command {
        Lease::Show => {
            let leases = client.get(&["leases"], &[])?;
            if global.json {
                return output::json(&leases);
            }
            let head = ["consumer", "group", "leader", "epoch", "ends in", "here"];
            output::table(
                head,
                rows(&leases).map(|lease| {
                    let leader = &lease["leader"];
                    let left = leader["left_ms"].as_u64();
                    let left = left.map_or("-".to_owned(), |ms| {
                        format!("{}.{} s", ms / 1000, ms % 1000 / 100)
                    });
                    [
                        cell(&lease["consumer"]),
                        cell(&lease["group"]),
                        cell(&leader["owner"]),
                        cell(&leader["epoch"]),
                        left,
                        cell(&leader["here"]),
                    ]
                }),
            )
        }
        Lease::StepDown(of) => {
            let answer = client.post(&["consumers", &of.consumer, "step-down"], &json!({}))?;
            if global.json {
                return output::json(&answer);
            }
            for name in texts(&answer["consumers"]) {
                output::line(&format!(
                    "{name}: stepping down once what is in flight has ended"
                ))?;
            }
            Ok(())
        }
    }
}

/// `cutover`.
pub(super) fn cutover(global: &Global, command: &Cutover) -> Result<(), Failure> {
    let client = Client::find(global)?;
    let rule = match command {
        Cutover::Show { name } => client.get(&["cutover", name], &[])?,
        Cutover::Set(set) => change(&client, set)?,
    };
    if global.json {
        return output::json(&rule);
    }
    let allow: Vec<String> = texts(&rule["allow"]).map(output::shown).collect();
    let pairs = [
        ("group", cell(&rule["group"])),
        ("from", cell(&rule["from"])),
        ("to", cell(&rule["to"])),
        ("enabled", cell(&rule["enabled"])),
        ("percent", cell(&rule["percent"])),
        (
            "allow",
            if allow.is_empty() {
                "-".to_owned()
            } else {
                allow.join(", ")
            },
        ),
        ("assign-timeout", cell(&rule["assign_timeout"])),
        ("revision", cell(&rule["revision"])),
    ];
    output::pairs(pairs)
}

/// Tries again when somebody else changed the rule in between, unless a
/// revision was named: only what was asked for is changed.
fn change(client: &Client, set: &CutoverSet) -> Result<Value, Failure> {
    const TRIES: u32 = 5;
    let path = ["cutover", set.name.as_str()];
    let mut tries = 0;
    loop {
        tries += 1;
        let now = client.get(&path, &[])?;
        match client.put(&path, &changed(&now, set))? {
            Ok(rule) => return Ok(rule),
            Err(refusal)
                if refusal.status == StatusCode::CONFLICT
                    && set.expect.is_none()
                    && tries < TRIES => {}
            Err(refusal) => return Err(refusal.into()),
        }
    }
}

fn changed(now: &Value, set: &CutoverSet) -> Value {
    let mut body = json!({"revision": now["revision"]});
    if let Some(revision) = set.expect {
        body["revision"] = revision.into();
    }
    if set.enable || set.disable {
        body["enabled"] = set.enable.into();
    }
    for (field, side) in [("from", &set.from), ("to", &set.to)] {
        if let Some(side) = side {
            body[field] = side.as_str().into();
        }
    }
    if let Some(wait) = set.assign_timeout {
        body["assign_timeout"] = show_duration(wait).into();
    }
    if let Some(percent) = set.percent {
        body["percent"] = percent.to_string().into();
    }
    if !set.allow.is_empty() || !set.disallow.is_empty() {
        let known = |key: &str| ClaimKey::from_known(key).as_str().to_owned();
        let mut allow: BTreeSet<String> = texts(&now["allow"]).map(known).collect();
        allow.extend(set.allow.iter().map(|key| known(key)));
        for key in &set.disallow {
            allow.remove(&known(key));
        }
        body["allow"] = json!(allow);
    }
    body
}

/// `plugins`.
pub(super) fn plugins(global: &Global, command: &Plugins) -> Result<(), Failure> {
    let client = Client::find(global)?;
    let (name, verb) = match command {
        Plugins::List => return list(global, &client),
        Plugins::Reload(of) => (&of.plugin, "reload"),
        Plugins::Rollback(of) => (&of.plugin, "rollback"),
    };
    let plugin = client.post(&["plugins", name, verb], &json!({}))?;
    if global.json {
        return output::json(&plugin);
    }
    let version = cell(&plugin["version"]);
    output::line(&format!(
        "{name}: {} is in service (version {version})",
        digest(&plugin["sha256"])
    ))
}

fn list(global: &Global, client: &Client) -> Result<(), Failure> {
    let plugins = client.get(&["plugins"], &[])?;
    if global.json {
        return output::json(&plugins);
    }
    let head = [
        "plugin", "digest", "version", "world", "since", "before", "file",
    ];
    output::table(
        head,
        rows(&plugins).map(|plugin| {
            [
                cell(&plugin["name"]),
                digest(&plugin["sha256"]),
                cell(&plugin["version"]),
                cell(&plugin["world"]),
                cell(&plugin["since"]),
                digest(&plugin["previous"]),
                cell(&plugin["file"]),
            ]
        }),
    )?;
    for plugin in rows(&plugins) {
        if let Some(why) = plugin["refused"].as_str() {
            output::notice(&format!(
                "{}: its file is refused: {}",
                cell(&plugin["name"]),
                output::shown(why)
            ));
        }
    }
    Ok(())
}

/// The first digits, enough to tell versions apart.
fn digest(value: &Value) -> String {
    cell(value).chars().take(12).collect()
}

/// `store accept`.
pub(super) fn accept_store(global: &Global) -> Result<(), Failure> {
    let answer = Client::find(global)?.post(&["store", "accept"], &json!({}))?;
    if global.json {
        return output::json(&answer);
    }
    output::line(&format!("the store {} is accepted", cell(&answer["id"])))
}

pub(super) fn rows(value: &Value) -> impl Iterator<Item = &Value> {
    value.as_array().into_iter().flatten()
}

fn texts(value: &Value) -> impl Iterator<Item = &str> {
    rows(value).filter_map(Value::as_str)
}

#[cfg(test)]
mod tests {
    use clap::Parser as _;

    use super::super::args::{Cli, Command};
    use super::*;

    fn change_of(line: &str) -> Value {
        let words = std::iter::once("holdfast").chain(line.split_whitespace());
        let cli = Cli::try_parse_from(words).expect("a right command");
        let Command::Cutover(Cutover::Set(set)) = cli.command else {
            panic!("another command was read");
        };
        let now = json!({"revision": 7, "enabled": true, "percent": 10.0, "allow": ["a", "b"]});
        changed(&now, &set)
    }

    #[test]
    fn a_change_of_the_rule_says_only_what_was_asked_for() {
        assert_eq!(
            change_of("cutover set orders --percent 0.29"),
            json!({"revision": 7, "percent": "0.29"})
        );
        assert_eq!(
            change_of("cutover set orders --disable --expect 3"),
            json!({"revision": 3, "enabled": false})
        );
        assert_eq!(
            change_of("cutover set orders --allow c --disallow a"),
            json!({"revision": 7, "allow": ["b", "c"]})
        );
        assert_eq!(
            change_of("cutover set orders --from new --to kafka --assign-timeout 90s"),
            json!({"revision": 7, "from": "new", "to": "kafka", "assign_timeout": "1m30s"})
        );
    }
}
