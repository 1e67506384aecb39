//! Plugins and the store: what runs, reload, rollback, accept.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::StatusCode;
use serde_json::{Value, json};

use super::problem::{Path, Problem};
use super::{Admin, shown};
use crate::plugin_dir::PluginRow;

/// All plugins in service.
pub(super) async fn list(State(admin): State<Arc<Admin>>) -> Json<Vec<Value>> {
    Json(admin.app.plugins.rows().iter().map(shown::plugin).collect())
}

/// Loads a plugin's file again.
pub(super) async fn reload(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    if !admin.app.config.load().valid.plugins.contains_key(&name) {
        return Err(unknown(&name));
    }
    match admin.app.plugins.reload(&name).await {
        Ok(_) => Ok(Json(shown::plugin(&row(&admin, &name)?))),
        Err(why) => Err(refused(why)),
    }
}

/// Goes back to the version before.
pub(super) async fn rollback(
    State(admin): State<Arc<Admin>>,
    Path(name): Path<String>,
) -> Result<Json<Value>, Problem> {
    if row(&admin, &name)?.previous.is_none() {
        let detail = format!("the plugin {name} has no version before the one in service");
        return Err(Problem::conflict(detail));
    }
    match admin.app.plugins.rollback(&name).await {
        Ok(_) => Ok(Json(shown::plugin(&row(&admin, &name)?))),
        Err(why) => Err(refused(why)),
    }
}

fn row(admin: &Admin, name: &str) -> Result<PluginRow, Problem> {
    let mut rows = admin.app.plugins.rows().into_iter();
    rows.find(|row| row.info.name == name)
        .ok_or_else(|| unknown(name))
}

fn unknown(name: &str) -> Problem {
    Problem::not_found(format!("no plugin is named {name:?}"))
}

fn refused(why: String) -> Problem {
    let detail = format!("{why}; the version in service goes on serving");
    Problem::new(StatusCode::UNPROCESSABLE_ENTITY, detail)
}

/// Accepts a store that is not the one the host started with.
pub(super) async fn accept_store(State(admin): State<Arc<Admin>>) -> Result<Json<Value>, Problem> {
    let identity = admin.app.host.guard().accept().await?;
    tracing::warn!(id = identity.id, "an operator accepted the store as it is");
    Ok(Json(
        json!({"accepted": true, "id": identity.id, "pulse": identity.pulse}),
    ))
}
