//! `cargo xtask deny`: licences, sources, duplicates and known weaknesses of
//! what comes into the build.

use anyhow::{Context as _, Result, bail, ensure};

use crate::guests::repository;
use crate::setup::run;

#[derive(clap::Args)]
#[group(id = "deny")]
pub(crate) struct Options {
    /// Look only at the list of known weaknesses that is here already
    #[arg(long)]
    offline: bool,
    /// Only these
    #[arg(value_parser = ["advisories", "bans", "licenses", "sources"])]
    checks: Vec<String>,
}

/// Runs cargo-deny with `deny.toml`, for the host and for the guests.
///
/// # Errors
/// When it is not installed, and when something does not pass.
pub(crate) fn command(options: &Options) -> Result<()> {
    let there = run::cargo()
        .args(["deny", "--version"])
        .output()
        .context("failed to run cargo")?;
    if !there.status.success() {
        bail!(
            "cargo-deny is not installed\n  cargo install --locked cargo-deny\n\
             licences, sources and duplicates are also looked at without it: \
             cargo test -p holdfast-tidy --test supply"
        );
    }
    let mut wrong = Vec::new();
    for manifest in ["Cargo.toml", "plugins/Cargo.toml"] {
        println!("deny: {manifest}");
        let mut command = run::cargo();
        command.args(["deny", "--locked", "--manifest-path", manifest]);
        command.args(["--config", "deny.toml"]);
        if options.offline {
            command.arg("--offline");
        }
        command.args(["check", "--hide-inclusion-graph"]);
        // What only one of the two workspaces has is no mistake.
        for lint in [
            "license-not-encountered",
            "unmatched-skip",
            "unnecessary-skip",
        ] {
            command.args(["--allow", lint]);
        }
        let status = command
            .args(&options.checks)
            .current_dir(repository())
            .status()
            .context("failed to run cargo deny")?;
        if !status.success() {
            wrong.push(manifest);
        }
    }
    ensure!(wrong.is_empty(), "not all is allowed: {}", wrong.join(", "));
    Ok(())
}
