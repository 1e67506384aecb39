//! How long a message takes at a rate far below the limit.

use std::io::{BufRead, BufReader, Write};
use std::net::SocketAddr;
use std::process::{Child, ChildStdout, Command, Stdio};
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use holdfast_servers::{Program, wait_for};

use super::Servers;
use super::build::Programs;
use super::host::Setup;
use super::variant::Variant;
use super::{hand, measure};

/// For how many seconds messages are sent.
const SECONDS: usize = 6;

/// From the publish to the passing of the acknowledgement, in milliseconds.
#[derive(Debug, Clone, Copy)]
pub(super) struct Latency {
    pub(super) p50: f64,
    pub(super) p99: f64,
}

/// Measures Holdfast, or without a `setup` the reference.
pub(super) fn measure(
    programs: &Programs,
    servers: &Servers,
    setup: Option<&Setup>,
    queue: &str,
    rate: u32,
) -> Result<Latency> {
    let messages = SECONDS * rate as usize;
    measure::quiet(servers.rabbitmq.pid()?)?;
    let mut observer = Observer::start(programs, servers, queue, messages, rate)?;
    let broker = servers.rabbitmq.url_at(observer.tap.port());
    match setup {
        Some(setup) => {
            let host = setup.start(&broker)?;
            consumed(servers, queue)?;
            let latency = observer.result()?;
            host.stop()?;
            Ok(latency)
        }
        None => {
            let mut command = hand::consumer(programs, servers, Variant::Native, queue, messages);
            let mut consumer = Program::start("bench", command.args(["--amqp", &broker]))?;
            consumed(servers, queue)?;
            let latency = observer.result()?;
            let status = consumer.wait(Duration::from_secs(10))?;
            ensure!(status.success(), "{status}: {}", consumer.output());
            Ok(latency)
        }
    }
}

/// Waits until the queue has a consumer.
fn consumed(servers: &Servers, queue: &str) -> Result<()> {
    let line = format!("{queue}\t1");
    wait_for("a consumer on the queue", Duration::from_secs(30), || {
        let list = servers
            .rabbitmq
            .ctl(&["list_queues", "-q", "name", "consumers"])?;
        Ok(list.lines().any(|found| found == line).then_some(()))
    })
}

/// The process that publishes and watches.
struct Observer {
    process: Child,
    output: BufReader<ChildStdout>,
    tap: SocketAddr,
}

impl Observer {
    fn start(
        programs: &Programs,
        servers: &Servers,
        queue: &str,
        messages: usize,
        rate: u32,
    ) -> Result<Self> {
        let mut process = Command::new(&programs.native)
            .args(["latency", "--amqp", &servers.rabbitmq.url()])
            .args(["--queue", queue, "--messages", &messages.to_string()])
            .args(["--rate", &rate.to_string()])
            .stdin(Stdio::piped())
            .stdout(Stdio::piped())
            .spawn()
            .context("failed to start the observer")?;
        let output = process.stdout.take().context("no output")?;
        let mut output = BufReader::new(output);
        let mut line = String::new();
        output.read_line(&mut line)?;
        let first = hand::last_line(&line)?;
        let tap = first["tap"].as_str().context("no address of the tap")?;
        Ok(Self {
            process,
            tap: tap.parse().context("failed to read the tap's address")?,
            output,
        })
    }

    /// Tells it to begin, and waits for its report. Its tap stays open.
    fn result(&mut self) -> Result<Latency> {
        let input = self.process.stdin.as_mut().context("no input")?;
        input.write_all(b"go\n")?;
        let mut line = String::new();
        self.output.read_line(&mut line)?;
        let report = hand::last_line(&line)?;
        let number = |name: &str| report[name].as_f64().context("a field is missing");
        Ok(Latency {
            p50: number("p50_ms")?,
            p99: number("p99_ms")?,
        })
    }
}

impl Drop for Observer {
    fn drop(&mut self) {
        // It has ended by itself unless something failed before.
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}
