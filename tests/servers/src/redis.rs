//! A private Redis server.

use std::net::{Ipv4Addr, SocketAddr};
use std::path::Path;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::install::find;
use crate::port::Port;
use crate::process::Processes;
use crate::resp;
use crate::wait::{PATIENCE, wait_for};

const COMMAND_LIMIT: Duration = Duration::from_secs(10);

/// A Redis server on a loopback port of its own, its data in a temporary
/// folder. It ends, and the folder goes, when the value is dropped or the
/// process ends in whatever way.
#[derive(Debug)]
pub struct Redis {
    processes: Processes,
    port: Port,
    settings: Vec<(String, String)>,
    pid: u32,
}

/// How a [`Redis`] is to be started.
#[derive(Debug, Default)]
#[must_use]
pub struct RedisBuilder {
    durable: bool,
    port: Option<u16>,
    settings: Vec<(String, String)>,
}

impl RedisBuilder {
    /// Durable: every write is on disk before its answer is sent, so a kill
    /// loses nothing. Otherwise (the default) a kill loses everything.
    pub fn durable(mut self, durable: bool) -> Self {
        self.durable = durable;
        self
    }

    /// This port instead of a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// One more line of Redis's own configuration: `config("maxmemory", "8mb")`.
    pub fn config(mut self, name: &str, value: &str) -> Self {
        self.settings.push((name.to_owned(), value.to_owned()));
        self
    }

    /// Starts the server and waits until it answers.
    ///
    /// # Errors
    /// Fails when `redis-server` is not installed (and says how to install
    /// it), when the port is taken, or when the server does not get ready
    /// within [`PATIENCE`].
    pub fn start(self) -> Result<Redis> {
        let mut settings = vec![
            ("bind".to_owned(), Ipv4Addr::LOCALHOST.to_string()),
            ("save".to_owned(), String::new()),
            ("daemonize".to_owned(), "no".to_owned()),
        ];
        let kept: &[(&str, &str)] = if self.durable {
            &[("appendonly", "yes"), ("appendfsync", "always")]
        } else {
            &[("appendonly", "no")]
        };
        settings.extend(kept.iter().map(|(n, v)| ((*n).to_owned(), (*v).to_owned())));
        settings.extend(self.settings);
        let port = match self.port {
            Some(number) => Port::exactly(number)?,
            None => Port::free()?,
        };
        let mut redis = Redis {
            processes: Processes::new("redis")?,
            port,
            settings,
            pid: 0,
        };
        redis.launch()?;
        Ok(redis)
    }
}

impl Redis {
    /// Starts a server that keeps its data in memory only.
    ///
    /// # Errors
    /// As [`RedisBuilder::start`].
    pub fn start() -> Result<Self> {
        Self::builder().start()
    }

    /// Choices to make before the start.
    pub fn builder() -> RedisBuilder {
        RedisBuilder::default()
    }

    /// `redis://127.0.0.1:PORT/0`.
    pub fn url(&self) -> String {
        self.url_at(self.port())
    }

    /// The same server by another port, that of a [`crate::Proxy`].
    pub fn url_at(&self, port: u16) -> String {
        format!("redis://127.0.0.1:{port}/0")
    }

    /// The port it listens on, the same over restarts.
    pub fn port(&self) -> u16 {
        self.port.number()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port()))
    }

    /// The process id of the server as it was last started.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// The folder with its data and its output.
    pub fn folder(&self) -> &Path {
        self.processes.folder()
    }

    /// Ends it with SIGKILL. Nothing happens when it does not run.
    ///
    /// # Errors
    /// Fails when the end of the process cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.processes.kill()
    }

    /// Starts it again on the same port and data, after a kill if it still runs.
    ///
    /// # Errors
    /// As [`RedisBuilder::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.launch()
    }

    /// Stops it from running without closing a connection (SIGSTOP).
    ///
    /// # Errors
    /// Fails when it does not run.
    pub fn freeze(&self) -> Result<()> {
        self.processes.freeze()
    }

    /// Lets a frozen server go on (SIGCONT).
    ///
    /// # Errors
    /// Fails when it does not run.
    pub fn thaw(&self) -> Result<()> {
        self.processes.thaw()
    }

    /// Runs one command, each word as an argument of its own, and returns the
    /// answer as text: nil as the empty string, an array one element a line.
    ///
    /// # Errors
    /// Fails when Redis answers with an error, or not within 10 s.
    pub fn cli(&self, words: &[&str]) -> Result<String> {
        resp::command(self.address(), words, COMMAND_LIMIT)
    }

    /// Makes it follow another server, or (none) be a primary.
    ///
    /// # Errors
    /// Fails when it does not answer.
    pub fn follow(&self, primary: Option<SocketAddr>) -> Result<()> {
        let words = match primary {
            Some(at) => [
                "REPLICAOF".to_owned(),
                at.ip().to_string(),
                at.port().to_string(),
            ],
            None => ["REPLICAOF", "NO", "ONE"].map(str::to_owned),
        };
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        self.cli(&words).map(drop)
    }

    /// A number in what `INFO replication` says.
    ///
    /// # Errors
    /// Fails when it does not answer, or says no such thing.
    pub fn replication(&self, field: &str) -> Result<String> {
        let info = self.cli(&["INFO", "replication"])?;
        let found = info.lines().find_map(|line| {
            let (name, value) = line.trim_end().split_once(':')?;
            (name == field).then(|| value.to_owned())
        });
        found.with_context(|| format!("no {field} in what Redis says of its replication"))
    }

    fn launch(&mut self) -> Result<()> {
        let mut command = Command::new(find("redis-server")?);
        command.arg("--port").arg(self.port().to_string());
        command.arg("--dir").arg(self.processes.folder());
        for (name, value) in &self.settings {
            command.arg(format!("--{name}")).arg(value);
        }
        self.pid = self.processes.spawn(&mut command)?;
        let address = self.address();
        let processes = &mut self.processes;
        wait_for("Redis ready", PATIENCE, || {
            if let Some(status) = processes.ended()? {
                bail!(
                    "Redis ended at its start ({status}): {}",
                    processes.output()
                );
            }
            let answer = resp::command(address, &["PING"], Duration::from_secs(1));
            Ok(answer.is_ok_and(|text| text == "PONG").then_some(()))
        })
        .with_context(|| format!("failed to start Redis on {address}"))
    }
}
