//! What Holdfast needs of plugins.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use holdfast_core::destination::AllowHost;
use holdfast_core::settle::CallFailure;

use crate::message::{Effects, Incoming, Snapshot};

/// The plugins in service. What it hands out stays valid for the calls made on
/// it, whatever is swapped meanwhile.
pub trait Plugins: Send + Sync + 'static {
    /// The plugin that serves under this name now.
    fn current(&self, name: &str) -> Option<Arc<dyn Plugin>>;
}

/// One version of one plugin.
#[async_trait]
pub trait Plugin: Send + Sync + 'static {
    /// What is known about it.
    fn info(&self) -> &PluginInfo;

    /// Calls the handler once, on a fresh instance or a reused one. Returns
    /// when it ended, failed or was ended at its limits; never panics for what
    /// a guest does.
    async fn handle(&self, call: Call) -> Outcome;

    /// Calls the batch handler: one outcome for each call, in their order.
    async fn handle_batch(&self, calls: Vec<Call>) -> Vec<Outcome>;
}

/// What is known about a loaded plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginInfo {
    /// Its name: the file name without `.wasm`.
    pub name: String,
    /// SHA-256 of the file, in hex.
    pub sha256: String,
    /// Size of the file in bytes.
    pub bytes: u64,
    /// The version that it states (component metadata), or an empty text.
    pub version: String,
    /// Which world it exports.
    pub world: World,
    /// It imports `state`.
    pub uses_state: bool,
    /// When it was taken into service, in milliseconds since 1970.
    pub since_ms: u64,
}

/// The worlds a plugin can be of.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum World {
    /// `holdfast:consumer/handler`.
    Consumer,
    /// `holdfast:consumer/batch-handler`.
    BatchConsumer,
    /// `wasi:messaging/incoming-handler`.
    Messaging,
}

impl World {
    /// The name of the world in the interface.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Consumer => "consumer",
            Self::BatchConsumer => "batch-consumer",
            Self::Messaging => "messaging-core",
        }
    }
}

/// One call of a handler.
#[derive(Clone, Debug)]
pub struct Call {
    /// The message as delivered.
    pub message: Arc<Incoming>,
    /// The claim key.
    pub key: String,
    /// The claim key percent-encoded, for `Idempotency-Key`.
    pub encoded_key: String,
    /// The lane, when the consumer has one.
    pub lane: Option<String>,
    /// The consumer.
    pub consumer: Arc<str>,
    /// The group.
    pub group: Arc<str>,
    /// The side.
    pub side: Arc<str>,
    /// 1 at the first call.
    pub attempt: u32,
    /// Grows with every attempt at this key.
    pub fence: u64,
    /// The sequence, where the consumer has them.
    pub sequence: Option<u64>,
    /// The state of the lane or key.
    pub state: Snapshot,
    /// Names of configured brokers, for targets such as `other:queue`.
    pub brokers: Arc<[String]>,
    /// Cancelled when the consumer lost its lease: the call is interrupted.
    pub interrupt: Interrupt,
}

/// Tells running calls of one consumer to end at once, for good: a later call
/// that carries it ends as soon.
#[derive(Clone, Debug, Default)]
pub struct Interrupt(Arc<Flag>);

#[derive(Debug, Default)]
struct Flag {
    set: std::sync::atomic::AtomicBool,
    above: Option<Interrupt>,
}

impl Interrupt {
    /// Interrupts all calls that carry this value, a clone of it or a child.
    pub fn set(&self) {
        self.0.set.store(true, std::sync::atomic::Ordering::Release);
    }

    /// One for some of the calls: it is set when this one is, and can be set
    /// without it.
    #[must_use]
    pub fn child(&self) -> Self {
        Self(Arc::new(Flag {
            set: false.into(),
            above: Some(self.clone()),
        }))
    }

    /// Was it set?
    #[must_use]
    pub fn is_set(&self) -> bool {
        let own = self.0.set.load(std::sync::atomic::Ordering::Acquire);
        own || self.0.above.as_ref().is_some_and(Self::is_set)
    }
}

/// What a call did.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outcome {
    /// Success, or how it failed.
    pub result: Result<(), CallFailure>,
    /// What it staged; only to be used on success.
    pub effects: Effects,
    /// The guest's own running time.
    pub ran: Duration,
    /// Linear memory at its end, in bytes.
    pub memory: u64,
    /// The digest of the plugin version that ran.
    pub sha256: Arc<str>,
}

/// Settings of one plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PluginSettings {
    /// Refuse any other file.
    pub sha256: Option<String>,
    /// Linear memory at most, in bytes.
    pub memory: u64,
    /// The guest's own running time per call at most.
    pub timeout: Duration,
    /// The whole call by the clock at most.
    pub deadline: Duration,
    /// Fresh per message, or reused until a failure.
    pub instances: Instances,
    /// Where outbound HTTP may go.
    pub allow_hosts: Vec<AllowHost>,
    /// Variables.
    pub vars: BTreeMap<String, String>,
}

impl Default for PluginSettings {
    fn default() -> Self {
        Self {
            sha256: None,
            memory: 64 << 20,
            timeout: Duration::from_secs(5),
            deadline: Duration::from_secs(30),
            instances: Instances::Fresh,
            allow_hosts: Vec::new(),
            vars: BTreeMap::new(),
        }
    }
}

/// How instances are used.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Instances {
    /// A new one for every message.
    Fresh,
    /// One after another until a call fails.
    Reuse,
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_interrupt_reaches_its_children_and_not_what_is_above() {
        let all = Interrupt::default();
        let (one, other) = (all.child(), all.child());
        one.set();
        assert!(one.is_set() && one.clone().is_set());
        assert!(!all.is_set() && !other.is_set() && !all.child().is_set());
        all.set();
        assert!(other.is_set() && all.child().is_set());
    }
}
