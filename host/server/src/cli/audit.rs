//! `audit`.

use serde_json::Value;

use super::args::{Audit, Global};
use super::client::Client;
use super::failure::Failure;
use super::operate::rows;
use super::output::{self, cell};
use crate::config::show_duration;

/// `audit`.
pub(super) fn audit(global: &Global, audit: &Audit) -> Result<(), Failure> {
    let client = Client::find(global)?;
    let wait = show_duration(audit.wait);
    let mut query = vec![("wait", wait.as_str())];
    query.extend(global.group.as_deref().map(|group| ("group", group)));
    let report = client.get_within(&["audit"], &query, audit.wait)?;
    if global.json {
        output::json(&report)?;
    } else {
        print(&report)?;
    }
    match report["closes"] == true {
        true => Ok(()),
        false => Err(Failure::Failed(cell(&report["verdict"]))),
    }
}

fn print(report: &Value) -> Result<(), Failure> {
    let head = [
        "consumer",
        "side",
        "counts",
        "received",
        "completed",
        "duplicate",
        "stale",
        "dead",
        "left",
        "deferred",
        "abandoned",
        "in flight",
        "closes",
    ];
    let mut books = Vec::new();
    for row in rows(&report["books"]) {
        let (run, totals) = (&row["ended"], &row["totals"]);
        let line = |counts: &str, received: &Value, ended: &Value, flying: String, closes: bool| {
            let count = |name: &str| ended[name].as_u64().unwrap_or(0).to_string();
            [
                cell(&row["consumer"]),
                cell(&row["side"]),
                counts.to_owned(),
                received.as_u64().unwrap_or(0).to_string(),
                count("completed"),
                count("duplicate"),
                count("stale"),
                count("dead_lettered"),
                count("left_to_owner"),
                count("deferred"),
                count("abandoned"),
                flying,
                cell(&closes.into()),
            ]
        };
        let run_closes = row["difference"] == 0;
        let flying = cell(&row["in_flight"]);
        books.push(line("this run", &row["received"], run, flying, run_closes));
        let closes = row["totals_close"] == true;
        books.push(line(
            "in all",
            &totals["received"],
            totals,
            "-".into(),
            closes,
        ));
    }
    output::table(head, books)?;
    output::line("")?;
    let found = |group: &Value| {
        let found = group["found"].as_object().into_iter().flatten();
        let found: Vec<String> = found.map(|(where_, n)| format!("{n} {where_}")).collect();
        match found.is_empty() {
            true => "-".to_owned(),
            false => found.join(", "),
        }
    };
    let count = |value: &Value| rows(value).count().to_string();
    output::table(
        [
            "group",
            "unfinished",
            "found",
            "without a message",
            "not found yet",
        ],
        rows(&report["groups"]).map(|group| {
            [
                cell(&group["group"]),
                cell(&group["unfinished"]),
                found(group),
                count(&group["without_message"]),
                count(&group["not_found_yet"]),
            ]
        }),
    )?;
    claims(report, "without_message", "Claims without a message:")?;
    claims(
        report,
        "not_found_yet",
        "Claims whose message was not found yet:",
    )?;
    for group in rows(&report["groups"]) {
        for what in rows(&group["not_looked_at"]) {
            output::notice(&format!("{}: {}", cell(&group["group"]), cell(what)));
        }
    }
    output::line(&format!("\n{}", cell(&report["verdict"])))
}

fn claims(report: &Value, kind: &str, title: &str) -> Result<(), Failure> {
    let of_group = |group: &Value| {
        let name = cell(&group["group"]);
        let claims = rows(&group[kind]).map(|claim| {
            [
                name.clone(),
                cell(&claim["key"]),
                cell(&claim["side"]),
                cell(&claim["state"]),
                cell(&claim["attempt"]),
                cell(&claim["error"]).chars().take(80).collect(),
            ]
        });
        claims.collect::<Vec<_>>()
    };
    let all: Vec<[String; 6]> = rows(&report["groups"]).flat_map(of_group).collect();
    if all.is_empty() {
        return Ok(());
    }
    output::line(&format!("\n{title}"))?;
    output::table(["group", "key", "side", "state", "attempt", "error"], all)
}
