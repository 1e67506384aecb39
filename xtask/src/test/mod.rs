//! `cargo xtask test`: every test, those on real servers included.
//!
//! Test programs run two at a time, where cargo would run one after another:
//! the tests on whole hosts mostly wait, and the others fit beside them.

mod suite;

use std::ffi::OsString;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail, ensure};

use suite::Ended;
pub(crate) use suite::Suite;

use crate::guests::{self, Origin, repository};
use crate::{build, setup};

/// The suite that waits most and takes longest: it has one of the places for
/// itself.
const LONGEST: &str = "holdfast-live live";

#[derive(clap::Args)]
#[group(id = "test")]
pub(crate) struct Options {
    /// Handed to the test programs, for example the name of a test
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
    let built = build::tests()?;
    let root = repository();
    let rest: Vec<String> = options
        .rest
        .iter()
        .map(|word| word.to_string_lossy().into_owned())
        .collect();
    let cargo = |name: &str, words: &[&str], folder: PathBuf| Suite {
        name: name.to_owned(),
        program: std::env::var_os("CARGO")
            .unwrap_or_else(|| "cargo".into())
            .into(),
        words: words.iter().map(|word| (*word).to_owned()).collect(),
        folder,
    };
    let mut suites = built.suites;
    suites.push(cargo(
        "examples in the docs",
        &["test", "--locked", "--workspace", "--doc", "--"],
        root.clone(),
    ));
    suites.push(cargo(
        "plugins",
        &["test", "--locked", "--"],
        root.join("plugins"),
    ));
    for suite in &mut suites {
        suite.words.extend(rest.iter().cloned());
    }
    // In the order in which they are taken.
    suites.sort_by_key(|suite| suite.name != LONGEST);

    let logs = root.join("target/tests");
    fs::create_dir_all(&logs).with_context(|| format!("failed to make {}", logs.display()))?;
    eprintln!(
        "test: built after {} s; {} suites, output in target/tests",
        started.elapsed().as_secs(),
        suites.len()
    );
    let surroundings = Surroundings {
        host: built.host,
        guests: guests.folder,
        libraries: setup::run::libraries()?,
    };
    let ended = run(&suites, &surroundings, &logs)?;
    report(&ended, started.elapsed())
}

/// What every test is told.
struct Surroundings {
    host: PathBuf,
    guests: PathBuf,
    /// Where the compiler's own libraries are, which tests of macros need.
    libraries: PathBuf,
}

impl Surroundings {
    fn tell(&self, command: &mut Command) {
        setup::run::without_outer_build(command);
        command
            .env("HOLDFAST_BIN", &self.host)
            .env("HOLDFAST_GUESTS", &self.guests);
        let mut libraries = self.libraries.clone().into_os_string();
        if let Some(more) = std::env::var_os("LD_LIBRARY_PATH") {
            libraries.push(":");
            libraries.push(more);
        }
        command.env("LD_LIBRARY_PATH", libraries);
        // Tests on private servers mostly wait; a few at once share two cores
        // well, however many there are.
        if std::env::var_os("RUST_TEST_THREADS").is_none() {
            command.env("RUST_TEST_THREADS", "4");
        }
    }
}

/// Runs the suites, two at a time.
fn run(suites: &[Suite], surroundings: &Surroundings, logs: &Path) -> Result<Vec<Ended>> {
    let next = AtomicUsize::new(0);
    let ended = Mutex::new(Vec::new());
    let place = || -> Result<()> {
        while let Some(suite) = suites.get(next.fetch_add(1, Ordering::Relaxed)) {
            let one = suite.run(
                |command| surroundings.tell(command),
                logs,
                |name, end| tell(suite, name, end),
            )?;
            // A filter leaves most suites without a test.
            if one.passed + one.failed + one.ignored > 0 || !one.success {
                eprintln!("test: {}", line(&one));
            }
            ended
                .lock()
                .unwrap_or_else(std::sync::PoisonError::into_inner)
                .push(one);
        }
        Ok(())
    };
    std::thread::scope(|scope| {
        let places = [scope.spawn(place), scope.spawn(place)];
        places.into_iter().try_for_each(|place| {
            place
                .join()
                .unwrap_or_else(|_| bail!("a thread that ran tests panicked"))
        })
    })?;
    Ok(ended
        .into_inner()
        .unwrap_or_else(std::sync::PoisonError::into_inner))
}

/// Says at once what failed; and of the longest suite, how far it is.
fn tell(suite: &Suite, name: &str, end: &str) {
    if end.starts_with("FAILED") || suite.name == LONGEST {
        eprintln!("test: {}: {name} ... {end}", suite.name);
    }
}

fn line(ended: &Ended) -> String {
    let verdict = if ended.success { "passed" } else { "FAILED" };
    format!(
        "{verdict}  {:<28} {:>4} tests {:>6.1} s",
        ended.name,
        ended.passed + ended.failed,
        ended.took.as_secs_f64()
    )
}

/// The output of what failed, and the sum.
fn report(ended: &[Ended], took: Duration) -> Result<()> {
    for failed in ended.iter().filter(|one| !one.success) {
        let output = fs::read_to_string(&failed.log).unwrap_or_default();
        eprintln!(
            "\n== {} failed; its output ({}):\n{output}",
            failed.name,
            failed.log.display()
        );
    }
    let sum = |of: fn(&Ended) -> u64| ended.iter().map(of).sum::<u64>();
    eprintln!(
        "test: {} passed, {} failed, {} ignored, in {} suites, {} s",
        sum(|one| one.passed),
        sum(|one| one.failed),
        sum(|one| one.ignored),
        ended.len(),
        took.as_secs()
    );
    let failed: Vec<&str> = ended
        .iter()
        .filter(|one| !one.success)
        .map(|one| one.name.as_str())
        .collect();
    ensure!(failed.is_empty(), "failed: {}", failed.join(", "));
    Ok(())
}
