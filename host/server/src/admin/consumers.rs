//! Consumers: how they do, pause and resume, leases.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use futures_util::future::join_all;
use holdfast_core::halt::Then;
use holdfast_core::key::Lane;
use holdfast_ports::broker::{Broker, dead_queue};
use holdfast_runtime::consumer::Consumer;
use serde::Deserialize;
use serde_json::{Value, json};
use tokio::time::timeout;

use super::body::{self, CHANGE_LIMIT, Limited};
use super::problem::{Path, Problem};
use super::{Admin, groups, shown};
use crate::app::App;

/// How long a broker may take to say how many messages a queue has.
const PATIENCE: Duration = Duration::from_secs(1);

/// All consumers.
pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Json<Value> {
    Json(all(&admin.app).await)
}

/// All consumers with their counts, and what is ready and dead at the broker.
pub(super) async fn all(app: &App) -> Value {
    let status = app.host.status();
    let depths = status.iter().map(|(consumer, _)| depths(consumer));
    let depths = join_all(depths).await;
    status
        .iter()
        .zip(depths)
        .map(|((consumer, status), (ready, dead))| {
            let mut row = shown::consumer(consumer, status);
            row.insert("depth".to_owned(), json!({"ready": ready, "dead": dead}));
            Value::Object(row)
        })
        .collect()
}

/// Messages ready in a consumer's queue and in its dead-letter queue, as far
/// as the broker says.
async fn depths(consumer: &Consumer) -> (Option<u64>, Option<u64>) {
    let context = consumer.context();
    let dead = dead_queue(&context.spec.queue);
    let (broker, queue) = (&context.broker, &context.spec.queue);
    tokio::join!(depth(broker.as_ref(), queue), depth(broker.as_ref(), &dead))
}

async fn depth(broker: &dyn Broker, queue: &str) -> Option<u64> {
    if !broker.is_up() {
        return None;
    }
    timeout(PATIENCE, broker.depth(queue)).await.ok()?.ok()?
}

/// Stops the intake of a consumer.
pub(super) async fn pause(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let running = running(&admin.app, &name)?;
    set_paused(&admin, &running, true).await?;
    Ok(Json(json!({"consumers": names(&running), "paused": true})))
}

/// What is to be resumed, and how.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Resume {
    /// This halted lane and nothing else.
    lane: Option<String>,
    /// What becomes of the message that halted it.
    then: Option<String>,
}

/// Starts the intake again and lets halted lanes go on; with a lane in the body,
/// only that.
pub(super) async fn resume(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
    Limited(body): Limited<CHANGE_LIMIT>,
) -> Result<Json<Value>, Problem> {
    let asked: Resume = body::json(&body)?;
    let then = match asked.then.as_deref() {
        None => Then::default(),
        Some(word) => Then::parse(word).ok_or_else(|| {
            let words = Then::ALL.map(Then::as_str).join(", ");
            Problem::bad(format!("`then` is {word:?}; it is one of: {words}"))
        })?,
    };
    let running = running(&admin.app, &name)?;
    let mut lanes = Vec::new();
    for consumer in &running {
        let name = consumer.context().spec.name.as_str();
        for (lane, mark) in consumer
            .context()
            .halts
            .resume(asked.lane.as_deref(), then)
            .await?
        {
            let lane = lane.as_ref().map(Lane::as_str);
            tracing::info!(
                consumer = name,
                lane,
                key = mark.key,
                then = then.as_str(),
                "a halted lane was resumed by an operator"
            );
            lanes.push(
                json!({"consumer": name, "lane": lane, "key": mark.key, "then": then.as_str()}),
            );
        }
    }
    match asked.lane {
        Some(lane) if lanes.is_empty() => {
            let detail = format!("no lane {lane:?} of the consumer {name} is halted");
            return Err(Problem::not_found(detail));
        }
        Some(_) => {}
        None => set_paused(&admin, &running, false).await?,
    }
    let paused = running.iter().any(|consumer| consumer.is_paused());
    Ok(Json(
        json!({"consumers": names(&running), "paused": paused, "lanes": lanes}),
    ))
}

async fn set_paused(admin: &Admin, running: &[Arc<Consumer>], paused: bool) -> Result<(), Problem> {
    for consumer in running {
        let name = consumer.context().spec.name.as_str();
        admin.app.host.set_paused(name, paused).await?;
        tracing::info!(
            consumer = name,
            paused,
            "the intake was changed by an operator"
        );
    }
    Ok(())
}

/// The running consumers that a name stands for.
pub(super) fn running(app: &App, name: &str) -> Result<Vec<Arc<Consumer>>, Problem> {
    let names = groups::consumers(&app.config.load().valid, name);
    let found: Vec<_> = names
        .iter()
        .filter_map(|name| app.host.consumer(name))
        .collect();
    if found.is_empty() {
        return Err(Problem::not_found(format!("no consumer is named {name:?}")));
    }
    Ok(found)
}

fn names(consumers: &[Arc<Consumer>]) -> Vec<String> {
    consumers
        .iter()
        .map(|consumer| consumer.context().spec.name.to_string())
        .collect()
}

/// Gives the lease up, where this instance leads.
pub(super) async fn step_down(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    let running = running(&admin.app, &name)?;
    if running
        .iter()
        .all(|consumer| consumer.context().spec.lease.is_none())
    {
        return Err(Problem::conflict(format!(
            "the consumer {name} has no lease"
        )));
    }
    let leads = |consumer: &Arc<Consumer>| consumer.status().epoch.is_some();
    let leading: Vec<_> = running.into_iter().filter(leads).collect();
    if leading.is_empty() {
        return Err(Problem::conflict(format!(
            "this instance does not lead {name}; ask the one that does"
        )));
    }
    for consumer in &leading {
        consumer.step_down();
        tracing::info!(consumer = %consumer.context().spec.name, "told to step down by an operator");
    }
    Ok(Json(
        json!({"consumers": names(&leading), "stepping_down": true}),
    ))
}

/// Who leads, until when, in which epoch.
pub(super) async fn leases(State(admin): State<Arc<Admin>>) -> Result<Json<Vec<Value>>, Problem> {
    let config = admin.app.config.load_full();
    let mut rows = Vec::new();
    for lease in groups::leases(&config.valid) {
        let leader = admin.app.host.parts().store.leader(&lease).await?;
        let here = admin.app.host.consumer(lease.consumer.as_str());
        let here = here.and_then(|consumer| consumer.status().epoch);
        rows.push(json!({
            "consumer": lease.consumer.as_str(),
            "group": lease.group.as_str(),
            "leader": leader.map(|leader| json!({
                "owner": format!("{:016x}", leader.owner),
                "epoch": leader.epoch,
                "left_ms": u64::try_from(leader.left.as_millis()).unwrap_or(u64::MAX),
                "here": here == Some(leader.epoch),
            })),
        }));
    }
    Ok(Json(rows))
}
