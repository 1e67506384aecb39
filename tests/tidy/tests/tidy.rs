//! The absences that the architecture promises.

use std::collections::BTreeSet;
use std::path::Path;

use holdfast_tidy::{dependencies, files, lines, root};

/// What each layer may use of the project.
const LAYERS: [(&str, &[&str]); 8] = [
    ("holdfast-core", &[]),
    ("holdfast-ports", &["holdfast-core"]),
    ("holdfast-rabbitmq", &["holdfast-core", "holdfast-ports"]),
    ("holdfast-redis", &["holdfast-core", "holdfast-ports"]),
    ("holdfast-embedded", &["holdfast-core", "holdfast-ports"]),
    ("holdfast-wasm", &["holdfast-core", "holdfast-ports"]),
    ("holdfast-runtime", &["holdfast-core", "holdfast-ports"]),
    ("holdfast-sdk", &["holdfast-sdk-macros"]),
];

/// Crates that belong to one adapter.
const VENDORS: [(&str, &str); 7] = [
    ("lapin", "holdfast-rabbitmq"),
    ("redis", "holdfast-redis"),
    ("redb", "holdfast-embedded"),
    ("wasmtime", "holdfast-wasm"),
    ("wasmtime-wasi", "holdfast-wasm"),
    ("wasmtime-wasi-http", "holdfast-wasm"),
    ("hyper", "holdfast-wasm"),
];

#[test]
fn layers_use_only_what_is_below_them() {
    let all = dependencies();
    for (layer, allowed) in LAYERS {
        let uses: BTreeSet<&str> = all[layer]
            .iter()
            .map(String::as_str)
            .filter(|name| name.starts_with("holdfast"))
            .collect();
        let allowed: BTreeSet<&str> = allowed.iter().copied().collect();
        let beyond: Vec<_> = uses.difference(&allowed).collect();
        assert!(beyond.is_empty(), "{layer} uses {beyond:?}");
    }
}

#[test]
fn each_vendor_crate_is_used_by_one_adapter() {
    let hosts = dependencies();
    let hosts = hosts.iter().filter(|(name, _)| {
        LAYERS.iter().any(|(layer, _)| layer == name) || name.as_str() == "holdfast"
    });
    for (name, uses) in hosts {
        for (vendor, owner) in VENDORS {
            assert!(
                !uses.contains(vendor) || name == owner,
                "{name} uses {vendor}, which belongs to {owner}"
            );
        }
    }
}

#[test]
fn core_depends_on_pure_computation_only() {
    let allowed = ["percent-encoding", "sha2", "thiserror", "xxhash-rust"];
    let uses = &dependencies()["holdfast-core"];
    let beyond: Vec<_> = uses
        .iter()
        .filter(|name| !allowed.contains(&name.as_str()))
        .collect();
    assert!(beyond.is_empty(), "core uses {beyond:?}");
}

#[test]
fn core_reads_no_clock_draws_no_random_number_waits_for_nothing_and_logs_nothing() {
    let forbidden = [
        "Instant::now",
        "SystemTime",
        "std::thread",
        "std::fs",
        "std::net",
        "std::env",
        "std::process",
        "async fn",
        ".await",
        "println!",
        "eprintln!",
        "dbg!",
        "tracing",
        "log::",
        "rand::",
        "Mutex",
        "unsafe",
    ];
    for path in files(&["host/core/src"], &[".rs"]) {
        for (number, line) in lines(&path) {
            let code = line.split("//").next().unwrap_or_default();
            for word in forbidden {
                assert!(
                    !code.contains(word),
                    "{}:{number} has {word}: {line}",
                    shown(&path)
                );
            }
        }
    }
}

#[test]
fn the_runtime_decides_by_the_monotonic_clock_and_proves_nothing_by_itself() {
    for path in files(&["host/runtime/src"], &[".rs"]) {
        for (number, line) in lines(&path) {
            for word in [
                "SystemTime::now",
                "Confirmed::by_broker",
                "BeginAnswer::Done",
            ] {
                assert!(!line.contains(word), "{}:{number} has {word}", shown(&path));
            }
        }
    }
}

/// Long files ask to be two. Tests and their tables may be a little longer.
#[test]
fn files_stay_readable_in_size() {
    let mut long = Vec::new();
    for path in files(&["."], &[".rs", ".lua"]) {
        let length = lines(&path).len();
        let test = shown(&path).contains("/tests/") || shown(&path).contains("/conformance/");
        if length > if test { 600 } else { 500 } {
            long.push(format!("{} has {length} lines", shown(&path)));
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn nothing_is_unfinished_or_switched_off() {
    let marks = [
        concat!("to", "do!("),
        concat!("unimple", "mented!("),
        concat!("#[ig", "nore"),
        concat!("FIX", "ME"),
    ];
    for path in files(&["."], &[".rs", ".toml", ".lua"]) {
        for (number, line) in lines(&path) {
            for mark in marks {
                assert!(!line.contains(mark), "{}:{number}: {line}", shown(&path));
            }
        }
    }
}

#[test]
fn the_interface_has_one_source() {
    let one = std::fs::read(root().join("wit/holdfast.wit")).expect("the interface");
    for copy in files(&["."], &["holdfast.wit"]) {
        assert!(
            std::fs::read(&copy).is_ok_and(|text| text == one),
            "{} differs",
            shown(&copy)
        );
    }
}

fn shown(path: &Path) -> String {
    path.strip_prefix(root())
        .unwrap_or(path)
        .display()
        .to_string()
}
