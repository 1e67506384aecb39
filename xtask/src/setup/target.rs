//! The compiler target of the guests: there already, else by rustup, else from
//! Debian's packages, else advice.

use std::fs;
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use super::{Options, debian, run, say};

pub(crate) const TARGET: &str = "wasm32-wasip2";

/// Left in a target folder that this program made, so that it is known again.
pub(super) const NOTE: &str = "made-by-holdfast-setup.txt";

/// Whether this machine compiles guests.
pub(crate) enum GuestTarget {
    Ready,
    Missing {
        /// What to install, and why it was not done here.
        advice: String,
    },
}

/// The compiler in use, and where it keeps its targets.
pub(super) struct Compiler {
    /// The compiler's release, such as `1.95.0`.
    pub(super) release: String,
    pub(super) commit: String,
    pub(super) sysroot: PathBuf,
}

impl Compiler {
    pub(super) fn find() -> Result<Self> {
        let about = run::output(run::rustc().arg("-vV"))?;
        let field = |name: &str| {
            about
                .lines()
                .find_map(|line| line.strip_prefix(name))
                .map(str::to_owned)
                .with_context(|| format!("failed to find {name:?} in what rustc -vV says"))
        };
        let sysroot = run::output(run::rustc().args(["--print", "sysroot"]))?;
        Ok(Compiler {
            release: field("release: ")?,
            commit: field("commit-hash: ").unwrap_or_else(|_| "unknown".into()),
            sysroot: sysroot.trim().into(),
        })
    }

    pub(super) fn targets(&self) -> PathBuf {
        self.sysroot.join("lib/rustlib")
    }
}

pub(super) fn ensure(options: &Options) -> Result<GuestTarget> {
    if compiles(&mut run::rustc()).is_ok() {
        return Ok(GuestTarget::Ready);
    }
    let compiler = Compiler::find()?;
    say(format_args!(
        "rustc {} cannot compile for {TARGET} yet",
        compiler.release
    ));
    remove_own_leftover(&compiler)?;

    let by_rustup = match options.without_rustup {
        true => Err(anyhow::anyhow!("rustup was not asked")),
        false => by_rustup(),
    };
    let Err(rustup_error) = by_rustup else {
        say("rustup installed the target");
        return Ok(GuestTarget::Ready);
    };
    say(format_args!("{rustup_error:#}"));

    match debian::install(&compiler) {
        Ok(()) => Ok(GuestTarget::Ready),
        Err(debian_error) => {
            say(format_args!("{debian_error:#}"));
            Ok(GuestTarget::Missing {
                advice: advice(&compiler.release),
            })
        }
    }
}

/// Compiles a small component. Only this shows that a target is whole: the
/// folder may be there and be another compiler's, or lack what link-time
/// optimisation needs.
pub(super) fn compiles(rustc: &mut Command) -> Result<()> {
    let folder = tempfile::tempdir().context("failed to make a temporary folder")?;
    let source = folder.path().join("small.rs");
    fs::write(
        &source,
        "#[unsafe(no_mangle)] pub extern \"C\" fn small() { println!(\"small\"); }",
    )
    .context("failed to write a small program")?;
    let options = ["--crate-type=cdylib", "--edition=2024", "--target", TARGET];
    run::output(
        rustc
            .args(options)
            .args(["-Copt-level=1", "-Clto", "-Cpanic=abort", "-o"])
            .arg(folder.path().join("small.wasm"))
            .arg(&source),
    )?;
    Ok(())
}

/// A target made here goes stale when the compiler is updated, and then stands
/// in the way of rustup's own.
fn remove_own_leftover(compiler: &Compiler) -> Result<()> {
    let folder = compiler.targets().join(TARGET);
    if folder.join(NOTE).is_file() {
        say(format_args!(
            "removing {}, made here for another compiler",
            folder.display()
        ));
        remove(&folder)?;
    }
    Ok(())
}

/// Renames first, so that an interrupted removal leaves no half target behind.
pub(super) fn remove(folder: &Path) -> Result<()> {
    let aside = folder.with_file_name(format!(".{TARGET}-removed-{}", std::process::id()));
    fs::rename(folder, &aside)
        .and_then(|()| fs::remove_dir_all(&aside))
        .with_context(|| format!("failed to remove {}", folder.display()))
}

fn by_rustup() -> Result<()> {
    let rustup = run::find("rustup").context("there is no rustup to ask for the target")?;
    say(format_args!("running rustup target add {TARGET}"));
    run::output(Command::new(rustup).args(["target", "add", TARGET]))
        .context("rustup could not install the target")?;
    compiles(&mut run::rustc()).context("the target that rustup installed does not compile")
}

fn advice(release: &str) -> String {
    format!(
        "  The guests' compiler target is missing. Any of these brings it:\n    \
         rustup target add {TARGET}\n    \
         a Debian mirror among apt's sources, and the packages apt, dpkg and \
         debian-archive-keyring; then this command builds it (rust-src {release}, wasi-libc)\n    \
         your distribution's package of Rust's standard library for {TARGET}"
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_compiler_without_the_target_is_told_by_its_own_words() {
        let empty = tempfile::tempdir().unwrap();
        let error = compiles(run::rustc().arg("--sysroot").arg(empty.path())).unwrap_err();
        assert!(format!("{error:#}").contains("find crate"), "{error:#}");
    }

    #[test]
    fn the_advice_names_the_command() {
        assert!(advice("1.95.0").contains("rustup target add wasm32-wasip2"));
    }
}
