//! Consumers: how they do, pause and resume, leases.

use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use futures_util::future::join_all;
use holdfast_ports::broker::{Broker, dead_queue};
use holdfast_runtime::consumer::Consumer;
use serde_json::{Value, json};
use tokio::time::timeout;

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
    state: State<Arc<Admin>>,
    name: Path<String>,
) -> Result<Json<Value>, Problem> {
    set_paused(state, name, true).await
}

/// Starts it again.
pub(super) async fn resume(
    state: State<Arc<Admin>>,
    name: Path<String>,
) -> Result<Json<Value>, Problem> {
    set_paused(state, name, false).await
}

async fn set_paused(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
    paused: bool,
) -> Result<Json<Value>, Problem> {
    let running = running(&admin.app, &name)?;
    for consumer in &running {
        let name = consumer.context().spec.name.as_str();
        admin.app.host.set_paused(name, paused).await?;
        tracing::info!(
            consumer = name,
            paused,
            "the intake was changed by an operator"
        );
    }
    Ok(Json(
        json!({"consumers": names(&running), "paused": paused}),
    ))
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
