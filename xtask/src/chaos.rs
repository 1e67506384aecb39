//! `cargo xtask chaos`: hosts under load while everything around them fails.

use anyhow::{Context as _, Result, bail};

use crate::guests::{self, repository};
use crate::{build, setup};

#[derive(clap::Args)]
#[group(id = "chaos")]
pub(crate) struct Options {
    /// How long faults are made
    #[arg(long, default_value = "2")]
    minutes: String,
    /// Only this kind of fault; may be given more than once. A wrong one lists them all
    #[arg(long)]
    kind: Vec<String>,
    /// The same faults for the same seed; by default another one each time
    #[arg(long)]
    seed: Option<u64>,
    /// Messages published in a second
    #[arg(long)]
    rate: Option<u64>,
    /// Hosts
    #[arg(long)]
    hosts: Option<usize>,
}

/// Builds guests, host and `holdfast-chaos`, and runs the latter.
///
/// # Errors
/// When something cannot be built, and when a promise did not hold.
pub(crate) fn command(options: &Options) -> Result<()> {
    if let setup::Servers::Missing { advice } = setup::servers()? {
        bail!("chaos is made on real servers\n{advice}");
    }
    let target = setup::guest_target(&setup::Options::default())?;
    let guests = guests::build_all(&target)?;
    let [host, chaos] = build::host_and_chaos()?;
    let mut command = std::process::Command::new(chaos);
    command.args(["--minutes", &options.minutes]);
    for kind in &options.kind {
        command.args(["--kind", kind]);
    }
    let numbers = [
        ("--seed", options.seed),
        ("--rate", options.rate),
        ("--hosts", options.hosts.map(|hosts| hosts as u64)),
    ];
    for (name, number) in numbers {
        if let Some(number) = number {
            command.arg(name).arg(number.to_string());
        }
    }
    command
        .current_dir(repository())
        .env("HOLDFAST_BIN", host)
        .env("HOLDFAST_GUESTS", guests.folder);
    let status = command.status().context("failed to run holdfast-chaos")?;
    if !status.success() {
        bail!("a promise did not hold, or the run failed: see above and target/chaos/");
    }
    Ok(())
}
