//! What the consumers of one group must agree on, and the cut-over rules.

use std::collections::BTreeMap;
use std::ops::Range;

use super::super::raw::{ConsumerKeys, CutoverKeys, OrderMode, Raw};
use super::super::reader::{Reader, suggestion};
use super::super::report::Problem;
use super::build::or_own_name;
use super::checks::{error, warn};
use super::{OnForeign, Queue, Slot};

/// A consumer as a member of its group.
struct Member<'r> {
    name: &'r str,
    side: &'r str,
    keys: &'r ConsumerKeys,
}

/// Checks the groups and the cut-over rules.
pub(super) fn check(r: &mut Reader<'_>, raw: &Raw) {
    let mut groups: BTreeMap<&str, Vec<Member<'_>>> = BTreeMap::new();
    for (name, keys) in &raw.consumers {
        let group = or_own_name(keys.claim.group.as_ref(), name);
        let side = or_own_name(keys.claim.side.as_ref(), name);
        if let (Some(group), Some(side)) = (group, side) {
            groups
                .entry(group)
                .or_default()
                .push(Member { name, side, keys });
        }
    }
    for (group, members) in &groups {
        sides(r, group, members);
        rules(r, group, members);
        for member in members {
            slot(r, group, member, members);
            drop_needs_no_order(r, member);
            suffix_fits(r, group, member);
        }
    }
    names_apart(r, &groups);
    queues_apart(r, raw);
    nobody_reads_what_is_the_hosts(r, raw);
    for (group, keys) in &raw.cutovers {
        cutover(r, group, keys, &groups);
    }
}

/// Where a group or side stands: its own key, else the consumer's name.
fn at(keys: &ConsumerKeys, pick: impl Fn(&ConsumerKeys) -> Option<Range<usize>>) -> Range<usize> {
    pick(keys).unwrap_or_else(|| keys.at.clone())
}

fn side_at(keys: &ConsumerKeys) -> Range<usize> {
    at(keys, |keys| {
        keys.claim.side.as_ref().map(|field| field.at.clone())
    })
}

fn group_at(keys: &ConsumerKeys) -> Range<usize> {
    at(keys, |keys| {
        keys.claim.group.as_ref().map(|field| field.at.clone())
    })
}

fn sides(r: &mut Reader<'_>, group: &str, members: &[Member<'_>]) {
    let mut seen: BTreeMap<&str, &Member<'_>> = BTreeMap::new();
    for member in members {
        if let Some(other) = seen.insert(member.side, member) {
            let message = format!(
                "the consumers `{}` and `{}` of the group `{group}` have the same side `{}`",
                other.name, member.name, member.side,
            );
            let help = "give each consumer of a group a side of its own";
            error(r, &side_at(member.keys), message, help);
        }
    }
}

/// What a side says about one rule: as text, and where.
type Rule = (Option<String>, Range<usize>);

fn lane_rule(keys: &ConsumerKeys) -> Rule {
    let order = &keys.order;
    let rule = match order.mode.get() {
        None => None,
        Some(OrderMode::None) => Some(match order.key.as_ref().and_then(|field| field.get()) {
            Some(key) => format!("none, lane by {key}"),
            None => "none".to_owned(),
        }),
        Some(OrderMode::Strict) => Some("strict".to_owned()),
        Some(OrderMode::Lanes) => {
            let key = order.key.as_ref().and_then(|field| field.get());
            key.map(|key| format!("lanes by {key}"))
        }
    };
    let written = if order.mode.written {
        &order.mode.at
    } else {
        &order.at
    };
    let at = order.key.as_ref().map_or(written, |field| &field.at);
    (rule, at.clone())
}

fn sequence_rule(keys: &ConsumerKeys) -> Rule {
    match &keys.order.sequence {
        None => (Some("none".to_owned()), keys.order.at.clone()),
        Some(field) => (field.get().map(ToString::to_string), field.at.clone()),
    }
}

fn partition_rule(keys: &ConsumerKeys) -> Rule {
    let rule = keys.queue.get().map(|queue| match queue {
        Queue::One(_) => "none".to_owned(),
        Queue::Partitions { first, last, .. } => format!("{first} to {last}"),
    });
    (rule, keys.queue.at.clone())
}

/// Every rule that both sides must share, by the name it has in the file.
fn rules_of(keys: &ConsumerKeys) -> [(&'static str, Rule); 6] {
    let claim = &keys.claim;
    let slot = claim.slot.get().map(|slot| match slot {
        Slot::Group => "group".to_owned(),
        Slot::Key => "key".to_owned(),
    });
    [
        ("claim.slot", (slot, claim.slot.at.clone())),
        (
            "claim.key",
            (
                claim.key.get().map(ToString::to_string),
                claim.key.at.clone(),
            ),
        ),
        ("claim.fingerprint", {
            let on = claim.fingerprint.get().map(ToString::to_string);
            (on, claim.fingerprint.at.clone())
        }),
        ("order (mode and key)", lane_rule(keys)),
        ("order.sequence", sequence_rule(keys)),
        ("queue (partitions)", partition_rule(keys)),
    ]
}

fn rules(r: &mut Reader<'_>, group: &str, members: &[Member<'_>]) {
    let Some((first, others)) = members.split_first() else {
        return;
    };
    let expected = rules_of(first.keys);
    for other in others {
        for ((rule, (mine, at)), (_, (theirs, their_at))) in
            rules_of(other.keys).into_iter().zip(&expected)
        {
            let (Some(mine), Some(theirs)) = (mine, theirs) else {
                continue;
            };
            if mine == *theirs {
                continue;
            }
            let message = format!(
                "the consumers of the group `{group}` differ in {rule}: \
                 `{}` has {theirs}, `{}` has {mine}",
                first.name, other.name,
            );
            let place = r.source.place(their_at.start);
            let help = format!("the sides of a group share this rule; the other is at {place}");
            error(r, &at, message, &help);
        }
    }
}

fn is_ordered(keys: &ConsumerKeys) -> bool {
    keys.order
        .mode
        .get()
        .is_some_and(|mode| *mode != OrderMode::None)
}

fn slot(r: &mut Reader<'_>, group: &str, member: &Member<'_>, members: &[Member<'_>]) {
    let slot = &member.keys.claim.slot;
    if slot.value != Some(Slot::Key) {
        return;
    }
    let help = "remove slot, or the order and the lease";
    if members.iter().any(|member| is_ordered(member.keys)) {
        let message = format!("slot = \"key\" is for unordered groups; `{group}` is ordered");
        error(r, &slot.at, message, help);
    }
    if members.iter().any(|member| member.keys.lease.is_some()) {
        let message = format!("slot = \"key\" is for groups without lease; `{group}` has one");
        error(r, &slot.at, message, help);
    }
}

fn drop_needs_no_order(r: &mut Reader<'_>, member: &Member<'_>) {
    let field = &member.keys.claim.on_foreign;
    if field.value == Some(OnForeign::Drop) && is_ordered(member.keys) {
        let message = format!(
            "on-foreign = \"drop\" is for unordered groups; `{}` is ordered",
            member.name
        );
        error(
            r,
            &field.at,
            message,
            "an ordered side has to wait for the other: use \"hold\"",
        );
    }
}

/// The groups of partitions are names too.
fn suffix_fits(r: &mut Reader<'_>, group: &str, member: &Member<'_>) {
    let Some(queue) = member.keys.queue.get() else {
        return;
    };
    let Some(last) = queue.partitions().map(|numbers| *numbers.end()) else {
        return;
    };
    let longest = format!("{group}.{last}");
    if holdfast_core::name::check(&longest).is_err() && longest.len() > 64 {
        let message = format!("the group `{longest}` of the last partition has over 64 characters");
        error(
            r,
            &group_at(member.keys),
            message,
            "choose a shorter group name",
        );
    }
}

/// A group that is named like a partition of another would share its claims.
fn names_apart(r: &mut Reader<'_>, groups: &BTreeMap<&str, Vec<Member<'_>>>) {
    for (group, members) in groups {
        let Some((base, number)) = group.rsplit_once('.') else {
            continue;
        };
        let Ok(number) = number.parse::<u32>() else {
            continue;
        };
        let clash = groups.get(base).into_iter().flatten().find(|other| {
            let queue = other.keys.queue.get().and_then(Queue::partitions);
            queue.is_some_and(|numbers| numbers.contains(&number))
        });
        if let (Some(other), Some(member)) = (clash, members.first()) {
            let message = format!(
                "the group `{group}` is also the group of a partition of `{}`",
                other.name
            );
            error(
                r,
                &group_at(member.keys),
                message,
                "give one of them another group",
            );
        }
    }
}

/// Two consumers of one queue would each get a part of its messages.
fn queues_apart(r: &mut Reader<'_>, raw: &Raw) {
    let mut seen: BTreeMap<(&str, String), &str> = BTreeMap::new();
    for (name, keys) in &raw.consumers {
        let (Some(broker), Some(queue)) = (keys.broker.get(), keys.queue.get()) else {
            continue;
        };
        let taken = queue.bindings("").into_iter().find_map(|binding| {
            let other = seen.insert((broker, binding.queue.clone()), name)?;
            Some((other, binding.queue))
        });
        if let Some((other, queue)) = taken {
            let queue = queue.escape_debug();
            let message = format!(
                "the consumers `{other}` and `{name}` both read the queue `{queue}` of `{broker}`"
            );
            let help = "each message of a queue reaches only one of them; give each its own queue";
            error(r, &keys.queue.at, message, help);
        }
    }
}

/// What waits in a delay queue would be handled too early, and who consumes dead
/// letters takes them from `dead replay` and `audit`.
fn nobody_reads_what_is_the_hosts(r: &mut Reader<'_>, raw: &Raw) {
    let mut owners: BTreeMap<(&str, String), &str> = BTreeMap::new();
    for (name, keys) in &raw.consumers {
        let (Some(broker), Some(queue)) = (keys.broker.get(), keys.queue.get()) else {
            continue;
        };
        for binding in queue.bindings("") {
            owners.insert((broker, binding.queue), name);
        }
    }
    for (_, keys) in &raw.consumers {
        let (Some(broker), Some(queue)) = (keys.broker.get(), keys.queue.get()) else {
            continue;
        };
        let found = queue.bindings("").into_iter().find_map(|binding| {
            let owner = |of: &str| owners.get(&(broker, of.to_owned())).copied();
            if let Some(of) = binding.queue.strip_suffix(".dead") {
                let said = "has the dead letters of";
                return Some((binding.queue.clone(), said, owner(of)?));
            }
            let (of, step) = binding.queue.rsplit_once(".delay.")?;
            step.parse::<u64>().ok()?;
            let said = "is a delay queue of";
            Some((binding.queue.clone(), said, owner(of)?))
        });
        if let Some((queue, said, owner)) = found {
            let queue = queue.escape_debug();
            let message = format!("the queue `{queue}` of `{broker}` {said} `{owner}`");
            let help = format!(
                "name another queue; dead letters are run again with `holdfast dead replay {owner}`"
            );
            error(r, &keys.queue.at, message, &help);
        }
    }
}

fn cutover(
    r: &mut Reader<'_>,
    group: &str,
    keys: &CutoverKeys,
    groups: &BTreeMap<&str, Vec<Member<'_>>>,
) {
    let (from, to) = (keys.from.get(), keys.to.get());
    if let (Some(from), Some(to)) = (from, to)
        && from == to
    {
        let message = format!("`cutover.{group}` moves from `{from}` to the same side");
        error(r, &keys.to.at, message, "name two different sides");
    }
    let Some(members) = groups.get(group) else {
        let message = format!("no consumer belongs to the group `{group}`");
        let problem = Problem::error(keys.at.clone(), message);
        r.report(match suggestion(group, groups.keys().copied()) {
            Some(near) => problem.help(format!("did you mean [cutover.{near}]?")),
            None => problem.help("set claim.group of the consumers it is for"),
        });
        return;
    };
    for member in members {
        if let (Some(from), Some(to)) = (from, to)
            && member.side != from
            && member.side != to
        {
            let message = format!(
                "the side `{}` of `{}` is neither `{from}` nor `{to}`, the sides of \
                 `cutover.{group}`",
                member.side, member.name,
            );
            error(
                r,
                &side_at(member.keys),
                message,
                "a key is never given to a third side",
            );
        }
        let keep = member.keys.claim.keep.get();
        if let (Some(wait), Some(keep)) = (keys.assign_timeout.get(), keep)
            && wait >= keep
        {
            let message = format!(
                "`cutover.{group}.assign-timeout` is not shorter than claim.keep of `{}`",
                member.name,
            );
            warn(
                r,
                &keys.assign_timeout.at,
                message,
                "an assigned claim would expire first",
            );
        }
    }
}
