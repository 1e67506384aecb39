//! `cargo xtask test`: every test, those on real servers included.

use std::ffi::OsString;
use std::path::Path;
use std::time::Instant;

use anyhow::{Context as _, Result, bail, ensure};

use crate::guests::{self, Origin, repository};
use crate::{build, setup};

#[derive(clap::Args)]
#[group(id = "test")]
pub(crate) struct Options {
    /// Handed to the test runner, for example the name of a test
    #[arg(last = true)]
    rest: Vec<OsString>,
}

/// Sets the machine up, builds guests and host, and runs all tests.
///
/// # Errors
/// When something is missing that a test needs, and when a test fails.
pub(crate) fn command(options: &Options) -> Result<()> {
    let started = Instant::now();
    if let setup::Servers::Missing { advice } = setup::servers()? {
        bail!("the tests run against real servers\n{advice}");
    }
    let target = setup::guest_target(&setup::Options::default())?;
    let guests = guests::build_all(&target)?;
    if guests.origin == Origin::Prebuilt {
        eprintln!(
            "test: the tests that need a guest toolchain say so; the others use the prebuilt components"
        );
    }
    let host = build::host_with_tests()?;
    let run = |words: &[&str], folder: &Path, rest: &[OsString]| -> Result<()> {
        let mut command = setup::run::cargo();
        command.args(words).args(rest).current_dir(folder);
        command
            .env("HOLDFAST_BIN", &host)
            .env("HOLDFAST_GUESTS", &guests.folder);
        // Tests on private servers mostly wait; a few at once share two cores
        // well, however many there are.
        if std::env::var_os("RUST_TEST_THREADS").is_none() {
            command.env("RUST_TEST_THREADS", "3");
        }
        eprintln!("test: cargo {}", words.join(" "));
        let status = command.status().context("failed to run cargo")?;
        ensure!(status.success(), "cargo {} failed", words.join(" "));
        Ok(())
    };
    let root = repository();
    let mut rest = vec!["--".into()];
    rest.extend(options.rest.iter().cloned());
    run(&["test", "--workspace", "--no-fail-fast"], &root, &rest)?;
    run(&["test"], &root.join("plugins"), &rest)?;
    eprintln!(
        "test: everything passed in {} s",
        started.elapsed().as_secs()
    );
    Ok(())
}
