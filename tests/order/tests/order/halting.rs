//! `on-poison = "halt"`: a message that is given up stops its lane, and an
//! operator decides.

use std::time::Duration;

use holdfast_core::halt::{Stand, Then};
use holdfast_core::key::Lane;
use holdfast_order::{TestHost, World, halting, leased, spec, until};
use holdfast_runtime::halts::Mark;
use tokio::time::sleep;

use crate::{attempts, keys};

fn mark(host: &TestHost, consumer: &str, lane: &str) -> Option<Mark> {
    let consumer = host.host().consumer(consumer)?;
    let marks = consumer.context().halts.marks();
    marks.get(&Some(Lane::from_known(lane))).cloned()
}

async fn until_halted(host: &TestHost, consumer: &str, lane: &str) {
    until("the lane is halted", async || {
        mark(host, consumer, lane).is_some_and(|mark| mark.stand == Stand::Halted)
    })
    .await;
}

async fn resume(host: &TestHost, consumer: &str, lane: Option<&str>, then: Then) -> Vec<String> {
    let consumer = host.host().consumer(consumer).expect("the consumer");
    let resumed = consumer.context().halts.resume(lane, then).await;
    let resumed = resumed.expect("the store answers");
    let lanes = resumed.into_keys();
    lanes
        .map(|lane| lane.map_or_else(String::new, |l| l.to_string()))
        .collect()
}

/// Lane `a` has a poison message with three behind it, lane `b` is well.
async fn poisoned(world: &World, host: &TestHost) {
    world.publish("work", "a", 1..2, "ok").await;
    world.publish("work", "a", 2..3, "reject").await;
    world.publish("work", "a", 3..6, "ok").await;
    world.publish("work", "b", 1..30, "ok").await;
    until_halted(host, "work", "a").await;
    until("the other lane is done", async || {
        world.effects_of("b").len() == 29
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_is_given_up_stops_its_lane_and_no_other() {
    let world = World::new();
    let host = world.host("one", vec![halting(spec("work"))]).await;
    poisoned(&world, &host).await;
    sleep(Duration::from_hours(1)).await;
    assert_eq!(world.effects_of("a"), ["a-1"]);
    assert_eq!(world.effects_of("b"), keys("b", 1..30));
    assert_eq!(world.letters("work"), [""; 0], "its letter is not written");
    let (ready, held) = world.queued("work");
    assert_eq!(ready + held, 4, "the message and those behind it are kept");
    let mark = mark(&host, "work", "a").expect("a mark");
    assert_eq!(
        (mark.key.as_str(), mark.reason.as_str()),
        ("a-2", "rejected")
    );
    assert_eq!((mark.error.as_str(), mark.attempts), ("told to", 1));
}

#[tokio::test(start_paused = true)]
async fn attempts_that_are_spent_stop_the_lane_too() {
    let world = World::new();
    let host = world.host("one", vec![halting(spec("work"))]).await;
    world.publish("work", "a", 1..2, "fail 99").await;
    world.publish("work", "a", 2..3, "ok").await;
    until_halted(&host, "work", "a").await;
    let mark = mark(&host, "work", "a").expect("a mark");
    assert_eq!((mark.reason.as_str(), mark.attempts), ("attempts-spent", 3));
    assert_eq!(world.effects(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_resumed_lane_tries_its_message_again_first() {
    let world = World::new();
    let host = world.host("one", vec![halting(spec("work"))]).await;
    poisoned(&world, &host).await;
    host.handlers.mend();
    assert_eq!(resume(&host, "work", Some("a"), Then::GoOn).await, ["a"]);
    world.until_handled("work", 34).await;
    assert_eq!(world.effects_of("a"), keys("a", 1..6), "in its place");
    assert_eq!(
        attempts(&host.handlers.calls_for("a-2")),
        [1, 1],
        "from zero"
    );
    until("the mark is gone", async || {
        mark(&host, "work", "a").is_none()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_message_that_fails_again_is_parked_and_the_lane_goes_on() {
    let world = World::new();
    let host = world.host("one", vec![halting(spec("work"))]).await;
    world.publish("work", "a", 1..2, "fail 99").await;
    world.publish("work", "a", 2..5, "ok").await;
    until_halted(&host, "work", "a").await;
    resume(&host, "work", None, Then::GoOn).await;
    world.until_handled("work", 3).await;
    assert_eq!(world.effects_of("a"), keys("a", 2..5));
    assert_eq!(world.letters("work"), ["a-1"]);
    let tried = attempts(&host.handlers.calls_for("a-1"));
    assert_eq!(tried, [1, 2, 3, 1, 2, 3]);
    until("the mark is gone", async || {
        mark(&host, "work", "a").is_none()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_lane_can_halt_again_at_the_same_message() {
    let world = World::new();
    let host = world.host("one", vec![halting(spec("work"))]).await;
    poisoned(&world, &host).await;
    for round in 2..4 {
        resume(&host, "work", Some("a"), Then::HaltAgain).await;
        until("it was tried again", async || {
            host.handlers.calls_for("a-2").len() == round
        })
        .await;
        until_halted(&host, "work", "a").await;
    }
    sleep(Duration::from_hours(1)).await;
    assert_eq!(world.effects_of("a"), ["a-1"]);
    assert_eq!(world.letters("work"), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_message_can_be_skipped_without_another_attempt() {
    let world = World::new();
    let host = world.host("one", vec![halting(spec("work"))]).await;
    poisoned(&world, &host).await;
    resume(&host, "work", Some("a"), Then::Skip).await;
    world.until_handled("work", 33).await;
    assert_eq!(world.effects_of("a"), ["a-1", "a-3", "a-4", "a-5"]);
    assert_eq!(world.letters("work"), ["a-2"]);
    assert_eq!(attempts(&host.handlers.calls_for("a-2")), [1]);
}

#[tokio::test(start_paused = true)]
async fn only_the_lane_that_is_named_goes_on() {
    let world = World::new();
    let host = world.host("one", vec![halting(spec("work"))]).await;
    for lane in ["a", "b"] {
        world.publish("work", lane, 1..2, "reject").await;
        world.publish("work", lane, 2..3, "ok").await;
        until_halted(&host, "work", lane).await;
    }
    assert_eq!(resume(&host, "work", Some("c"), Then::Skip).await, [""; 0]);
    assert_eq!(resume(&host, "work", Some("b"), Then::Skip).await, ["b"]);
    until("b goes on", async || world.effects() == ["b-2"]).await;
    sleep(Duration::from_mins(5)).await;
    assert_eq!(world.effects(), ["b-2"]);
    assert_eq!(resume(&host, "work", None, Then::Skip).await, ["a"]);
    world.until_handled("work", 2).await;
}

#[tokio::test(start_paused = true)]
async fn a_halted_lane_stays_so_over_a_restart_and_can_be_resumed_after_it() {
    let world = World::new();
    let host = world.host("one", vec![halting(spec("work"))]).await;
    poisoned(&world, &host).await;
    host.drain().await;
    assert_eq!(world.queued("work"), (4, 0), "all is handed back");
    let host = world.host("one again", vec![halting(spec("work"))]).await;
    until_halted(&host, "work", "a").await;
    world.publish("work", "a", 6..8, "ok").await;
    world.publish("work", "b", 30..33, "ok").await;
    until("the other lane goes on", async || {
        world.effects_of("b").len() == 32
    })
    .await;
    sleep(Duration::from_mins(10)).await;
    assert_eq!(world.effects_of("a"), ["a-1"]);
    assert_eq!(host.handlers.calls_for("a-2"), []);
    resume(&host, "work", None, Then::Skip).await;
    world.until_handled("work", 38).await;
    assert_eq!(
        world.effects_of("a"),
        ["a-1", "a-3", "a-4", "a-5", "a-6", "a-7"]
    );
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_was_resumed_while_no_host_ran_goes_on() {
    let world = World::new();
    let host = world.host("one", vec![halting(spec("work"))]).await;
    poisoned(&world, &host).await;
    resume(&host, "work", None, Then::Skip).await;
    // As if it had died at this moment, before it could do anything about it.
    host.die().await;
    let host = world.host("two", vec![halting(spec("work"))]).await;
    world.until_handled("work", 33).await;
    assert_eq!(world.effects_of("a"), ["a-1", "a-3", "a-4", "a-5"]);
    until("the mark is gone", async || {
        mark(&host, "work", "a").is_none()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_halted_lane_stays_so_over_a_hand_over_and_any_host_resumes_it() {
    let world = World::new();
    let specs = || vec![halting(leased("work"))];
    let first = world.host("first", specs()).await;
    first.until_consumes(&["work"]).await;
    let second = world.host("second", specs()).await;
    poisoned(&world, &first).await;
    until_halted(&second, "work", "a").await;
    first.die().await;
    second.until_consumes(&["work"]).await;
    let third = world.host("third", specs()).await;
    sleep(Duration::from_mins(5)).await;
    assert_eq!(world.effects_of("a"), ["a-1"]);
    assert_eq!(second.handlers.calls_for("a-2"), []);
    // The third does not lead; the second hears of it.
    until_halted(&third, "work", "a").await;
    second.handlers.mend();
    assert_eq!(resume(&third, "work", Some("a"), Then::GoOn).await, ["a"]);
    world.until_handled("work", 34).await;
    assert_eq!(world.effects_of("a"), keys("a", 1..6));
}

#[tokio::test(start_paused = true)]
async fn where_lanes_no_longer_halt_a_halted_one_goes_on() {
    let world = World::new();
    let host = world.host("one", vec![halting(spec("work"))]).await;
    poisoned(&world, &host).await;
    let rules = std::collections::BTreeMap::new();
    host.host().apply(vec![spec("work")], rules).await;
    world.until_handled("work", 33).await;
    assert_eq!(world.letters("work"), ["a-2"]);
    until("the mark is gone", async || {
        mark(&host, "work", "a").is_none()
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn strict_order_halts_as_one_lane() {
    let world = World::new();
    let mut strict = halting(spec("work"));
    strict.order.mode = holdfast_runtime::spec::Mode::Strict;
    let host = world.host("one", vec![strict]).await;
    world.publish("work", "a", 1..2, "reject").await;
    world.publish("work", "b", 1..4, "ok").await;
    let halts = || {
        let consumer = host.host().consumer("work")?;
        consumer.context().halts.marks().get(&None).cloned()
    };
    until("it is halted", async || halts().is_some()).await;
    sleep(Duration::from_mins(5)).await;
    assert_eq!(world.effects(), [""; 0]);
    resume(&host, "work", None, Then::Skip).await;
    world.until_handled("work", 3).await;
    assert_eq!(world.effects(), keys("b", 1..4));
}

#[tokio::test(start_paused = true)]
async fn while_the_store_is_away_a_lane_is_halted_all_the_same() {
    let world = World::new();
    let host = world.host("one", vec![halting(spec("work"))]).await;
    world.publish("work", "a", 1..2, "take 1000 reject").await;
    world.publish("work", "a", 2..3, "ok").await;
    until("it runs", async || host.handlers.calls().len() == 1).await;
    sleep(Duration::from_millis(500)).await;
    host.faults.down(true);
    sleep(Duration::from_mins(1)).await;
    host.faults.down(false);
    until_halted(&host, "work", "a").await;
    sleep(Duration::from_mins(5)).await;
    assert_eq!(world.effects(), [""; 0]);
}

#[tokio::test(start_paused = true)]
async fn a_mark_that_somebody_else_removed_is_written_again() {
    let world = World::new();
    let host = world.host("one", vec![halting(spec("work"))]).await;
    poisoned(&world, &host).await;
    let store = &host.host().parts().store;
    // As one does that led before, was frozen, and knows of no halted lane.
    let (group, lane) = ("work", "a");
    let flag = &format!("halted/{group}/{lane}");
    store.set_flag(flag, None).await.expect("the store answers");
    until("it is marked again", async || {
        let flags = store.flags(flag).await.expect("the store answers");
        flags.len() == 1
    })
    .await;
    until_halted(&host, "work", "a").await;
    assert_eq!(resume(&host, "work", Some("a"), Then::Skip).await, ["a"]);
    world.until_handled("work", 33).await;
    assert_eq!(world.letters("work"), ["a-2"]);
}
