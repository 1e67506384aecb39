//! Secrets are used and never shown.

use super::{env, good, parse, swap, with};
use crate::config::parse_str;

/// Everything that is printed about a text: its errors, or its settings.
fn printed(text: &str) -> String {
    match parse(text) {
        Ok(loaded) => format!(
            "{loaded:?} {} {}",
            loaded.warnings,
            loaded.warnings.to_json()
        ),
        Err(errors) => format!("{errors} {errors:?} {}", errors.to_json()),
    }
}

fn broker(url: &str, more: &str) -> String {
    let broker = format!("path = \"c\"\n[brokers.main]\nkind = \"rabbitmq\"\nurl = {url}\n{more}");
    swap("[brokers.main]\nkind = \"embedded\"", &broker)
}

/// Bad input: Configuration | a password beside an error | never printed
#[test]
fn a_password_is_in_no_error_and_in_no_dump() {
    for url in [
        "\"amqp://me:hunter2@127.0.0.1/%2f\"",
        "\"amqp://me:hunter2%40x@127.0.0.1/%2f\"",
        "\"amqp://me:${PASSWORD}@127.0.0.1/%2f\"",
        "\"amqp://me:hunter2@mq.example.com\"",
        "\"amqp://me:hunter2@bad host\"",
        "\"amqp://me:hunter2/x@host\"",
        "\"amqp://me:hunter2#x@host\"",
        "\"amqp://me:hunter2%@host\"",
        "\"amqp://me:hunter2\"",
        "\"amqp://me:hunter2@host:port\"",
        "\"http://me:hunter2@localhost\"",
        "\"amqp://localhost/%2f?password=hunter2\"",
        "\"amqp://me:hunter2@localhost",
        "amqp://me:hunter2@localhost",
        "[\"amqp://me:hunter2@localhost\"]",
        "\"\"\"amqp://me:\nhunter2@localhost\"\"\"",
        "\"amqp://me:hunter2@localhost\" # and a comment @ the end",
    ] {
        for more in ["", "unknown = 1", "ca = 5"] {
            let text = broker(url, more);
            let printed = printed(&text);
            assert!(!printed.contains("hunter2"), "{text}\n{printed}");
        }
    }
    let misplaced = swap(
        "[store]\nkind = \"embedded\"",
        "store = \"redis://:hunter2@localhost\"",
    );
    assert!(!printed(&misplaced).contains("hunter2"));
    let misspelt = swap(
        "kind = \"embedded\"",
        "kind = \"redis\"\nulr = \"redis://:hunter2@localhost\"",
    );
    assert!(!printed(&misspelt).contains("hunter2"));
    let name = with("[consumers.\"amqp://me:hunter2@localhost\"]\n");
    assert!(!printed(&name).contains("hunter2"));
}

#[test]
fn a_token_is_in_no_error_and_in_no_dump() {
    for line in [
        "token = \"hunter2\"",
        "token = \"hunter2 hunter2\"",
        "token = hunter2",
        "token = \"hunter2",
        "token = [\"hunter2\"]",
        "token = '''hunter2\nhunter2'''",
        "tokne = \"hunter2\"",
        "\"token\" = \"hunter2\" x",
        "password = \"hunter2\"",
        "token = \"${PASSWORD} ${PASSWORD}\"",
        "token = \"${NONE:-hunter2} x\"",
    ] {
        let text = with(&format!("[admin]\n{line}\n"));
        assert!(!printed(&text).contains("hunter2"), "{}", printed(&text));
    }
    let inline = with("").replacen(
        "[store]",
        "admin = { token = \"hunter2\", x = 1 }\n[store]",
        1,
    );
    assert!(
        !printed(&inline).contains("hunter2"),
        "{}",
        printed(&inline)
    );
}

#[test]
fn the_variables_of_a_plugin_are_treated_as_secrets() {
    for line in [
        "vars = { key = \"hunter2\" }",
        "vars = { key = \"hunter2\", n = 5 }",
        "vars = { key = hunter2 }",
        "vars.key = \"hunter2\"",
        "vars.key = hunter2",
        "vars = \"hunter2\"",
        "[plugins.p.vars]\nkey = \"hunter2\"\nn = 5",
        "[plugins.p.vars]\nkey = hunter2",
        "[plugins.p.vars]\nkey = \"hunter2\" \"hunter2\"",
    ] {
        let text = swap("timeout = \"5s\"", line);
        assert!(!printed(&text).contains("hunter2"), "{}", printed(&text));
    }
}

#[test]
fn the_line_of_an_error_shows_stars_and_keeps_its_columns() {
    let shown = parse(&broker("\"amqp://me:hunter2@mq.example.com/%2f\"", "")).unwrap_err();
    let shown = shown.to_string();
    assert!(
        shown.contains("url = \"amqp://**********@mq.example.com/%2f\""),
        "{shown}"
    );
    let inline = "[admin]\ntoken = \"hunter2\"\nhosts = [\"not a host\"]\n";
    assert!(
        parse(&with(inline))
            .unwrap_err()
            .to_string()
            .contains("14:10")
    );
    let named = parse(&broker("\"amqp://me:${AMQP_PASSWORD}@localhost\"", "")).unwrap_err();
    assert!(named.to_string().contains("${AMQP_PASSWORD}"), "{named}");
}

#[test]
fn secrets_reach_those_who_need_them() {
    let loaded = good(&broker("\"amqp://me:${PASSWORD}@127.0.0.1/%2f\"", ""));
    let crate::config::valid::Broker::RabbitMq { url, .. } = &loaded.valid.brokers["main"] else {
        panic!("not a server");
    };
    assert_eq!(url.expose(), "amqp://me:hunter2@127.0.0.1/%2f");
}

#[test]
fn a_later_layer_points_into_the_same_masked_text() {
    let text = broker("\"amqp://me:hunter2@127.0.0.1/%2f\"", "");
    let loaded = parse_str("f.toml", &text, &env).unwrap();
    let refused = loaded.problem("brokers.main.url", "access refused", None);
    let unwritten = loaded.problem("consumers.a.claim.keep", "too long for it", None);
    let unknown = loaded.problem("nothing.at.all", "odd", None);
    let shown = loaded.errors(vec![refused, unwritten, unknown]).to_string();
    for part in [
        "f.toml:7:7",
        "f.toml:11:12",
        "f.toml:1:1",
        "amqp://**********@127.0.0.1",
    ] {
        assert!(shown.contains(part), "{part}\n{shown}");
    }
}
