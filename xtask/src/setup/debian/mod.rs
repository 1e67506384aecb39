//! The guests' target from Debian's packages, for machines whose rustup cannot
//! download: the standard library's source and the C library, compiled aside
//! and moved into place in one step.
//!
//! apt works in folders of its own here. The machine's package lists and
//! sources stay as they are, and nothing is installed as a package.

mod apt;
mod aside;

use std::fs;
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use anyhow::{Context, Result};

use super::target::{self, Compiler, TARGET};
use super::{run, say};
use apt::Apt;
use aside::Aside;

/// The first C library that knows the target.
const OLDEST_LIBC: &str = "0.0~git20241201";

pub(super) fn install(compiler: &Compiler) -> Result<()> {
    for program in ["apt-get", "apt-cache", "dpkg-deb", "tar"] {
        run::find(program).with_context(|| {
            format!("Debian's packages cannot be used: there is no {program} here")
        })?;
    }
    let targets = compiler.targets();
    // Before any work is done: may we write there at all?
    stage_beside(&targets)?;
    let work = tempfile::tempdir().context("failed to make a temporary folder")?;
    let work = work.path();
    // apt fetches as another user, who must be able to look in.
    fs::set_permissions(work, fs::Permissions::from_mode(0o755))
        .context("failed to open the temporary folder")?;

    let apt = Apt::new(&work.join("apt"))?;
    say("reading Debian's package lists (in folders of its own)");
    apt.update()?;
    let source = apt.version("rust-src", |version| {
        version.starts_with(&format!("{}+", compiler.release))
    })?;
    let libc = apt.version("wasi-libc", |version| version >= OLDEST_LIBC)?;
    say(format_args!(
        "fetching rust-src {source} and wasi-libc {libc}"
    ));
    let source = apt.download("rust-src", &source)?;
    let libc = apt.download("wasi-libc", &libc)?;

    let aside = Aside::new(compiler, &work.join("sysroot"))?;
    unpack(&source, "./usr/src/*/library", "", &aside.std_source())?;
    for file in ["crt1-command.o", "crt1-reactor.o", "libc.a"] {
        unpack(&libc, "./usr/lib/wasm32-wasip2", file, &aside.libc())?;
    }
    say(format_args!("compiling the standard library for {TARGET}"));
    aside.compile_std(compiler, &work.join("build"))?;
    target::compiles(&mut aside.rustc()).context("the target made here does not compile")?;

    // The folder may lie on another file system than the temporary one, so it
    // is copied beside its place before the one step that shows it.
    let staged = stage_beside(&targets)?;
    copy(&aside.target(), staged.path())?;
    fs::set_permissions(staged.path(), fs::Permissions::from_mode(0o755))
        .context("failed to open the target's folder")?;
    let place = targets.join(TARGET);
    if place.exists() {
        say("replacing a target that does not compile");
        target::remove(&place)?;
    }
    fs::rename(staged.path(), &place)
        .with_context(|| format!("failed to move the target to {}", place.display()))?;
    say(format_args!("installed {}", place.display()));
    Ok(())
}

/// An empty folder on the file system of the place. It goes away unless it is
/// renamed.
fn stage_beside(targets: &Path) -> Result<tempfile::TempDir> {
    tempfile::Builder::new()
        .prefix(&format!(".{TARGET}-"))
        .tempdir_in(targets)
        .with_context(|| format!("failed to write to the compiler's {}", targets.display()))
}

/// Takes a folder, or one file in it, out of a package, without the folders above.
fn unpack(package: &Path, folder: &str, file: &str, to: &Path) -> Result<()> {
    fs::create_dir_all(to).with_context(|| format!("failed to create {}", to.display()))?;
    let script = r#"dpkg-deb --fsys-tarfile "$1" |
        tar -x -C "$2" --wildcards --no-wildcards-match-slash --strip-components="$3" "$4""#;
    run::output(
        Command::new("sh")
            .args(["-c", script, "unpack"])
            .arg(package)
            .arg(to)
            .arg(folder.split('/').count().to_string())
            .arg(format!("{folder}/{file}").trim_end_matches('/')),
    )
    .with_context(|| format!("failed to unpack {}", package.display()))?;
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    run::output(Command::new("cp").arg("-R").arg(from.join(".")).arg(to))
        .with_context(|| format!("failed to copy the target to {}", to.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::apt::first_version;
    use super::*;

    #[test]
    fn only_a_c_library_that_knows_the_target_is_taken() {
        let table = " wasi-libc | 0.0~git20230113.4362b18-2 | x\n";
        assert_eq!(first_version(table, |version| version >= OLDEST_LIBC), None);
        let table = " wasi-libc | 0.0~git20241209.574b88d-2 | x\n";
        assert!(first_version(table, |version| version >= OLDEST_LIBC).is_some());
    }
}
