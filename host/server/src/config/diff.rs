//! What a changed configuration changes, and whether that can be taken live.

use super::valid::{Consumer, Order, Valid};

/// What becomes of a changed setting in a running host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Effect {
    /// It is taken up while running.
    Live,
    /// It needs a new start; a reload with it is refused.
    NeedsRestart,
    /// The store has the live value; the file's is not looked at.
    Ignored,
}

/// One setting that differs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Change {
    /// The dotted key of the setting, or of its table.
    pub key: String,
    /// What becomes of it.
    pub effect: Effect,
    /// Why it is not live; empty when it is.
    pub why: &'static str,
}

const PREFIX: &str = "it is part of every key in the store";
const STORE: &str = "claims do not move from one store to another";
const LISTENER: &str = "the listener is open already";
const SERVER: &str = "consumers are connected to it";
const CONNECTED: &str = "brokers are connected when the host starts";
const FOLDER: &str = "the folder is watched already";
const LOG: &str = "the log is open already";
const RULE: &str = "the store holds the group to the rules of its first start";
const RULE_OF_STORE: &str = "the store has the live rule; change it with `holdfast cutover set`";

impl Valid {
    /// What `new` changes, ordered by key. No value is part of the answer.
    #[must_use]
    pub fn diff(&self, new: &Self) -> Vec<Change> {
        let mut changes = Changes(Vec::new());
        changes.restart("service", self.service != new.service, PREFIX);
        changes.restart("store", self.store != new.store, STORE);
        changes.restart("plugin-dir", self.plugin_dir != new.plugin_dir, FOLDER);
        changes.restart(
            "admin.listen",
            self.admin.listen != new.admin.listen,
            LISTENER,
        );
        changes.live("admin.token", self.admin.token != new.admin.token);
        changes.live("admin.hosts", self.admin.hosts != new.admin.hosts);
        changes.restart("log.format", self.log.format != new.log.format, LOG);
        changes.restart("log.level", self.log.level != new.log.level, LOG);
        for (name, old, new) in pairs(&self.brokers, &new.brokers) {
            let key = format!("brokers.{name}");
            match (old, new) {
                (Some(old), Some(new)) => changes.restart(&key, old != new, SERVER),
                _ => changes.restart(&key, true, CONNECTED),
            }
        }
        for (name, old, new) in pairs(&self.plugins, &new.plugins) {
            changes.live(&format!("plugins.{name}"), old != new);
        }
        for (name, old, new) in pairs(&self.consumers, &new.consumers) {
            let key = format!("consumers.{name}");
            match (old, new) {
                (Some(old), Some(new)) => consumer(&mut changes, &key, old, new),
                _ => changes.live(&key, true),
            }
        }
        for (name, old, new) in pairs(&self.cutovers, &new.cutovers) {
            if old != new {
                let effect = if old.is_none() {
                    Effect::Live
                } else {
                    Effect::Ignored
                };
                let why = if old.is_none() { "" } else { RULE_OF_STORE };
                changes.0.push(Change {
                    key: format!("cutover.{name}"),
                    effect,
                    why,
                });
            }
        }
        changes.0.sort_by(|a, b| a.key.cmp(&b.key));
        changes.0
    }
}

fn consumer(changes: &mut Changes, key: &str, old: &Consumer, new: &Consumer) {
    let same_group = old.claim.group == new.claim.group;
    let mut rule = |name: &str, differs: bool| {
        changes.restart(&format!("{key}.{name}"), same_group && differs, RULE);
    };
    rule("claim.slot", old.claim.slot != new.claim.slot);
    rule("claim.key", old.claim.key != new.claim.key);
    rule(
        "claim.fingerprint",
        old.claim.fingerprint != new.claim.fingerprint,
    );
    let (old_lane, old_sequence) = lane_and_sequence(&old.order);
    let (new_lane, new_sequence) = lane_and_sequence(&new.order);
    rule("order", old_lane != new_lane);
    rule("order.sequence", old_sequence != new_sequence);
    // Everything else of a consumer is taken up by starting it anew.
    let mut rest = old.clone();
    if same_group {
        rest.claim.slot = new.claim.slot;
        rest.claim.key = new.claim.key.clone();
        rest.claim.fingerprint = new.claim.fingerprint;
        if old_lane != new_lane || old_sequence != new_sequence {
            rest.order = new.order.clone();
        }
    }
    changes.live(key, rest != *new);
}

type Place<'o> = Option<&'o super::valid::Place>;

/// The parts of an order that both sides of a group share.
fn lane_and_sequence(order: &Order) -> ((u8, Place<'_>), Place<'_>) {
    match order {
        Order::None { key } => ((0, key.as_ref()), None),
        Order::Lanes { key, sequence, .. } => ((1, Some(key)), sequence.as_ref()),
        Order::Strict { sequence, .. } => ((2, None), sequence.as_ref()),
    }
}

struct Changes(Vec<Change>);

impl Changes {
    fn live(&mut self, key: &str, differs: bool) {
        if differs {
            self.0.push(Change {
                key: key.to_owned(),
                effect: Effect::Live,
                why: "",
            });
        }
    }

    fn restart(&mut self, key: &str, differs: bool, why: &'static str) {
        if differs {
            let key = key.to_owned();
            self.0.push(Change {
                key,
                effect: Effect::NeedsRestart,
                why,
            });
        }
    }
}

type Map<T> = std::collections::BTreeMap<String, T>;

/// Every name of either map with what it has in each.
fn pairs<'m, T>(old: &'m Map<T>, new: &'m Map<T>) -> Vec<(&'m str, Option<&'m T>, Option<&'m T>)> {
    let names: std::collections::BTreeSet<&String> = old.keys().chain(new.keys()).collect();
    names
        .into_iter()
        .map(|name| (name.as_str(), old.get(name), new.get(name)))
        .collect()
}
