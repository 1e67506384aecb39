//! Wrong files, each with the exact place and the words of its error.

use super::{errors, parse, refused, swap, with};

/// Bad input: Configuration | an empty file | refused; told how to begin
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

/// Bad input: Configuration | broken TOML, a key or a table written twice | refused at its line and column
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

/// Bad input: Configuration | an unknown key | refused at its place, with the key that was probably meant
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

/// Bad input: Configuration | a broker or plugin that is not there | refused; those that are there are named
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

/// Bad input: Configuration | renew not below ttl, keep shorter than all retries, a heartbeat not below the lease | refused; both settings are named
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
            swap("kind = \"embedded\"", "kind = \"embedded\"\ncluster = true"),
            "4:11 `store.cluster` belongs to kind = \"redis\"",
        ),
        (
            swap(
                "kind = \"embedded\"",
                "kind = \"redis\"\nurl = \"redis://localhost\"\nnodes = [\"localhost:1\"]",
            ),
            "5:9 `store.nodes` are those of a cluster",
        ),
        (
            swap(
                "kind = \"embedded\"",
                "kind = \"redis\"\nurl = \"redis://localhost\"\ncluster = true\nsentinels = [\"localhost:1\"]",
            ),
            "6:13 `store.sentinels` and `store.cluster` exclude each other",
        ),
        (
            swap(
                "kind = \"embedded\"",
                "kind = \"redis\"\nurl = \"redis://localhost/3\"\ncluster = true",
            ),
            "4:7 `store.url` names a database, and a cluster has only 0",
        ),
        (
            swap(
                "kind = \"embedded\"",
                "kind = \"redis\"\nurl = \"redis://primary\"\nsentinels = [\"10.0.0.1:26379\"]",
            ),
            "4:7 `store.url` names a server that is not on this machine, without TLS",
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

/// Bad input: Configuration | a store or broker elsewhere without TLS | refused unless the file says otherwise
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
