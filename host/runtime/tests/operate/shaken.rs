//! A broker under which a replay dies at a chosen point.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use holdfast_core::settle::Confirmed;
use holdfast_embedded::EmbeddedBroker;
use holdfast_ports::broker::{
    Broker, Finding, Incarnation, Keep, PublishError, Subscribe, Subscription, Topology,
};
use holdfast_ports::error::PortError;
use holdfast_ports::look::{Counts, Look, Seen, Spot};
use holdfast_ports::message::{Incoming, Outgoing, Target};

/// Where a replay dies, once.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Dies {
    /// The claim is open, nothing is published.
    BeforePublishing,
    /// It is published, and nobody was told.
    Publishing,
    /// It is published, the letter is still there.
    BeforeRemoving,
    /// The letter is gone, and nobody was told.
    Removing,
}

impl Dies {
    pub(crate) const ALL: [Self; 4] = [
        Self::BeforePublishing,
        Self::Publishing,
        Self::BeforeRemoving,
        Self::Removing,
    ];
}

/// A client of an embedded broker.
pub(crate) struct Shaken {
    inner: EmbeddedBroker,
    /// Publishes to this queue are those of a replay.
    work: String,
    dies: Arc<Mutex<Option<Dies>>>,
    kept: Kept,
}

/// The copy of the store's incarnation beside the queues.
pub(crate) type Kept = Arc<Mutex<Option<Incarnation>>>;

impl Shaken {
    pub(crate) fn new(inner: EmbeddedBroker, work: &str, kept: &Kept) -> Self {
        Self {
            inner,
            work: work.to_owned(),
            dies: Arc::default(),
            kept: Arc::clone(kept),
        }
    }

    /// The next replay dies here.
    pub(crate) fn die(&self, at: Dies) {
        *self.dies.lock().unwrap_or_else(PoisonError::into_inner) = Some(at);
    }
}

/// Is this where it dies? Then not again.
fn here(dies: &Mutex<Option<Dies>>, at: Dies) -> bool {
    let mut dies = dies.lock().unwrap_or_else(PoisonError::into_inner);
    let here = *dies == Some(at);
    if here {
        *dies = None;
    }
    here
}

fn dead() -> PortError {
    PortError::transient("go on").because("this is where it dies")
}

#[async_trait]
impl Broker for Shaken {
    async fn prepare(&self, topology: &Topology) -> Result<Vec<Finding>, PortError> {
        self.inner.prepare(topology).await
    }

    async fn subscribe(&self, request: &Subscribe) -> Result<Box<dyn Subscription>, PortError> {
        self.inner.subscribe(request).await
    }

    async fn publish(&self, message: Outgoing) -> Result<Confirmed, PublishError> {
        let replays = message.to == Target::Queue(self.work.clone());
        if replays && here(&self.dies, Dies::BeforePublishing) {
            return Err(PublishError::Away(dead()));
        }
        let confirmed = self.inner.publish(message).await;
        if replays && here(&self.dies, Dies::Publishing) {
            return Err(PublishError::Deadline(Duration::from_secs(10)));
        }
        confirmed
    }

    async fn delay(
        &self,
        queue: &str,
        message: &Incoming,
        step: Duration,
        left: Duration,
    ) -> Result<Confirmed, PublishError> {
        self.inner.delay(queue, message, step, left).await
    }

    async fn counts(&self, queue: &str) -> Result<Option<Counts>, PortError> {
        self.inner.counts(queue).await
    }

    async fn look(&self, queue: &str, limit: usize) -> Result<Option<Box<dyn Look>>, PortError> {
        let look = self.inner.look(queue, limit).await?;
        let dies = &self.dies;
        let shaken = look.map(|inner| {
            Box::new(ShakenLook {
                inner,
                dies: Arc::clone(dies),
            }) as Box<dyn Look>
        });
        Ok(shaken)
    }

    async fn incarnation(&self, _: &str, keep: Keep) -> Result<Option<Incarnation>, PortError> {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(put) = keep.decide(kept.as_ref()) {
            *kept = Some(put);
        }
        Ok(kept.clone())
    }

    fn is_up(&self) -> bool {
        self.inner.is_up()
    }

    async fn close(&self) {
        self.inner.close().await;
    }
}

struct ShakenLook {
    inner: Box<dyn Look>,
    dies: Arc<Mutex<Option<Dies>>>,
}

#[async_trait]
impl Look for ShakenLook {
    fn ready(&self) -> u64 {
        self.inner.ready()
    }

    async fn next(&mut self) -> Result<Option<Seen>, PortError> {
        self.inner.next().await
    }

    async fn remove(&mut self, seen: Spot) -> Result<(), PortError> {
        if here(&self.dies, Dies::BeforeRemoving) {
            return Err(dead());
        }
        self.inner.remove(seen).await?;
        match here(&self.dies, Dies::Removing) {
            true => Err(dead()),
            false => Ok(()),
        }
    }

    async fn leave(self: Box<Self>) -> Result<(), PortError> {
        self.inner.leave().await
    }
}
