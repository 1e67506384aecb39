//! What Holdfast needs of a broker.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use holdfast_core::incarnation::renewed;
use holdfast_core::settle::{Confirmed, Settlement};

pub use holdfast_core::incarnation::Incarnation;

use crate::error::PortError;
use crate::look::{Counts, Look};
use crate::message::{Incoming, Outgoing};

/// A connection to one broker. Reconnecting is the adapter's business: a call
/// made while it is away fails as transient or waits for at most its deadline.
#[async_trait]
pub trait Broker: Send + Sync + 'static {
    /// Declares (or only checks) what a consumer needs and says what is odd
    /// about what exists: other arguments, a broker-side delivery limit, a
    /// missing dead-letter exchange. Safe to repeat.
    ///
    /// # Errors
    /// Transient when the broker cannot be reached; permanent when it refuses.
    async fn prepare(&self, topology: &Topology) -> Result<Vec<Finding>, PortError>;

    /// Starts consuming on a channel of its own, manual acknowledgement only.
    ///
    /// # Errors
    /// Transient when the broker cannot be reached; permanent when it refuses
    /// (no such queue, exclusive use by another).
    async fn subscribe(&self, request: &Subscribe) -> Result<Box<dyn Subscription>, PortError>;

    /// Publishes persistently and mandatorily, and waits for the confirmation,
    /// for a bounded time.
    ///
    /// # Errors
    /// [`PublishError`] says whether another try may succeed. An error never
    /// means that the message was not published.
    async fn publish(&self, message: Outgoing) -> Result<Confirmed, PublishError>;

    /// Publishes a waiting copy that comes back to `queue` after about `step`
    /// (one of the steps declared by `prepare`). `left` is what remains to be
    /// waited after that; the copy carries it.
    ///
    /// # Errors
    /// As for [`Broker::publish`].
    async fn delay(
        &self,
        queue: &str,
        message: &Incoming,
        step: Duration,
        left: Duration,
    ) -> Result<Confirmed, PublishError>;

    /// How many messages are ready in a queue, and how many consumers it has;
    /// none when there is no such queue.
    ///
    /// # Errors
    /// Transient when the broker cannot be reached.
    async fn counts(&self, queue: &str) -> Result<Option<Counts>, PortError>;

    /// Messages that are ready in a queue; none when there is no such queue.
    ///
    /// # Errors
    /// As for [`Broker::counts`].
    async fn depth(&self, queue: &str) -> Result<Option<u64>, PortError> {
        Ok(self.counts(queue).await?.map(|counts| counts.ready))
    }

    /// Looks through a queue, at its first `limit` messages at most; none when
    /// there is no such queue. There is one look at a queue at a time: a second
    /// one waits for a bounded time.
    ///
    /// # Errors
    /// Transient when the broker cannot be reached or another look goes on for
    /// too long; permanent when it refuses (exclusive use by another).
    async fn look(&self, queue: &str, limit: usize) -> Result<Option<Box<dyn Look>>, PortError>;

    /// The copy of the store's incarnation that is kept beside the queues (in a
    /// durable queue of one message named `<service>.holdfast`): looks at it,
    /// decides by [`Keep::decide`] and writes what that says, while nobody else
    /// does. Gives what is kept afterwards; none when there is nothing, or when
    /// the broker keeps nothing over a restart.
    ///
    /// # Errors
    /// Transient when the broker cannot be reached.
    async fn incarnation(
        &self,
        service: &str,
        keep: Keep,
    ) -> Result<Option<Incarnation>, PortError>;

    /// Is it connected now?
    fn is_up(&self) -> bool;

    /// Lets the broker see what was sent, then closes. Idempotent.
    async fn close(&self);
}

/// What a broker is to do with its copy of the store's incarnation.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Keep {
    /// Only tell it.
    Look,
    /// A host remembers this: it is kept if that is news of the same store, or
    /// nothing is kept yet.
    Renew(Incarnation),
    /// An operator accepted this store.
    Replace(Incarnation),
}

impl Keep {
    /// What is to be written over this copy, if anything.
    #[must_use]
    pub fn decide(&self, copy: Option<&Incarnation>) -> Option<Incarnation> {
        match self {
            Self::Look => None,
            Self::Renew(remembered) => renewed(copy, remembered),
            Self::Replace(accepted) => Some(accepted.clone()),
        }
    }
}

/// The queues of one consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Topology {
    /// The work queue; `<queue>.delay.<ms>` and `<queue>.dead` go with it.
    pub queue: String,
    /// Declare them; otherwise they must exist.
    pub declare: bool,
    /// The steps of the delay queues; empty when none are needed (ordered
    /// consumers wait in the host).
    pub delays: Vec<Duration>,
    /// Only one consumer at a time gets messages (ordered or leased consumers).
    pub single_active: bool,
}

/// The name of the delay queue of a step.
#[must_use]
pub fn delay_queue(queue: &str, step: Duration) -> String {
    format!("{queue}.delay.{}", step.as_millis())
}

/// The name of the dead-letter queue.
#[must_use]
pub fn dead_queue(queue: &str) -> String {
    format!("{queue}.dead")
}

/// Something odd that the broker said about a queue.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Finding {
    /// The queue.
    pub queue: String,
    /// It cannot work like this; otherwise it is a warning.
    pub fatal: bool,
    /// What is odd and what to do about it.
    pub text: String,
}

/// How to consume.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Subscribe {
    /// The queue.
    pub queue: String,
    /// The consumer's name, shown by the broker's own tools.
    pub consumer: String,
    /// Unacknowledged messages at once, at least 1.
    pub prefetch: u16,
    /// Nobody else may get messages of the queue at the same time. A queue that
    /// was prepared for a single active consumer sees to that by itself, and
    /// lets others wait in line; from any other, others are refused.
    pub exclusive: bool,
}

/// One consumer on one channel. It ends with an error and is then made anew.
#[async_trait]
pub trait Subscription: Send {
    /// The next delivery.
    ///
    /// # Errors
    /// [`Ended`] when the channel, the connection, the queue or the consumer
    /// is gone. Settlements of its deliveries are void from then on.
    async fn next(&mut self) -> Result<Delivery, Ended>;

    /// Settles deliveries of this subscription; usable from any task.
    fn settler(&self) -> Arc<dyn Settler>;

    /// Stops new deliveries; those already here can still be settled. What the
    /// client buffered is handed back to the broker.
    async fn cancel(&mut self);

    /// Ends the subscription. The broker sees everything that was settled; what
    /// was not goes back to the queue all at once, in its old order, before
    /// anybody else gets a message of an exclusive one. For consumers that keep
    /// an order: between a cancel and the last settlement another one could get
    /// what comes later.
    async fn close(&mut self);
}

/// Settles deliveries.
#[async_trait]
pub trait Settler: Send + Sync {
    /// Settles one delivery. Nothing may be concluded from success: on a dead
    /// channel an acknowledgement is void and the message comes again.
    ///
    /// # Errors
    /// Gives the ticket back when the channel is known to be gone.
    fn settle(&self, ticket: Ticket, settlement: Settlement) -> Result<(), Ticket>;

    /// Returns when the broker has seen everything settled so far, or the
    /// channel is gone. To be called before the connection is closed:
    /// acknowledgements that are followed at once by a close come back as
    /// redeliveries.
    async fn flush(&self);
}

/// A message and the right to settle it.
#[derive(Debug)]
pub struct Delivery {
    /// The message.
    pub message: Arc<Incoming>,
    /// What settling consumes.
    pub ticket: Ticket,
}

/// The right to settle one delivery on the channel it came from. Neither
/// `Clone` nor usable on another channel.
#[derive(Debug, PartialEq, Eq)]
pub struct Ticket {
    /// Which channel, counted over the life of the connection.
    pub generation: u64,
    /// Which delivery on it.
    pub tag: u64,
}

/// Why a subscription ended.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Ended {
    /// The connection or channel is gone; try again.
    #[error("the channel was closed: {0}")]
    Closed(String),
    /// The broker cancelled the consumer: the queue was deleted or moved.
    #[error("the broker cancelled the consumer; was the queue deleted?")]
    Cancelled,
}

/// Why a publish is not known to have succeeded.
#[derive(Debug, thiserror::Error)]
pub enum PublishError {
    /// No queue took it.
    #[error("no queue took the message: {0}")]
    Returned(String),
    /// The broker refused it (a full queue, a resource limit).
    #[error("the broker refused the message")]
    Nacked,
    /// No confirmation within the deadline; it may have been published.
    #[error("the broker did not confirm within {0:?}")]
    Deadline(Duration),
    /// The broker is away; it may have been published.
    #[error("the broker is away: {0}")]
    Away(PortError),
    /// It can never be published like this (a name too long, a bad header).
    #[error("the message cannot be published: {0}")]
    Invalid(String),
}

impl PublishError {
    /// Is it the target's fault rather than a passing state of the broker?
    #[must_use]
    pub fn is_undeliverable(&self) -> bool {
        matches!(self, Self::Returned(_) | Self::Invalid(_))
    }
}
