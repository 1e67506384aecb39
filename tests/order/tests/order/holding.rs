//! Messages that wait for long are handed back before the broker's own limit of
//! 30 minutes, and nothing is hurried or reordered by that.

use std::time::Duration;

use holdfast_core::retry::Backoff;
use holdfast_order::{TestHost, World, halting, spec, until};
use holdfast_runtime::spec::{ConsumerSpec, Mode};
use tokio::time::sleep;

use crate::{attempts, keys};

/// The broker would close the channel after this long.
const LIMIT: Duration = Duration::from_mins(30);

/// Waits in the host for as long as it takes.
fn patient(mode: Mode) -> ConsumerSpec {
    let mut spec = spec("work");
    spec.order.mode = mode;
    spec.backoff = Backoff {
        attempts: 3,
        initial: Duration::from_hours(1),
        factor: 1.0,
        max: Duration::from_hours(1),
        jitter: 0.0,
        hold_below: Duration::from_hours(2),
    };
    spec
}

/// Watches that messages are handed back and come again before the limit, as
/// long as this holds; gives how often that was.
async fn watched(world: &World, host: &TestHost, mut goes_on: impl FnMut() -> bool) -> usize {
    let (mut since, mut returned) = (world.now(), 0);
    let mut received = host.received("work");
    while goes_on() {
        let now = host.received("work");
        if now != received {
            (received, since) = (now, world.now());
            returned += 1;
        }
        assert!(world.now() - since < LIMIT, "held for too long");
        sleep(Duration::from_millis(100)).await;
    }
    returned
}

/// Hazard: lapin and RabbitMQ | the broker's time-out for unacknowledged messages closes the channel | messages are handed back before it
#[tokio::test(start_paused = true)]
async fn without_an_order_a_waiting_message_is_handed_back_and_not_tried_early() {
    let world = World::new();
    let host = world.host("one", vec![patient(Mode::None)]).await;
    world.publish("work", "a", 1..2, "fail 1").await;
    let returned = watched(&world, &host, || world.effects().is_empty()).await;
    assert!(returned >= 2, "handed back {returned} times");
    let calls = host.handlers.calls();
    assert_eq!(attempts(&calls), [1, 2]);
    let waited = calls[1].at - calls[0].at;
    let hour = Duration::from_hours(1);
    assert!(
        waited >= hour && waited < hour + Duration::from_mins(1),
        "{waited:?}"
    );
}

#[tokio::test(start_paused = true)]
async fn a_lane_that_waits_is_handed_back_in_its_order_and_not_tried_early() {
    let world = World::new();
    let host = world.host("one", vec![patient(Mode::Lanes)]).await;
    world.publish("work", "a", 1..2, "fail 2").await;
    world.publish("work", "a", 2..20, "ok").await;
    world.publish("work", "b", 1..20, "ok").await;
    let returned = watched(&world, &host, || world.effects().len() < 38).await;
    assert!(returned >= 4, "handed back {returned} times");
    assert_eq!(world.effects_of("a"), keys("a", 1..20));
    assert_eq!(world.effects_of("b"), keys("b", 1..20));
    let calls = host.handlers.calls_for("a-1");
    assert_eq!(attempts(&calls), [1, 2, 3]);
    for pair in calls.windows(2) {
        let waited = pair[1].at - pair[0].at;
        assert!(waited >= Duration::from_hours(1), "{waited:?}");
    }
}

#[tokio::test(start_paused = true)]
async fn a_halted_lane_is_handed_back_again_and_again_and_stays_halted() {
    let world = World::new();
    let host = world.host("one", vec![halting(patient(Mode::Lanes))]).await;
    world.publish("work", "a", 1..2, "reject").await;
    world.publish("work", "a", 2..9, "ok").await;
    until("it is rejected", async || host.handlers.calls().len() == 1).await;
    let three_hours = || world.now() < Duration::from_hours(3);
    let returned = watched(&world, &host, three_hours).await;
    assert!(returned >= 6, "handed back {returned} times in three hours");
    assert_eq!(world.effects(), [""; 0]);
    // Lanes that are well hardly notice.
    world.publish("work", "b", 1..5, "ok").await;
    until("they are handled", async || {
        world.effects_of("b") == keys("b", 1..5)
    })
    .await;
}

/// A lost connection of which the broker does not know yet is a consumer that
/// has messages and does nothing with them.
#[tokio::test(start_paused = true)]
async fn without_a_lease_too_one_consumer_at_a_time_has_messages() {
    let world = World::new();
    let first = world.host("first", vec![spec("work")]).await;
    world.publish("work", "a", 1..2, "take 20000").await;
    world.publish("work", "a", 2..9, "ok").await;
    until("it runs", async || first.handlers.calls().len() == 1).await;
    let second = world.host("second", vec![spec("work")]).await;
    world.publish("work", "a", 9..200, "ok").await;
    sleep(Duration::from_secs(10)).await;
    assert_eq!(second.handlers.calls(), [], "it was given later ones");
    first.die().await;
    world.until_handled("work", 199).await;
    assert_eq!(world.effects(), keys("a", 1..200));
}
