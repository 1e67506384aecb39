//! `cargo xtask model`: the long run of the model.

use anyhow::{Context as _, Result, ensure};

use crate::guests::repository;
use crate::setup;

#[derive(clap::Args)]
#[group(id = "model")]
pub(crate) struct Options {
    /// Steps in each setup, at most [default: 4000000]
    #[arg(long)]
    steps: Option<usize>,
    /// Only setups whose name has this in it
    #[arg(long)]
    only: Option<String>,
    /// Threads [default: as many as there are cores]
    #[arg(long)]
    threads: Option<usize>,
}

/// Visits what can happen in each setup.
///
/// # Errors
/// When a promise does not hold.
pub(crate) fn command(options: &Options) -> Result<()> {
    let mut command = setup::run::cargo();
    command.args([
        "run",
        "--quiet",
        "--locked",
        "--package",
        "holdfast-model",
        "--",
    ]);
    let numbers = [("--steps", options.steps), ("--threads", options.threads)];
    for (flag, number) in numbers {
        if let Some(number) = number {
            command.arg(flag).arg(number.to_string());
        }
    }
    if let Some(only) = &options.only {
        command.args(["--only", only]);
    }
    let status = command
        .current_dir(repository())
        .status()
        .context("failed to run cargo")?;
    ensure!(status.success(), "not every promise held");
    Ok(())
}
