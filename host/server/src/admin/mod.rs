//! The admin interface over HTTP.
//!
//! Everything but the probes and the metrics passes `guard` first. Errors are
//! `application/problem+json`. Path segments are decoded one by one, so that a
//! claim key with a `/` in it can be written `%2F`.

mod audit;
mod body;
mod claims;
mod consumers;
pub(crate) mod cutover;
mod dashboard;
mod dead;
mod events;
mod explain;
mod groups;
mod guard;
mod health;
mod plugins;
mod problem;
mod queues;
mod shown;

use std::net::SocketAddr;
use std::sync::Arc;

use axum::Router;
use axum::http::StatusCode;
use axum::routing::{get, post};
use tokio::net::TcpListener;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use problem::Problem;

/// What every request is answered from.
struct Admin {
    app: Arc<App>,
    listen: SocketAddr,
    listeners: Arc<Semaphore>,
    stop: CancellationToken,
}

/// Answers requests until `stop` is cancelled; those under way are finished.
/// While the host drains everything still answers, `/readyz` with 503.
pub async fn serve(listener: TcpListener, app: Arc<App>, stop: CancellationToken) {
    let listen = match listener.local_addr() {
        Ok(listen) => listen,
        Err(error) => {
            tracing::error!(%error, "the admin interface has no address");
            return;
        }
    };
    let admin = Admin {
        app,
        listen,
        listeners: Arc::new(Semaphore::new(events::LISTENERS)),
        stop: stop.clone(),
    };
    let served = axum::serve(listener, router(Arc::new(admin)))
        .with_graceful_shutdown(stop.cancelled_owned())
        .await;
    if let Err(error) = served {
        tracing::error!(%error, "the admin interface ended");
    }
}

fn router(admin: Arc<Admin>) -> Router {
    let api = Router::new()
        .route("/consumers", get(consumers::list))
        .route("/consumers/{name}/pause", post(consumers::pause))
        .route("/consumers/{name}/resume", post(consumers::resume))
        .route("/consumers/{name}/step-down", post(consumers::step_down))
        .route("/leases", get(consumers::leases))
        .route("/claims", get(claims::list))
        .route("/claims/{group}/{key}", get(claims::show))
        .route("/claims/{group}/{key}/release", post(claims::release))
        .route("/explain/{group}/{key}", get(claims::explain))
        .route("/cutover/{group}", get(cutover::show).put(cutover::set))
        .route("/plugins", get(plugins::list))
        .route("/plugins/{name}/reload", post(plugins::reload))
        .route("/plugins/{name}/rollback", post(plugins::rollback))
        .route("/dead/{consumer}", get(dead::list))
        .route("/dead/{consumer}/replay", post(dead::replay))
        .route("/dead/{consumer}/drop", post(dead::drop))
        .route("/audit", get(audit::audit))
        .route("/store/accept", post(plugins::accept_store))
        .route("/queues/{queue}/messages", post(queues::publish));
    Router::new()
        .route("/", get(dashboard::page))
        .route("/events", get(events::stream))
        .route("/livez", get(health::live))
        .route("/readyz", get(health::ready))
        .route("/version", get(health::version))
        .route("/metrics", get(health::metrics))
        .nest("/api/v1", api)
        .fallback(nowhere)
        .method_not_allowed_fallback(wrong_method)
        .layer(axum::middleware::from_fn_with_state(
            Arc::clone(&admin),
            guard::check,
        ))
        .with_state(admin)
}

async fn nowhere() -> Problem {
    Problem::not_found("nothing is here; GET /api/v1/consumers is a place to begin")
}

async fn wrong_method() -> Problem {
    let detail = "this path has another method: reads are GET, changes are POST or PUT";
    Problem::new(StatusCode::METHOD_NOT_ALLOWED, detail)
}
