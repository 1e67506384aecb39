//! Running the hand-written consumers and the load.

use std::process::Command;
use std::time::Duration;

use anyhow::{Context, Result, ensure};
use holdfast_servers::Program;
use serde_json::Value;

use super::Servers;
use super::build::Programs;
use super::measure::{Run, ServerCpu};
use super::variant::Variant;

/// A run that takes longer is stuck.
const LIMIT: Duration = Duration::from_secs(300);

/// Declares the queue if need be and publishes, every message confirmed.
pub(super) fn fill(
    programs: &Programs,
    servers: &Servers,
    queue: &str,
    messages: usize,
    run: &str,
) -> Result<()> {
    let mut command = Command::new(&programs.native);
    command.args(["publish", "--amqp", &servers.rabbitmq.url()]);
    command.args(["--queue", queue, "--messages", &messages.to_string()]);
    command.args(["--run", run]);
    report_of(&mut command)?;
    Ok(())
}

/// Lets a hand-written consumer empty the queue.
pub(super) fn consume(
    programs: &Programs,
    servers: &Servers,
    variant: Variant,
    queue: &str,
    messages: usize,
) -> Result<Run> {
    let mut command = consumer(programs, servers, variant, queue, messages);
    command.args(["--amqp", &servers.rabbitmq.url()]);
    let before = ServerCpu::now(servers)?;
    let report = report_of(&mut command)?;
    let (broker, redis) = ServerCpu::now(servers)?.used_since(before);
    let number = |name: &str| report[name].as_f64().context("a field is missing");
    Ok(Run {
        messages,
        seconds: number("seconds")?,
        own: Duration::from_secs_f64(number("cpu_us")? / 1e6),
        broker,
        redis,
        memory: None,
    })
}

/// The command line of a hand-written consumer, but for the broker's address.
pub(super) fn consumer(
    programs: &Programs,
    servers: &Servers,
    variant: Variant,
    queue: &str,
    messages: usize,
) -> Command {
    let mut command = Command::new(&programs.native);
    command.args([variant.name(), "--queue", queue]);
    command.args(["--messages", &messages.to_string()]);
    if variant != Variant::Bare {
        command.args(["--redis", &store(servers, variant)]);
    }
    command
}

/// Each variant has a database of its own in the store.
pub(super) fn store(servers: &Servers, variant: Variant) -> String {
    format!("redis://{}/{}", servers.redis.address(), variant as u8)
}

/// Runs it to its end; its last line is its report.
fn report_of(command: &mut Command) -> Result<Value> {
    let mut program = Program::start("bench", command)?;
    let status = program.wait(LIMIT)?;
    let output = program.output();
    ensure!(status.success(), "{status}: {output}");
    last_line(&output)
}

/// The JSON on the last line of what a program printed.
pub(super) fn last_line(output: &str) -> Result<Value> {
    let line = output.lines().last().unwrap_or_default();
    serde_json::from_str(line).with_context(|| format!("failed to read a report from {line:?}"))
}
