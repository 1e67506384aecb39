//! Rules that are broken one at a time, to see that the ordinary tests notice.

use std::path::Path;
use std::process::Command;
use std::time::Instant;

use anyhow::{Context as _, Result, ensure};

use super::broken::MUTANTS;
use super::copy::Copy;
use crate::guests::repository;
use crate::setup;

/// Seeds that the ordinary tests run.
const ORDINARY: u64 = 2_000;

/// A rule, how it is broken, and what of the ordinary tests notices.
pub(super) struct Mutant {
    pub(super) name: &'static str,
    pub(super) edits: &'static [Edit],
    pub(super) seen: Seen,
}

/// In this file, this text becomes that.
pub(super) struct Edit {
    pub(super) file: &'static str,
    pub(super) old: &'static str,
    pub(super) new: &'static str,
}

/// What notices a broken rule.
pub(super) enum Seen {
    /// The simulation.
    Simulation,
    /// The simulation, whose runs take long with it: a tenth of the seeds.
    Slowly,
    /// What cargo runs with these words.
    Tests(&'static [&'static str]),
}

/// What became of a mutant.
struct Found {
    red: bool,
    by: String,
}

/// Breaks one rule after another. With `seeds` the red ones of so many are
/// counted; without, the simulation stops at the first one of those that the
/// ordinary tests run.
pub(super) fn all(seeds: Option<u64>, only: Option<&str>) -> Result<()> {
    let root = repository();
    let copy = Copy::of(&root)?;
    // Of its own: cargo names crates by their path within the workspace, so a
    // mutant would be taken for the real thing in a folder that both share.
    let build = root.join("target/mutants/build");
    let mut unnoticed = Vec::new();
    println!("{:<56}{:>8}  noticed by", "broken rule", "seconds");
    let chosen = MUTANTS
        .iter()
        .filter(|mutant| only.is_none_or(|only| mutant.name.contains(only)));
    for mutant in chosen {
        let started = Instant::now();
        for edit in mutant.edits {
            copy.replace(edit.file, edit.old, edit.new)?;
        }
        let found = match mutant.seen {
            Seen::Simulation => simulate(&copy, &build, seeds, ORDINARY),
            Seen::Slowly => simulate(&copy, &build, seeds.map(|seeds| seeds / 10), ORDINARY / 10),
            Seen::Tests(words) => test(&copy, &build, words),
        };
        for edit in mutant.edits {
            copy.restore(edit.file)?;
        }
        let found = found.with_context(|| format!("failed to run the mutant {:?}", mutant.name))?;
        let seconds = started.elapsed().as_secs_f64();
        println!("{:<56}{seconds:>8.1}  {}", mutant.name, found.by);
        if !found.red {
            unnoticed.push(mutant.name);
        }
    }
    ensure!(
        unnoticed.is_empty(),
        "not noticed: {}",
        unnoticed.join(", ")
    );
    Ok(())
}

/// The simulation of the copy, `seeds` of it or up to the first red one of
/// `most`.
fn simulate(copy: &Copy, build: &Path, seeds: Option<u64>, most: u64) -> Result<Found> {
    let mut command = cargo(
        copy,
        &["run", "--quiet", "--package", "holdfast-sim"],
        build,
    );
    command.args(["--", "--brief", "--seeds"]);
    command.arg(seeds.unwrap_or(most).to_string());
    if seeds.is_none() {
        command.arg("--first");
    }
    let output = command.output().context("failed to run cargo")?;
    let text = String::from_utf8_lossy(&output.stdout);
    let brief = text.lines().find_map(|line| line.strip_prefix("red "));
    // `2 of 500 as lost 1, stuck 1`
    let brief = brief.with_context(|| String::from_utf8_lossy(&output.stderr).into_owned())?;
    Ok(Found {
        red: !brief.starts_with("0 "),
        by: format!("simulation, red seeds: {brief}"),
    })
}

/// Tests of the copy. One that does not compile notices nothing.
fn test(copy: &Copy, build: &Path, words: &[&str]) -> Result<Found> {
    let ready = cargo(copy, words, build).arg("--no-run").output()?;
    ensure!(
        ready.status.success(),
        "it does not compile:\n{}",
        String::from_utf8_lossy(&ready.stderr)
    );
    let output = cargo(copy, words, build).arg("--no-fail-fast").output()?;
    let text = String::from_utf8_lossy(&output.stdout);
    let failed: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("test ")?.strip_suffix(" ... FAILED"))
        .collect();
    let package = words.get(2).copied().unwrap_or_default();
    Ok(Found {
        red: !failed.is_empty(),
        by: format!(
            "tests of {package}, {} red: {}",
            failed.len(),
            failed.join(", ")
        ),
    })
}

fn cargo(copy: &Copy, words: &[&str], build: &Path) -> Command {
    let mut command = setup::run::cargo();
    let (first, rest) = words.split_at(1);
    command
        .args(first)
        .arg("--target-dir")
        .arg(build)
        .args(rest);
    command.current_dir(&copy.to);
    command
}
