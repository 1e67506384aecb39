//! A private RabbitMQ broker.

use std::fs;
use std::io::{Read, Write};
use std::net::{Ipv4Addr, SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail};

use crate::install::find;
use crate::port::{Port, random};
use crate::process::Processes;
use crate::signal::Signal;
use crate::wait::{PATIENCE, wait_for};

/// A RabbitMQ broker on a loopback port of its own, its data in a temporary
/// folder, with no plugin and no share in the machine's Erlang port mapper.
/// It ends, and the folder goes, when the value is dropped or the process ends
/// in whatever way.
#[derive(Debug)]
pub struct RabbitMq {
    broker: Processes,
    /// Erlang's port mapper, which would otherwise be one for the machine.
    mapper: Processes,
    ports: Ports,
    consumer_timeout: Duration,
    settings: Vec<String>,
    vhosts: Vec<String>,
}

#[derive(Debug)]
struct Ports {
    amqp: Port,
    distribution: Port,
    mapper: Port,
}

/// How a [`RabbitMq`] is to be started.
#[derive(Debug)]
#[must_use]
pub struct RabbitMqBuilder {
    port: Option<u16>,
    consumer_timeout: Duration,
    settings: Vec<String>,
    vhosts: Vec<String>,
}

impl RabbitMqBuilder {
    /// This port instead of a free one.
    pub fn port(mut self, port: u16) -> Self {
        self.port = Some(port);
        self
    }

    /// How long a message may stay unacknowledged before the broker closes the
    /// channel; 30 minutes by default, as the broker's own. It looks once a
    /// minute.
    pub fn consumer_timeout(mut self, limit: Duration) -> Self {
        self.consumer_timeout = limit;
        self
    }

    /// One more line of `rabbitmq.conf`: `config("heartbeat = 5")`.
    pub fn config(mut self, line: &str) -> Self {
        self.settings.push(line.to_owned());
        self
    }

    /// Virtual hosts of these names beside the usual one, for the same user.
    pub fn vhosts(mut self, names: Vec<String>) -> Self {
        self.vhosts = names;
        self
    }

    /// Starts the broker and waits until it takes connections.
    ///
    /// # Errors
    /// Fails when `rabbitmq-server` is not installed (and says how to install
    /// it), when the port is taken, or when it does not get ready within
    /// [`PATIENCE`].
    pub fn start(self) -> Result<RabbitMq> {
        let ports = Ports {
            amqp: match self.port {
                Some(number) => Port::exactly(number)?,
                None => Port::free()?,
            },
            distribution: Port::free()?,
            mapper: Port::free()?,
        };
        let mut rabbitmq = RabbitMq {
            broker: Processes::new("rabbitmq")?,
            mapper: Processes::new("epmd")?,
            ports,
            consumer_timeout: self.consumer_timeout,
            settings: self.settings,
            vhosts: self.vhosts,
        };
        rabbitmq.write_files()?;
        rabbitmq.start_mapper()?;
        rabbitmq.launch()?;
        Ok(rabbitmq)
    }
}

impl RabbitMq {
    /// Starts a broker and waits until it takes connections, some seconds.
    ///
    /// # Errors
    /// As [`RabbitMqBuilder::start`].
    pub fn start() -> Result<Self> {
        Self::builder().start()
    }

    /// Choices to make before the start.
    pub fn builder() -> RabbitMqBuilder {
        RabbitMqBuilder {
            port: None,
            consumer_timeout: Duration::from_secs(30 * 60),
            settings: Vec::new(),
            vhosts: Vec::new(),
        }
    }

    /// `amqp://guest:guest@127.0.0.1:PORT/%2f`.
    pub fn url(&self) -> String {
        self.url_at(self.port())
    }

    /// The same broker by another port, that of a [`crate::Proxy`].
    pub fn url_at(&self, port: u16) -> String {
        format!("amqp://guest:guest@127.0.0.1:{port}/%2f")
    }

    /// The port it listens on, the same over restarts.
    pub fn port(&self) -> u16 {
        self.ports.amqp.number()
    }

    /// Where it listens.
    pub fn address(&self) -> SocketAddr {
        SocketAddr::from((Ipv4Addr::LOCALHOST, self.port()))
    }

    /// The process id of the Erlang virtual machine as it was last started.
    ///
    /// # Errors
    /// Fails when the broker was never so far as to write its id.
    pub fn pid(&self) -> Result<u32> {
        let path = self.pid_file();
        let text = fs::read_to_string(&path)
            .with_context(|| format!("failed to read {}", path.display()))?;
        text.trim()
            .parse()
            .with_context(|| format!("failed to read a process id from {}", path.display()))
    }

    /// The folder with its data and its log.
    pub fn folder(&self) -> &Path {
        self.broker.folder()
    }

    /// Ends it with SIGKILL. Nothing happens when it does not run.
    ///
    /// # Errors
    /// Fails when the end of the process cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.broker.kill()
    }

    /// Asks it to end in order (SIGTERM), and waits until it has.
    ///
    /// # Errors
    /// Fails when it does not run, or not end within [`PATIENCE`].
    pub fn stop(&mut self) -> Result<()> {
        self.broker.send(Signal::Terminate)?;
        let broker = &mut self.broker;
        wait_for("the end of RabbitMQ", PATIENCE, || broker.ended())?;
        // What is left of its process group goes as well.
        self.broker.kill()
    }

    /// Starts it again with the same port, node name and data, after a kill if
    /// it still runs.
    ///
    /// # Errors
    /// As [`RabbitMqBuilder::start`].
    pub fn restart(&mut self) -> Result<()> {
        self.kill()?;
        self.launch()
    }

    /// Stops it from running without closing a connection (SIGSTOP).
    ///
    /// # Errors
    /// Fails when it does not run.
    pub fn freeze(&self) -> Result<()> {
        self.broker.freeze()
    }

    /// Lets a frozen broker go on (SIGCONT).
    ///
    /// # Errors
    /// Fails when it does not run.
    pub fn thaw(&self) -> Result<()> {
        self.broker.thaw()
    }

    /// Runs `rabbitmqctl` with these words on this node and returns what it
    /// printed: `ctl(&["list_queues", "-q", "name", "messages"])`. Takes a
    /// second or two.
    ///
    /// # Errors
    /// Fails when `rabbitmqctl` does, with what it said.
    pub fn ctl(&self, words: &[&str]) -> Result<String> {
        let mut command = Command::new(find("rabbitmqctl")?);
        self.set_environment(&mut command);
        let output = command
            .args(words)
            .output()
            .context("failed to start rabbitmqctl")?;
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        if !output.status.success() {
            let errors = String::from_utf8_lossy(&output.stderr);
            bail!("failed to run rabbitmqctl {words:?}: {text}{errors}");
        }
        Ok(text)
    }

    /// Waits until the broker takes connections. `start` and `restart` have
    /// done so already.
    ///
    /// # Errors
    /// Fails, with its output and log, when it ended by itself, or after
    /// [`PATIENCE`].
    pub fn wait_ready(&mut self) -> Result<()> {
        let address = self.address();
        let log = self.log_file();
        let broker = &mut self.broker;
        let waited = wait_for("RabbitMQ ready", PATIENCE, || {
            if let Some(status) = broker.ended()? {
                bail!("RabbitMQ ended at its start ({status})");
            }
            Ok(takes_connections(address).then_some(()))
        });
        waited.with_context(|| {
            let log = fs::read_to_string(&log).unwrap_or_default();
            let output = self.broker.output();
            format!("failed to start RabbitMQ on {address}, which printed:\n{output}\n{log}")
        })
    }

    fn launch(&mut self) -> Result<()> {
        let mut command = Command::new(find("rabbitmq-server")?);
        self.set_environment(&mut command);
        self.broker.spawn(&mut command)?;
        self.wait_ready()
    }

    fn start_mapper(&mut self) -> Result<()> {
        let number = self.ports.mapper.number();
        let mut command = Command::new(find("epmd")?);
        command.args(["-address", "127.0.0.1", "-port", &number.to_string()]);
        self.mapper.spawn(&mut command)?;
        let mapper = &mut self.mapper;
        wait_for("epmd ready", PATIENCE, || {
            if let Some(status) = mapper.ended()? {
                bail!("epmd ended at its start ({status}): {}", mapper.output());
            }
            Ok(TcpStream::connect((Ipv4Addr::LOCALHOST, number)).ok())
        })?;
        Ok(())
    }

    fn write_files(&self) -> Result<()> {
        let folder = self.folder();
        let mut lines = vec![
            format!("listeners.tcp.1 = 127.0.0.1:{}", self.port()),
            format!("consumer_timeout = {}", self.consumer_timeout.as_millis()),
            // Alarms belong to the machine; a full one would block every test.
            "disk_free_limit.absolute = 1MB".to_owned(),
            "vm_memory_high_watermark.absolute = 2GB".to_owned(),
            "log.file.level = warning".to_owned(),
        ];
        lines.extend(self.settings.iter().cloned());
        if !self.vhosts.is_empty() {
            let path = folder.join("definitions.json");
            fs::write(&path, definitions(&self.vhosts))
                .with_context(|| format!("failed to write {}", path.display()))?;
            lines.push(format!("load_definitions = {}", path.display()));
        }
        let cookie = folder.join(".erlang.cookie");
        let files = [
            (folder.join("rabbitmq.conf"), lines.join("\n") + "\n"),
            (folder.join("enabled_plugins"), "[].\n".to_owned()),
            (folder.join("rabbitmq-env.conf"), String::new()),
            (cookie.clone(), format!("HOLDFAST{:016X}", random())),
        ];
        for (path, text) in files {
            fs::write(&path, text)
                .with_context(|| format!("failed to write {}", path.display()))?;
        }
        // Erlang refuses a cookie that others can read.
        fs::set_permissions(&cookie, fs::Permissions::from_mode(0o400))
            .context("failed to protect the Erlang cookie")
    }

    /// What server and `rabbitmqctl` must agree on. Nothing of the machine's
    /// own broker shows through: its variables are removed, its files unused.
    fn set_environment(&self, command: &mut Command) {
        for (name, _) in std::env::vars_os() {
            let name = name.to_string_lossy().into_owned();
            if name.starts_with("RABBITMQ_") || name.starts_with("ERL_") {
                command.env_remove(name);
            }
        }
        let folder = self.folder();
        let distribution = self.ports.distribution.number().to_string();
        command
            .env("HOME", folder)
            .env("ERL_EPMD_PORT", self.ports.mapper.number().to_string())
            .env("ERL_EPMD_ADDRESS", "127.0.0.1")
            .env(
                "RABBITMQ_NODENAME",
                format!("holdfast-{}@localhost", self.port()),
            )
            .env("RABBITMQ_NODE_IP_ADDRESS", "127.0.0.1")
            .env("RABBITMQ_NODE_PORT", self.port().to_string())
            .env("RABBITMQ_DIST_PORT", distribution)
            .env("RABBITMQ_MNESIA_BASE", folder.join("data"))
            .env("RABBITMQ_LOG_BASE", folder.join("log"))
            .env("RABBITMQ_LOGS", self.log_file())
            .env("RABBITMQ_PID_FILE", self.pid_file())
            .env("RABBITMQ_CONFIG_FILE", folder.join("rabbitmq.conf"))
            .env("RABBITMQ_ADVANCED_CONFIG_FILE", folder.join("none"))
            .env("RABBITMQ_CONF_ENV_FILE", folder.join("rabbitmq-env.conf"))
            .env(
                "RABBITMQ_ENABLED_PLUGINS_FILE",
                folder.join("enabled_plugins"),
            )
            .env(
                "RABBITMQ_SERVER_ADDITIONAL_ERL_ARGS",
                "-kernel inet_dist_use_interface {127,0,0,1}",
            );
    }

    fn pid_file(&self) -> PathBuf {
        self.folder().join("pid")
    }

    fn log_file(&self) -> PathBuf {
        self.folder().join("log/rabbit.log")
    }
}

/// What the broker is to have at its start. With definitions it makes no user
/// by itself, so the usual one is among them; its hash is that of `guest`.
fn definitions(vhosts: &[String]) -> String {
    const HASH: &str = "AQIDBEMMOXwY6PKx/JKP9PAqfsb4ozuD0Ta3pxxa9gEYBMmD";
    let names: Vec<&str> = ["/"]
        .into_iter()
        .chain(vhosts.iter().map(String::as_str))
        .collect();
    let hosts: Vec<String> = names
        .iter()
        .map(|name| format!(r#"{{"name":"{name}"}}"#))
        .collect();
    let rights: Vec<String> = names
        .iter()
        .map(|name| {
            format!(
                r#"{{"user":"guest","vhost":"{name}","configure":".*","write":".*","read":".*"}}"#
            )
        })
        .collect();
    format!(
        r#"{{"users":[{{"name":"guest","password_hash":"{HASH}","hashing_algorithm":"rabbit_password_hashing_sha256","tags":"administrator"}}],"vhosts":[{}],"permissions":[{}]}}"#,
        hosts.join(","),
        rights.join(",")
    )
}

/// Whether something at `address` answers as an AMQP 0-9-1 server does: with a
/// method frame on channel 0. The broker opens its port last of all.
fn takes_connections(address: SocketAddr) -> bool {
    let limit = Duration::from_secs(2);
    let greeting = || -> std::io::Result<[u8; 3]> {
        let mut stream = TcpStream::connect_timeout(&address, limit)?;
        stream.set_read_timeout(Some(limit))?;
        stream.write_all(b"AMQP\x00\x00\x09\x01")?;
        let mut start = [0; 3];
        stream.read_exact(&mut start)?;
        Ok(start)
    };
    greeting().is_ok_and(|start| start == [1, 0, 0])
}
