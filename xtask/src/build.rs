//! Building the project's own programs.

use std::path::{Path, PathBuf};
use std::process::Stdio;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

use crate::guests::repository;
use crate::setup::run;
use crate::test::Suite;

/// With these words cargo builds programs alone, but with the features that
/// their dependencies have where everything is built: a selection of fewer
/// packages would compile the larger part of them once more.
const PROGRAMS: [&str; 5] = [
    "build",
    "--locked",
    "--workspace",
    "--features",
    "holdfast-ports/conformance",
];

/// Builds the `holdfast` binary in the development profile, with cargo's own
/// progress on the terminal, and gives its path.
///
/// # Errors
/// When it does not compile.
pub(crate) fn host() -> Result<PathBuf> {
    let [host] = programs(["holdfast"])?;
    Ok(host)
}

/// All that the tests need.
pub(crate) struct Tests {
    /// The `holdfast` binary.
    pub(crate) host: PathBuf,
    /// Every program with tests, by name.
    pub(crate) suites: Vec<Suite>,
}

/// Builds every test and the `holdfast` binary. One selection of packages:
/// another would have features of its own, and compile the larger part of the
/// dependencies once more.
///
/// # Errors
/// When something does not compile.
pub(crate) fn tests() -> Result<Tests> {
    let messages = messages(&["test", "--locked", "--workspace", "--no-run"])?;
    let host = messages
        .iter()
        .filter_map(|message| made(message, "holdfast"))
        .next_back();
    let mut suites: Vec<Suite> = messages.iter().filter_map(suite).collect();
    suites.sort_by(|a, b| a.name.cmp(&b.name));
    Ok(Tests {
        host: host.context("cargo named no holdfast")?,
        suites,
    })
}

/// The test program that a message of cargo speaks of.
fn suite(message: &Value) -> Option<Suite> {
    if message.get("profile")?.get("test")? != true {
        return None;
    }
    let manifest = PathBuf::from(message.get("manifest_path")?.as_str()?);
    // `path+file:///…/host/core#holdfast-core@0.1.0`, or without the name where
    // the folder has it.
    let id = message.get("package_id")?.as_str()?;
    let (path, end) = id.split_once('#')?;
    let package = match end.split_once('@') {
        Some((name, _)) => name,
        None => path.rsplit('/').next()?,
    };
    let target = message.get("target")?;
    let name = match target.get("kind")?.get(0)?.as_str()? {
        "test" => format!("{package} {}", target.get("name")?.as_str()?),
        "bin" => format!("{package} (program)"),
        _ => package.to_owned(),
    };
    Some(Suite {
        name,
        program: message.get("executable")?.as_str()?.into(),
        words: Vec::new(),
        folder: manifest.parent()?.to_owned(),
    })
}

/// `holdfast` and `holdfast-chaos`.
///
/// # Errors
/// When something does not compile.
pub(crate) fn host_and_chaos() -> Result<[PathBuf; 2]> {
    programs(["holdfast", "holdfast-chaos"])
}

/// The fuzzer's program, with the project's own crates compiled through
/// `wrapper`.
///
/// # Errors
/// When something does not compile.
pub(crate) fn fuzzer(wrapper: &Path) -> Result<PathBuf> {
    let mut words = PROGRAMS.to_vec();
    words.extend(["--features", "holdfast-inputs/libfuzzer"]);
    words.extend(["--bin", "holdfast-fuzz"]);
    let messages = messages_with(&words, &[("RUSTC_WORKSPACE_WRAPPER", wrapper)])?;
    let mut made = messages
        .iter()
        .filter_map(|message| made(message, "holdfast-fuzz"));
    made.next_back().context("cargo named no holdfast-fuzz")
}

/// Builds these programs and gives their paths.
fn programs<const N: usize>(names: [&str; N]) -> Result<[PathBuf; N]> {
    let mut words = PROGRAMS.to_vec();
    for name in names {
        words.extend(["--bin", name]);
    }
    let messages = messages(&words)?;
    let mut paths = Vec::new();
    for name in names {
        let mut made = messages.iter().filter_map(|message| made(message, name));
        let path = made.next_back();
        paths.push(path.with_context(|| format!("cargo named no {name}"))?);
    }
    paths.try_into().ok().context("a path for each program")
}

/// Runs cargo and gives what it says of its work.
fn messages(words: &[&str]) -> Result<Vec<Value>> {
    messages_with(words, &[])
}

/// The same with these in the environment.
fn messages_with(words: &[&str], environment: &[(&str, &Path)]) -> Result<Vec<Value>> {
    let mut command = run::cargo();
    command
        .args(words)
        .envs(environment.iter().copied())
        .args(["--message-format", "json-render-diagnostics"])
        .current_dir(repository())
        .stderr(Stdio::inherit());
    let output = command.output().context("failed to run cargo")?;
    ensure!(output.status.success(), "cargo {} failed", words.join(" "));
    let text = String::from_utf8(output.stdout)?;
    Ok(text
        .lines()
        .filter_map(|line| serde_json::from_str(line).ok())
        .collect())
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
