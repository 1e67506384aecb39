//! The store and the brokers: what each kind needs, and how it is reached.

use std::collections::BTreeMap;
use std::path::Path;

use super::super::raw::{BrokerKind, Raw, ServerKeys, StoreKind};
use super::super::reader::{Field, Reader};
use super::super::report::Problem;
use super::super::url::{Host, UrlError, host_and_port};
use super::checks::{error, warn};

/// Checks the store and the brokers.
pub(super) fn check(r: &mut Reader<'_>, raw: &Raw) {
    if raw.brokers.is_empty() {
        let problem = Problem::error(0..0, "there is no broker");
        r.report(problem.help("add one: [brokers.NAME] with kind = \"rabbitmq\" or \"embedded\""));
    }
    if let Some(store) = &raw.store {
        match store.kind.value {
            Some(StoreKind::Redis) => {
                remote(
                    r,
                    store,
                    &["redis", "rediss", "unix", "redis+unix"],
                    "rediss",
                );
                redis_address(r, store);
                redis_servers(r, store);
            }
            Some(StoreKind::Embedded) => embedded(r, store, "redis"),
            None => {}
        }
    }
    for (_, broker) in &raw.brokers {
        match broker.kind.value {
            Some(BrokerKind::RabbitMq) => {
                remote(r, broker, &["amqp", "amqps"], "amqps");
                virtual_host(r, broker);
            }
            Some(BrokerKind::Embedded) => embedded(r, broker, "rabbitmq"),
            None => {}
        }
    }
    paths_differ(r, raw);
    memory_only(r, raw);
}

/// A server is reached by an address, over TLS unless it is this machine.
fn remote<K>(r: &mut Reader<'_>, keys: &ServerKeys<K>, schemes: &[&str], tls: &str) {
    let key = &keys.key;
    if let Some(path) = &keys.path {
        let message = format!("`{key}.path` belongs to kind = \"embedded\"");
        error(r, &path.at, message, "a server is named by its url");
    }
    let Some(field) = &keys.url else {
        let message = format!("`{key}.url` is missing");
        error(r, &keys.at, message, "a server is named by its url");
        return;
    };
    let Some(url) = field.get() else { return };
    if !schemes.contains(&url.scheme()) {
        let message = format!("`{key}.url` must begin with {}://", schemes.join(":// or "));
        return error(
            r,
            &field.at,
            message,
            "the scheme tells how the server is spoken to",
        );
    }
    let encrypted = url.scheme() == tls;
    let insecure = encrypted && url.parts().has_fragment;
    let others = [&keys.nodes, &keys.sentinels].into_iter().flatten();
    let others = others.filter_map(|field| field.get()).flatten();
    // What sentinels are asked for is a name, not a place.
    let named = keys
        .sentinels
        .as_ref()
        .and_then(Field::get)
        .is_some_and(|s| !s.is_empty());
    let local = (named || url.host().is_none_or(Host::is_loopback))
        && others.into_iter().all(|other| is_loopback(other));
    if keys.allow_plaintext.value == Some(false) && !local && (!encrypted || insecure) {
        let (message, help) = if insecure {
            (
                format!("`{key}.url` switches off the check of the server's certificate"),
                "remove what follows the `#`, and name the certificate's issuer with ca".to_owned(),
            )
        } else {
            (
                format!("`{key}.url` names a server that is not on this machine, without TLS"),
                format!("use {tls}://, or set allow-plaintext = true if the network is trusted"),
            )
        };
        error(r, &field.at, message, &help);
    }
    if let Some(ca) = &keys.ca
        && !encrypted
    {
        let message = format!("`{key}.ca` has no effect without TLS");
        error(r, &ca.at, message, &format!("use {tls}:// in the url"));
    }
}

fn redis_address(r: &mut Reader<'_>, keys: &ServerKeys<StoreKind>) {
    let Some(field) = &keys.url else { return };
    let Some(url) = field.get() else { return };
    let database = url.parts().path.trim_start_matches('/');
    let number = database.is_empty() || database.bytes().all(|b| b.is_ascii_digit());
    if url.host().is_some() && !number {
        let message = format!("`store.url` is not an address: {}", UrlError::BadDatabase);
        error(r, &field.at, message, "as in redis://127.0.0.1:6379/0");
    }
}

fn is_loopback(server: &str) -> bool {
    let parsed = host_and_port(server).ok().and_then(|(host, _)| host);
    parsed.is_some_and(|host| host.is_loopback())
}

/// More servers than one: a cluster, or a primary that sentinels know.
fn redis_servers(r: &mut Reader<'_>, keys: &ServerKeys<StoreKind>) {
    let cluster = keys.cluster.as_ref().and_then(Field::get) == Some(&true);
    let filled = |field: &Option<Field<Vec<String>>>| {
        let field = field.as_ref()?;
        field
            .get()
            .is_some_and(|list| !list.is_empty())
            .then(|| field.at.clone())
    };
    let (nodes, sentinels) = (filled(&keys.nodes), filled(&keys.sentinels));
    if let Some(at) = nodes.filter(|_| !cluster) {
        error(
            r,
            &at,
            "`store.nodes` are those of a cluster".to_owned(),
            "set cluster = true, or remove them",
        );
    }
    if let Some(at) = sentinels.clone().filter(|_| cluster) {
        let message = "`store.sentinels` and `store.cluster` exclude each other".to_owned();
        error(
            r,
            &at,
            message,
            "a cluster replaces its primaries by itself",
        );
    }
    let Some(field) = &keys.url else { return };
    let Some(url) = field.get() else { return };
    if (cluster || sentinels.is_some()) && url.host().is_none() {
        let message = "`store.url` is a socket file, which is one server".to_owned();
        error(
            r,
            &field.at,
            message,
            "name a server of the cluster, or what the sentinels know",
        );
    } else if cluster && !matches!(url.parts().path.trim_start_matches('/'), "" | "0") {
        let message = "`store.url` names a database, and a cluster has only 0".to_owned();
        error(r, &field.at, message, "as in redis://10.0.0.1:7000");
    }
}

fn virtual_host(r: &mut Reader<'_>, keys: &ServerKeys<BrokerKind>) {
    let Some(field) = &keys.url else { return };
    let Some(url) = field.get() else { return };
    if url
        .parts()
        .path
        .get(1..)
        .is_some_and(|vhost| vhost.contains('/'))
    {
        let message = format!(
            "`{}.url` is not an address: {}",
            keys.key,
            UrlError::RawSlashInVhost
        );
        error(r, &field.at, message, "the default virtual host is /%2f");
    }
}

/// What is inside the host has no address.
fn embedded<K>(r: &mut Reader<'_>, keys: &ServerKeys<K>, other: &str) {
    let urls = keys.url.iter().map(|field| ("url", &field.at));
    let cas = keys.ca.iter().map(|field| ("ca", &field.at));
    let waits = keys
        .wait_replicas
        .iter()
        .map(|field| ("wait-replicas", &field.at));
    let clusters = keys.cluster.iter().map(|field| ("cluster", &field.at));
    let nodes = keys.nodes.iter().map(|field| ("nodes", &field.at));
    let sentinels = keys.sentinels.iter().map(|field| ("sentinels", &field.at));
    let several = clusters.chain(nodes).chain(sentinels);
    for (key, at) in urls.chain(cas).chain(waits).chain(several) {
        let message = format!("`{}.{key}` belongs to kind = \"{other}\"", keys.key);
        error(
            r,
            at,
            message,
            "an embedded one has a path, or is in memory without one",
        );
    }
}

fn paths_differ(r: &mut Reader<'_>, raw: &Raw) {
    let store = raw
        .store
        .iter()
        .filter_map(|store| Some((&store.key, store.path.as_ref()?)));
    let brokers = raw
        .brokers
        .iter()
        .filter_map(|(_, broker)| Some((&broker.key, broker.path.as_ref()?)));
    let mut seen: BTreeMap<&Path, &String> = BTreeMap::new();
    for (key, field) in store.chain(brokers) {
        let Some(path) = field.get() else { continue };
        if let Some(other) = seen.insert(path, key) {
            let message = format!("`{key}.path` is the same file as `{other}.path`");
            error(r, &field.at, message, "each needs a file of its own");
        }
    }
}

/// Claims that are forgotten while their messages are not.
fn memory_only(r: &mut Reader<'_>, raw: &Raw) {
    let Some(store) = &raw.store else { return };
    let forgets = store.kind.value == Some(StoreKind::Embedded) && store.path.is_none();
    let remembers = |keys: &ServerKeys<BrokerKind>| {
        keys.kind.value == Some(BrokerKind::RabbitMq) || keys.path.is_some()
    };
    if let Some((name, _)) = raw
        .brokers
        .iter()
        .find(|(_, broker)| forgets && remembers(broker))
    {
        let message = format!(
            "the store is in memory, but the queues of the broker `{name}` outlive the host: \
             after a restart, messages that were handled can be handled again"
        );
        warn(r, &store.at, message, "give the store a path");
    }
}
