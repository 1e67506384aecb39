//! `cargo xtask demo`: the main job on a few hundred orders, and what became
//! of each.

mod client;
mod orders;
mod report;
mod setting;

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use indicatif::{ProgressBar, ProgressStyle};

use crate::guests::{self, Origin};
use crate::{build, setup};
use client::Client;
use orders::Plan;
use setting::Setting;

#[derive(clap::Args)]
#[group(id = "demo")]
pub(crate) struct Options {
    /// The broker and the store: inside the host, or private RabbitMQ and Redis servers
    #[arg(long, value_enum, default_value_t = Broker::Embedded)]
    broker: Broker,
    /// Leave the host running until interrupted
    #[arg(long)]
    keep: bool,
}

/// What the demo runs on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, clap::ValueEnum)]
pub(crate) enum Broker {
    /// Inside the host.
    Embedded,
    /// Private servers on free ports.
    Rabbitmq,
}

/// How long everything may take to be settled, on a slow machine.
const SETTLED: Duration = Duration::from_secs(180);

/// Runs the demo.
///
/// # Errors
/// When a part cannot be built or started, and when the books do not close.
pub(crate) fn command(options: &Options) -> Result<()> {
    step("the guests: echo and orders");
    let target = setup::guest_target(&setup::Options::default())?;
    let guests = guests::build_all(&target)?;
    if guests.origin == Origin::Prebuilt {
        step("(the prebuilt components are used: this machine has no guest toolchain)");
    }
    step("the host (the first build compiles wasmtime and takes some minutes)");
    let binary = build::host()?;
    if options.broker == Broker::Rabbitmq
        && let setup::Servers::Missing { advice } = setup::servers()?
    {
        bail!("the demo on RabbitMQ needs the servers\n{advice}");
    }
    let setting = Setting::start(options.broker, &guests.folder, &binary)?;
    let client = setting.client();
    step(&format!(
        "the host is ready, its dashboard is at {}/",
        client.base()
    ));

    let plan = Plan::new();
    let before = client.plugin_digest("orders")?;
    let bar = bar(plan.deliveries() as u64);
    let (first, second) = plan.halves();
    send(&client, &first, &bar)?;
    let reload = setting.change_plugin(&client, &before)?;
    send(&client, &second, &bar)?;
    wait(&client, &plan, &bar)?;
    bar.finish_and_clear();

    let outcome = report::Outcome::read(&client, &plan, reload)?;
    outcome.print();
    if options.keep {
        println!(
            "\nThe host goes on running; its dashboard is at {}/ (Ctrl-C ends it).",
            client.base()
        );
        setting.stay()?;
    } else {
        setting.stop()?;
        println!("\n{}", report::NEXT);
    }
    outcome.verdict().context("the books do not close")
}

fn step(text: &str) {
    eprintln!("demo: {text}");
}

fn bar(length: u64) -> ProgressBar {
    let style = ProgressStyle::with_template("demo: {msg:<22} {bar:30} {pos}/{len}");
    let bar = ProgressBar::new(length);
    bar.with_style(style.unwrap_or_else(|_| ProgressStyle::default_bar()))
}

fn send(client: &Client, orders: &[orders::Order], bar: &ProgressBar) -> Result<()> {
    bar.set_message("publishing orders");
    for order in orders {
        client.publish("orders", &order.id, order.body.as_bytes())?;
        bar.inc(1);
    }
    Ok(())
}

/// Waits until every delivery has ended, here and at the consumer of the
/// confirmations.
fn wait(client: &Client, plan: &Plan, bar: &ProgressBar) -> Result<()> {
    let started = Instant::now();
    bar.set_message("waiting for their ends");
    loop {
        let ended =
            client.ended("orders", "completed")? + client.ended("orders", "dead_lettered")?;
        let passed_on = client.ended("confirmations", "completed")?;
        let duplicates = client.ended("orders", "duplicate")?;
        bar.set_position(ended + duplicates);
        let all =
            ended >= plan.endings() && passed_on >= plan.completed() && client.in_flight()? == 0;
        if all && ended + duplicates >= plan.deliveries() as u64 {
            return Ok(());
        }
        if started.elapsed() > SETTLED {
            bail!(
                "after {SETTLED:?} only {ended} orders have ended\n{}",
                client.metrics()?
            );
        }
        std::thread::sleep(Duration::from_millis(50));
    }
}
