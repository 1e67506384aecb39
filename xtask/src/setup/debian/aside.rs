//! A sysroot aside, in which the standard library is compiled.

use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use anyhow::{Context, Result};

use crate::setup::run;
use crate::setup::target::{Compiler, NOTE, TARGET};

/// A copy of the compiler's sysroot made of links, to which the source and the
/// new target are added. The real one is not touched while it is in the making.
pub(super) struct Aside {
    root: PathBuf,
}

impl Aside {
    pub(super) fn new(compiler: &Compiler, root: &Path) -> Result<Self> {
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

    pub(super) fn rustc(&self) -> Command {
        Command::new(self.script())
    }

    pub(super) fn std_source(&self) -> PathBuf {
        self.root.join("lib/rustlib/src/rust/library")
    }

    pub(super) fn target(&self) -> PathBuf {
        self.root.join("lib/rustlib").join(TARGET)
    }

    pub(super) fn libc(&self) -> PathBuf {
        self.target().join("lib/self-contained")
    }

    pub(super) fn compile_std(&self, compiler: &Compiler, build: &Path) -> Result<()> {
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
                self.std_source().display(),
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
