//! Audits: the books close, and every unfinished claim has its message.

use std::time::Duration;

use holdfast_core::claim::{BeginFacts, StateName, Token};
use holdfast_core::key::ClaimKey;
use holdfast_core::name::Side;
use holdfast_core::settle::Ending;
use holdfast_ports::broker::{Broker as _, delay_queue};
use holdfast_ports::store::{Begin, Place, Slot, Store as _};
use holdfast_runtime::audit::{Report, audit};
use holdfast_runtime::spec::ConsumerSpec;

use crate::bed::{Bed, Does, Stage, in_lanes, lane, spec};

const WAIT: Duration = Duration::from_secs(30);

async fn audited(stage: &Stage) -> Report {
    audit(&stage.host, None, WAIT).await.expect("an audit")
}

/// Failed attempts wait in delay queues.
fn patient() -> ConsumerSpec {
    let mut spec = spec();
    spec.backoff.attempts = 5;
    spec.backoff.initial = Duration::from_secs(64);
    spec.backoff.max = Duration::from_secs(64);
    spec.backoff.hold_below = Duration::from_secs(1);
    spec
}

fn waiting() -> String {
    delay_queue("work", Duration::from_secs(64))
}

/// Takes a message out of a queue behind everybody's back.
async fn steal(bed: &Bed, queue: &str, id: &str) {
    let look = bed.queues.look(queue, 1000).await.expect("a look");
    let mut look = look.expect("a queue");
    while let Some(seen) = look.next().await.expect("an answer") {
        if seen.message.id.as_deref() == Some(id) {
            look.remove(seen.spot).await.expect("removed");
            return look.leave().await.expect("an end");
        }
    }
    panic!("{id} is not in {queue}");
}

#[tokio::test(start_paused = true)]
async fn the_books_close_after_a_mixed_run_and_every_message_is_found() {
    let bed = Bed::new();
    let stage = bed.host(patient()).await;
    for key in ["f1", "f2"] {
        bed.handler.with(key, Does::Fails);
    }
    bed.handler.with("r", Does::Rejects);
    bed.handler.with("w", Does::Waits);
    for key in ["a", "b", "a", "f1", "f2", "r", "w"] {
        bed.publish("work", key, key).await;
    }
    bed.send("work", None, "nameless", Vec::new()).await;
    stage
        .until("only one is in flight", async || {
            stage.depth(&waiting()).await == 2 && stage.host.status()[0].1.ledger.in_flight == 1
        })
        .await;
    let report = audited(&stage).await;
    assert!(report.closes(), "{report:?}");
    let books = &report.books[0];
    assert_eq!((books.run.received, books.run.in_flight), (8, 1));
    assert_eq!(books.run.ended(Ending::Deferred), 2);
    assert_eq!(books.sums, (7, 7), "what ended is in the totals");
    let group = &report.groups[0];
    assert_eq!(group.unfinished, 3);
    let found: Vec<_> = group.found.iter().map(|(spot, n)| (*spot, *n)).collect();
    assert_eq!(found, [("in a delay queue", 2), ("in flight here", 1)]);
    assert_eq!(group.unseen, [""; 0]);
    bed.handler.let_go(1);
}

#[tokio::test(start_paused = true)]
async fn a_message_that_vanished_from_a_queue_is_named_by_its_claim() {
    let bed = Bed::new();
    let stage = bed.host(patient()).await;
    for key in ["lost", "kept"] {
        bed.handler.with(key, Does::Fails);
        bed.publish("work", key, key).await;
    }
    stage
        .until("both wait", async || stage.depth(&waiting()).await == 2)
        .await;
    steal(&bed, &waiting(), "lost").await;
    let report = audited(&stage).await;
    assert!(!report.closes() && report.is_certain(), "{report:?}");
    let lost = &report.groups[0].lost;
    assert_eq!(lost.len(), 1);
    assert_eq!(
        (lost[0].key.as_str(), lost[0].state),
        ("lost", StateName::Failed)
    );
    assert_eq!(lost[0].error.as_deref(), Some("out of order"));
    assert!(report.books[0].closes(), "the books are not to blame");
}

#[tokio::test(start_paused = true)]
async fn a_letter_of_a_half_done_replay_is_the_message_of_its_claim() {
    let bed = Bed::new();
    let stage = bed.host(spec()).await;
    bed.handler.with("a", Does::Rejects);
    bed.publish("work", "a", "a").await;
    stage.settle().await;
    stage.broker.die(crate::shaken::Dies::BeforePublishing);
    stage.replay_all().await;
    let report = audited(&stage).await;
    assert!(report.closes(), "{report:?}");
    assert_eq!(report.groups[0].found["in the dead letters"], 1);
}

#[tokio::test(start_paused = true)]
async fn what_another_host_has_in_hand_is_not_missing() {
    let bed = Bed::new();
    let (stage, other) = (bed.host(spec()).await, bed.host(spec()).await);
    let messages = 20;
    for n in 0..messages {
        let key = format!("k{n}");
        bed.handler.with(&key, Does::Waits);
        bed.publish("work", &key, &key).await;
    }
    let flying = |stage: &Stage| stage.host.status()[0].1.ledger.in_flight;
    stage
        .until("all are in flight", async || {
            flying(&stage) + flying(&other) == messages
        })
        .await;
    assert!(flying(&other) > 0, "the broker shares them out");
    // The handlers of a host run eight at a time, the others wait for a permit.
    let report = audited(&stage).await;
    assert!(report.closes(), "{report:?}");
    let group = &report.groups[0];
    assert_eq!(group.found.values().sum::<u64>(), group.unfinished);
    assert!(
        group.found.contains_key("in flight at another host"),
        "{group:?}"
    );
    bed.handler.let_go(100);
}

#[tokio::test(start_paused = true)]
async fn a_consumer_that_is_no_host_leaves_it_open() {
    let bed = Bed::new();
    let stage = bed.host(patient()).await;
    bed.handler.with("a", Does::Fails);
    bed.publish("work", "a", "a").await;
    stage
        .until("it waits", async || stage.depth(&waiting()).await == 1)
        .await;
    steal(&bed, &waiting(), "a").await;
    let stranger = holdfast_ports::broker::Subscribe {
        queue: "work".into(),
        consumer: "stranger".into(),
        prefetch: 1,
        exclusive: false,
    };
    let _stranger = bed.queues.subscribe(&stranger).await.expect("let in");
    let report = audited(&stage).await;
    assert!(!report.closes() && !report.is_certain(), "{report:?}");
    let unseen = report.groups[0].unseen.join("\n");
    assert!(
        unseen.contains("1 of 2 consumers of the queue work"),
        "{unseen}"
    );
    assert_eq!(report.groups[0].unknown[0].key.as_str(), "a");
    assert_eq!(report.groups[0].lost, []);
}

/// The other side claims a key, as its host would.
async fn claimed_by_the_other_side(bed: &Bed, key: &str) {
    let side = Side::new("old").expect("a name");
    let begin = Begin {
        at: Place {
            group: spec().group,
            key: ClaimKey::from_known(key),
            slot: Slot::Group,
            lease: None,
            keep: Duration::from_secs(3600),
        },
        facts: BeginFacts {
            rule: None,
            owner_if_new: side.clone(),
            side,
            token: Token(7),
            fingerprint: None,
            lane: None,
            sequence: None,
            epoch: None,
            lock: Duration::from_secs(600),
            assign_timeout: Duration::from_secs(60),
        },
        state: false,
    };
    bed.store.begin(begin).await.expect("begun");
}

#[tokio::test(start_paused = true)]
async fn claims_of_the_other_side_are_told_apart() {
    let bed = Bed::new();
    let stage = bed.host(spec()).await;
    for key in ["there", "both"] {
        claimed_by_the_other_side(&bed, key).await;
    }
    bed.publish("work", "both", "both").await;
    stage
        .until("it is held", async || {
            stage.host.status()[0].1.ledger.in_flight == 1
        })
        .await;
    let report = audited(&stage).await;
    assert!(report.closes(), "{report:?}");
    let found: Vec<_> = report.groups[0]
        .found
        .iter()
        .map(|(spot, n)| (*spot, *n))
        .collect();
    let expected = [
        ("at the other side only", 1),
        ("of a side that this host does not consume", 1),
    ];
    assert_eq!(found, expected);
}

#[tokio::test(start_paused = true)]
async fn messages_behind_their_lane_and_in_the_queue_are_found() {
    let bed = Bed::new();
    let mut narrow = in_lanes();
    narrow.prefetch = 3;
    let stage = bed.host(narrow).await;
    bed.handler.with("l0", Does::Waits);
    for n in 0..5 {
        let key = format!("l{n}");
        bed.send("work", Some(&key), &key, lane("l")).await;
    }
    stage
        .until("the prefetch is full", async || {
            stage.host.status()[0].1.ledger.in_flight == 3
        })
        .await;
    let report = audited(&stage).await;
    assert!(report.closes(), "only one is claimed: {report:?}");
    assert_eq!(report.groups[0].unfinished, 1);
    bed.handler.let_go(1);
}

#[tokio::test(start_paused = true)]
async fn a_paused_queue_is_looked_through_in_order_and_left_so() {
    let bed = Bed::new();
    let mut ordered = in_lanes();
    ordered.backoff.attempts = 3;
    ordered.backoff.initial = Duration::from_secs(30);
    let stage = bed.host(ordered).await;
    bed.handler.with("l0", Does::Fails);
    for n in 0..5 {
        let key = format!("l{n}");
        bed.send("work", Some(&key), &key, lane("l")).await;
    }
    stage
        .until("it failed", async || stage.state("l0").await == "failed")
        .await;
    stage.host.set_paused("work", true).await.expect("paused");
    stage
        .until("it is paused", async || stage.depth("work").await == 5)
        .await;
    let report = audited(&stage).await;
    assert!(report.closes(), "{report:?}");
    assert_eq!(report.groups[0].found["in the work queue"], 1);
    bed.handler.mend();
    stage.host.set_paused("work", false).await.expect("resumed");
    stage.settle().await;
    assert_eq!(bed.handler.keys(), ["l0", "l1", "l2", "l3", "l4"]);
}

#[tokio::test(start_paused = true)]
async fn a_delivery_that_vanished_without_an_ending_opens_the_books() {
    let bed = Bed::new();
    let stage = bed.host(spec()).await;
    bed.handler.with("a", Does::Panics);
    bed.publish("work", "a", "a").await;
    bed.publish("work", "b", "b").await;
    stage
        .until("b is done", async || stage.state("b").await == "done")
        .await;
    let report = audited(&stage).await;
    let books = &report.books[0];
    assert!(!report.closes() && !books.closes());
    assert_eq!(books.run.difference(), 1, "{books:?}");
}

#[tokio::test(start_paused = true)]
async fn totals_outlive_hosts_and_lose_at_most_what_was_not_added_yet() {
    let bed = Bed::new();
    let totals = async || {
        let mut totals = bed.store.totals("work/new").await.expect("totals");
        totals.sort();
        totals
    };
    let stage = bed.host(spec()).await;
    bed.publish("work", "a", "a").await;
    bed.publish("work", "a", "a").await;
    stage.settle().await;
    stage.host.drain().await;
    let expected = [("completed", 1), ("duplicate", 1), ("received", 2)];
    let expected = expected.map(|(name, count)| (name.to_owned(), count));
    assert_eq!(totals().await, expected, "a drain leaves nothing out");

    let stage = bed.host(spec()).await;
    bed.publish("work", "b", "b").await;
    stage
        .until("they are added in time", async || totals().await[0].1 == 2)
        .await;
    let report = audited(&stage).await;
    assert!(report.closes());
    assert_eq!(report.books[0].sums, (3, 3));
    assert_eq!(report.books[0].run.received, 1);
}
