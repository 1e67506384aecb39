//! The books, and whether every unfinished claim has its message.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use holdfast_core::settle::Ending;
use holdfast_runtime::audit::{self, BooksReport, Claim, GroupReport, Report};
use serde::Deserialize;
use serde_json::{Map, Value, json};

use super::problem::{Problem, Query};
use super::{Admin, groups};
use crate::config::parse_duration;

/// How long an audit waits for things to settle, when the query does not say,
/// and at most.
const WAIT: Duration = Duration::from_secs(15);
const LONGEST: Duration = Duration::from_secs(300);

/// Claims in one answer at most, of each kind.
const SHOWN: usize = 1_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Asked {
    group: Option<String>,
    wait: Option<String>,
}

/// Audits this host's books and the claims of its groups.
pub(super) async fn audit(
    State(admin): State<Arc<Admin>>,
    Query(asked): Query<Asked>,
) -> Result<Json<Value>, Problem> {
    let only = match &asked.group {
        Some(name) => Some(groups::known(&admin.app.config.load().valid, name)?),
        None => None,
    };
    let wait = match &asked.wait {
        Some(text) => parse_duration(text)
            .map_err(|error| Problem::bad(format!("`wait` is no duration: {error}")))?,
        None => WAIT,
    };
    let report = audit::audit(&admin.app.host, only.as_ref(), wait.min(LONGEST)).await?;
    Ok(Json(shown(&report)))
}

fn shown(report: &Report) -> Value {
    let verdict = match (report.closes(), report.is_certain()) {
        (true, _) => "the books close",
        (false, true) => "the books do not close",
        (false, false) if is_wrong(report) => "the books do not close",
        (false, false) => "this cannot be told yet",
    };
    json!({
        "closes": report.closes(),
        "certain": report.is_certain(),
        "verdict": verdict,
        "books": report.books.iter().map(books).collect::<Vec<_>>(),
        "groups": report.groups.iter().map(group).collect::<Vec<_>>(),
    })
}

/// Is something wrong, whatever else could not be looked at?
fn is_wrong(report: &Report) -> bool {
    report.books.iter().any(|books| !books.closes())
        || report.groups.iter().any(|group| !group.lost.is_empty())
}

fn books(books: &BooksReport) -> Value {
    let run = &books.run;
    let ended: Map<String, Value> = Ending::ALL
        .iter()
        .map(|ending| (ending.as_str().to_owned(), run.ended(*ending).into()))
        .collect();
    let totals: Map<String, Value> = books
        .totals
        .iter()
        .map(|(name, count)| (name.clone(), (*count).into()))
        .collect();
    json!({
        "consumer": books.consumer,
        "side": books.side,
        "closes": books.closes(),
        "received": run.received,
        "ended": ended,
        "in_flight": run.in_flight,
        "difference": i64::try_from(run.difference()).unwrap_or(i64::MAX),
        "totals": totals,
        "totals_close": books.sums.0 == books.sums.1,
    })
}

fn group(group: &GroupReport) -> Value {
    let claims = |claims: &[Claim]| claims.iter().take(SHOWN).map(claim).collect::<Vec<_>>();
    json!({
        "group": group.group.as_str(),
        "unfinished": group.unfinished,
        "more": group.more,
        "found": group.found,
        "without_message": claims(&group.lost),
        "not_found_yet": claims(&group.unknown),
        "not_looked_at": group.unseen,
    })
}

fn claim(claim: &Claim) -> Value {
    json!({
        "key": claim.key.as_str(),
        "side": claim.side.as_str(),
        "state": claim.state.as_str(),
        "attempt": claim.attempt,
        "error": claim.error,
    })
}
