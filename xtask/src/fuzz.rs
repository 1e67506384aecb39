//! `cargo xtask fuzz`: looks for inputs that are answered wrongly, with LLVM's
//! libFuzzer on the compiler that is there.

use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use anyhow::{Context as _, Result, ensure};

use crate::build;
use crate::guests::repository;

#[derive(clap::Args)]
#[group(id = "fuzz")]
pub(crate) struct Options {
    /// Only these targets [default: all of them]
    #[arg(long)]
    target: Vec<String>,
    /// How long each is searched
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Add what was found to the committed inputs, as few as reach the same
    #[arg(long)]
    keep: bool,
}

/// What came of one target.
struct Outcome {
    runs: u64,
    /// Branches that the committed inputs reach, and all that were.
    reached: [u64; 2],
    /// An input that was answered wrongly.
    wrong: Option<PathBuf>,
}

/// Searches each target for a while.
///
/// # Errors
/// When an input is answered wrongly, or the fuzzer cannot be built.
pub(crate) fn command(options: &Options) -> Result<()> {
    let fuzzer = build::fuzzer(&repository().join("tests/inputs/coverage.sh"))?;
    let corpora = repository().join("tests/inputs/corpus");
    let mut names = options.target.clone();
    if names.is_empty() {
        for entry in std::fs::read_dir(&corpora).context("failed to list the committed inputs")? {
            names.push(entry?.file_name().to_string_lossy().into_owned());
        }
        names.sort();
    }
    println!(
        "{:<16}{:>12}{:>12}{:>12}  found",
        "target", "inputs run", "branches", "at the end"
    );
    let mut wrong = Vec::new();
    for name in &names {
        let corpus = corpora.join(name);
        ensure!(
            corpus.is_dir(),
            "there is no target {name}: see {}",
            corpora.display()
        );
        let outcome = search(&fuzzer, name, &corpus, options.seconds)?;
        let [before, after] = outcome.reached;
        let found = match &outcome.wrong {
            None => "nothing wrong".to_owned(),
            Some(path) => path.display().to_string(),
        };
        println!(
            "{name:<16}{:>12}{before:>12}{after:>12}  {found}",
            outcome.runs
        );
        if outcome.wrong.is_some() {
            wrong.push(name.clone());
        } else if options.keep {
            keep(&fuzzer, name, &corpus)?;
        }
    }
    ensure!(
        wrong.is_empty(),
        "answered wrongly: {}. Look at one: HOLDFAST_FUZZ=NAME {} FILE",
        wrong.join(", "),
        fuzzer.display()
    );
    Ok(())
}

/// Where what is found is kept between runs.
fn found(name: &str) -> PathBuf {
    repository().join("target/fuzz").join(name)
}

fn search(fuzzer: &Path, name: &str, corpus: &Path, seconds: u64) -> Result<Outcome> {
    let into = found(name);
    let wrong = into.join("wrong-");
    let inputs = into.join("inputs");
    std::fs::create_dir_all(&inputs)
        .with_context(|| format!("failed to create {}", inputs.display()))?;
    let before = list(&into)?;
    let output = fuzz(fuzzer, name)
        .arg(format!("-max_total_time={seconds}"))
        .arg(format!("-artifact_prefix={}", wrong.display()))
        .args(["-max_len=8192", "-timeout=20", "-rss_limit_mb=4096"])
        .arg("-print_final_stats=1")
        .args([&inputs, corpus])
        .output()
        .context("failed to run the fuzzer")?;
    let said = String::from_utf8_lossy(&output.stderr);
    let reached: Vec<u64> = said
        .lines()
        .filter(|line| line.starts_with('#'))
        .filter_map(|line| number_after(line, "cov: "))
        .collect();
    let runs = said
        .lines()
        .find_map(|line| number_after(line, "stat::number_of_executed_units: "));
    let new = list(&into)?.into_iter().find(|path| !before.contains(path));
    ensure!(
        output.status.success() || new.is_some(),
        "the fuzzer ended with {}:\n{said}",
        output.status
    );
    Ok(Outcome {
        runs: runs.unwrap_or_default(),
        reached: [
            reached.first().copied().unwrap_or_default(),
            reached.last().copied().unwrap_or_default(),
        ],
        wrong: new,
    })
}

/// Of all that was found, adds as few inputs as reach the same, and small ones.
fn keep(fuzzer: &Path, name: &str, corpus: &Path) -> Result<()> {
    let status = fuzz(fuzzer, name)
        .args(["-set_cover_merge=1", "-max_len=512"])
        .args([corpus, &found(name).join("inputs")])
        .stderr(Stdio::null())
        .status()
        .context("failed to run the fuzzer")?;
    ensure!(status.success(), "the fuzzer could not put {name} together");
    Ok(())
}

fn fuzz(fuzzer: &Path, name: &str) -> Command {
    let mut command = Command::new(fuzzer);
    command.env("HOLDFAST_FUZZ", name).stdout(Stdio::null());
    command
}

fn list(folder: &Path) -> Result<Vec<PathBuf>> {
    let entries = std::fs::read_dir(folder)
        .with_context(|| format!("failed to list {}", folder.display()))?;
    let paths: std::io::Result<Vec<PathBuf>> = entries.map(|entry| Ok(entry?.path())).collect();
    paths.context("failed to list what was found")
}

fn number_after(line: &str, word: &str) -> Option<u64> {
    let (_, rest) = line.split_once(word)?;
    rest.split_whitespace().next()?.parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_are_found_behind_their_words() {
        let line = "#2048\tpulse  cov: 311 ft: 402 corp: 9/80b exec/s: 1024 rss: 44Mb";
        assert_eq!(number_after(line, "cov: "), Some(311));
        assert_eq!(number_after(line, "runs: "), None);
    }
}
