//! `new`: a handler project that builds and passes its own test.

use std::fs;
use std::path::{Path, PathBuf};

use serde_json::json;

use super::args::{Global, Lang, New};
use super::failure::Failure;
use super::output;

const FILES: [(&str, &str); 4] = [
    ("Cargo.toml", include_str!("new/Cargo.toml.txt")),
    ("src/lib.rs", include_str!("new/lib.rs.txt")),
    ("README.md", include_str!("new/README.md.txt")),
    (".gitignore", "/target\n"),
];

/// `new`.
pub(super) fn new(global: &Global, new: &New) -> Result<(), Failure> {
    match new.lang {
        Lang::Rust => {}
        Lang::Js | Lang::Python => {
            let version = env!("CARGO_PKG_VERSION");
            let text = format!("version {version} makes handler projects in Rust only");
            return Err(Failure::Failed(text));
        }
    }
    package_name(&new.name)?;
    let sdk = match &new.sdk {
        Some(folder) => Some(named_sdk(folder)?),
        None => own_sdk(),
    };
    let folder = PathBuf::from(&new.name);
    let failed = |what: &Path, error: std::io::Error| {
        Failure::Failed(format!("failed to create {}: {error}", what.display()))
    };
    // Fails when it is there: nothing is ever overwritten.
    fs::create_dir(&folder).map_err(|error| failed(&folder, error))?;
    for (name, template) in FILES {
        let file = folder.join(name);
        let parent = file.parent().unwrap_or(&folder);
        fs::create_dir_all(parent).map_err(|error| failed(parent, error))?;
        let text = template
            .replace("{{name}}", &new.name)
            .replace("{{function}}", &function(&new.name))
            .replace("{{sdk}}", &dependency(sdk.as_deref()));
        fs::write(&file, text).map_err(|error| failed(&file, error))?;
    }
    if global.json {
        return output::json(&json!({"folder": folder, "sdk": sdk}));
    }
    output::line(&format!("{}/", folder.display()))?;
    output::notice(&format!(
        "test it:  cd {0} && cargo test\nbuild it: holdfast build {0}",
        folder.display()
    ));
    Ok(())
}

/// A plugin's name is also the name of its crate, for which there are more rules.
fn package_name(name: &str) -> Result<(), Failure> {
    let wrong = if name.contains('.') {
        "contains a `.`"
    } else if name.starts_with(|c: char| c.is_ascii_digit()) {
        "begins with a digit"
    } else if KEYWORDS.contains(&name)
        || ["test", "core", "std", "alloc", "serde", "holdfast-sdk"].contains(&name)
    {
        "means something else to Rust"
    } else {
        return Ok(());
    };
    Err(Failure::Usage(format!(
        "{name:?} cannot be the name of a Rust crate: it {wrong}"
    )))
}

const KEYWORDS: [&str; 43] = [
    "abstract", "as", "async", "await", "become", "box", "break", "const", "continue", "crate",
    "do", "dyn", "else", "enum", "extern", "false", "final", "fn", "for", "gen", "if", "impl",
    "in", "let", "loop", "macro", "match", "mod", "move", "mut", "override", "priv", "pub", "ref",
    "return", "self", "static", "struct", "super", "trait", "true", "try", "type",
];

fn function(name: &str) -> String {
    name.replace('-', "_")
}

/// What stands behind `holdfast-sdk =` in the manifest.
fn dependency(sdk: Option<&Path>) -> String {
    match sdk {
        Some(folder) => {
            let path = serde_json::Value::from(folder.to_string_lossy());
            format!("{{ path = {path} }}")
        }
        None => format!("\"{}\"", env!("CARGO_PKG_VERSION")),
    }
}

fn named_sdk(folder: &Path) -> Result<PathBuf, Failure> {
    let wrong = || {
        let text = format!(
            "--sdk names no folder of holdfast-sdk: {}",
            folder.display()
        );
        Failure::Usage(text)
    };
    if !is_sdk(folder) {
        return Err(wrong());
    }
    folder.canonicalize().map_err(|_| wrong())
}

/// The SDK of the checkout that this program stands in.
fn own_sdk() -> Option<PathBuf> {
    let program = std::env::current_exe().ok()?.canonicalize().ok()?;
    let mut folders = program.ancestors().skip(1).map(|folder| folder.join("sdk"));
    folders.find(|folder| is_sdk(folder))
}

fn is_sdk(folder: &Path) -> bool {
    fs::read_to_string(folder.join("Cargo.toml")).is_ok_and(|manifest| {
        manifest
            .lines()
            .any(|line| line.trim() == "name = \"holdfast-sdk\"")
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_that_cargo_refuses_are_refused_here() {
        for name in ["orders", "my-orders", "o1"] {
            assert!(package_name(name).is_ok(), "{name}");
        }
        for name in ["1st", "a.b", "match", "test"] {
            assert!(
                matches!(package_name(name), Err(Failure::Usage(_))),
                "{name}"
            );
        }
    }

    #[test]
    fn the_sdk_is_a_folder_or_a_version() {
        let path = dependency(Some(Path::new("/a \"b\"/sdk")));
        assert_eq!(path, r#"{ path = "/a \"b\"/sdk" }"#);
        assert_eq!(
            dependency(None),
            format!("\"{}\"", env!("CARGO_PKG_VERSION"))
        );
    }
}
