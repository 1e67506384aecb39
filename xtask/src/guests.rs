//! The guests: built from `plugins/` where the machine can, else the components
//! that the repository keeps (`plugins/prebuilt/`).

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result, bail};
use sha2::{Digest, Sha256};

use crate::setup::{self, GuestTarget, TARGET, run};

/// Every guest; the crate, the plugin and its file have one name.
const GUESTS: [&str; 6] = [
    "bench-batch",
    "bench-json",
    "echo",
    "orders",
    "probe",
    "reward",
];

/// Those that are kept prebuilt, for a first look without a guest toolchain.
const PREBUILT: [&str; 4] = ["echo", "orders", "probe", "reward"];

const UPDATE: &str = "cargo xtask guests --update-prebuilt";

#[derive(clap::Args)]
pub(crate) struct Options {
    /// Also replace the components in `plugins/prebuilt/`, to be committed
    #[arg(long)]
    update_prebuilt: bool,
}

/// A folder of components, `orders.wasm` being the plugin `orders`.
pub(crate) struct Guests {
    pub(crate) folder: PathBuf,
    pub(crate) origin: Origin,
}

/// Where the components come from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Origin {
    /// Built now, from the sources as they are.
    Built,
    /// Kept in the repository: the examples only, and without local changes.
    Prebuilt,
}

/// `cargo xtask guests`.
pub(crate) fn command(options: &Options) -> Result<()> {
    let target = setup::guest_target(&setup::Options::default())?;
    if options.update_prebuilt {
        return update_prebuilt(&target);
    }
    let guests = build_all(&target)?;
    let what = match guests.origin {
        Origin::Built => "built",
        Origin::Prebuilt => "the prebuilt ones",
    };
    println!("{} ({what})", guests.folder.display());
    Ok(())
}

/// Builds every guest, or says on standard error why the prebuilt ones are
/// used instead.
///
/// # Errors
///
/// When a guest does not compile. That is never a reason to use a prebuilt one.
pub(crate) fn build_all(target: &GuestTarget) -> Result<Guests> {
    match target {
        GuestTarget::Ready => Ok(Guests {
            folder: build()?,
            origin: Origin::Built,
        }),
        GuestTarget::Missing { advice } => {
            eprintln!("guests: using the components of plugins/prebuilt\n{advice}");
            Ok(Guests {
                folder: prebuilt_folder(),
                origin: Origin::Prebuilt,
            })
        }
    }
}

/// The folder that holds the whole project.
pub(crate) fn repository() -> PathBuf {
    let xtask = Path::new(env!("CARGO_MANIFEST_DIR"));
    xtask.parent().unwrap_or(xtask).to_owned()
}

fn prebuilt_folder() -> PathBuf {
    repository().join("plugins/prebuilt")
}

fn build() -> Result<PathBuf> {
    let plugins = repository().join("plugins");
    let target_dir = plugins.join("target");
    eprintln!("guests: building {}", GUESTS.join(", "));
    let status = run::cargo()
        .args(["build", "--quiet", "--locked", "--release", "--workspace"])
        .args(["--target", TARGET, "--target-dir"])
        .arg(&target_dir)
        .env("CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS", remapped_paths())
        .current_dir(&plugins)
        .status()
        .context("failed to run cargo for the guests")?;
    if !status.success() {
        bail!("failed to build the guests ({status})");
    }

    let folder = repository().join("target/guests");
    fs::create_dir_all(&folder)
        .with_context(|| format!("failed to create {}", folder.display()))?;
    let built = target_dir.join(TARGET).join("release");
    for guest in GUESTS {
        let file = format!("{}.wasm", guest.replace('-', "_"));
        let component = read(&built.join(file))?;
        write(&folder.join(format!("{guest}.wasm")), &component)?;
    }
    Ok(folder)
}

/// Panics name source files; a component must not tell where it was built.
fn remapped_paths() -> String {
    let mut flags = vec![format!(
        "--remap-path-prefix={}=holdfast",
        repository().display()
    )];
    let home = std::env::var_os("CARGO_HOME")
        .map(PathBuf::from)
        .or_else(|| std::env::home_dir().map(|home| home.join(".cargo")));
    if let Some(home) = home {
        let registry = home.join("registry/src");
        flags.push(format!(
            "--remap-path-prefix={}=registry",
            registry.display()
        ));
    }
    flags.join(" ")
}

fn update_prebuilt(target: &GuestTarget) -> Result<()> {
    if let GuestTarget::Missing { advice } = target {
        bail!("failed to update plugins/prebuilt: guests cannot be compiled here\n{advice}");
    }
    let built = build()?;
    let prebuilt = prebuilt_folder();
    for guest in PREBUILT {
        let file = format!("{guest}.wasm");
        write(&prebuilt.join(&file), &read(&built.join(&file))?)?;
    }
    let digests = digests(&repository())?;
    write(&prebuilt.join("digests.toml"), digests.as_bytes())?;
    println!("{} is current; commit it", prebuilt.display());
    Ok(())
}

/// What `digests.toml` says of the components and sources as they are now.
fn digests(repository: &Path) -> Result<String> {
    let mut text = format!(
        "# What each component was built from, and what it is. Made by\n# `{UPDATE}`; a test fails when it is not current.\n"
    );
    for guest in PREBUILT {
        let sources = source_digest(repository, guest)?;
        let component = read(&repository.join(format!("plugins/prebuilt/{guest}.wasm")))?;
        let wasm = hex(&Sha256::digest(&component));
        text.push_str(&format!(
            "\n[{guest}]\nsources = \"{sources}\"\nwasm = \"{wasm}\"\n"
        ));
    }
    Ok(text)
}

/// One digest for every file that a guest is compiled from. The order in which
/// a folder lists its files and the line ends of a checkout do not change it.
fn source_digest(repository: &Path, guest: &str) -> Result<String> {
    let mut files = Vec::new();
    for source in [
        "wit/holdfast.wit",
        "sdk/Cargo.toml",
        "sdk/src",
        "sdk/macros/Cargo.toml",
        "sdk/macros/src",
        "plugins/Cargo.toml",
        "plugins/Cargo.lock",
    ] {
        collect(&repository.join(source), &mut files)?;
    }
    collect(&repository.join("plugins").join(guest), &mut files)?;
    files.sort();

    let mut digest = Sha256::new();
    for file in files {
        let name = file.strip_prefix(repository).unwrap_or(&file);
        let content: Vec<u8> = read(&file)?
            .into_iter()
            .filter(|byte| *byte != b'\r')
            .collect();
        digest.update(name.to_string_lossy().as_bytes());
        digest.update([0]);
        digest.update((content.len() as u64).to_be_bytes());
        digest.update(&content);
    }
    Ok(hex(&digest.finalize()))
}

/// The files below a path, but tests, which no component contains.
fn collect(path: &Path, files: &mut Vec<PathBuf>) -> Result<()> {
    let name = path.file_name().unwrap_or_default();
    if name == "tests" || name == "tests.rs" {
        return Ok(());
    }
    if path.is_file() {
        files.push(path.to_owned());
        return Ok(());
    }
    let failed = || format!("failed to read {}", path.display());
    for entry in fs::read_dir(path).with_context(failed)? {
        collect(&entry.with_context(failed)?.path(), files)?;
    }
    Ok(())
}

fn read(path: &Path) -> Result<Vec<u8>> {
    fs::read(path).with_context(|| format!("failed to read {}", path.display()))
}

/// Replaces a file in one step, and only when it changes: a host may be
/// watching the folder.
fn write(path: &Path, content: &[u8]) -> Result<()> {
    if fs::read(path).is_ok_and(|old| old == content) {
        return Ok(());
    }
    let aside = path.with_extension("partial");
    fs::write(&aside, content)
        .and_then(|()| fs::rename(&aside, path))
        .with_context(|| format!("failed to write {}", path.display()))
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}

#[cfg(test)]
mod tests;
