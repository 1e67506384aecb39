//! One server for all tests of a process, kept apart by names.

use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Mutex, OnceLock, PoisonError};

use anyhow::Result;

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
