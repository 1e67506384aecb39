//! Tests of the configuration as a user meets it.

mod accepted;
mod arbitrary;
mod forms;
mod groups;
mod reference;
mod reload;
mod secrets;
mod shown;
mod unreadable;
mod wrong;

use super::{ConfigErrors, Loaded, parse_str};

/// A file without errors and without warnings; additions begin at line 12.
const BASE: &str = r#"version = 1
[store]
kind = "embedded"
[brokers.main]
kind = "embedded"
[plugins.p]
timeout = "5s"
[consumers.a]
broker = "main"
queue = "q"
plugin = "p"
"#;

fn env(name: &str) -> Option<String> {
    match name {
        "WHO" => Some("ann".to_owned()),
        "PASSWORD" => Some("hunter2".to_owned()),
        "EMPTY" => Some(String::new()),
        _ => None,
    }
}

fn parse(text: &str) -> Result<Loaded, ConfigErrors> {
    parse_str("f.toml", text, &env)
}

/// The settings of a text that has to be right.
fn good(text: &str) -> Loaded {
    parse(text).unwrap_or_else(|errors| panic!("refused:\n{errors}\n{text}"))
}

/// `BASE` and some lines more.
fn with(more: &str) -> String {
    format!("{BASE}{more}")
}

/// `BASE` with one text for another.
fn swap(from: &str, to: &str) -> String {
    assert!(BASE.contains(from), "{from}");
    BASE.replacen(from, to, 1)
}

/// The errors of a text as `line:column message`, in order.
fn errors(text: &str) -> Vec<String> {
    let Err(errors) = parse(text) else {
        panic!("accepted:\n{text}")
    };
    let report = errors.report();
    let one = |problem| {
        let place = report.place(problem);
        let place = place
            .strip_prefix("f.toml:")
            .unwrap_or_else(|| panic!("no place: {place}"));
        assert!(
            errors.to_string().contains(&report.place(problem)),
            "{errors}"
        );
        format!("{place} {}", problem.message)
    };
    report.problems().iter().map(one).collect()
}

/// The warnings of a text that has no errors, as `line:column message`.
fn warnings(text: &str) -> Vec<String> {
    let warnings = good(text).warnings;
    let one = |problem| format!("{} {}", warnings.place(problem), problem.message);
    let all = warnings.problems().iter().map(one);
    all.map(|line| line.replacen("f.toml:", "", 1)).collect()
}

/// Checks that a text has exactly these errors, given by how they begin.
fn refused(what: &str, text: &str, expected: &[&str]) {
    let found = errors(text);
    let same = found.len() == expected.len()
        && found
            .iter()
            .zip(expected)
            .all(|(found, expected)| found.starts_with(expected));
    assert!(
        same,
        "{what}\nexpected: {expected:#?}\nfound: {found:#?}\n{text}"
    );
}
