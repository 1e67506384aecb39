//! Wrong files that are about two consumers of a group, and the cut-over.

use super::{good, refused, warnings};

/// Two sides of the group `g`; the second consumer begins at line 14.
fn two(first: &str, second: &str, more: &str) -> String {
    format!(
        r#"version = 1
[store]
kind = "embedded"
[brokers.main]
kind = "embedded"
[consumers.a]
broker = "main"
queue = "qa"
plugin = "p"
[consumers.a.claim]
group = "g"
side = "old"
{first}
[consumers.b]
broker = "main"
queue = "qb"
plugin = "p"
[consumers.b.claim]
group = "g"
side = "new"
{second}
{more}
"#
    )
}

const LANES: &str = "[consumers.a.order]\nmode = \"lanes\"\nkey = \"json:/u\"\n\
                     [consumers.b.order]\nmode = \"lanes\"\nkey = \"json:/u\"";

#[test]
fn two_sides_of_a_group_are_accepted() {
    let loaded = good(&two("", "", "[cutover.g]\nfrom = \"old\"\nto = \"new\""));
    assert_eq!(loaded.valid.consumers["a"].claim.group, "g");
    assert_eq!(loaded.valid.consumers["b"].claim.side, "new");
    assert_eq!(loaded.valid.cutovers["g"].to, "new");
}

/// Bad input: Configuration | two sides of a group under one name | refused
#[test]
fn sides_of_a_group_have_different_names() {
    let text = two("", "", "").replace("\"new\"", "\"old\"");
    let same = "20:8 the consumers `a` and `b` of the group `g` have the same side `old`";
    refused("same side", &text, &[same]);
}

#[test]
fn sides_of_a_group_share_the_rules_of_its_claims() {
    let differ = "the consumers of the group `g` differ in ";
    for (first, second, expected) in [
        ("", "key = \"json:/id\"", "21:7"),
        ("slot = \"key\"", "slot = \"group\"", "21:8"),
        ("", "fingerprint = false", "21:15"),
    ] {
        refused(
            second,
            &two(first, second, ""),
            &[&format!("{expected} {differ}")],
        );
    }
    let order = two("", "", "[consumers.b.order]\nmode = \"strict\"");
    let order_differs = format!("23:8 {differ}order (mode and key): `a` has none, `b` has strict");
    refused("order", &order, &[&order_differs]);
    let lane = two("", "", LANES).replacen("json:/u", "json:/v", 1);
    let lane_differs = format!(
        "27:7 {differ}order (mode and key): `a` has lanes by json:/v, `b` has lanes by json:/u"
    );
    refused("lane", &lane, &[&lane_differs]);
    let sequence = two("", "", &format!("{LANES}\nsequence = \"json:/n\""));
    refused(
        "sequence",
        &sequence,
        &[&format!("28:12 {differ}order.sequence: `a` has none")],
    );
    let partitions = two("", "", "").replace("\"qb\"", "\"qb.{0..3}\"");
    refused(
        "partitions",
        &partitions,
        &[&format!("16:9 {differ}queue (partitions)")],
    );
}

#[test]
fn a_slot_per_key_needs_a_group_without_order_and_lease() {
    let keys = |more: &str| two("slot = \"key\"", "slot = \"key\"", more);
    good(&keys(""));
    let ordered = "slot = \"key\" is for unordered groups; `g` is ordered";
    let expected = [&*format!("13:8 {ordered}"), &*format!("21:8 {ordered}")];
    refused("ordered", &keys(LANES), &expected);
    let leased = "slot = \"key\" is for groups without lease; `g` has one";
    let expected = [&*format!("13:8 {leased}"), &*format!("21:8 {leased}")];
    refused("leased", &keys("[consumers.b.lease]"), &expected);
}

#[test]
fn an_ordered_side_cannot_drop_what_the_other_owns() {
    good(&two("on-foreign = \"drop\"", "", ""));
    let text = two("on-foreign = \"drop\"", "", LANES);
    refused(
        "drop",
        &text,
        &["13:14 on-foreign = \"drop\" is for unordered groups; `a` is ordered"],
    );
}

#[test]
fn a_cut_over_moves_between_two_sides_of_its_group() {
    let cutover = |from: &str, to: &str| {
        two(
            "",
            "",
            &format!("[cutover.g]\nfrom = \"{from}\"\nto = \"{to}\""),
        )
    };
    refused(
        "same",
        &cutover("old", "old"),
        &[
            "20:8 the side `new` of `b` is neither `old` nor `old`",
            "24:6 `cutover.g` moves from `old` to the same side",
        ],
    );
    let third = "20:8 the side `new` of `b` is neither `old` nor `later`";
    refused("third", &cutover("old", "later"), &[third]);
    let near = two("", "", "[cutover.h]\nfrom = \"old\"\nto = \"new\"");
    refused(
        "no group",
        &near,
        &["22:10 no consumer belongs to the group `h`"],
    );
    let missing = two("", "", "[cutover.g]\nfrom = \"old\"");
    refused("no side", &missing, &["22:10 `cutover.g.to` is missing"]);
    let long = two(
        "",
        "",
        "[cutover.g]\nfrom = \"old\"\nto = \"new\"\nassign-timeout = \"10d\"",
    );
    let warning = warnings(&long);
    assert!(
        warning[0].starts_with("25:18 `cutover.g.assign-timeout` is not shorter"),
        "{warning:?}"
    );
}

#[test]
fn two_consumers_do_not_share_a_queue() {
    let text = two("", "", "").replace("\"qb\"", "\"qa\"");
    refused(
        "same",
        &text,
        &["16:9 the consumers `a` and `b` both read the queue `qa` of `main`"],
    );
    let text = two("", "", "")
        .replace("\"qb\"", "\"q.{0..3}\"")
        .replace("\"qa\"", "\"q.{3..3}\"");
    let both = "16:9 the consumers `a` and `b` both read the queue `q.3` of `main`";
    refused(
        "row",
        &text,
        &["16:9 the consumers of the group `g` differ in queue", both],
    );
}

/// Bad input: Configuration | a consumer on the delay or dead-letter queue of another | refused; whose it is is named
#[test]
fn nobody_reads_the_delay_or_dead_letter_queues_of_another() {
    for (queue, said) in [
        ("qa.dead", "has the dead letters of `a`"),
        ("qa.delay.8000", "is a delay queue of `a`"),
    ] {
        let text = two("", "", "").replace("\"qb\"", &format!("{queue:?}"));
        let expected = format!("16:9 the queue `{queue}` of `main` {said}");
        refused(queue, &text, &[&expected]);
    }
    // Queues that only look like it.
    for queue in ["qa.deadline", "qa.delay.soon", "other.dead", "dead"] {
        let text = two("", "", "").replace("\"qb\"", &format!("{queue:?}"));
        good(&text);
    }
}

#[test]
fn the_group_of_a_partition_belongs_to_it_alone() {
    let text = two("", "", "").replace("\"qa\"", "\"qa.{0..3}\"").replace(
        "group = \"g\"\nside = \"new\"",
        "group = \"g.2\"\nside = \"new\"",
    );
    refused(
        "clash",
        &text,
        &["19:9 the group `g.2` is also the group of a partition of `a`"],
    );
    let long = two("", "", "")
        .replace("\"g\"", &format!("\"{}\"", "g".repeat(64)))
        .replace("\"qa\"", "\"qa.{0..9}\"")
        .replace("\"qb\"", "\"qb.{0..9}\"");
    let group = "g".repeat(64);
    let too_long = format!("the group `{group}.9` of the last partition has over 64 characters");
    refused(
        "long",
        &long,
        &[&format!("11:9 {too_long}"), &format!("19:9 {too_long}")],
    );
}
