//! A private Redis Sentinel.

use std::fs;
use std::net::SocketAddr;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result};

use crate::install::find;
use crate::port::Port;
use crate::process::Processes;
use crate::resp;
use crate::wait::{PATIENCE, wait_for};

const LIMIT: Duration = Duration::from_secs(20);

/// A Sentinel that watches one primary alone, under the name `primary`, and
/// replaces it when it is gone for a second. It ends like a [`crate::Redis`].
#[derive(Debug)]
pub struct Sentinel {
    _processes: Processes,
    port: Port,
}

impl Sentinel {
    /// Starts it, and waits until it knows this many replicas.
    ///
    /// # Errors
    /// Fails when `redis-server` is not installed, or it does not get ready.
    pub fn start(primary: SocketAddr, replicas: usize) -> Result<Self> {
        let mut processes = Processes::new("sentinel")?;
        let port = Port::free()?;
        let config = processes.folder().join("sentinel.conf");
        let (host, at) = (primary.ip(), primary.port());
        let text = format!(
            "bind 127.0.0.1\nport {}\nsentinel monitor primary {host} {at} 1\n\
             sentinel down-after-milliseconds primary 1000\n\
             sentinel failover-timeout primary 10000\n",
            port.number()
        );
        fs::write(&config, text).context("failed to write the sentinel's configuration")?;
        let mut command = Command::new(find("redis-server")?);
        command.arg(&config).arg("--sentinel");
        processes.spawn(&mut command)?;
        let sentinel = Self {
            _processes: processes,
            port,
        };
        wait_for("the sentinel to know the replicas", PATIENCE, || {
            let words = ["SENTINEL", "replicas", "primary"];
            let known = sentinel.cli(&words).unwrap_or_default();
            let known = known.lines().filter(|line| *line == "name").count();
            Ok((known == replicas).then_some(()))
        })?;
        Ok(sentinel)
    }

    /// `host:port`.
    pub fn address(&self) -> String {
        format!("127.0.0.1:{}", self.port.number())
    }

    /// Where it says that the primary is.
    ///
    /// # Errors
    /// When it does not answer.
    pub fn primary(&self) -> Result<String> {
        let words = ["SENTINEL", "get-master-addr-by-name", "primary"];
        Ok(self.cli(&words)?.replace('\n', ":"))
    }

    fn cli(&self, words: &[&str]) -> Result<String> {
        let at = SocketAddr::from(([127, 0, 0, 1], self.port.number()));
        resp::command(at, words, LIMIT)
    }
}
