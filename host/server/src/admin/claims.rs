//! Claims: looking at them, releasing one, explaining one.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use holdfast_core::claim::{ReleaseAnswer, StateName};
use holdfast_core::name::Side;
use holdfast_ports::store::Place;
use holdfast_runtime::consumer::{Consumer, Phase, Status};
use holdfast_runtime::host::Host;
use serde::Deserialize;
use serde_json::{Value, json};

use super::body::{self, CHANGE_LIMIT, Limited};
use super::problem::{Path, Problem, Query};
use super::{Admin, explain, groups, shown};
use crate::config::{Valid, valid};

/// Claims in one answer, when the query names no number.
const FEW: usize = 1_000;
/// Claims in one answer at most.
const MANY: usize = 10_000;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    group: Option<String>,
    state: Option<String>,
    limit: Option<usize>,
}

/// Unfinished claims, or those in one state, of one group or all.
pub(super) async fn list(
    State(admin): State<Arc<Admin>>,
    Query(which): Query<Which>,
) -> Result<Json<Vec<Value>>, Problem> {
    let config = admin.app.config.load_full();
    let wanted = match which.group.as_deref() {
        Some(name) => vec![groups::known(&config.valid, name)?],
        None => groups::all(&config.valid),
    };
    let state = which.state.as_deref().map(|name| {
        StateName::parse(name).ok_or_else(|| {
            let all = StateName::ALL.map(StateName::as_str).join(", ");
            Problem::bad(format!("no state is named {name:?}; there are {all}"))
        })
    });
    let state = state.transpose()?;
    let limit = which.limit.unwrap_or(FEW).min(MANY);
    let mut claims = Vec::new();
    for group in wanted {
        let left = limit - claims.len();
        if left == 0 {
            break;
        }
        let found = admin
            .app
            .host
            .parts()
            .store
            .list(&group, state, left)
            .await?;
        claims.extend(
            found
                .iter()
                .take(left)
                .map(|claim| shown::claim(&group, claim)),
        );
    }
    Ok(Json(claims))
}

/// One claim.
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    Path((group, key)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let at = groups::place(&admin.app.config.load().valid, &group, &key)?;
    match admin.app.host.parts().store.show(&at).await? {
        Some(claim) => Ok(Json(shown::claim(&at.group, &claim))),
        None => Err(no_claim(&at)),
    }
}

fn no_claim(at: &Place) -> Problem {
    Problem::not_found(format!(
        "the group {} has no claim with the key {:?}",
        at.group,
        at.key.as_str()
    ))
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct Release {
    to: Option<String>,
    #[serde(default)]
    force: bool,
}

/// Forgets side and attempts of an unfinished claim.
pub(super) async fn release(
    State(admin): State<Arc<Admin>>,
    Path((group, key)): Path<(String, String)>,
    Limited(body): Limited<CHANGE_LIMIT>,
) -> Result<Json<Value>, Problem> {
    let release: Release = body::json(&body)?;
    let at = groups::place(&admin.app.config.load().valid, &group, &key)?;
    let to = release.to.as_deref().map(Side::new).transpose();
    let to = to.map_err(|error| Problem::bad(format!("`to` is no side: {error}")))?;
    let store = &admin.app.host.parts().store;
    match store.release(&at, to.as_ref(), release.force).await? {
        ReleaseAnswer::Released => {
            tracing::info!(group, key = at.key.as_str(), to = ?release.to, force = release.force, "released");
            let claim = store.show(&at).await?;
            Ok(Json(json!({
                "released": true,
                "claim": claim.map(|claim| shown::claim(&at.group, &claim)),
            })))
        }
        ReleaseAnswer::NotFound => Err(no_claim(&at)),
        ReleaseAnswer::Locked { wait } => {
            let detail = format!(
                "an attempt runs, for at most {:.1} s more; force releases it all the same, and \
                 what it does until then can repeat",
                wait.as_secs_f64()
            );
            Err(Problem::conflict(detail))
        }
        ReleaseAnswer::Refused(state) => {
            let why = match state {
                StateName::Parking | StateName::Parked => "it is replayed from its dead letter",
                _ => "its effects are stored and would happen twice",
            };
            let detail = format!("a claim that is {state} cannot be released: {why}");
            Err(Problem::conflict(detail).with("state", state.as_str().into()))
        }
    }
}

/// The claim, and in sentences why its message was run or not.
pub(super) async fn explain(
    State(admin): State<Arc<Admin>>,
    Path((group, key)): Path<(String, String)>,
) -> Result<Json<Value>, Problem> {
    let config = admin.app.config.load_full();
    let at = groups::place(&config.valid, &group, &key)?;
    let store = &admin.app.host.parts().store;
    let claim = store.show(&at).await?;
    let rule = store.rule(&at.group).await?;
    let members = members(&config.valid, at.group.as_str());
    let mut explanation = match &claim {
        Some(claim) => explain::claim(claim, rule.as_ref(), &members),
        None => explain::nothing(at.key.as_str(), rule.as_ref(), &members),
    };
    if claim
        .as_ref()
        .is_none_or(|claim| !claim.state.is_finished())
    {
        explanation.extend(explain::here(&stands(&admin.app.host, &at)));
    }
    let body = json!({
        "group": at.group.as_str(),
        "key": at.key.as_str(),
        "claim": claim.map(|claim| shown::claim(&at.group, &claim)),
        "explanation": explanation,
    });
    Ok(Json(body))
}

/// How the consumers of the group do in this host.
fn stands(host: &Host, at: &Place) -> Vec<explain::Stand> {
    let of_group = host.status().into_iter();
    let of_group = of_group.filter(|(consumer, _)| consumer.context().spec.group == at.group);
    let stand = |(consumer, status): (Arc<Consumer>, Status)| {
        let idle = match &status.phase {
            Phase::Consuming => None,
            Phase::Paused => Some("an operator paused it".to_owned()),
            Phase::Follower => Some("another instance leads".to_owned()),
            Phase::Starting => Some("it starts".to_owned()),
            Phase::Waiting(why) => Some(why.clone()),
            Phase::Stopped => Some("it has ended".to_owned()),
        };
        let context = consumer.context();
        explain::Stand {
            consumer: context.spec.name.to_string(),
            idle,
            holds: context.books.held().has(&at.key),
        }
    };
    of_group.map(stand).collect()
}

fn members(config: &Valid, group: &str) -> Vec<explain::Member> {
    groups::members(config)
        .filter(|member| member.group == group)
        .map(|member| explain::Member {
            side: member.consumer.claim.side.clone(),
            attempts: member.consumer.retry.attempts,
            holds: member.consumer.claim.on_foreign == valid::OnForeign::Hold,
            keep: member.consumer.claim.keep,
            by_lane: matches!(member.consumer.order, valid::Order::Lanes { .. }),
            consumer: member.name,
        })
        .collect()
}
