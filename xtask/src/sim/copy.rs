//! A copy of the sources in which rules can be broken.

use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context as _, Result, ensure};

/// The copy, in a folder below `target`.
pub(super) struct Copy {
    from: PathBuf,
    pub(super) to: PathBuf,
}

impl Copy {
    /// Copies what git knows of the sources; files that are the same already stay
    /// as they are, so that little is built again.
    pub(super) fn of(from: &Path) -> Result<Self> {
        let to = from.join("target/mutants/sources");
        let copy = Self {
            from: from.to_owned(),
            to,
        };
        let listed = Command::new("git")
            .args(["ls-files", "--cached", "--others", "--exclude-standard"])
            .current_dir(from)
            .output()
            .context("failed to ask git for the sources")?;
        ensure!(listed.status.success(), "git did not list the sources");
        for path in String::from_utf8_lossy(&listed.stdout).lines() {
            if from.join(path).is_file() {
                copy.restore(path)?;
            }
        }
        Ok(copy)
    }

    /// Makes one file what it is in the sources.
    pub(super) fn restore(&self, path: &str) -> Result<()> {
        let (from, to) = (self.from.join(path), self.to.join(path));
        let what = || format!("failed to copy {path}");
        let content = std::fs::read(&from).with_context(what)?;
        if std::fs::read(&to).is_ok_and(|there| there == content) {
            return Ok(());
        }
        if let Some(folder) = to.parent() {
            std::fs::create_dir_all(folder).with_context(what)?;
        }
        std::fs::write(&to, content).with_context(what)
    }

    /// Puts `new` in the place of `old`, which must be there once.
    pub(super) fn replace(&self, path: &str, old: &str, new: &str) -> Result<()> {
        let to = self.to.join(path);
        let text =
            std::fs::read_to_string(&to).with_context(|| format!("failed to read {path}"))?;
        let times = text.matches(old).count();
        ensure!(
            times == 1,
            "{path} has this {times} times, not once; the mutant has to follow the code:\n{old}"
        );
        std::fs::write(&to, text.replacen(old, new, 1))
            .with_context(|| format!("failed to write {path}"))
    }
}
