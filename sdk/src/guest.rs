//! The wasm32 side: what the host offers, called through the bindings, and
//! what the macros export.

use std::time::Duration;

use crate::bindings::consumer::holdfast::consumer as wit;
use crate::guest_http;
use crate::http::{HttpError, Request, Response, Url};
use crate::message::Delivery;
use crate::{
    BatchContext, BatchHandler, Context, Failure, Handler, Header, Level, Message, Outgoing, Target,
};

pub use wit::types::{Failure as WireFailure, Message as WireMessage};

/// The host of a guest: its imports.
#[derive(Clone, Debug)]
pub(crate) struct Host;

impl Host {
    pub(crate) fn log(&self, level: Level, text: &str) {
        let level = match level {
            Level::Trace => wit::log::Level::Trace,
            Level::Debug => wit::log::Level::Debug,
            Level::Info => wit::log::Level::Info,
            Level::Warn => wit::log::Level::Warn,
            Level::Error => wit::log::Level::Error,
        };
        wit::log::write(level, text);
    }

    pub(crate) fn var(&self, name: &str) -> Option<String> {
        wit::vars::get(name)
    }

    pub(crate) fn state_get(&self, name: &str) -> Option<Vec<u8>> {
        wit::state::get(name)
    }

    pub(crate) fn state_set(&self, name: &str, value: &[u8]) {
        wit::state::set(name, value);
    }

    pub(crate) fn state_delete(&self, name: &str) {
        wit::state::delete(name);
    }

    pub(crate) fn state_increment(&self, name: &str, by: i64) -> Result<i64, String> {
        wit::state::increment(name, by)
    }

    pub(crate) fn publish(&self, to: Target, message: Outgoing) -> Result<(), String> {
        let to = match to {
            Target::Queue(name) => wit::outbox::Target::Queue(name),
            Target::Exchange {
                exchange,
                routing_key,
            } => wit::outbox::Target::Exchange((exchange, routing_key)),
        };
        let message = wit::outbox::Outgoing {
            body: message.body,
            content_type: message.content_type,
            headers: message.headers.into_iter().map(Into::into).collect(),
            lane: message.lane,
        };
        wit::outbox::publish(&to, &message)
    }

    pub(crate) fn http(&self, request: &Request, url: &Url<'_>) -> Result<Response, HttpError> {
        guest_http::send(request, url)
    }
}

/// One call of the world `consumer`.
pub fn handle<A>(handler: &impl Handler<A>, message: WireMessage) -> Result<(), WireFailure> {
    let message = Message::from(message);
    let context = Context::new(message.clone(), Host);
    Ok(handler.call(&message, &context)?)
}

/// One call of the world `batch-consumer`.
pub fn handle_batch<A>(
    handler: &impl BatchHandler<A>,
    messages: Vec<WireMessage>,
) -> Vec<Result<(), WireFailure>> {
    let messages = messages.into_iter().map(Message::from).collect();
    handler
        .call(messages, &BatchContext::new(Host))
        .into_iter()
        .map(|answer| Ok(answer?))
        .collect()
}

impl From<WireMessage> for Message {
    fn from(wire: WireMessage) -> Self {
        Message::from(Delivery {
            key: wire.key,
            id: wire.id,
            lane: wire.lane,
            body: wire.body,
            content_type: wire.content_type,
            headers: wire.headers.into_iter().map(Into::into).collect(),
            consumer: wire.consumer,
            side: wire.side,
            attempt: wire.attempt,
            fence: wire.fence,
            sequence: wire.sequence,
            timestamp_ms: wire.timestamp_ms,
            redelivered: wire.redelivered,
        })
    }
}

impl From<wit::types::Header> for Header {
    fn from(wire: wit::types::Header) -> Self {
        Header {
            name: wire.name,
            value: wire.value,
        }
    }
}

impl From<Header> for wit::types::Header {
    fn from(header: Header) -> Self {
        wit::types::Header {
            name: header.name,
            value: header.value,
        }
    }
}

impl From<Failure> for WireFailure {
    fn from(failure: Failure) -> Self {
        match failure {
            Failure::Retry { reason, after } => WireFailure::Retry(wit::types::Retry {
                reason,
                after_ms: after.map(millis),
            }),
            Failure::Reject(reason) => WireFailure::Reject(reason),
        }
    }
}

/// Rounded up, so that a wait is never shorter than what was asked for.
fn millis(after: Duration) -> u64 {
    u64::try_from(after.as_nanos().div_ceil(1_000_000)).unwrap_or(u64::MAX)
}
