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
    cargo(&["build", "--package", "holdfast", "--bin", "holdfast"])
}

/// Builds every test and the `holdfast` binary, and gives the path of the
/// latter. One selection of packages: another would have features of its own,
/// and compile the larger part of the dependencies once more.
///
/// # Errors
/// When something does not compile.
pub(crate) fn host_with_tests() -> Result<PathBuf> {
    cargo(&["test", "--workspace", "--no-run"])
}

fn cargo(words: &[&str]) -> Result<PathBuf> {
    let mut command = run::cargo();
    command
        .args(words)
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(repository())
        .stderr(Stdio::inherit());
    let output = command.output().context("failed to run cargo")?;
    ensure!(output.status.success(), "cargo {} failed", words.join(" "));
    let text = String::from_utf8(output.stdout)?;
    let messages = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut made = messages.filter_map(|message| is_host(&message));
    made.next_back().context("cargo named no host")
}

/// The executable that a message of cargo speaks of, if it is the host.
fn is_host(message: &Value) -> Option<PathBuf> {
    let target = message.get("target")?;
    let is_host = target.get("name")? == "holdfast"
        && target.get("kind")?.get(0)? == "bin"
        && message.get("profile")?.get("test")? == false;
    let executable = message.get("executable")?.as_str()?;
    is_host.then(|| PathBuf::from(executable))
}
