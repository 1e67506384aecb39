//! One server for all tests of a process, kept apart by names.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::{Context as _, Result};

use crate::port::random;
use crate::{RabbitMq, Redis};

/// The Redis that all tests of this process share; started by the first call.
/// It cannot be killed or restarted: a test that wants to has its own.
///
/// # Errors
/// As [`Redis::start`]; the next call then tries again.
pub fn shared_redis() -> Result<&'static Redis> {
    static SERVER: OnceLock<Redis> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());
    once(&SERVER, &STARTING, Redis::start)
}

/// The broker that all tests of this process share; started by the first call.
/// It cannot be killed or restarted: a test that wants to has its own.
///
/// # Errors
/// As [`RabbitMq::start`]; the next call then tries again.
pub fn shared_rabbitmq() -> Result<&'static RabbitMq> {
    static SERVER: OnceLock<RabbitMq> = OnceLock::new();
    static STARTING: Mutex<()> = Mutex::new(());
    once(&SERVER, &STARTING, RabbitMq::start)
}

/// A virtual host on a broker that tests of this process share. To a client it
/// is a broker of its own: no queue of another test is in it.
#[derive(Debug)]
pub struct VirtualHost {
    url: String,
}

impl VirtualHost {
    /// `amqp://guest:guest@127.0.0.1:PORT/NAME`.
    pub fn url(&self) -> String {
        self.url.clone()
    }
}

/// Virtual hosts of one broker.
const VHOSTS: usize = 24;

/// A virtual host that nobody has used, on a broker that cannot be killed or
/// restarted: a test that wants to has its own. A broker takes seconds of
/// computing to start, so that one serves many tests.
///
/// # Errors
/// As [`RabbitMq::start`]; the next call then tries again.
pub fn virtual_host() -> Result<VirtualHost> {
    struct Brokers {
        started: Vec<RabbitMq>,
        unused: Vec<VirtualHost>,
    }
    static BROKERS: Mutex<Brokers> = Mutex::new(Brokers {
        started: Vec::new(),
        unused: Vec::new(),
    });
    let mut brokers = BROKERS.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(host) = brokers.unused.pop() {
        return Ok(host);
    }
    let names: Vec<String> = (1..=VHOSTS).map(|n| format!("test-{n}")).collect();
    let broker = RabbitMq::builder().vhosts(names.clone()).start()?;
    let base = broker.url();
    let base = base.trim_end_matches("%2f");
    brokers.unused = names
        .into_iter()
        .map(|name| VirtualHost {
            url: format!("{base}{name}"),
        })
        .collect();
    brokers.started.push(broker);
    let host = brokers.unused.pop();
    host.context("a broker has virtual hosts")
}

/// A name that no other call returns, in any process: `orders-5f0c9a…-1`.
/// For queues, groups and services on a shared server. It fits the rule for
/// names when `stem` does.
pub fn unique(stem: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(1);
    static PROCESS: OnceLock<u64> = OnceLock::new();
    let process = PROCESS.get_or_init(random);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    format!("{stem}-{process:016x}-{count}")
}

fn once<T>(
    server: &'static OnceLock<T>,
    starting: &Mutex<()>,
    start: impl FnOnce() -> Result<T>,
) -> Result<&'static T> {
    let _guard = starting.lock().unwrap_or_else(PoisonError::into_inner);
    if let Some(running) = server.get() {
        return Ok(running);
    }
    let started = start()?;
    Ok(server.get_or_init(|| started))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unique_names_differ_and_are_valid_names() {
        let (one, two) = (unique("orders"), unique("orders"));
        assert_ne!(one, two);
        assert!(one.starts_with("orders-") && one.len() <= 64, "{one}");
    }
}
