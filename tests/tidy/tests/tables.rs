//! Tables in the documents that are made from the tests themselves: each test
//! says in its comment what it answers, as in
//! `/// Bad input: Plugins | an empty file | refused`.

use std::collections::BTreeMap;
use std::fmt::Write as _;
use std::path::Path;

use holdfast_tidy::{files, root};

/// A table, and where it belongs.
struct Page {
    /// How its lines begin.
    tag: &'static str,
    file: &'static str,
    /// What is above the tables.
    head: &'static str,
    columns: [&'static str; 2],
    /// Its parts, in their order.
    groups: &'static [&'static str],
}

const BAD_INPUT: Page = Page {
    tag: "Bad input",
    file: "docs/bad-input.md",
    head: "# Bad input\n\n\
        What comes in wrong, what Holdfast answers, and the test that shows it. All of them are \
        part of `cargo xtask test`.\n\n\
        This page is made from the comments of the tests: `WRITE=1 cargo test -p holdfast-tidy \
        --test tables` writes it anew.\n",
    columns: ["input", "answer"],
    groups: &[
        "Configuration",
        "Plugins",
        "Messages",
        "Broker",
        "Store",
        "Command line",
        "Admin",
    ],
};

const HAZARDS: Page = Page {
    tag: "Hazard",
    file: "docs/hazards.md",
    head: "# Hazards of the parts\n\n\
        What bites users of the libraries and servers below, how Holdfast keeps clear of it, and \
        the test that would notice if it came back. All of them are part of `cargo xtask test`.\n\n\
        This page is made from the comments of the tests: `WRITE=1 cargo test -p holdfast-tidy \
        --test tables` writes it anew.\n",
    columns: ["what bites", "what is done"],
    groups: &[
        "lapin and RabbitMQ",
        "redis",
        "wasmtime",
        "notify",
        "Redis and leases",
    ],
};

/// A line of a table.
struct Row {
    what: String,
    answer: String,
    /// The path of the file and the name of the function in it.
    test: String,
}

#[test]
fn the_page_of_bad_inputs_is_that_of_the_tests() {
    is_current(&BAD_INPUT);
}

#[test]
fn the_page_of_hazards_is_that_of_the_tests() {
    is_current(&HAZARDS);
}

/// Documents name tests as `path/to/file.rs::name`.
#[test]
fn every_test_that_a_document_names_is_there() {
    let mut missing = Vec::new();
    for page in files(&["docs", "README.md", "ARCHITECTURE.md"], &["md"]) {
        let text = std::fs::read_to_string(root().join(&page)).unwrap();
        for word in text.split('`').skip(1).step_by(2) {
            let Some((file, name)) = word.split_once(".rs::") else {
                continue;
            };
            let source = std::fs::read_to_string(root().join(format!("{file}.rs")));
            let there = source.is_ok_and(|source| source.contains(&format!("fn {name}(")));
            if !there {
                missing.push(format!("{}: {word}", page.display()));
            }
        }
    }
    assert!(missing.is_empty(), "{}", missing.join("\n"));
}

fn is_current(page: &Page) {
    let path = root().join(page.file);
    let made = made(page);
    if std::env::var_os("WRITE").is_some() {
        std::fs::write(&path, &made).unwrap();
    }
    let there = std::fs::read_to_string(&path).unwrap_or_default();
    assert!(
        there == made,
        "{} is not what the tests say: WRITE=1 cargo test -p holdfast-tidy --test tables",
        page.file
    );
}

fn made(page: &Page) -> String {
    let mut groups = rows(page);
    let mut text = page.head.to_owned();
    for group in page.groups {
        let rows = groups.remove(*group).unwrap_or_default();
        assert!(!rows.is_empty(), "no test is about {group}");
        let [what, answer] = page.columns;
        let _ = write!(
            text,
            "\n## {group}\n\n| {what} | {answer} | test |\n|---|---|---|\n"
        );
        for row in rows {
            let _ = writeln!(text, "| {} | {} | `{}` |", row.what, row.answer, row.test);
        }
    }
    let unknown: Vec<&String> = groups.keys().collect();
    assert!(unknown.is_empty(), "no such part: {unknown:?}");
    text
}

/// What the comments of functions say, by part.
fn rows(page: &Page) -> BTreeMap<String, Vec<Row>> {
    let begin = format!("/// {}: ", page.tag);
    let mut groups: BTreeMap<String, Vec<Row>> = BTreeMap::new();
    for file in files(&["host", "tests", "sdk", "plugins", "xtask"], &["rs"]) {
        let source = std::fs::read_to_string(root().join(&file)).unwrap();
        let mut waiting: Vec<(String, String, String)> = Vec::new();
        for line in source.lines().map(str::trim) {
            if let Some(said) = line.strip_prefix(&begin) {
                let parts: Vec<&str> = said.split(" | ").collect();
                let [group, what, answer] = parts[..] else {
                    panic!("{}: not three parts: {line}", file.display());
                };
                waiting.push((group.to_owned(), what.to_owned(), answer.to_owned()));
            } else if let Some(name) = function(line) {
                for (group, what, answer) in waiting.drain(..) {
                    let test = format!("{}::{name}", shown(&file));
                    let row = Row { what, answer, test };
                    groups.entry(group).or_default().push(row);
                }
            }
        }
        assert!(waiting.is_empty(), "{}: no test follows", file.display());
    }
    groups
}

/// The name of the function that begins on this line.
fn function(line: &str) -> Option<&str> {
    let (before, after) = line.split_once("fn ")?;
    let only_words = before
        .chars()
        .all(|c| c.is_ascii_alphabetic() || "() ".contains(c));
    let name = after.split(['(', '<']).next()?;
    (only_words && !line.starts_with("//")).then_some(name)
}

fn shown(file: &Path) -> String {
    let root = root();
    let path = file.strip_prefix(&root).unwrap_or(file);
    path.to_string_lossy().into_owned()
}
