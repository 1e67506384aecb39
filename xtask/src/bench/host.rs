//! Running Holdfast itself.

use std::fs;
use std::path::PathBuf;
use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, bail, ensure};
use holdfast_servers::{Port, Program, wait_for};

use super::Servers;
use super::build::Programs;
use super::hand;
use super::measure::{Run, ServerCpu, cpu};
use super::sampler::Sampler;
use super::variant::Variant;

const PLUGIN: &str = "bench-json.wasm";
const LIMIT: Duration = Duration::from_secs(60);

/// Everything needed to start one variant of the host, any number of times.
pub(super) struct Setup {
    binary: PathBuf,
    plugins: PathBuf,
    folder: tempfile::TempDir,
    store: String,
    name: &'static str,
    instances: &'static str,
    concurrency: usize,
    admin: Port,
}

/// A host that runs. Dropping it kills it.
pub(super) struct Host<'a> {
    setup: &'a Setup,
    program: Program,
}

impl Setup {
    pub(super) fn new(
        programs: &Programs,
        servers: &Servers,
        variant: Variant,
        instances: &'static str,
        concurrency: usize,
    ) -> Result<Self> {
        let folder = tempfile::tempdir().context("failed to make a folder")?;
        let plugins = folder.path().join("plugins");
        fs::create_dir(&plugins).context("failed to make the plugin folder")?;
        let guests = programs.guests.as_ref().context("no guests were built")?;
        fs::copy(guests.join(PLUGIN), plugins.join(PLUGIN))
            .with_context(|| format!("failed to copy {PLUGIN}"))?;
        Ok(Self {
            binary: programs.host.clone().context("the host was not built")?,
            plugins,
            folder,
            store: hand::store(servers, variant),
            name: variant.name(),
            instances,
            concurrency,
            admin: Port::free()?,
        })
    }

    /// Starts the host with this address of the broker, and waits until it
    /// is ready.
    pub(super) fn start(&self, broker: &str) -> Result<Host<'_>> {
        let mut host = self.launch(broker)?;
        let sampler = self.sampler();
        wait_for("the host ready", LIMIT, || {
            host.check()?;
            Ok(sampler.ready().then_some(()))
        })
        .with_context(|| format!("it printed: {}", host.program.output()))?;
        Ok(host)
    }

    /// Lets the host empty a queue that was filled before.
    pub(super) fn measure(&self, servers: &Servers, messages: usize) -> Result<Run> {
        let memory = used_memory(servers)?;
        let mut host = self.launch(&servers.rabbitmq.url())?;
        let pid = host.program.pid();
        let note = || Ok((cpu(pid)?, ServerCpu::now(servers)?));
        let window = self
            .sampler()
            .follow(messages, || host.check(), note)
            .with_context(|| format!("the host printed: {}", host.program.output()))?;
        let (own_before, before) = window.before;
        let (own_after, after) = window.after;
        let (broker, redis) = after.used_since(before);
        let memory = used_memory(servers)? - memory;
        host.stop()?;
        Ok(Run {
            messages: window.messages,
            seconds: window.seconds,
            own: own_after.saturating_sub(own_before),
            broker,
            redis,
            memory: Some(memory),
        })
    }

    fn launch(&self, broker: &str) -> Result<Host<'_>> {
        let path = self.folder.path().join("holdfast.toml");
        fs::write(&path, self.configuration(broker)).context("failed to write the host's file")?;
        let mut command = Command::new(&self.binary);
        command.arg("--config").arg(&path).arg("run");
        command.current_dir(self.folder.path());
        let program = Program::start("host", &mut command)?;
        Ok(Host {
            setup: self,
            program,
        })
    }

    fn sampler(&self) -> Sampler {
        Sampler::new(format!("http://127.0.0.1:{}", self.admin.number()))
    }

    fn configuration(&self, broker: &str) -> String {
        let Self {
            store,
            name,
            instances,
            concurrency,
            ..
        } = self;
        let plugins = self.plugins.display();
        let admin = self.admin.number();
        format!(
            r#"version = 1
service = "bench-{name}"
plugin-dir = "{plugins}"

[store]
kind = "redis"
url = "{store}"

[brokers.main]
kind = "rabbitmq"
url = "{broker}"

[plugins.bench-json]
instances = "{instances}"

[consumers.bench]
broker = "main"
queue = "bench-{name}"
plugin = "bench-json"
concurrency = {concurrency}
prefetch = 256

[admin]
listen = "127.0.0.1:{admin}"

[log]
level = "warn"
"#
        )
    }
}

impl Host<'_> {
    /// Asks it to drain and waits for its end.
    pub(super) fn stop(mut self) -> Result<()> {
        self.program.terminate()?;
        let status = self.program.wait(LIMIT)?;
        let name = self.setup.name;
        let output = self.program.output();
        ensure!(
            status.success(),
            "the host {name} ended with {status}: {output}"
        );
        Ok(())
    }

    fn check(&mut self) -> Result<()> {
        match self.program.ended()? {
            Some(status) => bail!("the host ended by itself ({status})"),
            None => Ok(()),
        }
    }
}

/// What Redis's data take, in bytes.
fn used_memory(servers: &Servers) -> Result<i64> {
    let info = servers.redis.cli(&["INFO", "memory"])?;
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("used_memory:"));
    let bytes = line.context("failed to find used_memory")?.trim();
    bytes.parse().context("failed to read used_memory")
}
