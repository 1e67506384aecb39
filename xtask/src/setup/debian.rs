//! The guests' target from Debian's packages, for machines whose rustup cannot
//! download: the standard library's source and the C library, compiled aside
//! and moved into place in one step.
//!
//! apt works in folders of its own here. The machine's package lists and
//! sources stay as they are, and nothing is installed as a package.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result, bail};

use super::target::{self, Compiler, NOTE, TARGET};
use super::{run, say};

/// Where a source of the compiler's own release is found, newest C library first.
const SUITES: &str = "trixie-backports trixie sid";

/// Either name, as the keyring's package changed it.
const KEYRINGS: [&str; 2] = [
    "/usr/share/keyrings/debian-archive-keyring.gpg",
    "/usr/share/keyrings/debian-archive-keyring.pgp",
];

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
    unpack(&source, "./usr/src/*/library", "", &aside.library())?;
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

/// apt with lists, cache and sources of its own.
struct Apt {
    root: PathBuf,
}

impl Apt {
    fn new(root: &Path) -> Result<Self> {
        let mirror = mirror()?;
        let keyring = KEYRINGS
            .iter()
            .find(|path| Path::new(path).is_file())
            .context("Debian's packages cannot be checked: install debian-archive-keyring")?;
        for folder in ["lists/partial", "cache/archives/partial", "sources"] {
            fs::create_dir_all(root.join(folder))
                .with_context(|| format!("failed to create apt's {folder}"))?;
        }
        fs::write(
            root.join("sources/debian.sources"),
            format!(
                "Types: deb\nURIs: {mirror}\nSuites: {SUITES}\nComponents: main\n\
                 Signed-By: {keyring}\n"
            ),
        )
        .context("failed to write apt's sources")?;
        Ok(Apt { root: root.into() })
    }

    fn command(&self, program: &str) -> Command {
        let mut command = Command::new(program);
        let at = |folder: &str| self.root.join(folder).display().to_string();
        for option in [
            "Dir::Etc::SourceList=/dev/null".to_owned(),
            format!("Dir::Etc::SourceParts={}", at("sources")),
            format!("Dir::State::Lists={}", at("lists")),
            format!("Dir::Cache={}", at("cache")),
            "Acquire::Languages=none".to_owned(),
            "Acquire::IndexTargets::deb::DEP-11::DefaultEnabled=false".to_owned(),
        ] {
            command.arg("-o").arg(option);
        }
        command.current_dir(&self.root);
        command
    }

    fn update(&self) -> Result<()> {
        run::output(self.command("apt-get").args(["-q", "update"]))
            .context("failed to read Debian's package lists")?;
        Ok(())
    }

    /// The newest version that will do.
    fn version(&self, package: &str, will_do: impl Fn(&str) -> bool) -> Result<String> {
        let table = run::output(self.command("apt-cache").args(["madison", package]))?;
        first_version(&table, will_do).with_context(|| {
            format!(
                "Debian ({SUITES}) has no {package} for this compiler, only:\n{}",
                table.trim_end()
            )
        })
    }

    fn download(&self, package: &str, version: &str) -> Result<PathBuf> {
        let wanted = format!("{package}={version}");
        run::output(self.command("apt-get").args(["-q", "download", &wanted]))
            .with_context(|| format!("failed to fetch {wanted}"))?;
        let start = format!("{package}_");
        let entries = fs::read_dir(&self.root).context("failed to look for the package")?;
        for entry in entries {
            let path = entry.context("failed to look for the package")?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.starts_with(&start) && name.ends_with(".deb") {
                return Ok(path);
            }
        }
        bail!("failed to find the package of {wanted} after fetching it")
    }
}

/// apt's table has the newest version first: `package | version | where`.
fn first_version(table: &str, will_do: impl Fn(&str) -> bool) -> Option<String> {
    table
        .lines()
        .filter_map(|line| line.split('|').nth(1))
        .map(str::trim)
        .find(|version| will_do(version))
        .map(str::to_owned)
}

/// The Debian mirror that this machine already uses.
fn mirror() -> Result<String> {
    let sources = run::output(Command::new("apt-get").args([
        "indextargets",
        "--format",
        "$(REPO_URI)",
        "Identifier: Packages",
    ]))?;
    debian_mirror(&sources).context(
        "Debian's packages cannot be used: none of apt's sources is a Debian mirror \
         (an address that ends in /debian)",
    )
}

fn debian_mirror(addresses: &str) -> Option<String> {
    addresses
        .lines()
        .map(|address| address.trim().trim_end_matches('/'))
        .find(|address| address.ends_with("/debian"))
        .map(str::to_owned)
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

/// A copy of the compiler's sysroot made of links, to which the source and the
/// new target are added. The real one is not touched while it is in the making.
struct Aside {
    root: PathBuf,
}

impl Aside {
    fn new(compiler: &Compiler, root: &Path) -> Result<Self> {
        let aside = Aside { root: root.into() };
        fs::create_dir_all(root.join("lib/rustlib")).context("failed to make a sysroot aside")?;
        link_entries(&compiler.sysroot.join("lib"), &root.join("lib"), "rustlib")?;
        link_entries(&compiler.targets(), &root.join("lib/rustlib"), TARGET)?;

        let script = format!(
            "#!/bin/sh\nexec '{}' --sysroot '{}' \"$@\"\n",
            compiler.sysroot.join("bin/rustc").display(),
            root.display()
        );
        fs::write(aside.script(), script)
            .and_then(|()| fs::set_permissions(aside.script(), fs::Permissions::from_mode(0o755)))
            .context("failed to write a compiler for the sysroot aside")?;
        Ok(aside)
    }

    fn script(&self) -> PathBuf {
        self.root.join("rustc")
    }

    fn rustc(&self) -> Command {
        Command::new(self.script())
    }

    fn library(&self) -> PathBuf {
        self.root.join("lib/rustlib/src/rust/library")
    }

    fn target(&self) -> PathBuf {
        self.root.join("lib/rustlib").join(TARGET)
    }

    fn libc(&self) -> PathBuf {
        self.target().join("lib/self-contained")
    }

    fn compile_std(&self, compiler: &Compiler, build: &Path) -> Result<()> {
        for (path, text) in [
            ("src/lib.rs", ""),
            (
                "Cargo.toml",
                "[package]\nname = \"empty\"\nversion = \"0.0.0\"\nedition = \"2024\"\n\
                 [profile.release]\ndebug = false\n[workspace]\n",
            ),
        ] {
            let path = build.join(path);
            fs::create_dir_all(path.parent().unwrap_or(build))
                .and_then(|()| fs::write(&path, text))
                .with_context(|| format!("failed to write {}", path.display()))?;
        }
        // Bitcode for guests that optimise at link time; paths as in a release
        // of the compiler, not those of this temporary folder.
        let flags = [
            "-Cembed-bitcode=yes".to_owned(),
            format!(
                "--remap-path-prefix={}=/rustc/{}/library",
                self.library().display(),
                compiler.commit
            ),
        ];
        run::output(
            run::cargo()
                .args([
                    "build",
                    "--release",
                    "-Zbuild-std=std,panic_abort",
                    "--target",
                    TARGET,
                ])
                .arg("--target-dir")
                .arg(build.join("target"))
                .env("RUSTC", self.script())
                .env("RUSTC_BOOTSTRAP", "1")
                .env("CARGO_ENCODED_RUSTFLAGS", flags.join("\u{1f}"))
                .env_remove("RUSTC_WRAPPER")
                .env_remove("RUSTC_WORKSPACE_WRAPPER")
                .current_dir(build),
        )
        .context("failed to compile the standard library")?;

        let built = build.join("target").join(TARGET).join("release/deps");
        let into = self.target().join("lib");
        for entry in fs::read_dir(&built).context("failed to find the standard library")? {
            let path = entry.context("failed to find the standard library")?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy();
            if name.ends_with(".rlib") && !name.starts_with("libempty-") {
                fs::copy(&path, into.join(&*name))
                    .with_context(|| format!("failed to copy {name}"))?;
            }
        }
        let note = format!(
            "rustc {} ({}): built from Debian's rust-src and wasi-libc by `cargo xtask setup`.\n\
             To have rustup's instead, delete this folder and run `rustup target add {TARGET}`.\n",
            compiler.release, compiler.commit
        );
        fs::write(self.target().join(NOTE), note).context("failed to write the target's note")
    }
}

/// Links to every entry of a folder but one.
fn link_entries(from: &Path, to: &Path, except: &str) -> Result<()> {
    let entries =
        fs::read_dir(from).with_context(|| format!("failed to read {}", from.display()))?;
    for entry in entries {
        let entry = entry.with_context(|| format!("failed to read {}", from.display()))?;
        let name = entry.file_name();
        if name != except && name != "src" && !name.to_string_lossy().starts_with('.') {
            symlink(entry.path(), to.join(&name))
                .with_context(|| format!("failed to link {}", entry.path().display()))?;
        }
    }
    Ok(())
}

fn copy(from: &Path, to: &Path) -> Result<()> {
    run::output(Command::new("cp").arg("-R").arg(from.join(".")).arg(to))
        .with_context(|| format!("failed to copy the target to {}", to.display()))?;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    const MADISON: &str = "
  rust-src | 1.97.1+dfsg1-1 | http://mirror.example/debian sid/main amd64 Packages
  rust-src | 1.95.0+dfsg1-2~bpo13+1 | http://mirror.example/debian trixie-backports/main
  rust-src | 1.95.0+dfsg1-1~bpo13+1 | http://mirror.example/debian trixie-backports/main
";

    #[test]
    fn the_newest_source_of_the_compilers_own_release_is_taken() {
        let found = first_version(MADISON, |version| version.starts_with("1.95.0+"));
        assert_eq!(found.as_deref(), Some("1.95.0+dfsg1-2~bpo13+1"));
        assert_eq!(first_version(MADISON, |v| v.starts_with("1.96.0+")), None);
    }

    #[test]
    fn only_a_c_library_that_knows_the_target_is_taken() {
        let table = " wasi-libc | 0.0~git20230113.4362b18-2 | x\n";
        assert_eq!(first_version(table, |version| version >= OLDEST_LIBC), None);
        let table = " wasi-libc | 0.0~git20241209.574b88d-2 | x\n";
        assert!(first_version(table, |version| version >= OLDEST_LIBC).is_some());
    }

    #[test]
    fn the_mirror_is_the_machines_own_and_not_its_security_archive() {
        let sources = "http://m.example/debian-security/\nhttp://m.example/debian/\n";
        assert_eq!(
            debian_mirror(sources).as_deref(),
            Some("http://m.example/debian")
        );
        assert_eq!(debian_mirror("http://m.example/ubuntu/\n"), None);
    }
}
