//! Programs of this machine: finding them, and running them so that a failure
//! shows what they said.

use std::path::PathBuf;
use std::process::{Command, Stdio};

use anyhow::{Context, Result, bail};

/// The first program of that name on the path, or where administrators' ones are.
pub(super) fn find(program: &str) -> Option<PathBuf> {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path)
        .chain(["/usr/sbin", "/usr/local/sbin", "/sbin"].map(PathBuf::from))
        .map(|folder| folder.join(program))
        .find(|path| path.is_file())
}

/// Runs a command to its end and gives its standard output.
///
/// # Errors
///
/// When it cannot be started, or ends with a failure: then with the last lines
/// that it wrote.
pub(super) fn output(command: &mut Command) -> Result<String> {
    let name = command.get_program().to_string_lossy().into_owned();
    let output = command
        .stdin(Stdio::null())
        // What a program says of its failure, not where in itself it noticed.
        .env_remove("RUST_BACKTRACE")
        .output()
        .with_context(|| format!("failed to run {name}"))?;
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    if !output.status.success() {
        let errors = String::from_utf8_lossy(&output.stderr);
        bail!(
            "failed to run {name} ({}):\n{}",
            output.status,
            last_lines(if errors.trim().is_empty() {
                &text
            } else {
                &errors
            })
        );
    }
    Ok(text)
}

/// The variables of an outer cargo that would change what an inner one builds.
const OUTER_BUILD: [&str; 10] = [
    "RUSTC_BOOTSTRAP",
    "RUSTFLAGS",
    "RUSTDOCFLAGS",
    "CARGO_ENCODED_RUSTFLAGS",
    "CARGO_BUILD_RUSTFLAGS",
    "CARGO_BUILD_TARGET",
    "CARGO_BUILD_TARGET_DIR",
    "CARGO_TARGET_DIR",
    "CARGO_TARGET_WASM32_WASIP2_RUSTFLAGS",
    "CARGO_INCREMENTAL",
];

/// The cargo of this call, without what the surrounding one was told.
pub(crate) fn cargo() -> Command {
    let mut cargo = Command::new(std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into()));
    without_outer_build(&mut cargo);
    cargo
}

/// Takes from a command what the surrounding cargo was told.
pub(crate) fn without_outer_build(command: &mut Command) {
    for name in OUTER_BUILD {
        command.env_remove(name);
    }
    // What `cargo run` tells its program about itself: build scripts that look
    // at such a variable would make a whole tree of crates stale.
    for (name, _) in std::env::vars_os() {
        let text = name.to_string_lossy();
        if text.starts_with("CARGO_PKG_") || text.starts_with("CARGO_MANIFEST_") {
            command.env_remove(&name);
        }
    }
}

/// The folder with the compiler's own libraries, for programs that macros are
/// part of.
///
/// # Errors
/// When the compiler does not say.
pub(crate) fn libraries() -> Result<PathBuf> {
    let told = output(rustc().args(["--print", "target-libdir"]))?;
    Ok(PathBuf::from(told.trim_end()))
}

/// The compiler that this cargo uses.
pub(super) fn rustc() -> Command {
    let mut rustc = Command::new(std::env::var_os("RUSTC").unwrap_or_else(|| "rustc".into()));
    rustc.env_remove("RUSTC_BOOTSTRAP");
    rustc
}

fn last_lines(text: &str) -> String {
    const SHOWN: usize = 12;
    let lines: Vec<&str> = text.trim_end().lines().collect();
    lines[lines.len().saturating_sub(SHOWN)..].join("\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_that_fails_shows_the_end_of_what_it_said() {
        let script = "for i in $(seq 1 99); do echo line $i >&2; done; exit 3";
        let error = output(Command::new("sh").args(["-c", script])).unwrap_err();
        let message = error.to_string();
        assert!(message.contains("exit status: 3"), "{message}");
        assert!(message.ends_with("line 98\nline 99"), "{message}");
        assert!(!message.contains("line 80"), "{message}");
    }

    #[test]
    fn the_outer_build_does_not_reach_the_inner_one() {
        let cargo = cargo();
        for name in ["RUSTC_BOOTSTRAP", "RUSTFLAGS", "CARGO_TARGET_DIR"] {
            assert!(
                cargo
                    .get_envs()
                    .any(|(variable, value)| variable == name && value.is_none()),
                "{name} must be removed"
            );
        }
    }
}
