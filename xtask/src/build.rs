//! Building the project's own programs.

use std::path::PathBuf;
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::guests::repository;
use crate::setup::run;

/// Builds the `holdfast` binary in the development profile, with cargo's own
/// progress on the terminal, and gives its path.
///
/// # Errors
/// When it does not compile.
pub(crate) fn host() -> Result<PathBuf> {
    let [host] = cargo(
        &["build", "--package", "holdfast", "--bin", "holdfast"],
        ["holdfast"],
    )?;
    Ok(host)
}

/// Builds every test and the `holdfast` binary, and gives the path of the
/// latter. One selection of packages: another would have features of its own,
/// and compile the larger part of the dependencies once more.
///
/// # Errors
/// When something does not compile.
pub(crate) fn host_with_tests() -> Result<PathBuf> {
    let [host] = cargo(&["test", "--workspace", "--no-run"], ["holdfast"])?;
    Ok(host)
}

/// The same selection, for the paths of `holdfast` and `holdfast-chaos`.
///
/// # Errors
/// When something does not compile.
pub(crate) fn host_and_chaos() -> Result<[PathBuf; 2]> {
    cargo(
        &["test", "--workspace", "--no-run"],
        ["holdfast", "holdfast-chaos"],
    )
}

/// Runs cargo and gives the paths of these programs.
fn cargo<const N: usize>(words: &[&str], programs: [&str; N]) -> Result<[PathBuf; N]> {
    let mut command = run::cargo();
    command
        .args(words)
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(repository())
        .stderr(Stdio::inherit());
    let output = command.output().context("failed to run cargo")?;
    ensure!(output.status.success(), "cargo {} failed", words.join(" "));
    let text = String::from_utf8(output.stdout)?;
    let messages: Vec<Value> = text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect();
    let mut paths = Vec::new();
    for program in programs {
        let mut made = messages.iter().filter_map(|message| made(message, program));
        let path = made.next_back();
        paths.push(path.with_context(|| format!("cargo named no {program}"))?);
    }
    paths.try_into().ok().context("a path for each program")
}

/// The executable that a message of cargo speaks of, if it is this program.
fn made(message: &Value, program: &str) -> Option<PathBuf> {
    let target = message.get("target")?;
    let is_it = target.get("name")? == program
        && target.get("kind")?.get(0)? == "bin"
        && message.get("profile")?.get("test")? == false;
    let executable = message.get("executable")?.as_str()?;
    is_it.then(|| PathBuf::from(executable))
}
