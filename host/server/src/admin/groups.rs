//! The groups of the configuration in service, and where their claims are.

use std::collections::BTreeMap;

use holdfast_core::key::ClaimKey;
use holdfast_core::name::{Consumer, Group};
use holdfast_ports::store::{LeaseName, Place, Slot};

use super::problem::Problem;
use crate::config::{Valid, valid};

/// One binding of a consumer.
pub(super) struct Member<'c> {
    /// Its group.
    pub(super) group: String,
    /// The name under which it runs.
    pub(super) name: String,
    /// Its settings.
    pub(super) consumer: &'c valid::Consumer,
}

/// Every binding of every consumer.
pub(super) fn members(config: &Valid) -> impl Iterator<Item = Member<'_>> {
    config.consumers.iter().flat_map(|(name, consumer)| {
        consumer.bindings().into_iter().map(move |binding| Member {
            name: match binding.partition {
                Some(n) => format!("{name}.{n}"),
                None => name.clone(),
            },
            group: binding.group,
            consumer,
        })
    })
}

/// Every group, by name.
pub(super) fn all(config: &Valid) -> Vec<Group> {
    let names: BTreeMap<String, ()> = members(config).map(|member| (member.group, ())).collect();
    names
        .keys()
        .filter_map(|name| Group::new(name).ok())
        .collect()
}

/// The group with this name.
pub(super) fn known(config: &Valid, name: &str) -> Result<Group, Problem> {
    let known = members(config).any(|member| member.group == name);
    Group::new(name).ok().filter(|_| known).ok_or_else(|| {
        Problem::not_found(format!("no consumer of this host has the group {name:?}"))
    })
}

/// Where the claim of a key is.
pub(super) fn place(config: &Valid, group: &str, key: &str) -> Result<Place, Problem> {
    let group = known(config, group)?;
    if key.is_empty() {
        return Err(Problem::bad("a claim key is not empty"));
    }
    let member = members(config).find(|member| member.group == group.as_str());
    let Some(claim) = member.map(|member| &member.consumer.claim) else {
        return Err(Problem::not_found(
            "no consumer of this host has that group",
        ));
    };
    Ok(Place {
        key: ClaimKey::from_known(key),
        slot: match claim.slot {
            valid::Slot::Group => Slot::Group,
            valid::Slot::Key => Slot::Key,
        },
        lease: None,
        keep: claim.keep,
        group,
    })
}

/// Every lease, with the consumer it belongs to.
pub(super) fn leases(config: &Valid) -> Vec<LeaseName> {
    members(config)
        .filter(|member| member.consumer.lease.is_some())
        .filter_map(|member| {
            Some(LeaseName {
                group: Group::new(&member.group).ok()?,
                consumer: Consumer::new(&member.name).ok()?,
            })
        })
        .collect()
}

/// The running names that a configured or running name stands for: a row of
/// partitions is as many consumers.
pub(super) fn consumers(config: &Valid, name: &str) -> Vec<String> {
    let whole = config.consumers.contains_key(name);
    members(config)
        .map(|member| member.name)
        .filter(|running| {
            let partition = running
                .strip_prefix(name)
                .and_then(|rest| rest.strip_prefix('.'));
            let number = |rest: &str| !rest.is_empty() && rest.bytes().all(|b| b.is_ascii_digit());
            running == name || (whole && partition.is_some_and(number))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn config() -> Valid {
        let text = r#"
            version = 1
            store = { kind = "embedded" }
            brokers.main = { kind = "embedded" }
            [consumers.parts]
            broker = "main"
            queue = "parts.{0..2}"
            plugin = "echo"
            [consumers.orders]
            broker = "main"
            queue = "orders"
            plugin = "echo"
            lease = {}
        "#;
        crate::config::parse_str("test.toml", text, &|_| None)
            .expect("it is right")
            .valid
    }

    #[test]
    fn partitions_are_groups_and_consumers_of_their_own() {
        let config = config();
        let groups: Vec<String> = all(&config).iter().map(ToString::to_string).collect();
        assert_eq!(groups, ["orders", "parts.0", "parts.1", "parts.2"]);
        assert_eq!(
            consumers(&config, "parts"),
            ["parts.0", "parts.1", "parts.2"]
        );
        assert_eq!(consumers(&config, "parts.1"), ["parts.1"]);
        assert!(consumers(&config, "part").is_empty());
        assert_eq!(leases(&config).len(), 1);
    }

    #[test]
    fn a_claim_is_looked_for_only_in_groups_that_are_there() {
        let config = config();
        assert_eq!(
            place(&config, "orders", "a/b")
                .expect("a group")
                .key
                .as_str(),
            "a/b"
        );
        for group in ["other", "../orders", "", "parts"] {
            assert!(place(&config, group, "a").is_err(), "{group}");
        }
    }
}
