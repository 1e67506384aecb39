//! What the runtime is told about one consumer.

use std::sync::Arc;
use std::time::Duration;

use holdfast_core::claim::OnForeign;
use holdfast_core::lease::Terms;
use holdfast_core::name::{Consumer, Group, Side};
use holdfast_core::retry::Backoff;
use holdfast_ports::store::Slot;

use crate::tasks::Tasks;

/// One consumer: a queue of a broker, bound to a plugin.
#[derive(Clone, Debug, PartialEq)]
pub struct ConsumerSpec {
    /// Its name.
    pub name: Consumer,
    /// The configured broker.
    pub broker: String,
    /// The work queue.
    pub queue: String,
    /// The plugin that handles its messages.
    pub plugin: String,
    /// Handlers running at once.
    pub concurrency: usize,
    /// Unacknowledged messages at once, waiting ones included.
    pub prefetch: u16,
    /// Declare the queues; otherwise they must exist.
    pub declare: bool,
    /// For plugins of the batch world.
    pub batch: Batch,
    /// A larger body is dead-lettered.
    pub max_body: u64,
    /// The group of its claims.
    pub group: Group,
    /// The side under which it claims.
    pub side: Side,
    /// Where the claim key is found.
    pub key: Source,
    /// How long claims are remembered.
    pub keep: Duration,
    /// The hash slot rule of the group.
    pub slot: Slot,
    /// The same key with another body is a conflict.
    pub fingerprint: bool,
    /// What to do with messages that the other side owns.
    pub on_foreign: OnForeign,
    /// Retries.
    pub backoff: Backoff,
    /// Order.
    pub order: Order,
    /// One instance at a time consumes.
    pub lease: Option<Terms>,
    /// The row of partitions that the queue is one of; with a lease, it is
    /// spread over the instances.
    pub row: Option<String>,
    /// The longest a call may take by the clock.
    pub deadline: Duration,
}

impl ConsumerSpec {
    /// How long an attempt may hold its claim: the call's deadline and a margin
    /// for recording how it ended.
    #[must_use]
    pub fn lock(&self) -> Duration {
        self.deadline + Duration::from_secs(5)
    }

    /// Does the order of messages matter?
    #[must_use]
    pub fn ordered(&self) -> bool {
        self.order.mode != Mode::None
    }

    /// Is one consumer at a time to have messages of the queue? An order needs
    /// that without a lease, too: after a lost connection the broker may not know
    /// yet that the old one is gone, and would give the new one what lies behind
    /// the messages that the old one still has.
    #[must_use]
    pub fn alone(&self) -> bool {
        self.lease.is_some() || self.ordered()
    }

    /// The rules that all sides of the group share, for the store to compare.
    #[must_use]
    pub fn group_rules(&self) -> Vec<(String, String)> {
        let slot = match self.slot {
            Slot::Group => "group",
            Slot::Key => "key",
        };
        let lane = self
            .order
            .lane
            .as_ref()
            .map_or_else(|| "-".to_owned(), ToString::to_string);
        let sequence = self
            .order
            .sequence
            .as_ref()
            .map_or_else(|| "-".to_owned(), ToString::to_string);
        [
            ("slot", slot.to_owned()),
            ("key", self.key.to_string()),
            ("lane", lane),
            ("sequence", sequence),
            ("fingerprint", self.fingerprint.to_string()),
            ("ordered", self.ordered().to_string()),
        ]
        .map(|(name, value)| (name.to_owned(), value))
        .to_vec()
    }
}

/// How messages are put together for a batch plugin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Messages in one call at most.
    pub max: usize,
    /// How long the first waits for others.
    pub wait: Duration,
}

/// Where in a message a value is found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Source {
    /// The broker's message id.
    MessageId,
    /// A header.
    Header(String),
    /// A JSON pointer (RFC 6901) into the body.
    Json(String),
}

impl std::fmt::Display for Source {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::MessageId => f.write_str("message-id"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Json(pointer) => write!(f, "json:{pointer}"),
        }
    }
}

/// Order rules of a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Order {
    /// Which messages wait for each other.
    pub mode: Mode,
    /// Where the lane is found.
    pub lane: Option<Source>,
    /// Where the sequence is found.
    pub sequence: Option<Source>,
    /// What happens to a lane when a message of it is given up.
    pub on_poison: OnPoison,
}

/// Which messages wait for each other.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Mode {
    /// None.
    None,
    /// Those of one lane.
    Lanes,
    /// All of the queue.
    Strict,
}

/// What happens to a lane when a message of it is given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnPoison {
    /// The message is dead-lettered and the lane moves on.
    Park,
    /// The lane stops until an operator decides.
    Halt,
}

/// What the runtime takes from its surroundings besides the ports.
#[derive(Clone)]
pub struct Surroundings {
    /// Milliseconds since 1970, for dead letters only; never for decisions.
    pub wall_ms: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Random numbers for tokens and jitter.
    pub random: Arc<dyn Fn() -> u64 + Send + Sync>,
    /// Where tasks are started.
    pub tasks: Tasks,
}

impl std::fmt::Debug for Surroundings {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Surroundings")
    }
}

impl Surroundings {
    /// A random number in 0..1, for jitter.
    #[must_use]
    pub fn unit(&self) -> f64 {
        #[expect(clippy::cast_precision_loss, reason = "53 bits fit a double exactly")]
        let share = ((self.random)() >> 11) as f64 / (1u64 << 53) as f64;
        share
    }
}
