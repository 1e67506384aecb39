//! `build`: a handler crate, compiled and put into the plugin folder.

use std::fs::{self, File};
use std::io::{self, Write as _};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

use serde_json::{Value, json};

use super::args::{Build, Global};
use super::client::configuration;
use super::failure::Failure;
use super::output;

const TARGET: &str = "wasm32-wasip2";
/// The plugin folder where there is no configuration yet.
const PLUGINS: &str = "plugins";

/// `build`.
pub(super) fn build(global: &Global, build: &Build) -> Result<(), Failure> {
    let manifest = build.path.join("Cargo.toml");
    if !manifest.is_file() {
        let folder = build.path.display();
        return Err(Failure::Usage(format!(
            "{folder} is no handler crate: it has no Cargo.toml"
        )));
    }
    let folder = plugin_folder(global)?;
    let package = package(&manifest)?;
    let component = compile(&manifest, &package)?;
    let file = folder.join(format!("{}.wasm", package.name));
    let bytes = fs::read(&component).map_err(|error| {
        Failure::Failed(format!("failed to read {}: {error}", component.display()))
    })?;
    put(&file, &bytes)
        .map_err(|error| Failure::Failed(format!("failed to write {}: {error}", file.display())))?;
    let digest = holdfast_wasm::Registry::sha256(&bytes);
    if global.json {
        return output::json(&json!({
            "plugin": package.name, "file": file, "bytes": bytes.len(), "sha256": digest,
        }));
    }
    let kilobytes = bytes.len().div_ceil(1000);
    output::line(&format!(
        "{} ({kilobytes} KB, sha256 {digest})",
        file.display()
    ))
}

/// That of the configuration; the default where there is none and none is named.
fn plugin_folder(global: &Global) -> Result<PathBuf, Failure> {
    if global.config.is_none() && !global.config_file().exists() {
        output::notice(&format!(
            "there is no configuration here; the plugin folder is {PLUGINS}/"
        ));
        return Ok(PathBuf::from(PLUGINS));
    }
    Ok(configuration(global)?.valid.plugin_dir)
}

struct Package {
    name: String,
    id: String,
}

/// The package of a manifest, as cargo sees it.
fn package(manifest: &Path) -> Result<Package, Failure> {
    let mut command = cargo("metadata", manifest);
    command.args(["--no-deps", "--format-version=1"]);
    let answer = command.stderr(Stdio::inherit()).output();
    let answer = answer.map_err(|error| no_cargo(&error))?;
    if !answer.status.success() {
        return Err(Failure::Failed(format!(
            "failed to read {}",
            manifest.display()
        )));
    }
    let metadata: Value = serde_json::from_slice(&answer.stdout).unwrap_or_default();
    let manifest = manifest
        .canonicalize()
        .unwrap_or_else(|_| manifest.to_owned());
    let packages = metadata["packages"].as_array().into_iter().flatten();
    let is_this = |package: &&Value| {
        let path = package["manifest_path"].as_str().map(Path::new);
        path.is_some_and(|path| path.canonicalize().is_ok_and(|path| path == manifest))
    };
    let mut own = packages.filter(is_this);
    let text = |package: &Value, key: &str| package[key].as_str().unwrap_or_default().to_owned();
    let package = own.next().ok_or_else(|| {
        Failure::Usage(format!(
            "{} is a workspace; name one handler crate of it",
            manifest.display()
        ))
    })?;
    let name = text(package, "name");
    holdfast_core::name::check(&name).map_err(|error| {
        Failure::Usage(format!("the crate {name:?} cannot be a plugin: {error}"))
    })?;
    Ok(Package {
        name,
        id: text(package, "id"),
    })
}

/// Compiles the crate and says where its component is.
fn compile(manifest: &Path, package: &Package) -> Result<PathBuf, Failure> {
    let mut command = cargo("build", manifest);
    command.args([
        "--release",
        "--target",
        TARGET,
        "--message-format=json-render-diagnostics",
    ]);
    let done = command
        .stderr(Stdio::inherit())
        .output()
        .map_err(|error| no_cargo(&error))?;
    if !done.status.success() {
        let mut text = format!("failed to build {}", package.name);
        if !target_is_there() {
            text.push_str(&format!(
                "\nhelp: the compiler target {TARGET} is missing: rustup target add {TARGET}\n      \
                 (in a checkout of Holdfast, `cargo xtask setup` finds it elsewhere too)"
            ));
        }
        return Err(Failure::Failed(text));
    }
    let messages = done.stdout.split(|byte| *byte == b'\n');
    let mut files = messages
        .filter_map(|line| serde_json::from_slice::<Value>(line).ok())
        .filter(|message| {
            message["reason"] == "compiler-artifact" && message["package_id"] == *package.id
        })
        .flat_map(|message| message["filenames"].as_array().cloned().unwrap_or_default())
        .filter_map(|file| file.as_str().map(PathBuf::from))
        .filter(|file| {
            file.extension()
                .is_some_and(|extension| extension == "wasm")
        });
    files.next().ok_or_else(|| {
        Failure::Usage(format!(
            "{} makes no component: its Cargo.toml needs crate-type = [\"cdylib\"] under [lib]",
            package.name
        ))
    })
}

fn cargo(verb: &str, manifest: &Path) -> Command {
    let mut command = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    command
        .arg(verb)
        .arg("--manifest-path")
        .arg(manifest)
        .stdin(Stdio::null());
    command
}

fn no_cargo(error: &io::Error) -> Failure {
    Failure::Failed(format!("failed to run cargo: {error}"))
}

/// Does the compiler in use have the standard library of the target?
fn target_is_there() -> bool {
    let mut command = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    let answer = command
        .args(["--print", "target-libdir", "--target", TARGET])
        .output();
    answer.is_ok_and(|answer| {
        let folder = String::from_utf8_lossy(&answer.stdout);
        let mut files = fs::read_dir(folder.trim()).into_iter().flatten().flatten();
        files.any(|file| file.file_name().to_string_lossy().starts_with("libstd-"))
    })
}

/// Writes aside and renames, so that a running host sees the file whole.
fn put(file: &Path, bytes: &[u8]) -> io::Result<()> {
    let folder = file.parent().unwrap_or(Path::new("."));
    fs::create_dir_all(folder)?;
    let name = file.file_name().unwrap_or_default().to_string_lossy();
    let aside = folder.join(format!(".{name}.{}.partial", std::process::id()));
    let written = File::create(&aside).and_then(|mut out| {
        out.write_all(bytes)?;
        out.sync_all()
    });
    let put = written.and_then(|()| fs::rename(&aside, file));
    if put.is_err() {
        // The first error is the one to tell.
        let _ = fs::remove_file(&aside);
    }
    put
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_component_replaces_the_one_before_and_leaves_nothing_aside() {
        let folder = tempfile::tempdir().expect("a folder");
        let file = folder.path().join("plugins/a.wasm");
        put(&file, b"one").expect("written");
        put(&file, b"two").expect("written again");
        assert_eq!(fs::read(&file).expect("there"), b"two");
        let left = fs::read_dir(file.parent().expect("a parent")).expect("listed");
        assert_eq!(left.count(), 1);
    }
}
