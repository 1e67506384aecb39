//! The settings of a consumer.

use std::time::Duration;

use super::queue::{Binding, Queue};
use super::sources::Place;

/// One binding of a broker's queue to a plugin, with its rules.
#[derive(Clone, Debug, PartialEq)]
pub struct Consumer {
    /// The broker, one of the configured.
    pub broker: String,
    /// The queue, or a row of partitions.
    pub queue: Queue,
    /// The plugin.
    pub plugin: String,
    /// Handlers running at once.
    pub concurrency: u32,
    /// Messages unacknowledged at once; at least `concurrency`.
    pub prefetch: u16,
    /// Whether the queues are declared; else they must exist.
    pub declare: bool,
    /// How batches are filled, for batch-consumer plugins.
    pub batch: Option<Batch>,
    /// Largest body in bytes.
    pub max_body: u64,
    /// How messages are claimed.
    pub claim: Claim,
    /// How failures are tried again.
    pub retry: Retry,
    /// Which messages wait for each other.
    pub order: Order,
    /// Present: one instance at a time consumes.
    pub lease: Option<Lease>,
}

impl Consumer {
    /// Every queue this consumer reads, with the group of its claims.
    #[must_use]
    pub fn bindings(&self) -> Vec<Binding> {
        self.queue.bindings(&self.claim.group)
    }
}

/// The prefetch of a consumer that names none: four times its concurrency,
/// as far as a broker counts.
#[must_use]
pub fn default_prefetch(concurrency: u32) -> u16 {
    u16::try_from(concurrency.saturating_mul(4)).unwrap_or(u16::MAX)
}

/// How batches are filled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Most messages in one call.
    pub max: u32,
    /// Longest wait for a batch to fill.
    pub wait: Duration,
}

/// Which keys share a hash slot of the store.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Slot {
    /// All of a group.
    Group,
    /// Each key has its own.
    Key,
}

/// What happens to a message that the other side owns.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnForeign {
    /// It waits until its owner is finished.
    Hold,
    /// It is acknowledged at once.
    Drop,
}

/// How messages are claimed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// The scope in which keys are unique, before partition numbers.
    pub group: String,
    /// The name under which this consumer claims.
    pub side: String,
    /// Where the claim key is.
    pub key: Place,
    /// How long a claim is remembered.
    pub keep: Duration,
    /// Which keys share a hash slot.
    pub slot: Slot,
    /// Whether another body under the same key is a conflict.
    pub fingerprint: bool,
    /// What happens to a message that the other side owns.
    pub on_foreign: OnForeign,
}

/// How failures are tried again.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Retry {
    /// Calls in all.
    pub attempts: u32,
    /// The wait after the first failure.
    pub initial: Duration,
    /// What each wait is multiplied by for the next; at least 1.
    pub factor: f64,
    /// The longest wait.
    pub max: Duration,
    /// The share by which a wait in the host varies, 0 to 1.
    pub jitter: f64,
    /// Shorter waits are spent in the host.
    pub hold_below: Duration,
}

/// What happens to a lane whose message was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OnPoison {
    /// It goes on with the next message.
    Park,
    /// It stops until an operator decides.
    Halt,
}

/// Which messages wait for each other.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Order {
    /// None.
    None {
        /// Where the lane is, if messages have one: it names the state that a
        /// handler sees, and orders nothing.
        key: Option<Place>,
    },
    /// Those of one lane.
    Lanes {
        /// Where the lane is.
        key: Place,
        /// Where the sequence number is, if messages have one.
        sequence: Option<Place>,
        /// What happens to a lane whose message was given up.
        on_poison: OnPoison,
    },
    /// All of the queue.
    Strict {
        /// Where the sequence number is, if messages have one.
        sequence: Option<Place>,
        /// What happens to the queue when a message was given up.
        on_poison: OnPoison,
    },
}

impl Order {
    /// Whether any message waits for another.
    #[must_use]
    pub fn is_ordered(&self) -> bool {
        !matches!(self, Self::None { .. })
    }
}

/// One instance at a time consumes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Lease {
    /// How long the lease lives without being renewed.
    pub ttl: Duration,
    /// How often it is renewed; shorter than `ttl`.
    pub renew: Duration,
    /// How often a follower tries to get it.
    pub retry: Duration,
}
