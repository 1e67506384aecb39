//! Examples, schema and reference say what the reader does.

use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;

use toml::de::DeTable;

use super::super::raw::Raw;
use super::super::reader::Reader;
use super::super::schema::{KEYS, Kind, markdown};
use super::super::source::Source;
use super::{BASE, env, good};
use crate::config::parse_str;

fn project(path: &str) -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
        .join("../..")
        .join(path)
}

/// Every key the reader asks for when a file has a table of each kind.
fn known_to_the_reader() -> BTreeSet<String> {
    let text = format!("{BASE}[consumers.a.lease]\n[cutover.a]\nfrom = 'a'\nto = 'b'\n");
    let source = Source::new("f.toml", &text);
    let mut reader = Reader::new(&source, &text, &env);
    Raw::read(&mut reader, DeTable::parse(&text).unwrap().get_ref());
    reader.known().clone()
}

#[test]
fn the_list_of_keys_is_what_the_reader_asks_for() {
    let listed: BTreeSet<String> = KEYS.iter().map(|key| key.path.to_owned()).collect();
    assert_eq!(listed, known_to_the_reader());
    assert_eq!(listed.len(), KEYS.len(), "a key is listed twice");
}

#[test]
fn the_defaults_of_the_list_are_those_of_the_reader() {
    let mut text = String::from(BASE);
    text.push_str("[consumers.a.lease]\n[consumers.a.batch]\n[cutover.a]\nfrom='a'\nto='b'\n");
    let plain = good(&text).valid;
    let root = |key: &&super::super::schema::Key| !key.path.contains('.');
    let mut written: String = String::new();
    for key in KEYS.iter().filter(root) {
        if let Some(default) = key.default {
            written += &format!("{} = {default}\n", key.path);
        }
    }
    written += &text;
    let mut tables: BTreeSet<String> = BTreeSet::new();
    for key in KEYS.iter().filter(|key| !root(key)) {
        let Some(default) = key.default else { continue };
        let name = match key.path {
            path if path.starts_with("brokers.") => "main",
            path if path.starts_with("plugins.") => "p",
            _ => "a",
        };
        let path = key.path.replace('*', name);
        let (table, key) = path.rsplit_once('.').unwrap();
        let of_redis = matches!(key, "wait-replicas" | "cluster" | "nodes" | "sentinels");
        if table == "store" && of_redis || path == "plugins.p.timeout" {
            continue;
        }
        let header = format!("[{table}]\n");
        if !written.contains(&header) {
            written += &header;
        }
        written = written.replacen(&header, &format!("{header}{key} = {default}\n"), 1);
        tables.insert(header);
    }
    assert!(tables.len() > 8, "{tables:?}");
    assert_eq!(good(&written).valid, plain, "{written}");
}

#[test]
fn every_example_is_right_and_has_no_warning() {
    let mut seen = BTreeSet::new();
    for entry in fs::read_dir(project("config")).unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "toml") {
            continue;
        }
        let name = path.file_name().unwrap().to_string_lossy().into_owned();
        let text = fs::read_to_string(&path).unwrap();
        let loaded = parse_str(&name, &text, &|_| None).unwrap_or_else(|errors| panic!("{errors}"));
        assert!(loaded.warnings.is_empty(), "{}", loaded.warnings);
        seen.insert(name);
    }
    for name in [
        "holdfast.toml",
        "migration.toml",
        "orders.toml",
        "rabbitmq.toml",
    ] {
        assert!(seen.contains(name), "{name} is gone");
    }
}

#[test]
fn the_full_example_shows_every_key() {
    let text = fs::read_to_string(project("config/rabbitmq.toml")).unwrap();
    let migration = fs::read_to_string(project("config/migration.toml")).unwrap();
    for key in KEYS
        .iter()
        .filter(|key| !matches!(key.kind, Kind::Table | Kind::Named))
    {
        let name = key.path.rsplit('.').next().unwrap();
        let text = if key.path.starts_with("cutover") {
            &migration
        } else {
            &text
        };
        let shown = text.contains(&format!("{name} ")) || text.contains(&format!("{name} ="));
        assert!(shown || name == "path", "{} is in no example", key.path);
    }
}

#[test]
fn the_reference_has_every_key() {
    let path = project("docs/configuration.md");
    let text = fs::read_to_string(&path).unwrap();
    let (start, end) = ("<!-- keys: begin -->\n\n", "<!-- keys: end -->");
    let (before, rest) = text.split_once(start).unwrap();
    let (listed, after) = rest.split_once(end).unwrap();
    let expected = markdown();
    if listed != expected && std::env::var_os("HOLDFAST_WRITE_DOCS").is_some() {
        fs::write(&path, format!("{before}{start}{expected}{end}{after}")).unwrap();
        return;
    }
    assert!(
        listed == expected,
        "docs/configuration.md is behind the list of keys: run this test with \
         HOLDFAST_WRITE_DOCS=1 to write it"
    );
}
