//! One test program: running it, and reading what it says.

use std::fs::File;
use std::io::{BufRead as _, BufReader, Write as _};
use std::path::PathBuf;
use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};

/// A program of tests.
#[derive(Clone, Debug)]
pub(crate) struct Suite {
    /// The package, and the target where it has several: `holdfast-redis cluster`.
    pub(crate) name: String,
    /// The program, and the words before those of the user.
    pub(crate) program: PathBuf,
    /// Words for the program.
    pub(crate) words: Vec<String>,
    /// Where it runs.
    pub(crate) folder: PathBuf,
}

/// How a suite ended.
#[derive(Debug)]
pub(crate) struct Ended {
    pub(crate) name: String,
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
    pub(crate) took: Duration,
    /// The program's own verdict, which a crash is one of.
    pub(crate) success: bool,
    /// All that it printed.
    pub(crate) log: PathBuf,
}

/// What the output of test programs says, a line at a time.
#[derive(Debug, Default, PartialEq, Eq)]
pub(crate) struct Counts {
    pub(crate) passed: u64,
    pub(crate) failed: u64,
    pub(crate) ignored: u64,
}

impl Counts {
    /// Takes a line in; gives the name of the test that it says has ended, and how.
    fn line<'a>(&mut self, line: &'a str) -> Option<(&'a str, &'a str)> {
        let (name, end) = line.strip_prefix("test ")?.rsplit_once(" ... ")?;
        match end.split(|c: char| !c.is_ascii_alphabetic()).next()? {
            "ok" => self.passed += 1,
            "FAILED" => self.failed += 1,
            "ignored" => self.ignored += 1,
            _ => return None,
        }
        Some((name, end))
    }
}

impl Suite {
    /// Runs it to its end. `said` hears of each test that has ended, and how.
    ///
    /// # Errors
    /// When it cannot be started, or its output not be kept.
    pub(crate) fn run(
        &self,
        prepare: impl FnOnce(&mut Command),
        logs: &std::path::Path,
        mut said: impl FnMut(&str, &str),
    ) -> Result<Ended> {
        let started = Instant::now();
        let log = logs.join(format!("{}.log", self.name.replace([' ', '/'], "-")));
        let file = File::create(&log).with_context(|| format!("failed to write {}", log.display()));
        let mut file = file?;
        let mut command = Command::new(&self.program);
        command.args(&self.words).current_dir(&self.folder);
        prepare(&mut command);
        let mut child = command
            .stdin(Stdio::null())
            .stdout(Stdio::piped())
            .stderr(file.try_clone()?)
            .spawn()
            .with_context(|| format!("failed to start {}", self.program.display()))?;
        let mut counts = Counts::default();
        if let Some(output) = child.stdout.take() {
            for line in BufReader::new(output).split(b'\n') {
                let line = line.context("failed to read the output of a test")?;
                let line = String::from_utf8_lossy(&line);
                writeln!(file, "{line}")?;
                if let Some((name, end)) = counts.line(&line) {
                    said(name, end);
                }
            }
        }
        let status = child.wait()?;
        Ok(Ended {
            name: self.name.clone(),
            passed: counts.passed,
            failed: counts.failed,
            ignored: counts.ignored,
            took: started.elapsed(),
            success: status.success(),
            log,
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lines_of_test_programs_are_counted() {
        let mut counts = Counts::default();
        let lines = [
            ("test a::b ... ok", Some(("a::b", "ok"))),
            (
                "test a ... with dots ... FAILED",
                Some(("a ... with dots", "FAILED")),
            ),
            (
                "test doc (line 3) - compile ... ok",
                Some(("doc (line 3) - compile", "ok")),
            ),
            ("test c ... ignored, why", Some(("c", "ignored, why"))),
            ("test d has been running for over 60 seconds", None),
            ("test result: ok. 3 passed; 0 failed", None),
            ("a guest printed ... ok", None),
        ];
        for (line, expected) in lines {
            assert_eq!(counts.line(line), expected, "{line}");
        }
        let expected = Counts {
            passed: 2,
            failed: 1,
            ignored: 1,
        };
        assert_eq!(counts, expected);
    }

    #[test]
    fn a_program_that_fails_is_a_failure_and_its_output_is_kept() -> Result<()> {
        let folder = tempfile::tempdir()?;
        let script = "echo 'test one ... ok'; echo why >&2; echo 'test two ... FAILED'; exit 101";
        let suite = Suite {
            name: "some thing".to_owned(),
            program: "sh".into(),
            words: vec!["-c".to_owned(), script.to_owned()],
            folder: folder.path().to_owned(),
        };
        let mut heard = Vec::new();
        let ended = suite.run(
            |_| {},
            folder.path(),
            |name, end| heard.push(format!("{name} {end}")),
        )?;
        assert!(!ended.success);
        assert_eq!((ended.passed, ended.failed), (1, 1));
        assert_eq!(heard, ["one ok", "two FAILED"]);
        assert!(std::fs::read_to_string(&ended.log)?.contains("why"));
        Ok(())
    }
}
