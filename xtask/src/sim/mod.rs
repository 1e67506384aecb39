//! `cargo xtask sim`: the runtime in simulated surroundings, many seeds or one
//! with its trace; and with the rules broken on purpose.

mod broken;
mod copy;
mod mutants;

use std::ffi::OsString;

use anyhow::{Context as _, Result, ensure};

use crate::guests::repository;
use crate::setup;

#[derive(clap::Args)]
#[group(id = "sim")]
pub(crate) struct Options {
    /// How many seeds to run [default: 2000; for each mutant up to the first red one]
    #[arg(long)]
    seeds: Option<u64>,
    /// The first seed; without --seeds, this one alone and with its trace
    #[arg(long)]
    seed: Option<u64>,
    /// With one seed: what the runtime logs, at this level
    #[arg(long)]
    log: Option<String>,
    /// Break one rule after another in a copy of the sources, and say which of the ordinary tests notice
    #[arg(long)]
    mutants: bool,
    /// Only mutants whose name has this in it
    #[arg(long, requires = "mutants")]
    only: Option<String>,
}

/// Runs what was asked for.
///
/// # Errors
/// When a seed is red, or a mutant is not.
pub(crate) fn command(options: &Options) -> Result<()> {
    if options.mutants {
        return mutants::all(options.seeds, options.only.as_deref());
    }
    let mut words: Vec<OsString> = [
        "run",
        "--locked",
        "--quiet",
        "--package",
        "holdfast-sim",
        "--",
    ]
    .map(OsString::from)
    .to_vec();
    let numbers = [("--seeds", options.seeds), ("--seed", options.seed)];
    for (flag, number) in numbers {
        if let Some(number) = number {
            words.extend([flag.into(), number.to_string().into()]);
        }
    }
    if let Some(log) = &options.log {
        words.extend(["--log".into(), log.into()]);
    }
    let status = setup::run::cargo()
        .args(words)
        .current_dir(repository())
        .status()
        .context("failed to run cargo")?;
    ensure!(status.success(), "not every promise held");
    Ok(())
}
