//! `publish`: confirmed messages for a queue.
//!
//! A RabbitMQ broker is talked to directly, no host is needed. An embedded
//! broker is inside its host, so the messages go through the host's API.

use std::cell::Cell;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, PoisonError};

use bytes::Bytes;
use futures_util::{StreamExt as _, stream};
use holdfast_ports::broker::Broker;
use holdfast_ports::message::{Header, Outgoing, Target, is_own};
use indicatif::{ProgressBar, ProgressStyle};
use serde_json::{Value, json};

use super::args::{Global, Publish};
use super::client::{Client, configuration};
use super::failure::Failure;
use super::lines::{Bodies, Body};
use super::output;
use crate::config::{Loaded, valid};
use crate::wire;

/// Unconfirmed messages at once, to a RabbitMQ broker.
const IN_FLIGHT: usize = 256;
/// Requests at once, to a host whose consumer does not mind the order.
const REQUESTS: usize = 16;

/// `publish`.
pub(super) fn publish(global: &Global, publish: &Publish) -> Result<(), Failure> {
    if let Some((name, _)) = publish.headers.iter().find(|(name, _)| is_own(name)) {
        return Err(Failure::Usage(format!(
            "the header {name} is the host's own"
        )));
    }
    let way = Way::find(global, publish)?;
    let (bodies, size) = Bodies::open(publish)?;
    let sending = Sending {
        queue: &publish.queue,
        id: publish.id.as_deref(),
        headers: &publish.headers,
        one: bodies.is_one(),
        bar: bar(size),
        confirmed: AtomicU64::new(0),
        first: Mutex::default(),
    };
    let done = match way {
        Way::Direct { config, name } => super::on_runtime(async {
            let broker = &config.valid.brokers[&name];
            let broker = wire::one_broker(&config.valid, &name, broker).await;
            let broker = broker.map_err(|error| Failure::Failed(error.to_string()))?;
            let done = sending.directly(broker.as_ref(), bodies).await;
            broker.close().await;
            done
        })
        .and_then(|done| done),
        Way::Through { client, broker } => sending.through(&client, broker.as_deref(), bodies),
    };
    sending.bar.finish_and_clear();
    sending.tell(global, done)
}

/// How a message gets to its broker.
enum Way {
    /// To the configured RabbitMQ broker with this name.
    Direct { config: Box<Loaded>, name: String },
    /// Through a running host.
    Through {
        client: Client,
        broker: Option<String>,
    },
}

impl Way {
    fn find(global: &Global, publish: &Publish) -> Result<Self, Failure> {
        let broker = publish.broker.clone();
        if global.url.is_some() {
            let client = Client::find(global)?;
            return Ok(Self::Through { client, broker });
        }
        let config = Box::new(configuration(global)?);
        let brokers = &config.valid.brokers;
        let all: Vec<&str> = brokers.keys().map(String::as_str).collect();
        let name = match (broker, all.as_slice()) {
            (Some(name), _) => name,
            (None, [only]) => (*only).to_owned(),
            (None, _) => reader(&config.valid, &publish.queue).ok_or_else(|| {
                Failure::Usage(format!("name the broker with --broker: {}", all.join(", ")))
            })?,
        };
        match brokers.get(&name) {
            None => Err(Failure::Usage(format!(
                "no broker is named {name:?}; there are {}",
                all.join(", ")
            ))),
            Some(valid::Broker::RabbitMq { .. }) => Ok(Self::Direct { config, name }),
            Some(valid::Broker::Embedded { .. }) => Ok(Self::Through {
                client: Client::find(global)?,
                broker: Some(name),
            }),
        }
    }
}

/// The broker of the consumers that read a queue, when it is one.
fn reader(config: &valid::Valid, queue: &str) -> Option<String> {
    let reads = |consumer: &&valid::Consumer| {
        consumer
            .bindings()
            .iter()
            .any(|binding| binding.queue == queue)
    };
    let mut brokers = config.consumers.values().filter(reads).map(|c| &c.broker);
    let first = brokers.next()?;
    brokers.all(|other| other == first).then(|| first.clone())
}

/// The messages of one command on their way.
struct Sending<'a> {
    queue: &'a str,
    id: Option<&'a str>,
    headers: &'a [(String, String)],
    one: bool,
    bar: ProgressBar,
    confirmed: AtomicU64,
    first: Mutex<Option<String>>,
}

impl Sending<'_> {
    /// In order, many unconfirmed at once.
    async fn directly(&self, broker: &dyn Broker, mut bodies: Bodies) -> Result<(), Failure> {
        // After a failure nothing new is sent; what is under way is waited for,
        // because it may have been published.
        let failed = Cell::new(false);
        let next = || bodies.next().map_err(unread).transpose();
        let all = std::iter::from_fn(next).take_while(|_| !failed.get());
        let mut sent = stream::iter(all)
            .map(|body| async {
                let body = body?;
                let (line, read) = (body.line, body.read);
                let message = self.message(body);
                let id = message.id.clone().unwrap_or_default();
                match broker.publish(message).await {
                    Ok(_) => Ok((id, read)),
                    Err(error) => Err(at_line(line, &error.to_string())),
                }
            })
            .buffered(IN_FLIGHT);
        let mut done = Ok(());
        while let Some(one) = sent.next().await {
            match one {
                Ok((id, read)) => self.count(id, read),
                Err(failure) => {
                    failed.set(true);
                    done = done.and(Err(failure));
                }
            }
        }
        done
    }

    fn message(&self, body: Body) -> Outgoing {
        Outgoing {
            to: Target::Queue(self.queue.to_owned()),
            id: Some(self.id_of(&body)),
            content_type: Some(kind(&body.bytes).to_owned()),
            headers: self
                .headers
                .iter()
                .map(|(name, value)| Header::text(name, value))
                .collect(),
            timestamp_ms: Some(wire::wall_ms()),
            body: Bytes::from(body.bytes),
        }
    }

    /// Through a host: several requests at once, unless the queue's consumer
    /// minds the order.
    fn through(
        &self,
        client: &Client,
        broker: Option<&str>,
        bodies: Bodies,
    ) -> Result<(), Failure> {
        let threads = match self.one || self.is_ordered(client)? {
            true => 1,
            false => REQUESTS,
        };
        let bodies = Mutex::new(Some(bodies));
        let failed = Mutex::new(Ok(()));
        let next = || {
            let mut bodies = bodies.lock().unwrap_or_else(PoisonError::into_inner);
            let next = bodies.as_mut().map(|bodies| bodies.next().map_err(unread));
            next.unwrap_or(Ok(None))
        };
        std::thread::scope(|scope| {
            for _ in 0..threads {
                scope.spawn(|| {
                    if let Err(failure) = self.request_all(client, broker, &next) {
                        *bodies.lock().unwrap_or_else(PoisonError::into_inner) = None;
                        let mut failed = failed.lock().unwrap_or_else(PoisonError::into_inner);
                        if failed.is_ok() {
                            *failed = Err(failure);
                        }
                    }
                });
            }
        });
        failed.into_inner().unwrap_or_else(PoisonError::into_inner)
    }

    fn request_all(
        &self,
        client: &Client,
        broker: Option<&str>,
        next: &impl Fn() -> Result<Option<Body>, Failure>,
    ) -> Result<(), Failure> {
        while let Some(body) = next()? {
            let id = self.id_of(&body);
            let mut headers = vec![
                ("Holdfast-Message-Id".to_owned(), id.clone()),
                ("Content-Type".to_owned(), kind(&body.bytes).to_owned()),
            ];
            headers.extend(
                self.headers
                    .iter()
                    .map(|(name, value)| (format!("Holdfast-Header-{name}"), value.clone())),
            );
            match client.publish(self.queue, broker, &headers, &body.bytes)? {
                Ok(_) => self.count(id, body.read),
                Err(refusal) => return Err(at_line(body.line, &refusal.detail)),
            }
        }
        Ok(())
    }

    /// Does a consumer of the queue mind the order? A queue that no consumer
    /// reads may be read by anyone.
    fn is_ordered(&self, client: &Client) -> Result<bool, Failure> {
        let consumers = client.get(&["consumers"], &[])?;
        let mut readers = super::operate::rows(&consumers)
            .filter(|consumer| consumer["queue"] == self.queue)
            .peekable();
        Ok(readers.peek().is_none() || readers.any(|reader| reader["ordered"] != false))
    }

    /// The id named, with the line's number; else a random one, so that a
    /// repeat by the broker is known as one.
    fn id_of(&self, body: &Body) -> String {
        match (self.id, body.line) {
            (Some(id), Some(line)) => format!("{id}-{line}"),
            (Some(id), None) => id.to_owned(),
            (None, _) => format!("{:032x}", rand::random::<u128>()),
        }
    }

    fn count(&self, id: String, read: u64) {
        self.confirmed.fetch_add(1, Ordering::Relaxed);
        if self.one {
            *self.first.lock().unwrap_or_else(PoisonError::into_inner) = Some(id);
        }
        self.bar.set_position(self.bar.position().max(read));
        self.bar
            .set_message(self.confirmed.load(Ordering::Relaxed).to_string());
    }

    fn tell(&self, global: &Global, done: Result<(), Failure>) -> Result<(), Failure> {
        let confirmed = self.confirmed.load(Ordering::Relaxed);
        if let Err(failure) = done {
            if !self.one {
                output::notice(&format!(
                    "{confirmed} messages were confirmed before it failed"
                ));
            }
            return Err(failure);
        }
        let id = self
            .first
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        if global.json {
            let id = id.map_or(Value::Null, Value::String);
            return output::json(&json!({"queue": self.queue, "confirmed": confirmed, "id": id}));
        }
        match id {
            Some(id) => output::line(&id),
            None => output::line(&format!("{confirmed} messages confirmed")),
        }
    }
}

fn unread(error: std::io::Error) -> Failure {
    Failure::Failed(format!("failed to read the messages: {error}"))
}

fn at_line(line: Option<u64>, error: &str) -> Failure {
    Failure::Failed(match line {
        Some(line) => format!("failed to publish line {line}: {error}"),
        None => format!("failed to publish: {error}"),
    })
}

fn kind(body: &[u8]) -> &'static str {
    match serde_json::from_slice::<serde::de::IgnoredAny>(body) {
        Ok(_) => "application/json",
        Err(_) => "application/octet-stream",
    }
}

/// Grows with the input that was read; hidden where nobody watches, and for a
/// single message.
fn bar(size: Option<u64>) -> ProgressBar {
    let Some(size) = size else {
        return ProgressBar::hidden();
    };
    let style = ProgressStyle::with_template(match output::colour() {
        true => "{wide_bar:.cyan/dim} {msg} confirmed, {eta} left",
        false => "{wide_bar} {msg} confirmed, {eta} left",
    });
    ProgressBar::new(size).with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_parses_as_json_is_called_json() {
        assert_eq!(kind(b"{\"a\": [1]}\n"), "application/json");
        for other in [&b""[..], b"{", b"\xff", b"hello"] {
            assert_eq!(kind(other), "application/octet-stream");
        }
    }
}
