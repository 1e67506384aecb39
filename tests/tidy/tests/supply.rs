//! What comes into the build, by `deny.toml`: licences, sources, duplicates.
//! Known weaknesses need a list from outside: `cargo xtask deny`.

use std::collections::{BTreeMap, BTreeSet};
use std::process::Command;

use holdfast_tidy::root;
use serde_json::Value;

const TARGET: &str = "x86_64-unknown-linux-gnu";

#[test]
fn every_licence_is_one_that_is_allowed() {
    let allowed = listed("allow = [");
    assert!(allowed.contains("MIT"), "{allowed:?}");
    let mut refused = Vec::new();
    for package in packages() {
        let licence = package["license"].as_str().unwrap_or("none");
        if !may(&licence.replace('/', " OR "), &allowed) {
            refused.push(format!("{}: {licence}", package["name"]));
        }
    }
    assert!(refused.is_empty(), "{}", refused.join("\n"));
}

#[test]
fn everything_comes_from_the_crate_registry_or_from_here() {
    for package in packages() {
        let source = package["source"].as_str().unwrap_or_default();
        assert!(
            source.is_empty() || source.contains("crates.io-index"),
            "{}: {source}",
            package["name"]
        );
    }
}

#[test]
fn a_crate_is_there_twice_only_for_a_reason_that_is_written_down() {
    let skipped = listed("skip = [");
    assert!(skipped.contains("syn@2"), "{skipped:?}");
    let mut versions: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for package in packages() {
        let text = |field: &str| package[field].as_str().unwrap_or_default().to_owned();
        versions
            .entry(text("name"))
            .or_default()
            .insert(text("version"));
    }
    let mut unexplained = Vec::new();
    for (name, versions) in versions {
        // The newest one needs no reason.
        let without = versions.iter().filter(|version| {
            !skipped.iter().any(|skip| {
                skip.split_once('@').is_some_and(|(skip, begin)| {
                    skip == name && format!("{version}.").starts_with(&format!("{begin}."))
                })
            })
        });
        let without: Vec<&String> = without.collect();
        if without.len() > 1 {
            unexplained.push(format!("{name}: {without:?}"));
        }
    }
    assert!(unexplained.is_empty(), "{}", unexplained.join("\n"));
}

/// The first text of each line of a list in `deny.toml`.
fn listed(begin: &str) -> BTreeSet<String> {
    let text = std::fs::read_to_string(root().join("deny.toml")).unwrap();
    let (_, after) = text.split_once(begin).unwrap();
    let (list, _) = after.split_once("\n]").unwrap();
    let lines = list.lines().filter(|line| !line.trim().starts_with('#'));
    lines
        .filter_map(|line| Some(line.split('"').nth(1)?.to_owned()))
        .collect()
}

/// Whether an expression of SPDX is fulfilled by these licences.
fn may(expression: &str, allowed: &BTreeSet<String>) -> bool {
    let expression = expression.trim();
    for (word, all) in [(" AND ", true), (" OR ", false)] {
        let parts = apart(expression, word);
        if parts.len() > 1 {
            let mut each = parts.iter().map(|part| may(part, allowed));
            return if all {
                each.all(|may| may)
            } else {
                each.any(|may| may)
            };
        }
    }
    match expression.strip_prefix('(') {
        Some(inner) => may(inner.strip_suffix(')').unwrap_or(inner), allowed),
        None => allowed.contains(expression),
    }
}

/// Splits at a word that is in no brackets.
fn apart<'a>(text: &'a str, word: &str) -> Vec<&'a str> {
    let (mut parts, mut begin, mut depth) = (Vec::new(), 0, 0);
    for (at, letter) in text.char_indices() {
        match letter {
            '(' => depth += 1,
            ')' => depth -= 1,
            _ => {}
        }
        if depth == 0 && at >= begin && text[at..].starts_with(word) {
            parts.push(&text[begin..at]);
            begin = at + word.len();
        }
    }
    parts.push(&text[begin..]);
    parts
}

/// What is built for Linux, as cargo resolves it.
fn packages() -> Vec<Value> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let output = Command::new(cargo)
        .args(["metadata", "--format-version", "1", "--locked", "--offline"])
        .args(["--filter-platform", TARGET])
        .current_dir(root())
        .output()
        .expect("cargo runs");
    assert!(
        output.status.success(),
        "{}",
        String::from_utf8_lossy(&output.stderr)
    );
    let mut metadata: Value = serde_json::from_slice(&output.stdout).expect("cargo speaks JSON");
    let packages = metadata["packages"].take();
    let nodes = metadata["resolve"]["nodes"].as_array();
    let used: BTreeSet<&str> = nodes
        .into_iter()
        .flatten()
        .filter_map(|node| node["id"].as_str())
        .collect();
    let all = packages.as_array().cloned().unwrap_or_default();
    all.into_iter()
        .filter(|package| package["id"].as_str().is_some_and(|id| used.contains(id)))
        .collect()
}

#[test]
fn an_expression_is_fulfilled_by_one_of_its_choices_and_by_all_of_its_parts() {
    let allowed = BTreeSet::from(["MIT".to_owned(), "ISC".to_owned()]);
    for good in [
        "MIT",
        "GPL-3.0 OR MIT",
        "MIT AND ISC",
        "(MIT OR GPL-3.0) AND ISC",
    ] {
        assert!(may(good, &allowed), "{good}");
    }
    for bad in [
        "GPL-3.0",
        "MIT AND GPL-3.0",
        "none",
        "(GPL-3.0 OR X) AND ISC",
    ] {
        assert!(!may(bad, &allowed), "{bad}");
    }
}
