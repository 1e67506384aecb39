//! Sizes and limits of the host. Everything has a default that suits a host of
//! a few plugins; the configuration file names only what users should change.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use crate::log::{LogSink, TracingLog};

/// How the host of the guests is set up.
#[derive(Clone)]
pub struct Options {
    /// Instances that may exist at once, over all plugins. At least the sum of
    /// the concurrency of all consumers, or messages wait for a place.
    pub instances: u32,
    /// Threads that guests run on; as many as there are cores when absent.
    pub threads: Option<usize>,
    /// How long a guest runs before others get their turn, and how exactly
    /// time limits are kept.
    pub tick: Duration,
    /// Where compiled components are kept between runs; nowhere when absent.
    pub cache: Option<PathBuf>,
    /// Largest component file, in bytes.
    pub max_file: u64,
    /// How long reading and compiling one component may take.
    pub load_timeout: Duration,
    /// Connections of outbound HTTP that may be open at once, over all plugins;
    /// a request waits for its turn as long as it may wait to be connected.
    pub connections: usize,
    /// What one call may do.
    pub limits: Limits,
    /// Where log lines, standard output and standard error of guests go.
    pub log: Arc<dyn LogSink>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            instances: 512,
            threads: None,
            tick: Duration::from_millis(1),
            cache: None,
            max_file: 64 << 20,
            load_timeout: Duration::from_secs(60),
            connections: 512,
            limits: Limits::default(),
            log: Arc::new(TracingLog),
        }
    }
}

/// What one call of a guest may do through the host. Sizes are in bytes.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Log, standard output and standard error together; the rest is cut.
    pub log: usize,
    /// Calls of Holdfast's own imports.
    pub host_calls: u32,
    /// Data handed to the host in one call of an import, or as an answer.
    pub lift: usize,
    /// Handles of host resources at once.
    pub resources: usize,
    /// Random bytes in one call.
    pub random: u64,
    /// Elements of a table.
    pub table_elements: usize,
    /// Name of a state value.
    pub state_name: usize,
    /// One state value.
    pub state_value: usize,
    /// Names and values set in one call.
    pub state_total: usize,
    /// Names changed in one call.
    pub state_names: usize,
    /// Messages published in one call.
    pub outbox_messages: usize,
    /// Bodies, headers and names of the messages published in one call.
    pub outbox_total: usize,
    /// Headers of one published message.
    pub outbox_headers: usize,
    /// Outbound requests in one call.
    pub http_requests: u32,
    /// Outbound requests that are open at once, in one call.
    pub http_at_once: usize,
    /// Header fields of one request, each with what it takes to keep it.
    pub http_fields: usize,
    /// What of a request's body the host takes at once, and holds at most twice.
    pub http_chunk: usize,
    /// The head of a response, and what of its body is read ahead.
    pub http_head: usize,
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            log: 64 << 10,
            host_calls: 10_000_000,
            lift: 32 << 20,
            resources: 1_000,
            random: 1 << 20,
            table_elements: 100_000,
            state_name: 256,
            state_value: 256 << 10,
            state_total: 1 << 20,
            state_names: 1_024,
            outbox_messages: 1_024,
            outbox_total: 16 << 20,
            outbox_headers: 128,
            http_requests: 1_000,
            http_at_once: 16,
            http_fields: 16 << 10,
            http_chunk: 16 << 10,
            http_head: 32 << 10,
        }
    }
}

/// How many calls an instance is reused for.
pub(crate) const REUSE_CALLS: u32 = 10_000;

/// An instance is thrown away once its memory has grown past what it started
/// with by this factor, and by [`REUSE_GROWTH_FLOOR`].
pub(crate) const REUSE_GROWTH: u64 = 4;

/// Growth that never matters, in bytes.
pub(crate) const REUSE_GROWTH_FLOOR: u64 = 8 << 20;
