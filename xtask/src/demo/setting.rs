//! What the demo runs on: servers, a folder, a host.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};
use holdfast_servers::{Port, Program, RabbitMq, Redis, wait_for};
use tempfile::TempDir;

use super::Broker;
use super::client::Client;

/// Attempts per order; the looping one uses all of them.
pub(super) const ATTEMPTS: u64 = 3;

/// A host on its servers. Everything ends when it is dropped.
pub(super) struct Setting {
    host: Program,
    port: Port,
    folder: TempDir,
    _servers: Option<(RabbitMq, Redis)>,
}

/// What the change of the plugin did.
pub(super) struct Reload {
    pub(super) before: String,
    pub(super) after: String,
    pub(super) took: Duration,
}

impl Setting {
    pub(super) fn start(broker: Broker, guests: &Path, binary: &Path) -> Result<Self> {
        let folder = tempfile::Builder::new()
            .prefix("holdfast-demo-")
            .tempdir()?;
        let plugins = folder.path().join("plugins");
        fs::create_dir(&plugins)?;
        for name in ["orders", "echo"] {
            fs::copy(
                guests.join(format!("{name}.wasm")),
                plugins.join(format!("{name}.wasm")),
            )?;
        }
        let servers = match broker {
            Broker::Embedded => None,
            Broker::Rabbitmq => Some((RabbitMq::start()?, Redis::start()?)),
        };
        let port = Port::free()?;
        let config = folder.path().join("holdfast.toml");
        fs::write(
            &config,
            configuration(&plugins, port.number(), servers.as_ref(), folder.path())?,
        )?;
        let mut command = Command::new(binary);
        command.arg("--config").arg(&config).arg("run");
        let mut host = Program::start("holdfast-demo", &mut command)?;
        let client = Client::new(base(&port));
        let ready = wait_for("the host to be ready", Duration::from_secs(60), || {
            if let Some(status) = host.ended()? {
                bail!("the host ended with {status}");
            }
            Ok(client.ready().then_some(()))
        });
        ready.with_context(|| format!("the host printed:\n{}", host.output()))?;
        Ok(Self {
            host,
            port,
            folder,
            _servers: servers,
        })
    }

    pub(super) fn client(&self) -> Client {
        Client::new(base(&self.port))
    }

    /// Puts another version of the handler into the plugin folder, as a build
    /// would, and waits until it serves. The version differs by a note that
    /// the component carries, which changes its digest and nothing else.
    pub(super) fn change_plugin(&self, client: &Client, before: &str) -> Result<Reload> {
        let file = self.folder.path().join("plugins/orders.wasm");
        let mut component = fs::read(&file)?;
        component.extend(custom_section("demo", b"the second version"));
        let aside = self.folder.path().join("orders.aside");
        fs::write(&aside, component)?;
        let started = Instant::now();
        fs::rename(aside, file)?;
        let after = wait_for(
            "the changed plugin to serve",
            Duration::from_secs(30),
            || {
                let digest = client.plugin_digest("orders")?;
                Ok((digest != before).then_some(digest))
            },
        )?;
        Ok(Reload {
            before: before.to_owned(),
            after,
            took: started.elapsed(),
        })
    }

    /// Ends the host in order.
    pub(super) fn stop(mut self) -> Result<()> {
        self.host.terminate()?;
        let status = self.host.wait(Duration::from_secs(60))?;
        ensure!(
            status.success(),
            "the host ended with {status}:\n{}",
            self.host.output()
        );
        Ok(())
    }

    /// Waits until the host is ended from outside (Ctrl-C reaches it too).
    pub(super) fn stay(mut self) -> Result<()> {
        while self.host.ended()?.is_none() {
            std::thread::sleep(Duration::from_millis(200));
        }
        Ok(())
    }
}

fn base(port: &Port) -> String {
    format!("http://127.0.0.1:{}", port.number())
}

/// A custom section as the binary format has it: id 0, size, name, content.
fn custom_section(name: &str, content: &[u8]) -> Vec<u8> {
    let length = |n: usize| u8::try_from(n).unwrap_or(0);
    let mut section = vec![
        0,
        length(1 + name.len() + content.len()),
        length(name.len()),
    ];
    section.extend(name.as_bytes());
    section.extend(content);
    section
}

fn configuration(
    plugins: &PathBuf,
    port: u16,
    servers: Option<&(RabbitMq, Redis)>,
    folder: &Path,
) -> Result<String> {
    let (store, broker) = match servers {
        Some((rabbit, redis)) => (
            format!("kind = \"redis\"\nurl = {:?}", redis.url()),
            format!("kind = \"rabbitmq\"\nurl = {:?}", rabbit.url()),
        ),
        None => (
            format!(
                "kind = \"embedded\"\npath = {:?}",
                folder.join("claims.redb")
            ),
            format!(
                "kind = \"embedded\"\npath = {:?}",
                folder.join("queues.redb")
            ),
        ),
    };
    let mut text = String::new();
    write!(
        text,
        r#"version = 1
service = "demo"
plugin-dir = {plugins:?}
[store]
{store}
[brokers.main]
{broker}
[plugins.orders]
timeout = "250ms"
deadline = "5s"
vars = {{ currency = "EUR", confirmations = "confirmations" }}
[consumers.orders]
broker = "main"
queue = "orders"
plugin = "orders"
[consumers.orders.order]
mode = "lanes"
key = "json:/customer"
[consumers.orders.retry]
attempts = {ATTEMPTS}
initial = "100ms"
[consumers.confirmations]
broker = "main"
queue = "confirmations"
plugin = "echo"
[admin]
listen = "127.0.0.1:{port}"
[log]
level = "warn"
"#
    )?;
    Ok(text)
}
