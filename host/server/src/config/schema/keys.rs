//! Every key of the configuration.

use super::key::{Key, Kind, may, must, named, needed, or, table};

const CA: &str =
    "File with the certificates (PEM) to trust instead of the system's; with TLS only.";
const PLAINTEXT: &str = "Allows a server that is not on this machine to be spoken to without TLS.";
const PATH: &str =
    "`embedded` only: the file everything is kept in, without `..`; in memory when not written.";

/// Every key the reader knows, parents before children.
pub const KEYS: &[Key] = &[
    must("version", Kind::Version, "The version of this format."),
    or(
        "service",
        Kind::Name,
        "\"holdfast\"",
        "Prefix of every key in the store. Hosts that share claims share it. Cannot change live.",
    ),
    or(
        "plugin-dir",
        Kind::Text,
        "\"plugins\"",
        "Folder of the plugins, relative to the working directory, without `..`; `orders.wasm` in it is the plugin `orders`. Cannot change live.",
    ),
    needed(table("store", "The claim store. Cannot change live.")),
    must(
        "store.kind",
        Kind::Choice(&["redis", "embedded"]),
        "A Redis server, or inside the host.",
    ),
    may(
        "store.url",
        Kind::Text,
        "`redis` only, and needed there: `redis://`, `rediss://` (TLS) or `unix://` address. Never shown.",
    ),
    may("store.ca", Kind::Text, CA),
    may("store.path", Kind::Text, PATH),
    or("store.allow-plaintext", Kind::Boolean, "false", PLAINTEXT),
    or(
        "store.wait-replicas",
        Kind::Integer(0, 100),
        "0",
        "`redis` only: how many replicas each commit waits for.",
    ),
    or(
        "store.cluster",
        Kind::Boolean,
        "false",
        "`redis` only: the server is one of a Redis Cluster, whose others are found by it.",
    ),
    or(
        "store.nodes",
        Kind::Texts,
        "[]",
        "With `cluster`: further servers to ask when the one in `url` is away, each as `host:port`.",
    ),
    or(
        "store.sentinels",
        Kind::Texts,
        "[]",
        "`redis` only: the Sentinels that know the primary, each as `host:port`. The host in `url` is then the name that they have for it.",
    ),
    needed(named(
        "brokers",
        "The brokers, at least one. Cannot change live.",
    )),
    table("brokers.*", "One broker."),
    must(
        "brokers.*.kind",
        Kind::Choice(&["rabbitmq", "embedded"]),
        "A RabbitMQ server, or inside the host.",
    ),
    may(
        "brokers.*.url",
        Kind::Text,
        "`rabbitmq` only, and needed there: `amqp://` or `amqps://` (TLS) address. Never shown.",
    ),
    may("brokers.*.ca", Kind::Text, CA),
    may("brokers.*.path", Kind::Text, PATH),
    or(
        "brokers.*.allow-plaintext",
        Kind::Boolean,
        "false",
        PLAINTEXT,
    ),
    named(
        "plugins",
        "Settings of plugins. A plugin without any needs no table.",
    ),
    table("plugins.*", "One plugin."),
    may(
        "plugins.*.sha256",
        Kind::Digest,
        "The only component that is loaded; any other is refused.",
    ),
    or(
        "plugins.*.memory",
        Kind::Size,
        "\"64MiB\"",
        "Most linear memory of an instance, 64KiB to 4GiB.",
    ),
    or(
        "plugins.*.timeout",
        Kind::Duration,
        "\"5s\"",
        "The guest's own running time per call, up to 1d; waiting for a thread or a host call does not count. When only `deadline` is written: never more than that.",
    ),
    or(
        "plugins.*.deadline",
        Kind::Duration,
        "\"30s\"",
        "The whole call by the clock, waits included, up to 1d; at least `timeout`. When only `timeout` is written: never less than that.",
    ),
    or(
        "plugins.*.instances",
        Kind::Choice(&["fresh", "reuse"]),
        "\"fresh\"",
        "A new instance for every message, or the same one until a call fails.",
    ),
    or(
        "plugins.*.allow-hosts",
        Kind::Texts,
        "[]",
        "Where outbound HTTP may go: `api.example.com`, `*.example.com` (names below it), either with `:port`; `127.0.0.1:9000`, `[::1]:9000`, `10.0.0.0/8`. Without a port: any.",
    ),
    or(
        "plugins.*.vars",
        Kind::TextMap,
        "{}",
        "Variables the plugin can ask for. Values are treated as secrets.",
    ),
    needed(named("consumers", "The consumers, at least one.")),
    table(
        "consumers.*",
        "One consumer: a queue, the plugin that handles its messages, and the rules.",
    ),
    must("consumers.*.broker", Kind::Name, "One of `[brokers]`."),
    must(
        "consumers.*.queue",
        Kind::Text,
        "1 to 200 bytes; or partitions, `orders.{0..7}`: a row of up to 1024 queues, each with its own group (`GROUP.0` …) and lease. No two consumers of a broker read the same queue.",
    ),
    must(
        "consumers.*.plugin",
        Kind::Name,
        "The plugin that handles the messages.",
    ),
    or(
        "consumers.*.concurrency",
        Kind::Integer(1, 65_535),
        "64",
        "Handlers running at once.",
    ),
    may(
        "consumers.*.prefetch",
        Kind::Integer(1, 65_535),
        "Messages unacknowledged at once, waiting ones included. Default: 4 x `concurrency`; at least `concurrency`.",
    ),
    or(
        "consumers.*.declare",
        Kind::Boolean,
        "true",
        "Declare the queue, its delay queues and its dead-letter queue; `false`: they must exist.",
    ),
    or(
        "consumers.*.max-body",
        Kind::Size,
        "\"1MiB\"",
        "Largest body, up to 128MiB; a larger one is dead-lettered.",
    ),
    table(
        "consumers.*.batch",
        "How batches are filled; for plugins of the `batch-consumer` world only.",
    ),
    or(
        "consumers.*.batch.max",
        Kind::Integer(1, 65_535),
        "64",
        "Most messages in one call.",
    ),
    or(
        "consumers.*.batch.wait",
        Kind::Duration,
        "\"5ms\"",
        "Longest wait for a batch to fill, 1ms to 1m.",
    ),
    table("consumers.*.claim", "How messages are claimed."),
    may(
        "consumers.*.claim.group",
        Kind::Name,
        "The scope in which claim keys are unique. Default: the consumer's name. Both sides of a migration name the same.",
    ),
    may(
        "consumers.*.claim.side",
        Kind::Name,
        "The name this consumer claims under. Default: the consumer's name. Different for each consumer of a group.",
    ),
    or(
        "consumers.*.claim.key",
        Kind::Place,
        "\"message-id\"",
        "Where the claim key is. The same for all sides of a group.",
    ),
    or(
        "consumers.*.claim.keep",
        Kind::Duration,
        "\"7d\"",
        "How long a claim is remembered, up to 365d; longer than the whole retry schedule.",
    ),
    or(
        "consumers.*.claim.slot",
        Kind::Choice(&["group", "key"]),
        "\"group\"",
        "Which keys share a hash slot of the store. `key` needs an unordered group without lease. The same for all sides of a group.",
    ),
    or(
        "consumers.*.claim.fingerprint",
        Kind::Boolean,
        "true",
        "Another body under the same key is a conflict. Off where the sides encode differently. The same for all sides of a group.",
    ),
    or(
        "consumers.*.claim.on-foreign",
        Kind::Choice(&["hold", "drop"]),
        "\"hold\"",
        "A message the other side owns waits until that side is finished, or is acknowledged at once (unordered groups only; a message that exists on this side only is then lost).",
    ),
    table("consumers.*.retry", "How failures are tried again."),
    or(
        "consumers.*.retry.attempts",
        Kind::Integer(1, 10_000),
        "8",
        "Calls in all; then the message is dead-lettered.",
    ),
    or(
        "consumers.*.retry.initial",
        Kind::Duration,
        "\"1s\"",
        "The wait after the first failure; not above `max`.",
    ),
    or(
        "consumers.*.retry.factor",
        Kind::Number(1.0, 1000.0),
        "2.0",
        "What each wait is multiplied by for the next.",
    ),
    or(
        "consumers.*.retry.max",
        Kind::Duration,
        "\"5m\"",
        "The longest wait, up to 30d.",
    ),
    or(
        "consumers.*.retry.jitter",
        Kind::Number(0.0, 1.0),
        "0.1",
        "The share by which a wait in the host varies.",
    ),
    or(
        "consumers.*.retry.hold-below",
        Kind::Duration,
        "\"5s\"",
        "Shorter waits are spent in the host, the others in a delay queue; not above `max`.",
    ),
    table("consumers.*.order", "Which messages wait for each other."),
    or(
        "consumers.*.order.mode",
        Kind::Choice(&["none", "lanes", "strict"]),
        "\"none\"",
        "No order; messages of one lane in order; or all of the queue. The same for all sides of a group.",
    ),
    may(
        "consumers.*.order.key",
        Kind::Place,
        "Where the lane is; needed with `lanes`. Without order it only names the state that a handler sees. The same for all sides of a group.",
    ),
    may(
        "consumers.*.order.sequence",
        Kind::Place,
        "Where the sequence number is (`header:` or `json:`); a message that is not newer than its lane is dropped as stale. With `lanes` or `strict` only. The same for all sides of a group.",
    ),
    or(
        "consumers.*.order.on-poison",
        Kind::Choice(&["park", "halt"]),
        "\"park\"",
        "After a message was given up its lane goes on, or stops until an operator decides.",
    ),
    table(
        "consumers.*.lease",
        "When written (also empty): one instance at a time consumes.",
    ),
    or(
        "consumers.*.lease.ttl",
        Kind::Duration,
        "\"15s\"",
        "How long a lease lives without being renewed, 1s to 1d.",
    ),
    or(
        "consumers.*.lease.renew",
        Kind::Duration,
        "\"5s\"",
        "How often it is renewed; shorter than `ttl`. When only `ttl` is written: never more than a third of it.",
    ),
    or(
        "consumers.*.lease.retry",
        Kind::Duration,
        "\"1s\"",
        "How often a follower tries to get it; shorter than `ttl`. When only `ttl` is written: never more than a third of it.",
    ),
    named(
        "cutover",
        "First value of a group's cut-over rule. The store has the live one: a later edit here is reported and ignored, and so is its removal; `holdfast cutover set` changes it.",
    ),
    table("cutover.*", "The rule of one group."),
    must(
        "cutover.*.from",
        Kind::Name,
        "The side that owns new keys while the rule is off.",
    ),
    must(
        "cutover.*.to",
        Kind::Name,
        "The side keys are moved to; not `from`.",
    ),
    or(
        "cutover.*.enabled",
        Kind::Boolean,
        "false",
        "Whether any key is moved.",
    ),
    or(
        "cutover.*.percent",
        Kind::Percent,
        "0.0",
        "The share of new keys that is moved; exact, never rounded.",
    ),
    or(
        "cutover.*.allow",
        Kind::Texts,
        "[]",
        "Claim keys (lanes in an ordered group) that always go to `to`.",
    ),
    or(
        "cutover.*.assign-timeout",
        Kind::Duration,
        "\"60s\"",
        "After this long a claim that its owner never began may be taken over, up to 30d; longer than any backlog.",
    ),
    table("admin", "The listener for probes, metrics and operators."),
    or(
        "admin.listen",
        Kind::Text,
        "\"127.0.0.1:7070\"",
        "Address and port; port 0 takes a free one. Cannot change live. Beyond loopback a token is needed.",
    ),
    or(
        "admin.token",
        Kind::Text,
        "\"${HOLDFAST_ADMIN_TOKEN:-}\"",
        "What a change must show as `Authorization: Bearer …`; beyond loopback every read too, but for probes and metrics. Empty: none. Visible ASCII. Never shown.",
    ),
    or(
        "admin.hosts",
        Kind::Texts,
        "[]",
        "Further `Host` names to answer to.",
    ),
    table("log", "The log, on stderr. Cannot change live."),
    or(
        "log.format",
        Kind::Choice(&["text", "json"]),
        "\"text\"",
        "For people, or one JSON object per line.",
    ),
    or(
        "log.level",
        Kind::Text,
        "\"info\"",
        "`error`, `warn`, `info`, `debug`, `trace` or `off`; or a list such as `info,lapin=warn`.",
    ),
];
