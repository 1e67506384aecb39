//! Is it alive, is it ready, which version is it; metrics.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::IntoResponse;
use holdfast_runtime::consumer::Phase;
use holdfast_runtime::identity::Gate;
use serde_json::{Value, json};

use super::Admin;
use crate::app::App;

/// 200 while the process can serve.
pub(super) async fn live(State(admin): State<Arc<Admin>>) -> Json<Value> {
    let draining = admin.app.draining.is_cancelled();
    Json(json!({"live": true, "draining": draining}))
}

/// 200 when every consumer does what it should.
pub(super) async fn ready(State(admin): State<Arc<Admin>>) -> (StatusCode, Json<Value>) {
    let (ready, detail) = readiness(&admin.app);
    let status = if ready {
        StatusCode::OK
    } else {
        StatusCode::SERVICE_UNAVAILABLE
    };
    (status, Json(detail))
}

/// Whether all is well, and what is not.
pub(super) fn readiness(app: &App) -> (bool, Value) {
    let mut wrong: Vec<String> = Vec::new();
    let draining = app.draining.is_cancelled();
    if draining {
        wrong.push("draining".to_owned());
    }
    let parts = app.host.parts();
    let store_up = parts.store.is_up();
    if !store_up {
        wrong.push("the store cannot be reached".to_owned());
    }
    let gate = app.host.guard().gate().borrow().clone();
    let gate = match gate {
        Gate::Open => "open".to_owned(),
        Gate::Unknown(why) if why.is_empty() => "not seen yet".to_owned(),
        Gate::Unknown(why) => format!("not seen yet: {why}"),
        Gate::Halted(why) => why,
    };
    let brokers: Value = parts
        .brokers
        .iter()
        .map(|(name, broker)| {
            let up = broker.is_up();
            if !up {
                wrong.push(format!("the broker {name} cannot be reached"));
            }
            (name.clone(), up.into())
        })
        .collect::<serde_json::Map<String, Value>>()
        .into();
    let consumers = consumers(app, draining, &mut wrong);
    let plugins = plugins(app);
    let detail = json!({
        "ready": wrong.is_empty(),
        "draining": draining,
        "wrong": wrong,
        "store": {"up": store_up, "state": gate},
        "brokers": brokers,
        "consumers": consumers,
        "plugins": plugins,
        "refused_configuration": app.refused.get(),
    });
    (wrong.is_empty(), detail)
}

fn consumers(app: &App, draining: bool, wrong: &mut Vec<String>) -> Vec<Value> {
    let status = app.host.status();
    if status.is_empty() && !draining {
        wrong.push("no consumer was started yet".to_owned());
    }
    status
        .iter()
        .map(|(consumer, status)| {
            let spec = &consumer.context().spec;
            let loaded = app.host.parts().plugins.current(&spec.plugin).is_some();
            let why = match &status.phase {
                Phase::Waiting(why) => Some(why.clone()),
                _ if !loaded => Some(format!("the plugin {} is not loaded", spec.plugin)),
                _ => None,
            };
            let ready = loaded && status.phase.is_ready();
            if !ready {
                let why = why.as_deref().unwrap_or(status.phase.as_str());
                wrong.push(format!("consumer {}: {why}", spec.name));
            }
            json!({
                "name": spec.name.as_str(),
                "ready": ready,
                "phase": status.phase.as_str(),
                "why": why,
                "halted_lanes": consumer.context().halts.halted(),
            })
        })
        .collect()
}

/// Refused files do not make a host unready: the version before serves.
fn plugins(app: &App) -> Vec<Value> {
    let rows = app.plugins.rows();
    let row = |row: &crate::plugin_dir::PluginRow| json!({"name": row.info.name, "sha256": row.info.sha256, "refused": row.refused});
    rows.iter().map(row).collect()
}

/// Which program, which version, which handler interface.
pub(super) async fn version() -> Json<Value> {
    Json(json!({
        "name": "holdfast",
        "version": env!("CARGO_PKG_VERSION"),
        "interface": "holdfast:consumer@0.1.0",
    }))
}

/// The metrics in the Prometheus text format.
pub(super) async fn metrics(State(admin): State<Arc<Admin>>) -> impl IntoResponse {
    let kind = [(
        header::CONTENT_TYPE,
        "text/plain; version=0.0.4; charset=utf-8",
    )];
    (kind, admin.app.metrics.render())
}
