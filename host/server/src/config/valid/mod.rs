//! The checked configuration: what all other code uses.

mod build;
mod checks;
mod consumer;
mod groups;
mod queue;
mod schedule;
mod servers;
mod sources;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

pub(super) use build::build;
pub use consumer::{
    Batch, Claim, Consumer, Lease, OnForeign, OnPoison, Order, Retry, Slot, default_prefetch,
};
pub use queue::{Binding, Queue, QueueError};
pub use sources::{Place, PlaceError};

pub use holdfast_core::destination::AllowHost;

use holdfast_core::cutover::Percent;

use super::secret::{Secret, SecretUrl};

/// All settings, checked against each other. Maps are ordered by name.
#[derive(Clone, Debug, PartialEq)]
pub struct Valid {
    /// Prefix of every key in the store.
    pub service: String,
    /// Where the plugins are; relative to the working directory.
    pub plugin_dir: PathBuf,
    /// The claim store.
    pub store: Store,
    /// The brokers; at least one.
    pub brokers: BTreeMap<String, Broker>,
    /// Every plugin that is configured or used by a consumer.
    pub plugins: BTreeMap<String, Plugin>,
    /// The consumers; at least one.
    pub consumers: BTreeMap<String, Consumer>,
    /// The first values of the cut-over rules, by group.
    pub cutovers: BTreeMap<String, Cutover>,
    /// The admin listener.
    pub admin: Admin,
    /// The log.
    pub log: Log,
}

impl Valid {
    /// The settings of a plugin; the defaults when it has none.
    #[must_use]
    pub fn plugin(&self, name: &str) -> Plugin {
        self.plugins.get(name).cloned().unwrap_or_default()
    }

    /// Where a plugin's component is: `plugin-dir/NAME.wasm`.
    #[must_use]
    pub fn plugin_file(&self, name: &str) -> PathBuf {
        self.plugin_dir.join(format!("{name}.wasm"))
    }
}

/// The claim store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Store {
    /// A Redis server.
    Redis {
        /// Its address (`redis`, `rediss` or `unix`).
        url: SecretUrl,
        /// A file with the certificates to trust; the system's when none.
        ca: Option<PathBuf>,
        /// How many replicas each commit waits for.
        wait_replicas: u32,
        /// It is one server of a cluster.
        cluster: bool,
        /// Further servers of the cluster.
        nodes: Vec<String>,
        /// Who knows the primary that the address names.
        sentinels: Vec<String>,
    },
    /// Inside the host.
    Embedded {
        /// The file; in memory when none.
        path: Option<PathBuf>,
    },
}

/// A broker.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Broker {
    /// A RabbitMQ server.
    RabbitMq {
        /// Its address (`amqp` or `amqps`).
        url: SecretUrl,
        /// A file with the certificates to trust; the system's when none.
        ca: Option<PathBuf>,
    },
    /// Inside the host.
    Embedded {
        /// The file; in memory when none.
        path: Option<PathBuf>,
    },
}

/// How a plugin's instances are used.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Instances {
    /// A new one for every message.
    #[default]
    Fresh,
    /// The same again until a call fails.
    Reuse,
}

/// The settings of a plugin.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Plugin {
    /// The only digest that may be loaded.
    pub sha256: Option<[u8; 32]>,
    /// Most linear memory of an instance, in bytes.
    pub memory: u64,
    /// The guest's own running time per call.
    pub timeout: Duration,
    /// The whole call by the clock; at least `timeout`.
    pub deadline: Duration,
    /// How instances are used.
    pub instances: Instances,
    /// Where outbound HTTP may go.
    pub allow_hosts: Vec<AllowHost>,
    /// The plugin's variables; they may be secrets.
    pub vars: BTreeMap<String, Secret>,
}

impl Default for Plugin {
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

/// The first value of a group's cut-over rule; the store has the live one.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Cutover {
    /// The side that owns new keys while the rule is off.
    pub from: String,
    /// The side keys are moved to.
    pub to: String,
    /// Whether any key is moved.
    pub enabled: bool,
    /// The share of new keys that is moved.
    pub percent: Percent,
    /// Keys that always go to `to`.
    pub allow: Vec<String>,
    /// How long an assigned claim waits for its owner to begin.
    pub assign_timeout: Duration,
}

/// The admin listener.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Admin {
    /// Address and port; port 0 takes a free one.
    pub listen: SocketAddr,
    /// What changes (and, beyond loopback, reads) must show.
    pub token: Option<Secret>,
    /// Further `Host` names to answer to, in lower case.
    pub hosts: Vec<String>,
}

/// How log lines are written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LogFormat {
    /// For people.
    Text,
    /// One JSON object per line.
    Json,
}

/// The log.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Log {
    /// How lines are written.
    pub format: LogFormat,
    /// A level, or a list of `target=level`, as `tracing` filters take it.
    pub level: String,
}
