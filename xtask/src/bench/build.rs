//! Building what is measured, with optimisation.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail, ensure};
use serde_json::Value;

use super::variant::Variant;
use crate::guests::{build_all, repository};
use crate::setup::{self, GuestTarget, run};

/// Where everything is.
#[derive(Debug)]
pub(super) struct Programs {
    /// Cargo's own output folder.
    pub(super) target: PathBuf,
    /// `holdfast-bench-native`.
    pub(super) native: PathBuf,
    /// `holdfast`, when a variant needs it.
    pub(super) host: Option<PathBuf>,
    /// A folder with `bench-json.wasm` and `bench-batch.wasm`, when needed.
    pub(super) guests: Option<PathBuf>,
}

impl Programs {
    /// Builds what these variants, and the cost of single calls, need.
    pub(super) fn build(
        variants: &[Variant],
        guest_cost: bool,
        options: &setup::Options,
    ) -> Result<Self> {
        let native = program("holdfast-bench", "holdfast-bench-native")?;
        let hosted = variants.iter().any(|variant| variant.instances().is_some());
        let host = hosted
            .then(|| program("holdfast", "holdfast"))
            .transpose()?;
        let guests = (hosted || guest_cost)
            .then(|| guests(options))
            .transpose()?;
        Ok(Self {
            target: target_folder()?,
            native,
            host,
            guests,
        })
    }
}

/// What a cargo command printed; its notices go to the terminal.
pub(super) fn printed(command: &mut Command) -> Result<String> {
    let what = format!("{command:?}");
    let output = command
        .current_dir(repository())
        .stderr(Stdio::inherit())
        .output()
        .with_context(|| format!("failed to start {what}"))?;
    ensure!(output.status.success(), "failed to run {what}");
    String::from_utf8(output.stdout).with_context(|| format!("failed to read from {what}"))
}

/// Builds a package's binary and returns its path.
fn program(package: &str, binary: &str) -> Result<PathBuf> {
    let messages = printed(run::cargo().args([
        "build",
        "--locked",
        "--release",
        "--message-format=json-render-diagnostics",
        "--package",
        package,
        "--bin",
        binary,
    ]))?;
    for line in messages.lines() {
        let message: Value = serde_json::from_str(line).context("failed to read cargo's output")?;
        let named = message["target"]["name"] == binary;
        if let (true, Some(path)) = (named, message["executable"].as_str()) {
            return Ok(PathBuf::from(path));
        }
    }
    bail!("failed to find {binary} in what cargo built");
}

fn target_folder() -> Result<PathBuf> {
    let arguments = ["metadata", "--no-deps", "--format-version=1"];
    let metadata = printed(run::cargo().args(arguments))?;
    let metadata: Value = serde_json::from_str(&metadata).context("failed to read metadata")?;
    let folder = metadata["target_directory"].as_str();
    Ok(folder
        .context("failed to find cargo's target folder")?
        .into())
}

/// The benchmark's plugins are not among the prebuilt components.
fn guests(options: &setup::Options) -> Result<PathBuf> {
    let target = setup::guest_target(options)?;
    if let GuestTarget::Missing { advice } = &target {
        bail!("failed to build the benchmark's plugins: {advice}");
    }
    Ok(build_all(&target)?.folder)
}
