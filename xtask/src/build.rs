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
    let mut command = run::cargo();
    command
        .args(["build", "--package", "holdfast", "--bin", "holdfast"])
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(repository())
        .stderr(Stdio::inherit());
    let output = command.output().context("failed to run cargo")?;
    ensure!(output.status.success(), "failed to build the host");
    let text = String::from_utf8(output.stdout)?;
    let messages = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut made =
        messages.filter_map(|message| Some(PathBuf::from(message.get("executable")?.as_str()?)));
    made.next_back().context("cargo named no executable")
}
