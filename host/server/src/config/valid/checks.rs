//! Settings checked against each other: servers, plugins and each consumer by
//! itself. What concerns the two sides of a group is in [`groups`].

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::time::Duration;

use super::super::raw::{
    BrokerKind, ConsumerKeys, LeaseKeys, OrderMode, PluginKeys, Raw, RetryKeys, ServerKeys,
    StoreKind,
};
use super::super::reader::{Field, Reader, suggestion};
use super::super::report::Problem;
use super::super::units::show_duration;
use super::super::url::UrlError;
use super::{Plugin, build, groups, schedule};

/// Runs all checks.
pub(super) fn all(r: &mut Reader<'_>, raw: &Raw) {
    servers(r, raw);
    for (name, keys) in &raw.plugins {
        plugin(r, raw, name, keys);
    }
    for (name, keys) in &raw.consumers {
        consumer(r, raw, name, keys);
    }
    if raw.consumers.is_empty() {
        let problem = Problem::error(0..0, "there is no consumer, so the host would do nothing");
        r.report(problem.help("add one: [consumers.NAME] with broker, queue and plugin"));
    }
    groups::check(r, raw);
    admin(r, raw);
}

pub(super) fn error(r: &mut Reader<'_>, at: &Range<usize>, message: String, help: &str) {
    r.report(Problem::error(at.clone(), message).help(help));
}

pub(super) fn warn(r: &mut Reader<'_>, at: &Range<usize>, message: String, help: &str) {
    r.report(Problem::warning(at.clone(), message).help(help));
}

fn admin(r: &mut Reader<'_>, raw: &Raw) {
    let (Some(listen), Some(token)) = (raw.listen.get(), raw.token.get()) else {
        return;
    };
    if !listen.ip().to_canonical().is_loopback() && token.is_empty() {
        let message = "`admin.listen` is open beyond loopback, and `admin.token` is not set";
        let help = "set admin.token = \"${HOLDFAST_ADMIN_TOKEN}\", or listen on 127.0.0.1";
        error(r, &raw.listen.at, message.to_owned(), help);
    }
}

fn servers(r: &mut Reader<'_>, raw: &Raw) {
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
    let local = url.host().is_none_or(super::super::Host::is_loopback);
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
    if let Some(replicas) = &keys.wait_replicas {
        let message = format!("`{}.wait-replicas` belongs to the store", keys.key);
        error(r, &replicas.at, message, "move it to [store]");
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
    for (key, at) in urls.chain(cas).chain(waits) {
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

fn plugin(r: &mut Reader<'_>, raw: &Raw, name: &str, keys: &PluginKeys) {
    let timeout = keys.timeout.as_ref().and_then(Field::get);
    let deadline = keys.deadline.as_ref();
    if let (Some(timeout), Some(field)) = (timeout, deadline)
        && let Some(deadline) = field.get()
        && deadline < timeout
    {
        let message = format!(
            "`plugins.{name}.deadline` ({}) is shorter than its timeout ({})",
            show_duration(*deadline),
            show_duration(*timeout),
        );
        let help = "the deadline covers the whole call, waits included; \
                    the timeout only the guest's own running time";
        error(r, &field.at, message, help);
    }
    let used = raw
        .consumers
        .iter()
        .filter_map(|(_, consumer)| consumer.plugin.get());
    if !used.clone().any(|plugin| plugin == name) {
        let message = format!("no consumer uses the plugin `{name}`");
        let help = match suggestion(name, used.map(String::as_str)) {
            Some(near) => format!("did you mean [plugins.{near}]?"),
            None => "its settings are for `holdfast invoke` only".to_owned(),
        };
        warn(r, &keys.at, message, &help);
    }
}

fn consumer(r: &mut Reader<'_>, raw: &Raw, name: &str, keys: &ConsumerKeys) {
    if let Some(broker) = keys.broker.get()
        && !raw.brokers.iter().any(|(known, _)| known == broker)
    {
        let known: Vec<&str> = raw
            .brokers
            .iter()
            .map(|(known, _)| known.as_str())
            .collect();
        let help = match suggestion(broker, known.iter().copied()) {
            Some(near) => format!("did you mean \"{near}\"?"),
            None if known.is_empty() => format!("add [brokers.{broker}]"),
            None => format!("the brokers are: {}", known.join(", ")),
        };
        error(
            r,
            &keys.broker.at,
            format!("there is no broker `{broker}`"),
            &help,
        );
    }
    if let (Some(field), Some(concurrency)) = (&keys.prefetch, keys.concurrency.get())
        && let Some(prefetch) = field.get()
        && u32::from(*prefetch) < *concurrency
    {
        let message = format!(
            "`consumers.{name}.prefetch` ({prefetch}) is below its concurrency ({concurrency})"
        );
        error(
            r,
            &field.at,
            message,
            "handlers beyond the prefetch would never have a message",
        );
    }
    batch(r, name, keys);
    retry(r, raw, name, keys);
    order(r, name, keys);
    if let Some(lease) = &keys.lease {
        self::lease(r, raw, name, keys, lease);
    }
}

fn batch(r: &mut Reader<'_>, name: &str, keys: &ConsumerKeys) {
    let Some(field) = keys.batch.as_ref().map(|batch| &batch.max) else {
        return;
    };
    let prefetch = match &keys.prefetch {
        Some(prefetch) => prefetch.value,
        None => keys.concurrency.value.map(super::default_prefetch),
    };
    if let (Some(max), Some(prefetch)) = (field.get(), prefetch)
        && *max > u32::from(prefetch)
    {
        let message = format!(
            "`consumers.{name}.batch.max` ({max}) is above the prefetch ({prefetch}), \
             so a batch never fills"
        );
        warn(r, &field.at, message, "raise prefetch, or lower batch.max");
    }
}

fn retry(r: &mut Reader<'_>, raw: &Raw, name: &str, keys: &ConsumerKeys) {
    let RetryKeys {
        initial,
        max,
        hold_below,
        ..
    } = &keys.retry;
    for (key, field) in [("initial", initial), ("hold-below", hold_below)] {
        if let (Some(field), Some(most)) = (field, max.get())
            && let Some(value) = field.get()
            && value > most
        {
            let (value, most) = (show_duration(*value), show_duration(*most));
            let message = format!(
                "`consumers.{name}.retry.{key}` ({value}) is longer than retry.max ({most})"
            );
            error(r, &field.at, message, "no wait is longer than max");
        }
    }
    let (Some(keep), Some(rules)) = (keys.claim.keep.get(), build::retry(&keys.retry)) else {
        return;
    };
    let Some(deadline) = deadline(raw, keys) else {
        return;
    };
    let longest = schedule::longest(&rules, deadline);
    if *keep <= longest {
        let message = format!(
            "`consumers.{name}.claim.keep` ({}) is not longer than the whole retry schedule ({})",
            show_duration(*keep),
            show_duration(longest),
        );
        let help = format!(
            "{} attempts of up to {} each and the waits between them must fit into keep, else a \
             claim is forgotten while its message is still being tried",
            rules.attempts,
            show_duration(deadline),
        );
        error(r, &keys.claim.keep.at, message, &help);
    }
}

/// The deadline of the consumer's plugin.
fn deadline(raw: &Raw, keys: &ConsumerKeys) -> Option<Duration> {
    let name = keys.plugin.get()?;
    let configured = raw.plugins.iter().find(|(known, _)| known == name);
    match configured {
        Some((_, keys)) => build::plugin(keys).map(|plugin| plugin.deadline),
        None => Some(Plugin::default().deadline),
    }
}

fn order(r: &mut Reader<'_>, name: &str, keys: &ConsumerKeys) {
    let order = &keys.order;
    let path = format!("consumers.{name}.order");
    let Some(mode) = order.mode.get() else { return };
    match (mode, &order.key) {
        (OrderMode::Lanes, None) => {
            let message = format!("`{path}.key` is missing: order.mode = \"lanes\" needs a lane");
            let at = if order.mode.written {
                &order.mode.at
            } else {
                &order.at
            };
            error(
                r,
                at,
                message,
                "say where the lane is, as in key = \"json:/user_id\"",
            );
        }
        (OrderMode::Strict, Some(key)) => {
            let message = format!("`{path}.key` has no effect: \"strict\" has one lane for all");
            warn(r, &key.at, message, "remove it, or use mode = \"lanes\"");
        }
        (OrderMode::None, Some(key)) => {
            let message = format!("`{path}.key` has no effect with mode = \"none\"");
            warn(
                r,
                &key.at,
                message,
                "set mode = \"lanes\" to keep messages of a lane in order",
            );
        }
        _ => {}
    }
    if *mode == OrderMode::None {
        if let Some(sequence) = &order.sequence {
            let message = format!("`{path}.sequence` needs mode = \"lanes\" or \"strict\"");
            let help = "without order a number that is not newer says nothing";
            error(r, &sequence.at, message, help);
        }
        if order.on_poison.written {
            let message = format!("`{path}.on-poison` has no effect with mode = \"none\"");
            warn(r, &order.on_poison.at, message, "remove it");
        }
    } else if keys.lease.is_none() {
        let message = format!("the consumer `{name}` is ordered but has no lease");
        let help = "that is safe on a single host only; add [consumers.NAME.lease] for several";
        warn(r, &order.at, message, help);
    }
}

fn lease(r: &mut Reader<'_>, raw: &Raw, name: &str, keys: &ConsumerKeys, lease: &LeaseKeys) {
    let Some(ttl) = lease.ttl.get() else { return };
    for (key, field) in [("renew", &lease.renew), ("retry", &lease.retry)] {
        if let Some(field) = field
            && let Some(value) = field.get()
            && value >= ttl
        {
            let (value, ttl) = (show_duration(*value), show_duration(*ttl));
            let message =
                format!("`consumers.{name}.lease.{key}` ({value}) is not shorter than ttl ({ttl})");
            error(
                r,
                &field.at,
                message,
                "a third of ttl leaves room for a try that fails",
            );
        }
    }
    let broker = raw
        .brokers
        .iter()
        .find(|(known, _)| Some(known) == keys.broker.get());
    let Some(url) = broker.and_then(|(_, broker)| broker.url.as_ref()) else {
        return;
    };
    let heartbeat = url.get().and_then(|url| url.parts().parameter("heartbeat"));
    let Some(seconds) = heartbeat.and_then(|value| value.parse::<u64>().ok()) else {
        return;
    };
    if seconds == 0 || Duration::from_secs(seconds) >= *ttl {
        let message = format!(
            "the heartbeat in the broker's url is not shorter than the lease of `{name}` ({})",
            show_duration(*ttl),
        );
        error(
            r,
            &url.at,
            message,
            "remove it: the host sets one that fits the lease",
        );
    }
}
