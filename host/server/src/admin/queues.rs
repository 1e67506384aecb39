//! Publishing a message: the way in for an embedded broker, and for tests.

use std::sync::Arc;

use axum::Json;
use axum::extract::State;
use axum::http::header::CONTENT_TYPE;
use axum::http::{HeaderMap, HeaderValue, StatusCode};
use holdfast_ports::broker::PublishError;
use holdfast_ports::message::{Header, Outgoing, Target, is_own};
use serde::Deserialize;
use serde_json::{Value, json};

use super::Admin;
use super::body::{Limited, MESSAGE_LIMIT};
use super::problem::{Path, Problem, Query};
use crate::config::Valid;

/// The header that carries the message id.
const ID: &str = "holdfast-message-id";
/// What stands before the name of each of the message's headers.
const PREFIX: &str = "holdfast-header-";
/// The longest message id, in bytes: what AMQP carries.
const LONGEST_ID: usize = 255;

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
pub(super) struct Which {
    broker: Option<String>,
}

/// Publishes the body, confirmed and mandatory; answers with its id.
pub(super) async fn publish(
    State(admin): State<Arc<Admin>>,
    Path(queue): Path<String>,
    Query(which): Query<Which>,
    headers: HeaderMap,
    Limited(body): Limited<MESSAGE_LIMIT>,
) -> Result<(StatusCode, Json<Value>), Problem> {
    let parts = admin.app.host.parts();
    let name = broker(&admin.app.config.load().valid, &queue, which.broker)?;
    let Some(broker) = parts.brokers.get(&name) else {
        return Err(Problem::not_found(format!("no broker is named {name:?}")));
    };
    let id = match headers.get(ID) {
        Some(id) => text(ID, id)?,
        None => {
            let random = &parts.surroundings.random;
            format!("{:016x}{:016x}", random(), random())
        }
    };
    if id.is_empty() || id.len() > LONGEST_ID {
        return Err(Problem::bad(format!(
            "a message id has 1 to {LONGEST_ID} bytes"
        )));
    }
    let kind = headers.get(CONTENT_TYPE);
    let message = Outgoing {
        to: Target::Queue(queue),
        body,
        id: Some(id.clone()),
        content_type: kind.map(|kind| text("content-type", kind)).transpose()?,
        headers: carried(&headers)?,
        timestamp_ms: Some((parts.surroundings.wall_ms)()),
    };
    match broker.publish(message).await {
        Ok(_) => Ok((StatusCode::ACCEPTED, Json(json!({"id": id})))),
        Err(error) => Err(failed(&error)),
    }
}

/// The broker that is meant: the one named, else the one whose queue a consumer
/// reads, else the only one.
fn broker(config: &Valid, queue: &str, named: Option<String>) -> Result<String, Problem> {
    if let Some(named) = named {
        return Ok(named);
    }
    let mut names = config.brokers.keys();
    if let (Some(only), None) = (names.next(), names.next()) {
        return Ok(only.clone());
    }
    let reads = |consumer: &&crate::config::valid::Consumer| {
        consumer
            .bindings()
            .iter()
            .any(|binding| binding.queue == queue)
    };
    let mut readers = config.consumers.values().filter(reads).map(|c| &c.broker);
    match readers.next() {
        Some(first) if readers.all(|other| other == first) => Ok(first.clone()),
        _ => {
            let all: Vec<&str> = config.brokers.keys().map(String::as_str).collect();
            Err(Problem::bad(format!(
                "name the broker with ?broker=, one of {}",
                all.join(", ")
            )))
        }
    }
}

/// The message's headers. The host's own ones are dropped, as they are from
/// every other source.
fn carried(headers: &HeaderMap) -> Result<Vec<Header>, Problem> {
    headers
        .iter()
        .filter_map(|(name, value)| Some((name.as_str().strip_prefix(PREFIX)?, value)))
        .filter(|(name, _)| !name.is_empty() && !is_own(name))
        .map(|(name, value)| Ok(Header::text(name, text(name, value)?)))
        .collect()
}

fn text(name: &str, value: &HeaderValue) -> Result<String, Problem> {
    String::from_utf8(value.as_bytes().to_vec())
        .map_err(|_| Problem::bad(format!("the header {name} is not UTF-8")))
}

fn failed(error: &PublishError) -> Problem {
    let status = match error {
        PublishError::Returned(_) => StatusCode::NOT_FOUND,
        PublishError::Invalid(_) => StatusCode::BAD_REQUEST,
        PublishError::Nacked | PublishError::Away(_) => StatusCode::SERVICE_UNAVAILABLE,
        PublishError::Deadline(_) => StatusCode::GATEWAY_TIMEOUT,
    };
    Problem::new(status, error.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn headers_are_carried_but_for_the_hosts_own() {
        let mut headers = HeaderMap::new();
        for (name, value) in [
            ("holdfast-header-reply-to", "a"),
            ("holdfast-header-x-holdfast-key", "forged"),
            ("holdfast-header-x-holdfast-lane", "passed on"),
            ("holdfast-message-id", "no header"),
            ("accept", "no header"),
        ] {
            headers.insert(name, HeaderValue::from_static(value));
        }
        let mut carried = carried(&headers).expect("all are UTF-8");
        carried.sort_by(|a, b| a.name.cmp(&b.name));
        let wanted = [
            Header::text("reply-to", "a"),
            Header::text("x-holdfast-lane", "passed on"),
        ];
        assert_eq!(carried, wanted);

        let odd = HeaderValue::from_bytes(b"\xff").expect("a value");
        headers.insert("holdfast-header-odd", odd);
        assert!(super::carried(&headers).is_err());
    }
}
