//! The consumers that Holdfast is measured against, the load for all of them,
//! and an observer of latencies. Each command prints JSON, one line.
//!
//! `cargo xtask bench` runs these on its own servers; by hand:
//!
//! ```text
//! holdfast-bench-native publish --queue q --messages 50000 --run one
//! holdfast-bench-native native  --queue q --messages 50000
//! ```

use std::io::Write;

use anyhow::Result;
use clap::{Args, Parser, Subcommand};
use serde_json::Value;

mod bare;
mod broker;
mod ceiling;
mod claims;
mod cpu;
mod frames;
mod latency;
mod load;
mod native;
mod order;

#[derive(Debug, Parser)]
#[command(about = "The consumers that Holdfast is measured against")]
struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Declare a quorum queue and fill it, every message confirmed
    Publish {
        #[command(flatten)]
        source: Source,
        /// Begins every message id
        #[arg(long)]
        run: String,
    },
    /// Acknowledge each message, nothing else
    Bare(Source),
    /// The consumer one would write by hand: two claim scripts per message
    Native(Claiming),
    /// The same with the scripts of many messages in one pipeline
    Ceiling(Claiming),
    /// Publish slowly and watch how long each message takes to its
    /// acknowledgement, by whichever consumer connects through the tap
    Latency {
        #[command(flatten)]
        source: Source,
        /// Messages a second
        #[arg(long, default_value_t = 1000)]
        rate: u32,
    },
}

/// Which messages, from where.
#[derive(Debug, Args)]
struct Source {
    #[arg(long, default_value = "amqp://guest:guest@127.0.0.1:5672/%2f")]
    amqp: String,
    #[arg(long)]
    queue: String,
    #[arg(long)]
    messages: usize,
}

#[derive(Debug, Args)]
struct Claiming {
    #[command(flatten)]
    source: Source,
    #[arg(long, default_value = "redis://127.0.0.1:6379/0")]
    redis: String,
}

#[tokio::main]
async fn main() -> Result<()> {
    // As a task, it runs on the workers: what wakes it is next to it, and not
    // a thread away.
    tokio::spawn(run(Cli::parse().command)).await?
}

async fn run(command: Command) -> Result<()> {
    let report = match command {
        Command::Publish { source, run } => load::publish(&source, &run).await?,
        Command::Bare(source) => bare::consume(&source).await?,
        Command::Native(claiming) => native::consume(&claiming).await?,
        Command::Ceiling(claiming) => ceiling::consume(&claiming).await?,
        Command::Latency { source, rate } => return latency::observe(&source, rate).await,
    };
    print(&report)
}

fn print(report: &Value) -> Result<()> {
    let mut out = std::io::stdout().lock();
    writeln!(out, "{report}")?;
    Ok(out.flush()?)
}
