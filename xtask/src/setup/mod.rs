//! What a fresh machine lacks: the compiler target of the guests, and the
//! servers that the tests run against.
//!
//! Every step looks first and changes nothing that is there, so it may be run
//! as often as one likes.

mod debian;
pub(crate) mod run;
mod servers;
mod target;

use std::fs::{self, File};

use anyhow::{Context, Result, bail};

pub(crate) use servers::Servers;
pub(crate) use target::{GuestTarget, TARGET};

#[derive(clap::Args, Default)]
pub(crate) struct Options {
    /// Do not ask rustup for the target; build it from Debian's packages
    #[arg(long)]
    without_rustup: bool,
}

/// Makes this machine able to compile guests, if that can be done here. Where
/// it cannot, the answer says what to install.
///
/// # Errors
///
/// A look-up or a step that broke; the compiler is as it was before.
pub(crate) fn guest_target(options: &Options) -> Result<GuestTarget> {
    let _one_at_a_time = lock()?;
    target::ensure(options)
}

/// Installs the servers that the tests need, if that may be done here. Where it
/// may not, the answer is the command to type.
///
/// # Errors
///
/// When another setup cannot be waited for.
pub(crate) fn servers() -> Result<Servers> {
    let _one_at_a_time = lock()?;
    Ok(servers::ensure())
}

/// `cargo xtask setup`: here, unlike in the commands that can do without,
/// something that is missing is a failure.
pub(crate) fn command(options: &Options) -> Result<()> {
    let mut missing = Vec::new();
    match guest_target(options)? {
        GuestTarget::Ready => say("guests can be compiled"),
        GuestTarget::Missing { advice } => missing.push(advice),
    }
    match servers()? {
        Servers::Ready => say("the servers for the tests are there"),
        Servers::Missing { advice } => missing.push(advice),
    }
    if !missing.is_empty() {
        bail!("failed to set this machine up\n{}", missing.join("\n"));
    }
    Ok(())
}

/// One line of progress, apart from the data on standard output.
fn say(line: impl std::fmt::Display) {
    eprintln!("setup: {line}");
}

fn lock() -> Result<File> {
    let folder = crate::guests::repository().join("target");
    let path = folder.join("setup.lock");
    let lock = fs::create_dir_all(&folder)
        .and_then(|()| File::create(&path))
        .with_context(|| format!("failed to create {}", path.display()))?;
    lock.lock()
        .with_context(|| format!("failed to lock {}", path.display()))?;
    Ok(lock)
}
