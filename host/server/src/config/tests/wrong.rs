//! Wrong files, each with the exact place and the words of its error.

use super::{errors, parse, refused, swap, with};

#[test]
fn a_file_that_says_nothing_is_told_how_to_begin() {
    refused("empty", "", &["1:1 the file is empty"]);
    refused("blank", "\n  \n", &["1:1 the file is empty"]);
    refused(
        "comments",
        "# nothing\n# here",
        &["1:1 the file holds nothing but comments"],
    );
    let help = parse("").unwrap_err().to_string();
    assert!(help.contains("begins with `version = 1`"), "{help}");
    refused(
        "only a version",
        "version = 1",
        &[
            "1:1 [store] is missing",
            "1:1 there is no broker",
            "1:1 there is no consumer",
        ],
    );
}

#[test]
fn the_version_must_be_one_that_is_known() {
    let without = super::BASE.replacen("version = 1\n", "", 1);
    refused("none", &without, &["1:1 `version` is missing"]);
    let two = swap("version = 1", "version = 2");
    refused(
        "two",
        &two,
        &["1:11 `version` 2 is not known; this build reads version 1"],
    );
    let text = swap("version = 1", "version = \"1\"");
    refused(
        "text",
        &text,
        &["1:11 `version` must be an integer, not a string"],
    );
}

#[test]
fn syntax_is_reported_with_its_line() {
    for (what, text, expected) in [
        (
            "no value",
            with("concurrency =\n"),
            "12:14 this is not TOML: ",
        ),
        (
            "no quotes",
            with("[consumers.a.claim]\nkeep = 7d\n"),
            "13:8 this is not TOML: ",
        ),
        (
            "open string",
            with("max-body = \"1MiB\n"),
            "12:17 this is not TOML: ",
        ),
        (
            "open table",
            with("[consumers.a.claim\n"),
            "12:19 this is not TOML: ",
        ),
        (
            "twice",
            with("broker = \"main\"\n"),
            "12:1 `broker` is written twice in the same table",
        ),
        (
            "two tables",
            with("[store]\nkind = \"embedded\"\n"),
            "12:2 `store` is written twice",
        ),
    ] {
        let found = errors(&text);
        assert!(found[0].starts_with(expected), "{what}: {found:#?}");
        assert_eq!(found.len(), 1, "{what}: {found:#?}");
    }
}

#[test]
fn an_unknown_key_comes_with_a_suggestion() {
    for (what, text, expected, help) in [
        (
            "typo",
            with("concurency = 4\n"),
            "12:1 unknown key `concurency` in [consumers.a]",
            "did you mean `concurrency`?",
        ),
        (
            "underscore",
            with("max_body = \"1MiB\"\n"),
            "12:1 unknown key `max_body` in [consumers.a]",
            "did you mean `max-body`?",
        ),
        (
            "top",
            with("[brokrs]\n"),
            "12:2 unknown key `brokrs` at the top level",
            "`brokers`?",
        ),
        (
            "nested",
            with("[consumers.a.claim]\nkep = \"7d\"\n"),
            "13:1 unknown key `kep` in [consumers.a.claim]",
            "did you mean `keep`?",
        ),
        (
            "nothing near",
            with("[log]\nzzz = 1\n"),
            "13:1 unknown key `zzz` in [log]",
            "known here: format, level",
        ),
        (
            "reserved",
            with("x-mine = 1\n"),
            "12:1 unknown key `x-mine` in [consumers.a]",
            "known here: broker, queue",
        ),
    ] {
        refused(what, &text, &[expected]);
        let shown = parse(&text).unwrap_err().to_string();
        assert!(shown.contains(help), "{what}: {shown}");
    }
}

#[test]
fn a_value_of_another_type_is_named_with_both_types() {
    for (text, expected) in [
        (
            with("concurrency = \"64\"\n"),
            "12:15 `consumers.a.concurrency` must be an integer, not a string",
        ),
        (
            with("concurrency = 6.4\n"),
            "12:15 `consumers.a.concurrency` must be an integer, not a float",
        ),
        (
            with("declare = \"yes\"\n"),
            "12:11 `consumers.a.declare` must be true or false, not a string",
        ),
        (
            with("max-body = 1048576\n"),
            "12:12 `consumers.a.max-body` must be a size, not an integer",
        ),
        (
            with("claim = \"orders\"\n"),
            "12:9 `consumers.a.claim` must be a table, not a string",
        ),
        (
            swap("kind = \"embedded\"", "kind = true"),
            "3:8 `store.kind` must be a string, not a boolean",
        ),
        (
            with("[consumers]\nb = 5\n"),
            "13:5 `consumers.b` must be a table, not an integer",
        ),
        (
            with("[admin]\nhosts = \"a\"\n"),
            "13:9 `admin.hosts` must be an array, not a string",
        ),
        (
            with("[admin]\nhosts = [\"a\", 5]\n"),
            "13:15 `admin.hosts` must be a host name, not an integer",
        ),
        (
            with("[plugins.p.vars]\nn = 5\n"),
            "13:5 `plugins.p.vars` must be a table of strings, not an integer",
        ),
        (
            with("[consumers.a.claim]\nkeep = 1979-05-27\n"),
            "13:8 `consumers.a.claim.keep` must be a duration, not a date or time",
        ),
    ] {
        refused("type", &text, &[expected]);
    }
}

#[test]
fn durations_sizes_and_numbers_have_units_and_bounds() {
    let claim = |line: &str| with(&format!("[consumers.a.claim]\n{line}\n"));
    let retry = |line: &str| with(&format!("[consumers.a.retry]\n{line}\n"));
    for (text, expected) in [
        (
            claim("keep = \"7\""),
            "13:8 `consumers.a.claim.keep` is not a duration: it has no unit",
        ),
        (
            claim("keep = \"7w\""),
            "13:8 `consumers.a.claim.keep` is not a duration: `w` is not a unit of it",
        ),
        (
            claim("keep = \"-1s\""),
            "13:8 `consumers.a.claim.keep` is not a duration: it does not begin",
        ),
        (
            claim("keep = \"\""),
            "13:8 `consumers.a.claim.keep` is not a duration: it is empty",
        ),
        (
            claim("keep = \"366d\""),
            "13:8 `consumers.a.claim.keep` must be between 1s and 365d",
        ),
        (
            claim("keep = \"99999999999999999999d\""),
            "13:8 `consumers.a.claim.keep` is not a duration: it is too large",
        ),
        (
            with("max-body = \"1M\"\n"),
            "12:12 `consumers.a.max-body` is not a size: `M` is not a unit of it",
        ),
        (
            with("max-body = \"0B\"\n"),
            "12:12 `consumers.a.max-body` must be between 1B and 128MiB",
        ),
        (
            swap("timeout = \"5s\"", "memory = \"1KiB\""),
            "7:10 `plugins.p.memory` must be between 64KiB and 4GiB",
        ),
        (
            swap("timeout = \"5s\"", "timeout = \"0s\""),
            "7:11 `plugins.p.timeout` must be between 1ms and 1d",
        ),
        (
            with("concurrency = 0\n"),
            "12:15 `consumers.a.concurrency` must be between 1 and 65535",
        ),
        (
            with("concurrency = -1\n"),
            "12:15 `consumers.a.concurrency` must be between 1 and 65535",
        ),
        (
            with("concurrency = 99999999999999999999\n"),
            "12:15 `consumers.a.concurrency` must be between",
        ),
        (
            with("batch = { max = 0 }\n"),
            "12:17 `consumers.a.batch.max` must be between 1 and 65535",
        ),
        (
            with("batch = { wait = \"0ms\" }\n"),
            "12:18 `consumers.a.batch.wait` must be between 1ms and 1m",
        ),
        (
            retry("attempts = 0"),
            "13:12 `consumers.a.retry.attempts` must be between 1 and 10000",
        ),
        (
            retry("factor = 0.5"),
            "13:10 `consumers.a.retry.factor` must be a number between 1 and 1000",
        ),
        (
            retry("factor = nan"),
            "13:10 `consumers.a.retry.factor` must be a number between 1 and 1000",
        ),
        (
            retry("factor = inf"),
            "13:10 `consumers.a.retry.factor` must be a number between 1 and 1000",
        ),
        (
            retry("jitter = 1.5"),
            "13:10 `consumers.a.retry.jitter` must be a number between 0 and 1",
        ),
        (
            retry("initial = \"10m\""),
            "13:11 `consumers.a.retry.initial` (10m) is longer than retry.max (5m)",
        ),
        (
            retry("hold-below = \"6m\""),
            "13:14 `consumers.a.retry.hold-below` (6m) is longer than retry.max (5m)",
        ),
    ] {
        refused("unit", &text, &[expected]);
    }
}

#[test]
fn a_percentage_is_between_0_and_100_and_exact() {
    let percent = |value: &str| {
        with(&format!(
            "[cutover.a]\nfrom = \"a\"\nto = \"b\"\npercent = {value}\n"
        ))
    };
    for (value, why) in [
        ("-1", "cannot be -1: it is not between 0 and 100"),
        ("101", "cannot be 101: it is not between 0 and 100"),
        ("100.01", "cannot be 100.01: it is not between 0 and 100"),
        ("nan", "cannot be nan: it is not a plain decimal number"),
        ("inf", "cannot be inf: it is not a plain decimal number"),
        ("1e1", "cannot be 1e1: it is not a plain decimal number"),
        ("0x10", "cannot be 0x10: it is not a plain decimal number"),
        ("12.345", "cannot be 12.345: it has more than two decimals"),
        ("\"5\"", "must be a number, not a string"),
    ] {
        refused(
            value,
            &percent(value),
            &[&format!("15:11 `cutover.a.percent` {why}")],
        );
    }
}

#[test]
fn references_lead_somewhere() {
    refused(
        "broker",
        &swap("\"main\"", "\"mein\""),
        &["9:10 there is no broker `mein`"],
    );
    let help = parse(&swap("\"main\"", "\"mein\""))
        .unwrap_err()
        .to_string();
    assert!(help.contains("did you mean \"main\"?"), "{help}");
    let cutover = with("[cutover.b]\nfrom = \"x\"\nto = \"y\"\n");
    refused(
        "group",
        &cutover,
        &["12:10 no consumer belongs to the group `b`"],
    );
    refused(
        "missing",
        &swap("queue = \"q\"\n", ""),
        &["8:12 `consumers.a.queue` is missing"],
    );
}

#[test]
fn texts_have_the_form_their_key_needs() {
    let name = "is not a name";
    for (text, expected) in [
        (
            swap("consumers.a", "consumers.A"),
            "8:12 `A` is not a name for one of `consumers`: ",
        ),
        (
            swap("consumers.a", "consumers.\"\""),
            "8:12 `` is not a name for one of `consumers`: ",
        ),
        (
            swap("version = 1", "version = 1\nservice = \"My Service\""),
            &*format!("2:11 `service` {name}"),
        ),
        (
            with("[consumers.a.claim]\nside = \"-x\"\n"),
            &*format!("13:8 `consumers.a.claim.side` {name}"),
        ),
        (
            swap("queue = \"q\"", "queue = \"q.{7..0}\""),
            "10:9 `consumers.a.queue` is not a queue: its last partition is below its first",
        ),
        (
            swap("queue = \"q\"", "queue = \"q.{0..1024}\""),
            "10:9 `consumers.a.queue` is not a queue: it has 1025 partitions",
        ),
        (
            swap("queue = \"q\"", "queue = \"\""),
            "10:9 `consumers.a.queue` is not a queue: it must have 1 to 200 bytes",
        ),
        (
            swap("kind = \"embedded\"", "kind = \"postgres\""),
            "3:8 `store.kind` must be \"redis\" or \"embedded\"",
        ),
        (
            with("[consumers.a.claim]\nkey = \"id\"\n"),
            "13:7 `consumers.a.claim.key` is not a place in the message: it is none",
        ),
        (
            with("[consumers.a.claim]\nkey = \"json:id\"\n"),
            "13:7 `consumers.a.claim.key` is not a place in the message: a JSON pointer begins with `/`",
        ),
        (
            with("[plugins.q]\nsha256 = \"abc\"\n"),
            "13:10 `plugins.q.sha256` is not a SHA-256 digest: it has 3 characters, not 64",
        ),
        (
            with(&format!("[plugins.q]\nsha256 = \"{}\"\n", "g".repeat(64))),
            "13:10 `plugins.q.sha256` is not a SHA-256 digest: it holds something",
        ),
        (
            with(&format!("[plugins.q]\nsha256 = \"{}\"\n", "é".repeat(64))),
            "13:10 `plugins.q.sha256` is not a SHA-256 digest: it holds something",
        ),
        (
            with("[plugins.q]\nallow-hosts = [\"a.com\", \"https://b.com\"]\n"),
            "13:25 `plugins.q.allow-hosts` is not a host to allow: it is a URL",
        ),
        (
            with("[plugins.q]\nallow-hosts = [\"10.0.0.1/8\"]\n"),
            "13:16 `plugins.q.allow-hosts` is not a host to allow: it has bits set behind its network prefix; the network is 10.0.0.0/8",
        ),
        (
            swap("version = 1", "version = 1\nplugin-dir = \"../plugins\""),
            "2:14 `plugin-dir` must not contain `..`",
        ),
        (
            swap("version = 1", "version = 1\nplugin-dir = \"a/../../b\""),
            "2:14 `plugin-dir` must not contain `..`",
        ),
        (
            swap("version = 1", "version = 1\nplugin-dir = \"\""),
            "2:14 `plugin-dir` is not a path: it is empty",
        ),
        (
            with("[admin]\nlisten = \"7070\"\n"),
            "13:10 `admin.listen` is not an address with a port",
        ),
        (
            with("[admin]\nlisten = \"localhost:7070\"\n"),
            "13:10 `admin.listen` is not an address with a port",
        ),
        (
            with("[admin]\nlisten = \"0.0.0.0:7070\"\n"),
            "13:10 `admin.listen` is open beyond loopback, and `admin.token` is not set",
        ),
        (
            with("[admin]\ntoken = \"two words\"\n"),
            "13:9 `admin.token` must be made of visible ASCII characters",
        ),
        (
            with("[admin]\nhosts = [\"not a host\"]\n"),
            "13:10 `admin.hosts` is not a host name",
        ),
        (
            with("[log]\nlevel = \"inof\"\n"),
            "13:9 `log.level` is not a log level",
        ),
        (
            with("[log]\nlevel = \"info,lapin=loud\"\n"),
            "13:9 `log.level` is not a log level",
        ),
        (
            with("[log]\nformat = \"jsn\"\n"),
            "13:10 `log.format` must be \"text\" or \"json\"",
        ),
    ] {
        refused("form", &text, &[expected]);
    }
}

#[test]
fn settings_that_contradict_each_other_are_refused() {
    let consumer = |table: &str, lines: &str| with(&format!("[consumers.a.{table}]\n{lines}\n"));
    for (text, expected) in [
        (
            consumer("lease", "ttl = \"5s\"\nrenew = \"5s\""),
            "14:9 `consumers.a.lease.renew` (5s) is not shorter than ttl (5s)",
        ),
        (
            consumer("lease", "renew = \"20s\""),
            "13:9 `consumers.a.lease.renew` (20s) is not shorter than ttl (15s)",
        ),
        (
            consumer("lease", "ttl = \"2s\"\nretry = \"3s\""),
            "14:9 `consumers.a.lease.retry` (3s) is not shorter than ttl (2s)",
        ),
        (
            consumer("claim", "keep = \"1m\""),
            "13:8 `consumers.a.claim.keep` (1m) is not longer than the whole retry schedule (6m19s700ms)",
        ),
        (
            consumer("retry", "attempts = 10000"),
            "8:12 `consumers.a.claim.keep` (7d) is not longer than the whole retry schedule",
        ),
        (
            consumer("order", "mode = \"lanes\""),
            "13:8 `consumers.a.order.key` is missing: order.mode = \"lanes\" needs a lane",
        ),
        (
            consumer("order", "sequence = \"json:/n\""),
            "13:12 `consumers.a.order.sequence` needs mode = \"lanes\" or \"strict\"",
        ),
        (
            with("prefetch = 10\n"),
            "12:12 `consumers.a.prefetch` (10) is below its concurrency (64)",
        ),
        (
            swap("timeout = \"5s\"", "timeout = \"5s\"\ndeadline = \"2s\""),
            "8:12 `plugins.p.deadline` (2s) is shorter than its timeout (5s)",
        ),
        (
            swap(
                "kind = \"embedded\"",
                "kind = \"embedded\"\nurl = \"redis://localhost\"",
            ),
            "4:7 `store.url` belongs to kind = \"redis\"",
        ),
        (
            swap(
                "kind = \"embedded\"",
                "kind = \"embedded\"\nwait-replicas = 1",
            ),
            "4:17 `store.wait-replicas` belongs to kind = \"redis\"",
        ),
        (
            swap("kind = \"embedded\"", "kind = \"redis\""),
            "2:2 `store.url` is missing",
        ),
        (
            swap(
                "kind = \"embedded\"",
                "kind = \"redis\"\nurl = \"redis://localhost\"\npath = \"x\"",
            ),
            "5:8 `store.path` belongs to kind = \"embedded\"",
        ),
    ] {
        refused("contradiction", &text, &[expected]);
    }
    let same_file = swap(
        "[brokers.main]\nkind = \"embedded\"",
        "path = \"d\"\n[brokers.main]\nkind = \"embedded\"\npath = \"d\"",
    );
    refused(
        "same file",
        &same_file,
        &["7:8 `brokers.main.path` is the same file as `store.path`"],
    );
}

#[test]
fn a_server_elsewhere_needs_tls() {
    let store = |url: &str| {
        swap(
            "kind = \"embedded\"",
            &format!("kind = \"redis\"\nurl = \"{url}\""),
        )
    };
    let plain = "4:7 `store.url` names a server that is not on this machine, without TLS";
    for url in [
        "redis://10.0.0.1",
        "redis://redis.example.com:6379",
        "redis://[2001:db8::1]/0",
    ] {
        refused(url, &store(url), &[plain]);
    }
    for (url, why) in [
        (
            "rediss://db.example.com/#insecure",
            "switches off the check of the server's certificate",
        ),
        ("http://localhost", "must begin with redis:// or rediss://"),
        (
            "localhost:6379",
            "is not the address of a server: it has no scheme",
        ),
        (
            "redis://:6379",
            "is not the address of a server: it names no host",
        ),
        (
            "redis://localhost:0",
            "is not the address of a server: its port is not a number",
        ),
        (
            "redis://localhost/main",
            "is not an address: its database is not a whole number",
        ),
        (
            "redis://u:p%4@localhost",
            "is not the address of a server: a `%` is not followed",
        ),
        (
            "redis://u:p/w@localhost",
            "is not the address of a server: user or password contains a `/`",
        ),
        (
            "redis://local host",
            "is not the address of a server: it contains a space",
        ),
    ] {
        refused(url, &store(url), &[&format!("4:7 `store.url` {why}")]);
    }
    let broker = |url: &str| {
        super::BASE.replace(
            "[brokers.main]\nkind = \"embedded\"",
            &format!("path = \"x\"\n[brokers.main]\nkind = \"rabbitmq\"\nurl = \"{url}\""),
        )
    };
    let plain = "7:7 `brokers.main.url` names a server that is not on this machine, without TLS";
    refused("amqp", &broker("amqp://u:p@mq.example.com/%2f"), &[plain]);
    let vhost =
        "7:7 `brokers.main.url` is not an address: a `/` in the virtual host is written %2f";
    refused("vhost", &broker("amqp://localhost//"), &[vhost]);
    let beat = format!(
        "{}[consumers.a.lease]\n",
        broker("amqp://localhost/%2f?heartbeat=60")
    );
    refused(
        "heartbeat",
        &beat,
        &["7:7 the heartbeat in the broker's url is not shorter"],
    );
    let ca = broker("amqp://localhost").replace("[plugins.p]", "ca = \"ca.pem\"\n[plugins.p]");
    refused(
        "ca",
        &ca,
        &["8:6 `brokers.main.ca` has no effect without TLS"],
    );
}

#[test]
fn a_variable_that_is_not_set_is_named_at_its_place() {
    for (text, expected) in [
        (
            swap("\"q\"", "\"${QUEUE}\""),
            "10:10 `consumers.a.queue` cannot be expanded: the environment variable `QUEUE` is not set",
        ),
        (
            swap("\"q\"", "\"${WHO}-${QUEUE}\""),
            "10:17 `consumers.a.queue` cannot be expanded: the environment variable `QUEUE` is not set",
        ),
        (
            swap("\"q\"", "\"x${\""),
            "10:11 `consumers.a.queue` cannot be expanded: a `${` is not closed",
        ),
        (
            swap("\"q\"", "\"${A B}\""),
            "10:10 `consumers.a.queue` cannot be expanded: `${` is not followed by the name",
        ),
        (
            swap("\"q\"", "\"${A:-${WHO}}\""),
            "10:10 `consumers.a.queue` cannot be expanded: the default of `A`",
        ),
        (
            swap("\"main\"", "\"${EMPTY}\""),
            "9:10 `consumers.a.broker` is not a name: ",
        ),
    ] {
        refused("variable", &text, &[expected]);
    }
    let shown = parse(&swap("\"q\"", "\"${QUEUE}\""))
        .unwrap_err()
        .to_string();
    assert!(shown.contains("${QUEUE:-value}"), "{shown}");
}

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
