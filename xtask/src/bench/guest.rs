//! What a single call into a guest costs, without broker and store.

use anyhow::{Context, Result};

use super::build::{Programs, printed};
use super::hand::last_line;
use crate::setup::run;

/// Microseconds for one message.
#[derive(Debug, Clone, Copy)]
pub(super) struct Guest {
    pub(super) fresh: f64,
    pub(super) reused: f64,
    /// In a call with 64 messages.
    pub(super) batch: f64,
}

/// Runs the measurement that belongs to the wasm host's own crate.
pub(super) fn measure(programs: &Programs) -> Result<Guest> {
    let guests = programs.guests.as_ref().context("no guests were built")?;
    let output = printed(
        run::cargo()
            .args(["run", "--locked", "--release", "--quiet"])
            .args(["--package", "holdfast-wasm", "--example", "guest_cost"])
            .arg("--")
            .arg(guests),
    )?;
    let report = last_line(&output)?;
    let number = |name: &str| report[name].as_f64().context("a field is missing");
    Ok(Guest {
        fresh: number("fresh_us")?,
        reused: number("reused_us")?,
        batch: number("batch_us")?,
    })
}
