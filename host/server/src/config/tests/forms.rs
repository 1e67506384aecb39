//! Values that are wrong by themselves, each with the exact place and the
//! words of its error.

use super::{parse, refused, swap, with};

/// Bad input: Configuration | a value of the wrong type | refused; both types are named
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

/// Bad input: Configuration | a duration, size or number without unit or out of bounds | refused; the bounds are named
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

/// Bad input: Configuration | percent -1, 101 or nan | refused at its place
#[test]
fn a_percentage_is_between_0_and_100_and_exact() {
    let percent = |value: &str| {
        with(&format!(
            "[cutover.a]\nfrom = \"a\"\nto = \"b\"\npercent = {value}\n"
        ))
    };
    for (value, why) in [
        ("-1", "cannot be -1: a percentage is between 0 and 100"),
        ("101", "cannot be 101: a percentage is between 0 and 100"),
        (
            "100.01",
            "cannot be 100.01: a percentage is between 0 and 100",
        ),
        (
            "nan",
            "cannot be nan: a percentage is a number such as 12.5",
        ),
        (
            "inf",
            "cannot be inf: a percentage is a number such as 12.5",
        ),
        (
            "1e1",
            "cannot be 1e1: a percentage is a number such as 12.5",
        ),
        (
            "0x10",
            "cannot be 0x10: a percentage is a number such as 12.5",
        ),
        (
            "12.345",
            "cannot be 12.345: a percentage has at most two decimals",
        ),
        ("\"5\"", "must be a number, not a string"),
    ] {
        refused(
            value,
            &percent(value),
            &[&format!("15:11 `cutover.a.percent` {why}")],
        );
    }
}

/// Bad input: Configuration | a path with `..`, a malformed sha256, a name with odd characters | refused at its place
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

/// Bad input: Configuration | a variable that is not set | refused at its place
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
