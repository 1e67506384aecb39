//! Turns a checked configuration into the parts of a host. The one place that
//! names adapters.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use holdfast_core::claim::OnForeign;
use holdfast_core::cutover::Rule;
use holdfast_core::key::ClaimKey;
use holdfast_core::lease::Terms;
use holdfast_core::name::{Consumer, Group, NameError, Side};
use holdfast_core::retry::Backoff;
use holdfast_ports::broker::Broker;
use holdfast_ports::error::PortError;
use holdfast_ports::plugins::{Instances, PluginSettings};
use holdfast_ports::store::{SharedStore, Slot};
use holdfast_runtime::spec::{Batch, ConsumerSpec, Mode, OnPoison, Order, Source, Surroundings};
use holdfast_runtime::tasks::Tasks;

use crate::config::valid;
use crate::config::valid::Valid;

/// Connects the store that a configuration names. A server that is away is no
/// error: the connection is made when it is back.
///
/// # Errors
/// [`PortError`] when it can never work: a file that is in use, a bad address.
pub async fn store(config: &Valid) -> Result<SharedStore, PortError> {
    match &config.store {
        valid::Store::Redis {
            url,
            ca,
            wait_replicas,
            cluster,
            nodes,
            sentinels,
        } => {
            let mut options = holdfast_redis::RedisOptions::new(url.expose(), &config.service);
            options.wait_replicas = *wait_replicas;
            options.ca.clone_from(ca);
            options.cluster = *cluster;
            options.nodes.clone_from(nodes);
            options.sentinels.clone_from(sentinels);
            Ok(Arc::new(
                holdfast_redis::RedisStore::connect(options).await?,
            ))
        }
        valid::Store::Embedded { path } => Ok(Arc::new(holdfast_embedded::EmbeddedStore::open(
            path.clone(),
        )?)),
    }
}

/// Connects all brokers.
///
/// # Errors
/// As for [`store`].
pub async fn brokers(config: &Valid) -> Result<BTreeMap<String, Arc<dyn Broker>>, PortError> {
    let mut brokers: BTreeMap<String, Arc<dyn Broker>> = BTreeMap::new();
    for (name, broker) in &config.brokers {
        brokers.insert(name.clone(), one_broker(config, name, broker).await?);
    }
    Ok(brokers)
}

/// Connects one broker of a configuration.
///
/// # Errors
/// As for [`store`].
pub async fn one_broker(
    config: &Valid,
    name: &str,
    broker: &valid::Broker,
) -> Result<Arc<dyn Broker>, PortError> {
    match broker {
        valid::Broker::RabbitMq { url, ca } => {
            let mut options = holdfast_rabbitmq::Options::new(url.expose(), &config.service);
            options.heartbeat = heartbeat(config, name);
            if let Some(ca) = ca {
                let read = std::fs::read_to_string(ca);
                let what = || format!("read the certificates {}", ca.display());
                options.ca = Some(read.map_err(|why| PortError::permanent(what()).because(why))?);
            }
            Ok(Arc::new(holdfast_rabbitmq::RabbitMq::connect(options)?))
        }
        valid::Broker::Embedded { path } => Ok(Arc::new(holdfast_embedded::EmbeddedBroker::open(
            path.clone(),
        )?)),
    }
}

/// After a freeze the broker hands a leader's messages over when nothing came
/// from it for two to three heartbeats, so the heartbeat is at most a third of
/// the shortest lease: then the next leader does not wait for the broker longer
/// than for the lease.
fn heartbeat(config: &Valid, broker: &str) -> Duration {
    let leases = config
        .consumers
        .values()
        .filter(|c| c.broker == broker)
        .filter_map(|c| c.lease);
    let shortest = leases.map(|lease| lease.ttl / 3).min();
    shortest
        .unwrap_or(Duration::from_secs(10))
        .clamp(Duration::from_secs(1), Duration::from_secs(10))
}

/// The settings of a plugin as its host takes them.
#[must_use]
pub fn plugin_settings(plugin: &valid::Plugin) -> PluginSettings {
    PluginSettings {
        sha256: plugin
            .sha256
            .map(|digest| digest.iter().map(|byte| format!("{byte:02x}")).collect()),
        memory: plugin.memory,
        timeout: plugin.timeout,
        deadline: plugin.deadline,
        instances: match plugin.instances {
            valid::Instances::Fresh => Instances::Fresh,
            valid::Instances::Reuse => Instances::Reuse,
        },
        allow_hosts: plugin.allow_hosts.clone(),
        vars: plugin
            .vars
            .iter()
            .map(|(name, value)| (name.clone(), value.expose().to_owned()))
            .collect(),
    }
}

/// All consumers, one for each queue: a row of partitions is as many consumers,
/// each named `<consumer>.<n>`.
///
/// # Errors
/// [`NameError`] when a partition's name becomes too long.
pub fn consumers(config: &Valid) -> Result<Vec<ConsumerSpec>, NameError> {
    let mut specs = Vec::new();
    for (name, consumer) in &config.consumers {
        for binding in consumer.bindings() {
            let row = binding.partition.map(|_| name.clone());
            let name = match binding.partition {
                Some(n) => format!("{name}.{n}"),
                None => name.clone(),
            };
            let deadline = config.plugin(&consumer.plugin).deadline;
            specs.push(ConsumerSpec {
                name: Consumer::new(&name)?,
                group: Group::new(&binding.group)?,
                queue: binding.queue,
                row,
                ..consumer_spec(consumer, deadline)?
            });
        }
    }
    Ok(specs)
}

fn consumer_spec(
    consumer: &valid::Consumer,
    deadline: Duration,
) -> Result<ConsumerSpec, NameError> {
    let claim = &consumer.claim;
    let retry = &consumer.retry;
    Ok(ConsumerSpec {
        name: Consumer::new("unnamed")?,
        broker: consumer.broker.clone(),
        queue: String::new(),
        plugin: consumer.plugin.clone(),
        concurrency: usize::try_from(consumer.concurrency).unwrap_or(usize::MAX),
        prefetch: consumer.prefetch,
        declare: consumer.declare,
        batch: consumer.batch.map_or(
            Batch {
                max: 64,
                wait: Duration::from_millis(5),
            },
            |batch| Batch {
                max: usize::try_from(batch.max).unwrap_or(usize::MAX),
                wait: batch.wait,
            },
        ),
        max_body: consumer.max_body,
        group: Group::new(&claim.group)?,
        side: Side::new(&claim.side)?,
        key: source(&claim.key),
        keep: claim.keep,
        slot: match claim.slot {
            valid::Slot::Group => Slot::Group,
            valid::Slot::Key => Slot::Key,
        },
        fingerprint: claim.fingerprint,
        on_foreign: match claim.on_foreign {
            valid::OnForeign::Hold => OnForeign::Hold,
            valid::OnForeign::Drop => OnForeign::Drop,
        },
        backoff: Backoff {
            attempts: retry.attempts,
            initial: retry.initial,
            factor: retry.factor,
            max: retry.max,
            jitter: retry.jitter,
            hold_below: retry.hold_below,
        },
        order: order(&consumer.order),
        lease: consumer.lease.map(|lease| Terms {
            ttl: lease.ttl,
            renew: lease.renew,
            retry: lease.retry,
        }),
        row: None,
        deadline,
    })
}

fn source(place: &valid::Place) -> Source {
    match place {
        valid::Place::MessageId => Source::MessageId,
        valid::Place::Header(name) => Source::Header(name.clone()),
        valid::Place::Json(pointer) => Source::Json(pointer.clone()),
    }
}

fn order(order: &valid::Order) -> Order {
    let poison = |on: &valid::OnPoison| match on {
        valid::OnPoison::Park => OnPoison::Park,
        valid::OnPoison::Halt => OnPoison::Halt,
    };
    match order {
        valid::Order::None { key } => Order {
            mode: Mode::None,
            lane: key.as_ref().map(source),
            sequence: None,
            on_poison: OnPoison::Park,
        },
        valid::Order::Lanes {
            key,
            sequence,
            on_poison,
        } => Order {
            mode: Mode::Lanes,
            lane: Some(source(key)),
            sequence: sequence.as_ref().map(source),
            on_poison: poison(on_poison),
        },
        valid::Order::Strict {
            sequence,
            on_poison,
        } => Order {
            mode: Mode::Strict,
            lane: None,
            sequence: sequence.as_ref().map(source),
            on_poison: poison(on_poison),
        },
    }
}

/// The first values of the cut-over rules, for each group and its partitions.
///
/// # Errors
/// [`NameError`] for a side that is no name.
pub fn rules(config: &Valid) -> Result<BTreeMap<Group, Rule>, NameError> {
    let mut rules = BTreeMap::new();
    for consumer in config.consumers.values() {
        let Some(cutover) = config.cutovers.get(&consumer.claim.group) else {
            continue;
        };
        for binding in consumer.bindings() {
            let rule = Rule {
                from: Side::new(&cutover.from)?,
                to: Side::new(&cutover.to)?,
                enabled: cutover.enabled,
                percent: cutover.percent,
                // As they are recorded: what cannot be a key as it is, is a digest.
                allow: cutover
                    .allow
                    .iter()
                    .map(|key| ClaimKey::from_known(key).as_str().to_owned())
                    .collect(),
                assign_timeout: cutover.assign_timeout,
                revision: 1,
            };
            rules.insert(Group::new(&binding.group)?, rule);
        }
    }
    Ok(rules)
}

/// The wall clock (for dead letters) and the system's randomness.
#[must_use]
pub fn surroundings() -> Surroundings {
    Surroundings {
        wall_ms: Arc::new(wall_ms),
        random: Arc::new(rand::random::<u64>),
        tasks: Tasks::default(),
    }
}

/// Milliseconds since 1970.
#[must_use]
pub fn wall_ms() -> u64 {
    let since = SystemTime::now()
        .duration_since(UNIX_EPOCH)
        .unwrap_or_default();
    u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
}
