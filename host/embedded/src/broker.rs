//! The broker on redb, or in memory.

mod checks;
mod disk;
mod looking;
mod shared;
mod state;
mod subscription;

use std::path::PathBuf;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, mpsc};
use std::time::Duration;

use async_trait::async_trait;
use holdfast_core::settle::Confirmed;
use holdfast_ports::broker::{
    Broker, Finding, Incarnation, Keep, PublishError, Subscribe, Subscription, Topology,
    dead_queue, delay_queue,
};
use holdfast_ports::error::PortError;
use holdfast_ports::look::{Counts, Look};
use holdfast_ports::message::{Header, Incoming, Outgoing, Target};
use tokio::time::Instant;

use self::checks::{check, check_message};
use self::disk::StoredMessage;
use self::shared::{Shared, millis};
use self::state::{Denied, Spec, State};
use self::subscription::Consuming;
use crate::clock::{self, Clock};
use crate::engine::Engine;

/// A broker inside the host. A value is one client of it; [`EmbeddedBroker::client`]
/// gives another.
///
/// With a path, a publish is confirmed and an acknowledgement flushed once it is
/// on the disk, and after a crash what was not acknowledged comes again, in its
/// order, as redelivered. Without, nothing outlives the last client. All
/// messages are held in memory either way.
///
/// A message goes to a queue by name, or to the default exchange `""` with the
/// queue's name as the routing key; there are no other exchanges.
pub struct EmbeddedBroker {
    shared: Arc<Shared>,
    client: u64,
    closed: AtomicBool,
}

/// A queue as it stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct QueueView {
    /// Its name.
    pub name: String,
    /// Messages that wait to be delivered (or, in a delay queue, for their time).
    pub ready: usize,
    /// Messages delivered and not settled.
    pub unsettled: usize,
}

/// A message that was read without being consumed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Browsed {
    /// Its place in the queue; grows with each message.
    pub position: u64,
    /// The message as a consumer gets it.
    pub message: Arc<Incoming>,
    /// The host's own headers.
    pub own: Vec<Header>,
}

impl EmbeddedBroker {
    /// Opens the file at this path, making it and its folder if need be; or a
    /// broker in memory.
    ///
    /// # Errors
    /// Permanent, naming the path, when the file cannot be opened or read, or
    /// another process has it open.
    pub fn open(path: Option<PathBuf>) -> Result<Self, PortError> {
        Self::open_with(path, clock::system())
    }

    /// The same, keeping due times by this clock. Waiting itself is measured by
    /// the runtime's monotonic clock.
    ///
    /// # Errors
    /// As for [`EmbeddedBroker::open`].
    pub fn open_with(path: Option<PathBuf>, clock: Clock) -> Result<Self, PortError> {
        let (disk, state) = match path {
            None => (None, State::default()),
            Some(path) => {
                let engine = Engine::open(Some(path), clock.clone(), |_| None)?;
                let state = load(&engine)?;
                (Some(engine), state)
            }
        };
        let shared = Shared {
            memory: Arc::new(Mutex::new(state)),
            disk,
            clock,
            looks: Mutex::default(),
        };
        Ok(Self::of(Arc::new(shared)))
    }

    fn of(shared: Arc<Shared>) -> Self {
        let client = {
            let mut state = shared.state();
            state.clients += 1;
            state.clients
        };
        Self {
            shared,
            client,
            closed: AtomicBool::new(false),
        }
    }

    /// Another client of the same broker, like a second connection.
    #[must_use]
    pub fn client(&self) -> Self {
        Self::of(self.shared.clone())
    }

    /// Makes a queue. Safe to repeat.
    ///
    /// # Errors
    /// Permanent for a name that no queue can have; transient when it cannot be
    /// written.
    pub async fn declare_queue(&self, name: &str) -> Result<(), PortError> {
        self.declare(vec![(name.to_owned(), Spec::default())]).await
    }

    /// Deletes a queue with its messages; its consumers end as cancelled. Says
    /// whether there was one.
    ///
    /// # Errors
    /// Transient when it cannot be written.
    pub async fn delete_queue(&self, name: &str) -> Result<bool, PortError> {
        let existed = self.shared.state().delete(name);
        if let Some(engine) = &self.shared.disk {
            let name = name.to_owned();
            let delete = move |rows: &mut crate::rows::Rows<'_>| disk::delete_queue(rows, &name);
            engine.run("delete a queue", delete).await?;
        }
        Ok(existed)
    }

    /// All queues by name.
    #[must_use]
    pub fn queues(&self) -> Vec<QueueView> {
        let mut state = self.shared.state();
        let names: Vec<String> = state.queues.keys().cloned().collect();
        for name in &names {
            self.shared.mature(&mut state, name);
        }
        let view = |name: String| QueueView {
            ready: state.queues.get(&name).map_or(0, |queue| queue.ready.len()),
            unsettled: state.unsettled(&name),
            name,
        };
        names.into_iter().map(view).collect()
    }

    /// The first messages of a queue that wait, in their order, without
    /// consuming them. None when there is no such queue.
    #[must_use]
    pub fn read(&self, queue: &str, limit: usize) -> Option<Vec<Browsed>> {
        let mut state = self.shared.state();
        self.shared.mature(&mut state, queue);
        let waiting = state.queues.get(queue)?.ready.iter().take(limit);
        let browsed = waiting.map(|(position, waiting)| Browsed {
            position: *position,
            message: waiting.kept.message.clone(),
            own: waiting.kept.own.clone(),
        });
        Some(browsed.collect())
    }

    async fn declare(&self, queues: Vec<(String, Spec)>) -> Result<(), PortError> {
        self.open_now("declare a queue")?;
        for (name, _) in &queues {
            check(name).map_err(|why| {
                PortError::permanent(format!("declare the queue {name:?}: {why}"))
            })?;
        }
        {
            let mut state = self.shared.state();
            for (name, spec) in &queues {
                state.declare(name, spec.clone());
            }
        }
        let Some(engine) = &self.shared.disk else {
            return Ok(());
        };
        engine
            .run("declare a queue", move |rows| {
                for (name, spec) in &queues {
                    disk::write_queue(rows, name, spec)?;
                }
                Ok(())
            })
            .await
    }

    fn open_now(&self, what: &str) -> Result<(), PortError> {
        if self.closed.load(Ordering::Relaxed) {
            return Err(PortError::transient(format!(
                "{what}: the client is closed"
            )));
        }
        Ok(())
    }
}

fn number(count: usize) -> u64 {
    u64::try_from(count).unwrap_or(u64::MAX)
}

/// Reads the file, on its own thread, before anything else uses it.
fn load(engine: &Engine) -> Result<State, PortError> {
    let (sender, receiver) = mpsc::channel();
    engine.submit(
        |rows| disk::load(rows, (rows.now(), Instant::now())),
        move |answer| {
            // The receiver waits below.
            let _ = sender.send(answer);
        },
    );
    receiver
        .recv()
        .unwrap_or_else(|_| Err(PortError::permanent("read the embedded broker's file")))
}

#[async_trait]
impl Broker for EmbeddedBroker {
    async fn prepare(&self, topology: &Topology) -> Result<Vec<Finding>, PortError> {
        let work = Spec {
            single_active: topology.single_active,
            delay: None,
        };
        let mut queues = vec![
            (topology.queue.clone(), work),
            (dead_queue(&topology.queue), Spec::default()),
        ];
        for step in &topology.delays {
            let spec = Spec {
                single_active: false,
                delay: Some((topology.queue.clone(), *step)),
            };
            queues.push((delay_queue(&topology.queue, *step), spec));
        }
        if topology.declare {
            self.declare(queues).await?;
            return Ok(Vec::new());
        }
        self.open_now("look at queues")?;
        let state = self.shared.state();
        let mut findings = Vec::new();
        for (queue, spec) in queues {
            let (fatal, text) = match state.queues.get(&queue) {
                None => (true, "it does not exist, and is not to be declared"),
                Some(found) if found.spec.delay != spec.delay => {
                    (true, "it is a delay queue of another step or target")
                }
                Some(found) if spec.single_active && !found.spec.single_active => {
                    (false, "it lets several consumers in at once")
                }
                Some(_) => continue,
            };
            let text = text.to_owned();
            findings.push(Finding { queue, fatal, text });
        }
        Ok(findings)
    }

    async fn subscribe(&self, request: &Subscribe) -> Result<Box<dyn Subscription>, PortError> {
        self.open_now("subscribe")?;
        let queue = &request.queue;
        let mut state = self.shared.state();
        let generation = state
            .subscribe(self.client, queue, request.prefetch, request.exclusive)
            .map_err(|denied| {
                let why = match denied {
                    Denied::Missing => "there is no such queue",
                    Denied::InUse => "it is in exclusive use",
                };
                PortError::permanent(format!("consume from {queue:?}: {why}"))
            })?;
        Ok(Box::new(Consuming {
            shared: self.shared.clone(),
            queue: queue.clone(),
            generation,
        }))
    }

    async fn publish(&self, message: Outgoing) -> Result<Confirmed, PublishError> {
        self.open_now("publish").map_err(PublishError::Away)?;
        check_message(&message)?;
        let queue = match message.to {
            Target::Queue(queue) => queue,
            Target::Exchange(exchange, key) if exchange.is_empty() => key,
            Target::Exchange(exchange, _) => {
                return Err(PublishError::Returned(format!(
                    "the embedded broker has no exchange {exchange:?}, only queues"
                )));
            }
        };
        check(&queue)
            .map_err(|why| PublishError::Invalid(format!("the name of its queue: {why}")))?;
        let stored = StoredMessage {
            id: message.id,
            body: message.body.into(),
            content_type: message.content_type,
            headers: message.headers,
            timestamp_ms: message.timestamp_ms,
            exchange: String::new(),
            routing_key: queue.clone(),
            wait_left_ms: None,
            due: None,
        };
        self.shared.append(&queue, stored).await
    }

    async fn delay(
        &self,
        queue: &str,
        message: &Incoming,
        step: Duration,
        left: Duration,
    ) -> Result<Confirmed, PublishError> {
        self.open_now("delay a message")
            .map_err(PublishError::Away)?;
        let stored = StoredMessage {
            id: message.id.clone(),
            body: message.body.to_vec(),
            content_type: message.content_type.clone(),
            headers: message.headers.clone(),
            timestamp_ms: message.timestamp_ms,
            exchange: message.exchange.clone(),
            routing_key: message.routing_key.clone(),
            wait_left_ms: millis(left),
            due: None,
        };
        self.shared.append(&delay_queue(queue, step), stored).await
    }

    async fn counts(&self, queue: &str) -> Result<Option<Counts>, PortError> {
        self.open_now("count messages")?;
        let mut state = self.shared.state();
        self.shared.mature(&mut state, queue);
        let Some(found) = state.queues.get(queue) else {
            return Ok(None);
        };
        Ok(Some(Counts {
            ready: number(found.ready.len()),
            consumers: number(state.consumers(queue)),
        }))
    }

    async fn look(&self, queue: &str, limit: usize) -> Result<Option<Box<dyn Look>>, PortError> {
        self.open_now("look through a queue")?;
        looking::begin(&self.shared, queue, limit).await
    }

    async fn incarnation(
        &self,
        service: &str,
        keep: Keep,
    ) -> Result<Option<Incarnation>, PortError> {
        self.open_now("keep the incarnation")?;
        let Some(engine) = &self.shared.disk else {
            return Ok(None);
        };
        let service = service.to_owned();
        engine
            .run("keep the incarnation", move |rows| {
                disk::incarnation(rows, &service, &keep)
            })
            .await
    }

    fn is_up(&self) -> bool {
        let writable = self.shared.disk.as_ref().is_none_or(Engine::is_up);
        !self.closed.load(Ordering::Relaxed) && writable
    }

    async fn close(&self) {
        self.closed.store(true, Ordering::Relaxed);
        self.shared.state().leave_all(self.client);
        self.shared.flush().await;
    }
}

impl std::fmt::Debug for EmbeddedBroker {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedBroker")
            .field("client", &self.client)
            .field("up", &self.is_up())
            .finish_non_exhaustive()
    }
}
