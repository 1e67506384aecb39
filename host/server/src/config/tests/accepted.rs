//! Files that are right, and what their settings become.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use super::super::valid::{
    Admin, AllowHost, Batch, Broker, Claim, Instances, Lease, Log, LogFormat, OnForeign, OnPoison,
    Order, Place, Plugin, Queue, Retry, Slot, Store,
};
use super::{BASE, good, swap, warnings, with};
use crate::config::{Host, SecretUrl, parse_str};

fn secs(secs: u64) -> Duration {
    Duration::from_secs(secs)
}

#[test]
fn what_is_not_written_has_its_default() {
    let valid = good(BASE).valid;
    assert_eq!(valid.service, "holdfast");
    assert_eq!(valid.plugin_dir, PathBuf::from("plugins"));
    assert_eq!(valid.store, Store::Embedded { path: None });
    assert_eq!(valid.brokers["main"], Broker::Embedded { path: None });
    assert_eq!(valid.plugins["p"], Plugin::default());
    let listen: SocketAddr = "127.0.0.1:7070".parse().unwrap();
    assert_eq!(
        valid.admin,
        Admin {
            listen,
            token: None,
            hosts: Vec::new()
        }
    );
    assert_eq!(
        valid.log,
        Log {
            format: LogFormat::Text,
            level: "info".into()
        }
    );
    let a = &valid.consumers["a"];
    assert_eq!(a.queue, Queue::One("q".into()));
    assert_eq!(
        (a.concurrency, a.prefetch, a.declare, a.max_body),
        (64, 256, true, 1 << 20)
    );
    assert_eq!(
        (a.batch, a.lease, &a.order),
        (None, None, &Order::None { key: None })
    );
    assert_eq!(
        a.claim,
        Claim {
            group: "a".into(),
            side: "a".into(),
            key: Place::MessageId,
            keep: secs(7 * 86_400),
            slot: Slot::Group,
            fingerprint: true,
            on_foreign: OnForeign::Hold,
        }
    );
    assert_eq!(
        a.retry,
        Retry {
            attempts: 8,
            initial: secs(1),
            factor: 2.0,
            max: secs(300),
            jitter: 0.1,
            hold_below: secs(5),
        }
    );
    assert_eq!(warnings(BASE), [""; 0]);
}

#[test]
fn everything_that_is_written_is_taken() {
    let digest = "0aF".repeat(21) + "0";
    let text = swap(
        "timeout = \"5s\"",
        &format!(
            "sha256 = \"{digest}\"\nmemory = \"32MiB\"\ntimeout = \"2s\"\ndeadline = \"1m30s\"\n\
         instances = \"reuse\"\nallow-hosts = [\"*.example.com:8443\"]\nvars = {{ c = \"EUR\" }}"
        ),
    ) + r#"
concurrency = 10
declare = false
batch = { max = 8, wait = "7ms" }
max-body = "2kB"
[consumers.a.claim]
group = "g"
side = "s"
key = "header:Id"
keep = "30d"
fingerprint = false
[consumers.a.retry]
attempts = 3
initial = "10ms"
factor = 1
max = "1s"
jitter = 0
hold-below = "0s"
[consumers.a.order]
mode = "lanes"
key = "json:/user"
sequence = "header:n"
on-poison = "halt"
[consumers.a.lease]
ttl = "9s"
[admin]
listen = "[::]:0"
token = "${PASSWORD}"
hosts = ["Host.Example.com"]
[log]
format = "json"
level = "info,lapin=warn"
"#;
    let valid = good(&text).valid;
    let plugin = valid.plugin("p");
    assert_eq!(plugin.sha256.unwrap()[..3], [0x0a, 0xf0, 0xaf]);
    assert_eq!(
        (plugin.memory, plugin.instances),
        (32 << 20, Instances::Reuse)
    );
    assert_eq!((plugin.timeout, plugin.deadline), (secs(2), secs(90)));
    assert_eq!(
        plugin.allow_hosts,
        [AllowHost::Below {
            domain: "example.com".into(),
            port: Some(8443)
        }]
    );
    assert_eq!(plugin.vars["c"].expose(), "EUR");
    let a = &valid.consumers["a"];
    assert_eq!(
        (a.concurrency, a.prefetch, a.declare, a.max_body),
        (10, 40, false, 2000)
    );
    assert_eq!(
        a.batch,
        Some(Batch {
            max: 8,
            wait: Duration::from_millis(7)
        })
    );
    assert_eq!(a.claim.key, Place::Header("Id".into()));
    assert_eq!(
        (a.retry.factor, a.retry.jitter, a.retry.hold_below),
        (1.0, 0.0, secs(0))
    );
    assert_eq!(
        a.order,
        Order::Lanes {
            key: Place::Json("/user".into()),
            sequence: Some(Place::Header("n".into())),
            on_poison: OnPoison::Halt,
        }
    );
    assert_eq!(
        a.lease,
        Some(Lease {
            ttl: secs(9),
            renew: secs(3),
            retry: secs(1)
        })
    );
    assert_eq!(valid.admin.token.as_ref().unwrap().expose(), "hunter2");
    assert_eq!(valid.admin.hosts, ["host.example.com"]);
    assert_eq!(valid.log.format, LogFormat::Json);
}

#[test]
fn a_limit_that_is_not_written_gives_way_to_one_that_is() {
    let plugin = |lines: &str| good(&swap("timeout = \"5s\"", lines)).valid.plugin("p");
    assert_eq!(plugin("deadline = \"2s\"").timeout, secs(2));
    assert_eq!(plugin("timeout = \"60s\"").deadline, secs(60));
    let retry = good(&with("[consumers.a.retry]\nmax = \"500ms\"\n")).valid;
    let retry = retry.consumers["a"].retry;
    assert_eq!((retry.initial, retry.hold_below), (retry.max, retry.max));
}

#[test]
fn the_token_of_the_environment_is_used_when_the_file_names_none() {
    let env = |name: &str| (name == "HOLDFAST_ADMIN_TOKEN").then(|| "t0ken".to_owned());
    let loaded = parse_str("f.toml", BASE, &env).unwrap();
    assert_eq!(loaded.valid.admin.token.unwrap().expose(), "t0ken");
}

#[test]
fn variables_are_taken_into_texts() {
    let a = |queue: &str| {
        good(&swap("\"q\"", queue)).valid.consumers["a"]
            .queue
            .to_string()
    };
    assert_eq!(a("\"${WHO}.${NONE:-other}\""), "ann.other");
    let plain = good(&swap("timeout = \"5s\"", "vars.v = '$${WHO}'")).valid;
    assert_eq!(plain.plugin("p").vars["v"].expose(), "${WHO}");
}

#[test]
fn servers_here_or_with_tls_are_taken() {
    let store = |lines: &str| {
        good(&swap(
            "kind = \"embedded\"",
            &format!("kind = \"redis\"\n{lines}"),
        ))
        .valid
        .store
    };
    for url in [
        "redis://localhost",
        "redis://127.0.0.1:6379/0",
        "redis://[::1]:6379",
        "redis://:secret@127.9.9.9/3",
        "rediss://db.example.com:6380",
        "unix:///run/redis.sock",
        "redis+unix:///run/redis.sock?db=1",
    ] {
        let Store::Redis { url: taken, .. } = store(&format!("url = \"{url}\"")) else {
            panic!("not a server: {url}");
        };
        assert_eq!(taken.expose(), url);
    }
    store("url = \"redis://10.0.0.1\"\nallow-plaintext = true\nwait-replicas = 2");
    store(
        "url = \"redis://127.0.0.1:7000\"\ncluster = true\nnodes = [\"127.0.0.1:7001\", \"[::1]:7002\"]",
    );
    store("url = \"redis://:secret@primary/2\"\nsentinels = [\"localhost:26379\"]");
    store("url = \"rediss://db.example.com\"\ncluster = true\nnodes = [\"db2.example.com:6379\"]");
    store("url = \"rediss://db.example.com\"\nca = \"../ca.pem\"");
}

/// Bad input: Configuration | `%40` in a password | works
#[test]
fn a_password_with_an_at_sign_works() {
    let url = SecretUrl::parse("amqp://me:p%40ss%2fword@mq.example.com:5671/%2f").unwrap();
    assert_eq!(url.host(), Some(&Host::Name("mq.example.com".into())));
    assert_eq!(
        url.expose(),
        "amqp://me:p%40ss%2fword@mq.example.com:5671/%2f"
    );
    assert_eq!(url.to_string(), "amqp://***@mq.example.com:5671/%2f");
}

#[test]
fn what_is_probably_not_meant_is_a_warning() {
    for (text, expected) in [
        (
            with("[consumers.a.order]\nmode = \"strict\"\n"),
            "12:14 the consumer `a` is ordered but has no lease",
        ),
        (
            with("[consumers.a.order]\nsequence = \"json:/u\"\n"),
            "13:12 `consumers.a.order.sequence` has no effect with mode = \"none\"",
        ),
        (
            with(
                "[consumers.a.order]\nmode = \"strict\"\nkey = \"json:/u\"\n[consumers.a.lease]\n",
            ),
            "14:7 `consumers.a.order.key` has no effect",
        ),
        (
            with("[consumers.a.order]\non-poison = \"halt\"\n"),
            "13:13 `consumers.a.order.on-poison` has no effect",
        ),
        (
            with("[plugins.pp]\n"),
            "12:10 no consumer uses the plugin `pp`",
        ),
        (
            with("concurrency = 2\nbatch = { max = 9 }\n"),
            "13:17 `consumers.a.batch.max` (9) is above the prefetch (8)",
        ),
        (
            swap("[plugins.p]", "path = \"q.redb\"\n[plugins.p]"),
            "2:2 the store is in memory, but the queues of the broker `main` outlive the host",
        ),
        (
            swap(
                "[plugins.p]",
                "[plugins.p]\nallow-hosts = [\"localhost:9000\", \"10.0.0.0/8\"]",
            ),
            "7:15 `localhost:9000` in `plugins.p.allow-hosts` leads to this machine",
        ),
    ] {
        let found = warnings(&text);
        assert_eq!(found.len(), 1, "{found:?}");
        assert!(found[0].starts_with(expected), "{found:?}");
    }
}

#[test]
fn localhost_with_its_address_is_no_warning() {
    let text = "[plugins.p]\nallow-hosts = [\"localhost\", \"127.0.0.0/8\"]";
    assert_eq!(warnings(&swap("[plugins.p]", text)), [""; 0]);
}

#[test]
fn the_same_setting_can_be_written_in_any_way_toml_has() {
    let text = "version = 1\nstore.kind = 'embedded'\nbrokers = { main.kind = \"embedded\" }\n\
                [consumers]\na = { broker = 'main', queue = \"q\", plugin = \"\"\"p\"\"\", \
                claim.keep = '8d' }\n";
    let valid = good(text).valid;
    assert_eq!(valid.consumers["a"].claim.keep, secs(8 * 86_400));
    good(&format!("\u{feff}{BASE}").replace('\n', "\r\n"));
}
