//! Settings checked against each other: plugins and each consumer by itself.
//! Servers are in [`servers`], the two sides of a group in [`groups`].

use std::ops::Range;
use std::time::Duration;

use holdfast_core::destination::Host;

use super::super::raw::{ConsumerKeys, LeaseKeys, OrderMode, PluginKeys, Raw, RetryKeys};
use super::super::reader::{Field, Reader, suggestion};
use super::super::report::Problem;
use super::super::units::show_duration;
use super::{AllowHost, Plugin, build, groups, schedule, servers};

/// Runs all checks.
pub(super) fn all(r: &mut Reader<'_>, raw: &Raw) {
    servers::check(r, raw);
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
    allow_hosts(r, name, keys);
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

/// A name that leads to this machine is never enough by itself.
fn allow_hosts(r: &mut Reader<'_>, name: &str, keys: &PluginKeys) {
    let Some(field) = &keys.allow_hosts else {
        return;
    };
    let entries = || field.get().into_iter().flatten();
    let local = entries().find(|entry| match entry {
        AllowHost::Name { name, .. } => Host::Name(name.clone()).is_loopback(),
        _ => false,
    });
    let opened = entries().any(|entry| match entry {
        AllowHost::Address { ip, .. } | AllowHost::Network { ip, .. } => {
            ip.to_canonical().is_loopback()
        }
        _ => false,
    });
    if let Some(local) = local
        && !opened
    {
        let message = format!(
            "`{local}` in `plugins.{name}.allow-hosts` leads to this machine, which needs an entry of its own"
        );
        warn(
            r,
            &field.at,
            message,
            "add the address too, as in \"127.0.0.1:9000\"",
        );
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
        _ => {}
    }
    if *mode == OrderMode::None {
        if let Some(sequence) = &order.sequence {
            let message = format!("`{path}.sequence` has no effect with mode = \"none\"");
            let help = "without order a number that is not newer says nothing; use \"lanes\" or \"strict\"";
            warn(r, &sequence.at, message, help);
        }
        if order.on_poison.written {
            let message = format!("`{path}.on-poison` has no effect with mode = \"none\"");
            warn(r, &order.on_poison.at, message, "remove it");
        }
        return;
    }
    if keys.lease.is_none() {
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
