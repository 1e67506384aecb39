//! `cargo xtask bench`: Holdfast against the consumer one would write by hand,
//! in one run on the same private RabbitMQ and Redis, interleaved.
//!
//! Ratios inside a run count; the absolute figures belong to the machine.

use anyhow::{Context, Result, bail, ensure};
use holdfast_servers::{RabbitMq, Redis};
use indicatif::{ProgressBar, ProgressStyle};

mod build;
mod guest;
mod hand;
mod host;
mod idle;
mod latency;
mod measure;
mod report;
mod sampler;
mod variant;

use build::Programs;
use measure::{Run, quiet};
use report::Report;
use variant::Variant;

use crate::setup;

/// What to measure.
#[derive(clap::Args)]
#[group(id = "bench")]
pub(crate) struct Options {
    #[command(flatten)]
    setup: setup::Options,
    /// Messages of each run
    #[arg(long, default_value_t = 50_000)]
    messages: usize,
    /// Runs of each variant; the median counts
    #[arg(long, default_value_t = 3)]
    rounds: usize,
    /// Only these variants, by name or letter
    #[arg(long, value_delimiter = ',', value_enum)]
    only: Vec<Variant>,
    /// Handlers that Holdfast runs at once, of 256 messages fetched
    #[arg(long, default_value_t = 256)]
    concurrency: usize,
    /// Messages a second when latency is measured; 0 leaves it out
    #[arg(long, default_value_t = 1000)]
    rate: u32,
    /// Leave out the cost of single calls into a guest
    #[arg(long)]
    no_guest: bool,
    /// Leave out what a host at rest costs
    #[arg(long)]
    no_idle: bool,
}

/// The servers that all variants share.
struct Servers {
    redis: Redis,
    rabbitmq: RabbitMq,
}

/// Builds, measures, prints a table and writes `target/bench/latest.json`.
///
/// # Errors
/// Fails when something cannot be built or started, or a run does not end.
pub(crate) fn command(options: &Options) -> Result<()> {
    ensure!(options.rounds > 0, "failed to measure: --rounds is zero");
    ensure!(
        options.messages > 0,
        "failed to measure: --messages is zero"
    );
    let variants = Variant::chosen(&options.only);
    let programs = Programs::build(&variants, !options.no_guest, &options.setup)?;
    if let setup::Servers::Missing { advice } = setup::servers()? {
        bail!("failed to find Redis and RabbitMQ: {advice}");
    }
    let servers = Servers {
        redis: Redis::start()?,
        rabbitmq: RabbitMq::start()?,
    };
    let mut bench = Bench {
        options,
        programs: &programs,
        servers: &servers,
        hosts: Vec::new(),
        report: Report::default(),
        progress: progress(options.rounds * variants.len()),
    };
    for variant in &variants {
        bench.prepare(*variant)?;
    }
    for round in 0..options.rounds {
        bench.round(&variants, round)?;
    }
    if options.rate > 0 {
        for variant in variants.iter().filter(|variant| variant.has_latency()) {
            bench.latency(*variant)?;
        }
    }
    if !options.no_idle && programs.host.is_some() {
        for plugins in [1, 100] {
            let progress = format!("a host at rest, plugins: {plugins}");
            bench.progress.set_message(progress);
            let idle = idle::measure(&programs, &servers, plugins)
                .with_context(|| format!("failed to measure {plugins} plugins at rest"))?;
            bench.report.idle.push(idle);
        }
    }
    bench.progress.finish_and_clear();
    let mut report = bench.report;
    if !options.no_guest {
        report.guest = Some(guest::measure(&programs)?);
    }
    report.print();
    let path = report.write(&programs.target.join("bench"))?;
    println!("\nwritten to {}", path.display());
    Ok(())
}

struct Bench<'a> {
    options: &'a Options,
    programs: &'a Programs,
    servers: &'a Servers,
    hosts: Vec<(Variant, host::Setup)>,
    report: Report,
    progress: ProgressBar,
}

impl Bench<'_> {
    /// Holdfast declares its own queues: started once on nothing, it has also
    /// compiled its plugin before anything is timed.
    fn prepare(&mut self, variant: Variant) -> Result<()> {
        self.progress.set_message(format!("preparing {variant}"));
        if let Some(instances) = variant.instances() {
            let setup = host::Setup::new(
                self.programs,
                self.servers,
                variant,
                instances,
                self.options.concurrency,
            )?;
            setup.start(&self.servers.rabbitmq.url())?.stop()?;
            self.hosts.push((variant, setup));
        }
        hand::fill(self.programs, self.servers, &queue(variant), 0, "none")
    }

    /// Every variant once, each round beginning with another one.
    fn round(&mut self, variants: &[Variant], round: usize) -> Result<()> {
        for index in 0..variants.len() {
            let variant = variants[(index + round) % variants.len()];
            let run = self
                .one(variant, round)
                .with_context(|| format!("failed to measure {variant}"))?;
            self.progress
                .println(format!("{variant}: {:.0} messages/s", run.per_second()));
            self.report.runs.push((variant, run));
            self.progress.inc(1);
        }
        Ok(())
    }

    fn one(&self, variant: Variant, round: usize) -> Result<Run> {
        let queue = queue(variant);
        let messages = self.options.messages;
        self.progress
            .set_message(format!("{variant}: filling the queue"));
        let run_id = format!("{}-{round}", variant.name());
        hand::fill(self.programs, self.servers, &queue, messages, &run_id)?;
        quiet(self.servers.rabbitmq.pid()?)?;
        self.progress.set_message(format!("{variant}: consuming"));
        match self.hosts.iter().find(|(of, _)| *of == variant) {
            Some((_, setup)) => setup.measure(self.servers, messages),
            None => hand::consume(self.programs, self.servers, variant, &queue, messages),
        }
    }

    fn latency(&mut self, variant: Variant) -> Result<()> {
        self.progress.set_message(format!("{variant}: latency"));
        let setup = self.hosts.iter().find(|(of, _)| *of == variant);
        let setup = setup.map(|(_, setup)| setup);
        let latency = latency::measure(
            self.programs,
            self.servers,
            setup,
            &queue(variant),
            self.options.rate,
        )
        .with_context(|| format!("failed to measure the latency of {variant}"))?;
        self.report.latencies.push((variant, latency));
        Ok(())
    }
}

/// Each variant has a queue of its own.
fn queue(variant: Variant) -> String {
    format!("bench-{}", variant.name())
}

fn progress(runs: usize) -> ProgressBar {
    let style = ProgressStyle::with_template("{bar:30} {pos}/{len} {msg}");
    let bar = ProgressBar::new(runs as u64);
    bar.enable_steady_tick(std::time::Duration::from_millis(200));
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}
