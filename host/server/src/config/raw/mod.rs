//! The settings as they are read: typed, each within its own bounds, each
//! with its place. Nothing here knows of another setting.

mod consumer;

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::ops::Range;
use std::path::PathBuf;
use std::time::Duration;

use holdfast_core::cutover::Percent;
use toml::de::DeTable;

pub(super) use consumer::{ClaimKeys, ConsumerKeys, LeaseKeys, OrderKeys, OrderMode, RetryKeys};

use super::reader::{Field, Node, Reader, Table};
use super::report::Problem;
use super::secret::{Secret, SecretUrl};
use super::url::{Host, host_and_port};
use super::valid::{AllowHost, Instances, LogFormat};
use super::values::{
    DAY, MILLI, MINUTE, boolean, choice, duration, integer, list, name, parsed, path, path_inside,
    percent, secrets, size, text, url,
};

/// The whole file.
pub(super) struct Raw {
    pub(super) service: Field<String>,
    pub(super) plugin_dir: Field<PathBuf>,
    pub(super) store: Option<ServerKeys<StoreKind>>,
    pub(super) brokers: Vec<(String, ServerKeys<BrokerKind>)>,
    pub(super) plugins: Vec<(String, PluginKeys)>,
    pub(super) consumers: Vec<(String, ConsumerKeys)>,
    pub(super) cutovers: Vec<(String, CutoverKeys)>,
    pub(super) listen: Field<SocketAddr>,
    pub(super) token: Field<String>,
    pub(super) hosts: Field<Vec<String>>,
    pub(super) log_format: Field<LogFormat>,
    pub(super) log_level: Field<String>,
}

impl Raw {
    /// Reads all there is and reports what is wrong.
    pub(super) fn read(r: &mut Reader<'_>, entries: &DeTable<'_>) -> Self {
        let mut root = Table::root(entries);
        root.required(r, "version", version);
        let service = root.or(r, "service", "holdfast".to_owned(), name);
        let plugin_dir = root.or(r, "plugin-dir", PathBuf::from("plugins"), path_inside);
        let store = read_store(r, &mut root);
        let brokers = root.named(r, "brokers");
        let brokers = each(r, brokers, ServerKeys::<BrokerKind>::read);
        let plugins = root.named(r, "plugins");
        let plugins = each(r, plugins, PluginKeys::read);
        let consumers = root.named(r, "consumers");
        let consumers = each(r, consumers, ConsumerKeys::read);
        let cutovers = root.named(r, "cutover");
        let cutovers = each(r, cutovers, CutoverKeys::read);

        let mut admin = root.table(r, "admin");
        let loopback = SocketAddr::from(([127, 0, 0, 1], 7070));
        let address = parsed(
            "an address with a port",
            LISTEN_HELP,
            str::parse::<SocketAddr>,
        );
        let listen = admin.or(r, "listen", loopback, address);
        let default_token = r.variable("HOLDFAST_ADMIN_TOKEN").unwrap_or_default();
        let token = admin.or(r, "token", default_token, token);
        let hosts = admin.or(r, "hosts", Vec::new(), list(100, host));
        admin.close(r);

        let mut log = root.table(r, "log");
        let formats = &[("text", LogFormat::Text), ("json", LogFormat::Json)];
        let log_format = log.or(r, "format", LogFormat::Text, choice(formats));
        let log_level = log.or(r, "level", "info".to_owned(), level);
        log.close(r);
        root.close(r);
        Self {
            service,
            plugin_dir,
            store,
            brokers,
            plugins,
            consumers,
            cutovers,
            listen,
            token,
            hosts,
            log_format,
            log_level,
        }
    }
}

const LISTEN_HELP: &str = "write the address and the port, such as \"127.0.0.1:7070\"";

fn each<'t, 'i, T>(
    r: &mut Reader<'_>,
    tables: Vec<(String, Table<'t, 'i>)>,
    read: impl Fn(&mut Reader<'_>, Table<'t, 'i>) -> T,
) -> Vec<(String, T)> {
    tables
        .into_iter()
        .map(|(name, table)| (name, read(r, table)))
        .collect()
}

fn read_store(r: &mut Reader<'_>, root: &mut Table<'_, '_>) -> Option<ServerKeys<StoreKind>> {
    let store = root.table(r, "store");
    if store.is_present() {
        return Some(ServerKeys::<StoreKind>::read(r, store));
    }
    if !store.is_broken() {
        let message = format!("[store] {}", super::reader::IS_MISSING);
        let help = "name the claim store: [store] with kind = \"redis\" or kind = \"embedded\"";
        r.report(Problem::error(root.at(), message).help(help));
    }
    None
}

fn version(r: &mut Reader<'_>, node: &Node<'_>) -> Option<u64> {
    let version = integer::<u64>(0..=u64::MAX)(r, node)?;
    if version != 1 {
        r.wrong(
            node.span(),
            &format!("{version} is not known; this build reads version 1"),
        );
        return None;
    }
    Some(version)
}

fn token(r: &mut Reader<'_>, node: &Node<'_>) -> Option<String> {
    let token = text(r, node)?;
    if token.bytes().all(|b| b.is_ascii_graphic()) {
        return Some(token);
    }
    r.wrong(
        node.span(),
        "must be made of visible ASCII characters: it travels in a header",
    );
    None
}

fn host(r: &mut Reader<'_>, node: &Node<'_>) -> Option<String> {
    let check = |text: &str| {
        let (name, port) = text.rsplit_once(':').unwrap_or((text, "1"));
        let good = Host::parse(name).is_some() && port.parse::<u16>().is_ok_and(|port| port > 0);
        if good {
            Ok(text.to_ascii_lowercase())
        } else {
            Err("it is no name of a host")
        }
    };
    parsed("a host name", "such as \"holdfast.example.com\"", check)(r, node)
}

fn server(r: &mut Reader<'_>, node: &Node<'_>) -> Option<String> {
    let check = |text: &str| match host_and_port(text) {
        Ok((Some(_), port)) if port != Some(0) => Ok(text.to_owned()),
        _ => Err("it is no host with a port"),
    };
    parsed(
        "the address of a server",
        "such as \"10.0.0.1:7000\"",
        check,
    )(r, node)
}

fn level(r: &mut Reader<'_>, node: &Node<'_>) -> Option<String> {
    const HELP: &str = "error, warn, info, debug, trace or off, or a list such as \
                        \"info,lapin=warn\"";
    const LEVELS: [&str; 6] = ["error", "warn", "info", "debug", "trace", "off"];
    let check = |text: &str| {
        let known = |part: &str| {
            let (target, level) = part.rsplit_once('=').unwrap_or(("all", part));
            let target_like = |c: char| c.is_ascii_alphanumeric() || matches!(c, '_' | ':' | '-');
            !target.is_empty() && target.chars().all(target_like) && LEVELS.contains(&level)
        };
        if text.split(',').all(|part| known(part.trim())) {
            Ok(text.to_owned())
        } else {
            Err("a part of it names no level")
        }
    };
    parsed("a log level", HELP, check)(r, node)
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum StoreKind {
    Redis,
    Embedded,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum BrokerKind {
    RabbitMq,
    Embedded,
}

/// What the store and the brokers have in common.
pub(super) struct ServerKeys<K> {
    pub(super) at: Range<usize>,
    pub(super) key: String,
    pub(super) kind: Field<K>,
    pub(super) url: Option<Field<SecretUrl>>,
    pub(super) ca: Option<Field<PathBuf>>,
    pub(super) path: Option<Field<PathBuf>>,
    pub(super) allow_plaintext: Field<bool>,
    pub(super) wait_replicas: Option<Field<u32>>,
    pub(super) cluster: Option<Field<bool>>,
    pub(super) nodes: Option<Field<Vec<String>>>,
    pub(super) sentinels: Option<Field<Vec<String>>>,
}

impl<K> ServerKeys<K> {
    fn common(r: &mut Reader<'_>, table: &mut Table<'_, '_>, kind: Field<K>) -> Self {
        Self {
            at: table.at(),
            key: table.path().to_owned(),
            kind,
            url: table.optional(r, "url", url),
            ca: table.optional(r, "ca", path),
            path: table.optional(r, "path", path_inside),
            allow_plaintext: table.or(r, "allow-plaintext", false, boolean),
            wait_replicas: None,
            cluster: None,
            nodes: None,
            sentinels: None,
        }
    }
}

impl ServerKeys<StoreKind> {
    fn read(r: &mut Reader<'_>, mut table: Table<'_, '_>) -> Self {
        let kinds = &[
            ("redis", StoreKind::Redis),
            ("embedded", StoreKind::Embedded),
        ];
        let kind = table.required(r, "kind", choice(kinds));
        let mut keys = Self::common(r, &mut table, kind);
        keys.wait_replicas = table.optional(r, "wait-replicas", integer(0..=100));
        keys.cluster = table.optional(r, "cluster", boolean);
        keys.nodes = table.optional(r, "nodes", list(100, server));
        keys.sentinels = table.optional(r, "sentinels", list(100, server));
        table.close(r);
        keys
    }
}

impl ServerKeys<BrokerKind> {
    fn read(r: &mut Reader<'_>, mut table: Table<'_, '_>) -> Self {
        let kinds = &[
            ("rabbitmq", BrokerKind::RabbitMq),
            ("embedded", BrokerKind::Embedded),
        ];
        let kind = table.required(r, "kind", choice(kinds));
        let keys = Self::common(r, &mut table, kind);
        table.close(r);
        keys
    }
}

pub(super) struct PluginKeys {
    pub(super) at: Range<usize>,
    pub(super) sha256: Option<Field<[u8; 32]>>,
    pub(super) memory: Option<Field<u64>>,
    pub(super) timeout: Option<Field<Duration>>,
    pub(super) deadline: Option<Field<Duration>>,
    pub(super) instances: Option<Field<Instances>>,
    pub(super) allow_hosts: Option<Field<Vec<AllowHost>>>,
    pub(super) vars: Option<Field<BTreeMap<String, Secret>>>,
}

impl PluginKeys {
    fn read(r: &mut Reader<'_>, mut table: Table<'_, '_>) -> Self {
        const HOST_HELP: &str = "such as \"api.example.com\", \"*.example.com:8443\", \
                                 \"127.0.0.1:9000\" or \"10.0.0.0/8\"";
        let kinds = &[("fresh", Instances::Fresh), ("reuse", Instances::Reuse)];
        let hosts = list(1000, parsed("a host to allow", HOST_HELP, AllowHost::parse));
        let hex_help = "write the 64 hex digits that `sha256sum` prints";
        let keys = Self {
            at: table.at(),
            sha256: table.optional(r, "sha256", parsed("a SHA-256 digest", hex_help, digest)),
            memory: table.optional(r, "memory", size(1 << 16..=4 << 30)),
            timeout: table.optional(r, "timeout", duration(MILLI..=DAY)),
            deadline: table.optional(r, "deadline", duration(MILLI..=DAY)),
            instances: table.optional(r, "instances", choice(kinds)),
            allow_hosts: table.optional(r, "allow-hosts", hosts),
            vars: table.optional(r, "vars", secrets),
        };
        table.close(r);
        keys
    }
}

fn digest(text: &str) -> Result<[u8; 32], String> {
    if text.chars().count() != 64 {
        return Err(format!(
            "it has {} characters, not 64",
            text.chars().count()
        ));
    }
    let mut out = [0; 32];
    for (byte, pair) in out.iter_mut().zip(text.as_bytes().chunks(2)) {
        let digit = |at: usize| char::from(pair[at]).to_digit(16);
        let (Some(high), Some(low)) = (digit(0), digit(1)) else {
            return Err("it holds something that is no hex digit".to_owned());
        };
        *byte = u8::try_from(high * 16 + low).unwrap_or_default();
    }
    Ok(out)
}

pub(super) struct CutoverKeys {
    pub(super) at: Range<usize>,
    pub(super) from: Field<String>,
    pub(super) to: Field<String>,
    pub(super) enabled: Field<bool>,
    pub(super) percent: Field<Percent>,
    pub(super) allow: Field<Vec<String>>,
    pub(super) assign_timeout: Field<Duration>,
}

impl CutoverKeys {
    fn read(r: &mut Reader<'_>, mut table: Table<'_, '_>) -> Self {
        let key = |text: &str| {
            if text.is_empty() {
                Err("it is empty")
            } else {
                Ok(text.to_owned())
            }
        };
        let keys = parsed(
            "a claim key (a lane in an ordered group)",
            "a text in quotes",
            key,
        );
        let found = Self {
            at: table.at(),
            from: table.required(r, "from", name),
            to: table.required(r, "to", name),
            enabled: table.or(r, "enabled", false, boolean),
            percent: table.or(r, "percent", Percent::default(), percent),
            allow: table.or(r, "allow", Vec::new(), list(10_000, keys)),
            assign_timeout: table.or(r, "assign-timeout", MINUTE, duration(MILLI..=30 * DAY)),
        };
        table.close(r);
        found
    }
}
