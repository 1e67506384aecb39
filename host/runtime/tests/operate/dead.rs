//! Dead letters: nothing is lost, nothing runs twice, whenever a replay dies.

use std::time::Duration;

use holdfast_core::claim::ParkReason;
use holdfast_ports::broker::Broker as _;
use holdfast_ports::message::{Header, Outgoing, Target};
use holdfast_runtime::dead::{Did, Reason, Replaying, Which};
use holdfast_runtime::spec::Source;

use crate::bed::{Bed, Does, by_key, did, in_lanes, lane, refusal, spec};
use crate::shaken::Dies;

/// Messages `a`, `b` and `c`, all given up.
async fn three_dead(bed: &Bed, stage: &crate::bed::Stage) {
    for key in ["a", "b", "c"] {
        bed.handler.with(key, Does::Rejects);
        bed.publish("work", key, key).await;
        stage
            .until("it is given up", async || {
                stage.state(key).await == "parked"
            })
            .await;
    }
    bed.handler.mend();
}

/// Hazard: Redis and leases | a replay from the dead letters meets the memory of its first run | replays know of claims
#[tokio::test(start_paused = true)]
async fn a_replayed_message_runs_once_as_if_for_the_first_time() {
    let bed = Bed::new();
    let stage = bed.host(spec()).await;
    three_dead(&bed, &stage).await;
    let dead = stage.dead().await;
    assert_eq!((dead.ready, dead.looked_at), (3, 3));
    assert_eq!(dead.groups["rejected"].count, 3);
    assert_eq!(dead.groups["rejected"].error, "not today");

    let changed = stage.replay(&by_key("b"), &Replaying::default()).await;
    assert_eq!(did(&changed), [("b".to_owned(), "replayed")]);
    let all = stage.replay_all().await;
    let expected = ["a", "c"].map(|key| (key.to_owned(), "replayed"));
    assert_eq!(did(&all), expected);
    assert!(!all.more && all.stopped.is_none());
    stage.settle().await;
    let mut ran = bed.handler.ran();
    ran.sort();
    assert_eq!(ran, ["a", "b", "c"].map(|key| (key.to_owned(), 1)));
    assert_eq!(stage.depth("work.dead").await, 0);
    assert_eq!(stage.state("a").await, "done");
}

#[tokio::test(start_paused = true)]
async fn wherever_a_replay_dies_the_next_one_finishes_it_and_each_message_runs_once() {
    for dies in Dies::ALL {
        for run_between in [false, true] {
            let bed = Bed::new();
            let stage = bed.host(spec()).await;
            three_dead(&bed, &stage).await;
            if !run_between {
                stage.host.set_paused("work", true).await.expect("paused");
                stage
                    .until("it is paused", async || stage.phase() == "paused")
                    .await;
            }
            stage.broker.die(dies);
            let first = stage.replay_all().await;
            assert!(first.stopped.is_some() && first.more, "{dies:?}");
            if run_between {
                stage.settle().await;
            }
            let second = stage.replay_all().await;
            assert!(second.stopped.is_none(), "{dies:?}: {:?}", second.stopped);
            let refused = second
                .letters
                .iter()
                .find(|(_, did)| matches!(did, Did::Refused(_)));
            assert!(refused.is_none(), "{dies:?}: {refused:?}");
            stage.host.set_paused("work", false).await.expect("resumed");
            stage.settle().await;
            let mut ran = bed.handler.keys();
            ran.sort();
            assert_eq!(ran, ["a", "b", "c"], "{dies:?}, run between: {run_between}");
            assert_eq!(stage.depth("work.dead").await, 0, "{dies:?}");
            for key in ["a", "b", "c"] {
                assert_eq!(stage.state(key).await, "done", "{dies:?}");
            }
        }
    }
}

#[tokio::test(start_paused = true)]
async fn letters_of_a_lane_are_replayed_in_their_order() {
    let bed = Bed::new();
    let stage = bed.host(in_lanes()).await;
    let keys: Vec<String> = (0..30)
        .map(|n| format!("{}{n:02}", ["x", "y"][n % 2]))
        .collect();
    for key in &keys {
        bed.handler.with(key, Does::Rejects);
        bed.send("work", Some(key), key, lane(&key[..1])).await;
    }
    stage
        .until("all are given up", async || {
            stage.depth("work.dead").await == 30
        })
        .await;
    bed.handler.mend();
    let changed = stage.replay_all().await;
    assert_eq!(changed.letters.len(), 30);
    stage.settle().await;
    let ran = bed.handler.keys();
    assert_eq!(ran.len(), 30);
    for lane in ["x", "y"] {
        let of_lane: Vec<&String> = ran.iter().filter(|key| key.starts_with(lane)).collect();
        assert!(of_lane.is_sorted(), "{of_lane:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_dry_run_tells_and_changes_nothing() {
    let bed = Bed::new();
    let stage = bed.host(spec()).await;
    three_dead(&bed, &stage).await;
    let how = Replaying {
        dry_run: true,
        ..Replaying::default()
    };
    let told = stage.replay(&Which::default(), &how).await;
    let reopened = Did::Replayed { reopened: true };
    assert!(told.letters.iter().all(|(_, did)| *did == reopened));
    let dropped = stage.drop_letters(&Which::default(), true).await;
    assert!(dropped.letters.iter().all(|(_, did)| *did == Did::Dropped));
    stage.settle().await;
    assert_eq!(bed.handler.ran(), []);
    assert_eq!(stage.depth("work.dead").await, 3);
    assert_eq!(stage.state("a").await, "parked");
}

#[tokio::test(start_paused = true)]
async fn a_limit_stops_and_says_that_there_are_more() {
    let bed = Bed::new();
    let stage = bed.host(spec()).await;
    three_dead(&bed, &stage).await;
    let how = Replaying {
        limit: 2,
        ..Replaying::default()
    };
    let first = stage.replay(&Which::default(), &how).await;
    assert_eq!((first.letters.len(), first.more), (2, true));
    let rest = stage.replay(&Which::default(), &how).await;
    assert_eq!(did(&rest), [("c".to_owned(), "replayed")]);
    assert!(!rest.more);
}

#[tokio::test(start_paused = true)]
async fn a_second_letter_of_the_same_message_is_removed() {
    let bed = Bed::new();
    let stage = bed.host(spec()).await;
    bed.handler.with("a", Does::Rejects);
    bed.publish("work", "a", "a").await;
    stage.settle().await;
    // The removal of the first letter was lost, and the message given up again.
    stage.broker.die(Dies::BeforeRemoving);
    stage.replay_all().await;
    stage.settle().await;
    assert_eq!(stage.depth("work.dead").await, 2);
    bed.handler.mend();
    let changed = stage.replay_all().await;
    let expected = ["replayed", "removed"].map(|did| ("a".to_owned(), did));
    assert_eq!(did(&changed), expected);
    stage.settle().await;
    assert_eq!(bed.handler.keys(), ["a"]);
}

#[tokio::test(start_paused = true)]
async fn what_could_not_be_sent_is_sent_and_the_handler_does_not_run_again() {
    let bed = Bed::new();
    let stage = bed.host(spec()).await;
    bed.handler.with("a", Does::Publishes("missing"));
    bed.publish("work", "a", "a").await;
    stage.settle().await;
    let dead = stage.dead().await;
    let told = dead.letters[0].told.as_ref().expect("a host wrote it");
    assert_eq!(told.reason, ParkReason::OutboxUndeliverable);
    assert_eq!(told.unsent, ["queue \"missing\""]);

    bed.queues.declare_queue("missing").await.expect("declared");
    let changed = stage.replay_all().await;
    assert_eq!(did(&changed), [("a".to_owned(), "replayed")]);
    stage.settle().await;
    assert_eq!(bed.handler.keys(), ["a"], "its effects were stored before");
    let sent = bed.queues.read("missing", 10).expect("a queue");
    assert_eq!(sent[0].message.id.as_deref(), Some("work/a/1"));
    assert_eq!((sent.len(), stage.state("a").await), (1, "done".to_owned()));
}

#[tokio::test(start_paused = true)]
async fn effects_are_not_repeated_when_their_claim_is_forgotten() {
    let bed = Bed::new();
    let stage = bed.host(spec()).await;
    bed.handler.with("a", Does::Publishes("missing"));
    bed.publish("work", "a", "a").await;
    stage.settle().await;
    bed.pass(spec().keep + Duration::from_secs(1));
    let refused = refusal(&stage.replay_all().await);
    assert!(refused.contains("effects are stored"), "{refused}");
    assert_eq!(stage.depth("work.dead").await, 1);
}

#[tokio::test(start_paused = true)]
async fn a_letter_whose_claim_is_forgotten_runs_unless_it_would_be_stale() {
    let bed = Bed::new();
    let stage = bed.host(spec()).await;
    three_dead(&bed, &stage).await;
    bed.pass(spec().keep + Duration::from_secs(1));
    assert_eq!(stage.state("a").await, "none");
    let changed = stage.replay_all().await;
    assert!(
        changed
            .letters
            .iter()
            .all(|(_, did)| *did == Did::Replayed { reopened: false })
    );
    stage.settle().await;
    assert_eq!(bed.handler.keys().len(), 3);
    stage.host.drain().await;

    let mut ordered = in_lanes();
    ordered.order.sequence = Some(Source::Header("seq".into()));
    ordered.queue = "numbers".into();
    ordered.name = holdfast_core::name::Consumer::new("numbers").expect("a name");
    ordered.group = holdfast_core::name::Group::new("numbers").expect("a name");
    let stage = bed.host(ordered).await;
    bed.handler.with("n", Does::Rejects);
    let mut headers = lane("l");
    headers.push(Header::text("seq", "1"));
    bed.send("numbers", Some("n"), "n", headers).await;
    stage.settle().await;
    bed.pass(spec().keep + Duration::from_secs(1));
    let refused = refusal(&stage.replay_all().await);
    assert!(refused.contains("stale"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn a_message_of_another_body_runs_under_a_new_key_only() {
    let bed = Bed::new();
    let stage = bed.host(spec()).await;
    bed.publish("work", "a", "first").await;
    stage.settle().await;
    bed.publish("work", "a", "other").await;
    stage.settle().await;
    let refused = refusal(&stage.replay_all().await);
    assert!(refused.contains("another body"), "{refused}");

    let renamed = |key: &str| Replaying {
        new_key: Some(key.to_owned()),
        ..Replaying::default()
    };
    let taken = refusal(&stage.replay(&by_key("a"), &renamed("a")).await);
    assert!(taken.contains("another message"), "{taken}");
    // It dies, and is given the same key again.
    stage.broker.die(Dies::BeforeRemoving);
    stage.replay(&by_key("a"), &renamed("a-2")).await;
    stage.settle().await;
    let changed = stage.replay(&by_key("a"), &renamed("a-2")).await;
    assert_eq!(did(&changed), [("a".to_owned(), "removed")]);
    stage.settle().await;
    assert_eq!(bed.handler.keys(), ["a", "a-2"]);
}

#[tokio::test(start_paused = true)]
async fn a_message_without_a_key_gets_one_and_one_too_large_runs_when_it_may() {
    let bed = Bed::new();
    let stage = bed.host(spec()).await;
    bed.send("work", None, "nameless", Vec::new()).await;
    bed.publish("work", "large", &"x".repeat(101)).await;
    stage.settle().await;
    let dead = stage.dead().await;
    let reasons: Vec<&str> = dead.groups.keys().copied().collect();
    assert_eq!(reasons, ["no-key", "too-large"]);
    let changed = stage.replay_all().await;
    assert!(
        changed
            .letters
            .iter()
            .all(|(_, did)| matches!(did, Did::Refused(_)))
    );

    let nameless = Which {
        reason: Some(Reason::Given(ParkReason::NoKey)),
        key: None,
    };
    let how = Replaying {
        new_key: Some("named".into()),
        ..Replaying::default()
    };
    let changed = stage.replay(&nameless, &how).await;
    assert_eq!(changed.letters[0].1, Did::Replayed { reopened: false });
    let mut larger = spec();
    larger.max_body = 1000;
    stage
        .host
        .apply(vec![larger], std::collections::BTreeMap::new())
        .await;
    let changed = stage.replay(&by_key("large"), &Replaying::default()).await;
    assert_eq!(did(&changed), [("large".to_owned(), "replayed")]);
    stage.settle().await;
    let mut ran = bed.handler.keys();
    ran.sort();
    assert_eq!(ran, ["large", "named"]);
}

#[tokio::test(start_paused = true)]
async fn a_key_in_the_body_is_not_changed() {
    let bed = Bed::new();
    let mut by_body = spec();
    by_body.key = Source::Json("/id".into());
    let stage = bed.host(by_body).await;
    bed.send("work", Some("m"), "{}", Vec::new()).await;
    stage.settle().await;
    let how = Replaying {
        new_key: Some("named".into()),
        ..Replaying::default()
    };
    let refused = refusal(&stage.replay(&by_key("m"), &how).await);
    assert!(refused.contains("in the body, at /id"), "{refused}");
}

#[tokio::test(start_paused = true)]
async fn what_no_host_wrote_is_shown_and_goes_only_when_it_is_asked_for() {
    let bed = Bed::new();
    let stage = bed.host(spec()).await;
    three_dead(&bed, &stage).await;
    let foreign = Outgoing {
        to: Target::Queue("work.dead".into()),
        body: "who wrote this?".into(),
        id: Some("stranger".into()),
        content_type: None,
        headers: vec![Header::text("x-holdfast-reason", "made up")],
        timestamp_ms: None,
    };
    stage.broker.publish(foreign).await.expect("published");
    let dead = stage.dead().await;
    assert_eq!(
        (dead.groups["foreign"].count, dead.groups["rejected"].count),
        (1, 3)
    );

    let replayed = stage
        .replay(&by_key("stranger"), &Replaying::default())
        .await;
    assert!(refusal(&replayed).contains("no host wrote it"));
    let dropped = stage.drop_letters(&Which::default(), false).await;
    assert_eq!(
        did(&dropped),
        [
            ("a", "dropped"),
            ("b", "dropped"),
            ("c", "dropped"),
            ("stranger", "refused")
        ]
        .map(|(name, did)| (name.to_owned(), did))
    );
    assert_eq!(stage.depth("work.dead").await, 1);
    let foreign = Which {
        reason: Some(Reason::Foreign),
        key: None,
    };
    stage.drop_letters(&foreign, false).await;
    assert_eq!(stage.depth("work.dead").await, 0);
    assert_eq!(
        stage.state("a").await,
        "parked",
        "a claim outlives its letter"
    );
}

#[tokio::test(start_paused = true)]
async fn a_letter_is_not_dropped_between_the_halves_of_a_replay() {
    let bed = Bed::new();
    let stage = bed.host(spec()).await;
    bed.handler.with("a", Does::Rejects);
    bed.publish("work", "a", "a").await;
    stage.settle().await;
    stage.broker.die(Dies::BeforePublishing);
    stage.replay_all().await;
    assert_eq!(stage.state("a").await, "failed");
    let refused = refusal(&stage.drop_letters(&Which::default(), false).await);
    assert!(refused.contains("a replay has begun"), "{refused}");
    assert_eq!(stage.depth("work.dead").await, 1);
}
