//! How errors are shown, and that all of them are.

use super::{parse, refused, swap, with};
use crate::config::colour_wanted;

/// Bad input: Configuration | several errors | all are shown, in the order of the file
#[test]
fn all_errors_of_a_file_are_shown_in_its_order() {
    let text = r#"version = 1
servce = "x"
[store]
kind = "redi"
[brokers.main]
kind = "rabbitmq"
url = "amqp://mq.example.com"
[consumers.a]
broker = "mian"
queue = "q.{5..1}"
concurrency = "many"
[consumers.a.claim]
keep = "1 week"
[cutover.a]
from = "a"
to = "a"
percent = 12.345
"#;
    refused(
        "many",
        text,
        &[
            "2:1 unknown key `servce` at the top level",
            "4:8 `store.kind` must be",
            "7:7 `brokers.main.url` names a server that is not on this machine",
            "8:12 `consumers.a.plugin` is missing",
            "9:10 there is no broker `mian`",
            "10:9 `consumers.a.queue` is not a queue",
            "11:15 `consumers.a.concurrency` must be an integer",
            "13:8 `consumers.a.claim.keep` is not a duration",
            "16:6 `cutover.a` moves from `a` to the same side",
            "17:11 `cutover.a.percent` cannot be 12.345",
        ],
    );
}

#[test]
fn what_can_be_told_beside_broken_syntax_is_told() {
    let text = with("concurrency = = 5\ndeclare = 3\nkeep = \"7d\"\n");
    refused(
        "beside",
        &text,
        &[
            "12:15 this is not TOML",
            "13:11 `consumers.a.declare` must be true or false",
            "14:1 unknown key `keep` in [consumers.a]",
        ],
    );
}

#[test]
fn a_key_lost_to_broken_syntax_is_not_called_missing() {
    let text = swap("plugin = \"p\"", "plugin \"p\"");
    refused("no equals sign", &text, &["11:8 this is not TOML"]);
}

#[test]
fn an_error_shows_its_line_with_a_marker_and_what_to_do() {
    let shown = parse(&with("concurency = 4\n")).unwrap_err().to_string();
    let expected = "  × unknown key `concurency` in [consumers.a]\n    \
                    ╭─[f.toml:12:1]\n 12 │ concurency = 4\n    · ──────────\n    ╰────\n  \
                    help: did you mean `concurrency`?\n";
    assert_eq!(shown, expected);
}

#[test]
fn a_very_long_line_is_cut_around_the_marker() {
    let list = "\"a.example.com\", ".repeat(450);
    let text = with(&format!(
        "[plugins.q]\nallow-hosts = [{list} \"*\", {list}]\n"
    ));
    let shown = parse(&text).unwrap_err().to_string();
    assert!(shown.contains("f.toml:13:7667"), "{shown}");
    assert!(
        shown.lines().all(|line| line.chars().count() < 260),
        "{shown}"
    );
    assert!(shown.contains("…") && shown.contains("\"*\""), "{shown}");
}

#[test]
fn errors_as_json_name_file_line_and_column() {
    let json = parse(&with("concurency = 4\n")).unwrap_err().to_json();
    assert_eq!(
        json,
        serde_json::json!([{
            "severity": "error",
            "message": "unknown key `concurency` in [consumers.a]",
            "help": "did you mean `concurrency`?",
            "file": "f.toml",
            "line": 12,
            "column": 1,
            "text": "concurency = 4",
        }])
    );
}

#[test]
fn colours_are_for_terminals_that_want_them() {
    let errors = parse("").unwrap_err();
    assert!(!errors.report().render(false).contains('\u{1b}'));
    assert!(errors.report().render(true).contains('\u{1b}'));
    assert!(colour_wanted(true, &|_| None));
    assert!(colour_wanted(true, &|_| Some(String::new())));
    assert!(!colour_wanted(true, &|_| Some("1".to_owned())));
    assert!(!colour_wanted(false, &|_| None));
}
