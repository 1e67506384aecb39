//! From settings as read to settings as used.
//!
//! Building gives nothing as soon as one part is missing; why is reported by
//! then. The checks run in any case, over the parts that could be read.

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::time::Duration;

use super::super::raw::{
    BrokerKind, ClaimKeys, ConsumerKeys, CutoverKeys, LeaseKeys, OrderKeys, OrderMode, PluginKeys,
    Raw, RetryKeys, ServerKeys, StoreKind,
};
use super::super::reader::{Field, Reader};
use super::super::secret::Secret;
use super::super::values::taken;
use super::consumer::{Batch, Claim, Consumer, Lease, Order, Retry, default_prefetch};
use super::{Admin, Broker, Cutover, Log, Plugin, Store, Valid, checks};

/// Checks everything and builds the settings; nothing when any part is wrong.
pub(in crate::config) fn build(r: &mut Reader<'_>, raw: &Raw) -> Option<Valid> {
    checks::all(r, raw);
    let mut plugins = named(&raw.plugins, plugin)?;
    let consumers: BTreeMap<_, _> = raw
        .consumers
        .iter()
        .map(|(name, keys)| Some((name.clone(), consumer(name, keys)?)))
        .collect::<Option<_>>()?;
    for consumer in consumers.values() {
        plugins.entry(consumer.plugin.clone()).or_default();
    }
    let token = raw.token.value.clone()?;
    Some(Valid {
        service: raw.service.value.clone()?,
        plugin_dir: raw.plugin_dir.value.clone()?,
        store: store(raw.store.as_ref()?)?,
        brokers: named(&raw.brokers, broker)?,
        plugins,
        consumers,
        cutovers: named(&raw.cutovers, cutover)?,
        admin: Admin {
            listen: raw.listen.value?,
            token: (!token.is_empty()).then(|| Secret::new(token)),
            hosts: raw.hosts.value.clone()?,
        },
        log: Log {
            format: raw.log_format.value?,
            level: raw.log_level.value.clone()?,
        },
    })
}

fn named<K, T>(
    all: &[(String, K)],
    build: impl Fn(&K) -> Option<T>,
) -> Option<BTreeMap<String, T>> {
    all.iter()
        .map(|(name, keys)| Some((name.clone(), build(keys)?)))
        .collect()
}

fn store(keys: &ServerKeys<StoreKind>) -> Option<Store> {
    match keys.kind.value? {
        StoreKind::Redis => Some(Store::Redis {
            url: keys.url.as_ref()?.value.clone()?,
            ca: taken(keys.ca.as_ref())?,
            wait_replicas: taken(keys.wait_replicas.as_ref())?.unwrap_or_default(),
            cluster: taken(keys.cluster.as_ref())?.unwrap_or_default(),
            nodes: taken(keys.nodes.as_ref())?.unwrap_or_default(),
            sentinels: taken(keys.sentinels.as_ref())?.unwrap_or_default(),
        }),
        StoreKind::Embedded => Some(Store::Embedded { path: path(keys)? }),
    }
}

fn broker(keys: &ServerKeys<BrokerKind>) -> Option<Broker> {
    match keys.kind.value? {
        BrokerKind::RabbitMq => Some(Broker::RabbitMq {
            url: keys.url.as_ref()?.value.clone()?,
            ca: taken(keys.ca.as_ref())?,
        }),
        BrokerKind::Embedded => Some(Broker::Embedded { path: path(keys)? }),
    }
}

fn path<K>(keys: &ServerKeys<K>) -> Option<Option<PathBuf>> {
    taken(keys.path.as_ref())
}

/// The plugin's settings. A limit that is not written gives way to the other.
pub(super) fn plugin(keys: &PluginKeys) -> Option<Plugin> {
    let default = Plugin::default();
    let timeout = taken(keys.timeout.as_ref())?;
    let deadline = taken(keys.deadline.as_ref())?;
    Some(Plugin {
        sha256: taken(keys.sha256.as_ref())?,
        memory: taken(keys.memory.as_ref())?.unwrap_or(default.memory),
        timeout: timeout.unwrap_or(default.timeout.min(deadline.unwrap_or(default.timeout))),
        deadline: deadline.unwrap_or(default.deadline.max(timeout.unwrap_or_default())),
        instances: taken(keys.instances.as_ref())?.unwrap_or(default.instances),
        allow_hosts: taken(keys.allow_hosts.as_ref())?.unwrap_or_default(),
        vars: taken(keys.vars.as_ref())?.unwrap_or_default(),
    })
}

fn cutover(keys: &CutoverKeys) -> Option<Cutover> {
    Some(Cutover {
        from: keys.from.value.clone()?,
        to: keys.to.value.clone()?,
        enabled: keys.enabled.value?,
        percent: keys.percent.value?,
        allow: keys.allow.value.clone()?,
        assign_timeout: keys.assign_timeout.value?,
    })
}

fn consumer(name: &str, keys: &ConsumerKeys) -> Option<Consumer> {
    let concurrency = keys.concurrency.value?;
    let batch = match &keys.batch {
        Some(batch) => Some(Batch {
            max: batch.max.value?,
            wait: batch.wait.value?,
        }),
        None => None,
    };
    let lease = match &keys.lease {
        Some(lease) => Some(self::lease(lease)?),
        None => None,
    };
    Some(Consumer {
        broker: keys.broker.value.clone()?,
        queue: keys.queue.value.clone()?,
        plugin: keys.plugin.value.clone()?,
        concurrency,
        prefetch: taken(keys.prefetch.as_ref())?.unwrap_or(default_prefetch(concurrency)),
        declare: keys.declare.value?,
        batch,
        max_body: keys.max_body.value?,
        claim: claim(name, &keys.claim)?,
        retry: retry(&keys.retry)?,
        order: order(&keys.order)?,
        lease,
    })
}

/// The name a consumer's group or side has when it is not written: its own.
pub(super) fn or_own_name<'k>(field: Option<&'k Field<String>>, name: &'k str) -> Option<&'k str> {
    match field {
        None => Some(name),
        Some(field) => field.value.as_deref(),
    }
}

fn claim(name: &str, keys: &ClaimKeys) -> Option<Claim> {
    Some(Claim {
        group: or_own_name(keys.group.as_ref(), name)?.to_owned(),
        side: or_own_name(keys.side.as_ref(), name)?.to_owned(),
        key: keys.key.value.clone()?,
        keep: keys.keep.value?,
        slot: keys.slot.value?,
        fingerprint: keys.fingerprint.value?,
        on_foreign: keys.on_foreign.value?,
    })
}

/// The retry rules. What is not written never exceeds the longest wait.
pub(super) fn retry(keys: &RetryKeys) -> Option<Retry> {
    const INITIAL: Duration = Duration::from_secs(1);
    const HOLD_BELOW: Duration = Duration::from_secs(5);
    let max = keys.max.value?;
    Some(Retry {
        attempts: keys.attempts.value?,
        initial: taken(keys.initial.as_ref())?.unwrap_or(INITIAL.min(max)),
        factor: keys.factor.value?,
        max,
        jitter: keys.jitter.value?,
        hold_below: taken(keys.hold_below.as_ref())?.unwrap_or(HOLD_BELOW.min(max)),
    })
}

fn order(keys: &OrderKeys) -> Option<Order> {
    let key = taken(keys.key.as_ref())?;
    let sequence = taken(keys.sequence.as_ref())?;
    let on_poison = keys.on_poison.value?;
    Some(match keys.mode.value? {
        OrderMode::None => Order::None { key },
        OrderMode::Lanes => Order::Lanes {
            key: key?,
            sequence,
            on_poison,
        },
        OrderMode::Strict => Order::Strict {
            sequence,
            on_poison,
        },
    })
}

/// The lease rules. What is not written is at most a third of the lease.
fn lease(keys: &LeaseKeys) -> Option<Lease> {
    let ttl = keys.ttl.value?;
    let third = ttl / 3;
    let renew = taken(keys.renew.as_ref())?.unwrap_or(Duration::from_secs(5).min(third));
    let retry = taken(keys.retry.as_ref())?.unwrap_or(Duration::from_secs(1).min(third));
    Some(Lease { ttl, renew, retry })
}
