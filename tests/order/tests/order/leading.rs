//! Leases: one host at a time consumes, and what happens when it stops.

use std::time::Duration;

use holdfast_order::{TERMS, TestHost, World, leased, until};
use holdfast_runtime::consumer::Phase;
use holdfast_runtime::spec::ConsumerSpec;
use tokio::time::sleep;

use crate::{attempts, keys};

/// Two hosts, of which the first leads.
async fn two(world: &World) -> (TestHost, TestHost) {
    let first = world.host("first", vec![leased("work")]).await;
    first.until_consumes(&["work"]).await;
    let second = world.host("second", vec![leased("work")]).await;
    until("the second follows", async || {
        second.phase("work") == Some(Phase::Follower)
    })
    .await;
    (first, second)
}

/// Whoever waits until a host is ready may rely on its queue to be there: a
/// follower follows somebody who consumes.
#[tokio::test(start_paused = true)]
async fn a_host_follows_only_once_it_heard_that_another_leads() {
    let world = World::new();
    let first = world.host("first", vec![leased("work")]).await;
    first.faults.delay(Duration::from_secs(3));
    until("it leads", async || {
        let phase = first.phase("work");
        assert_ne!(phase, Some(Phase::Follower), "whom does it follow?");
        phase == Some(Phase::Consuming)
    })
    .await;
    let second = world.host("second", vec![leased("work")]).await;
    second.faults.delay(Duration::from_secs(3));
    until("it follows", async || {
        second.phase("work") == Some(Phase::Follower)
    })
    .await;
    assert!(second.faults.calls().contains(&"acquire"), "it did not ask");
}

#[tokio::test(start_paused = true)]
async fn one_host_at_a_time_consumes() {
    let world = World::new();
    let (first, second) = two(&world).await;
    world.publish("work", "a", 1..50, "take 5").await;
    world.until_handled("work", 49).await;
    sleep(Duration::from_mins(5)).await;
    assert_eq!(world.effects(), keys("a", 1..50));
    assert_eq!(first.handlers.calls().len(), 49);
    assert_eq!(second.handlers.calls(), []);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_ends_in_order_hands_over_at_once_after_its_last_message() {
    let world = World::new();
    let (first, second) = two(&world).await;
    world.publish("work", "a", 1..10, "take 700").await;
    until("two were handled", async || world.effects().len() == 2).await;
    sleep(Duration::from_millis(100)).await;
    first.drain().await;
    world.until_handled("work", 9).await;
    assert_eq!(world.effects(), keys("a", 1..10));
    let (last, next) = (first.handlers.calls(), second.handlers.calls());
    assert_eq!((last.len(), next.len()), (3, 6), "nothing ran twice");
    let (ended, interrupted) = last[2].ended.expect("it ended");
    assert!(!interrupted);
    let gap = next[0].at.checked_sub(ended).expect("one after the other");
    assert!(gap < Duration::from_millis(100), "{gap:?}");
}

#[tokio::test(start_paused = true)]
async fn a_handler_that_takes_longer_than_the_lease_still_ends_before_a_hand_over() {
    let world = World::new();
    let (first, second) = two(&world).await;
    world.publish("work", "a", 1..2, "take 28000").await;
    world.publish("work", "a", 2..4, "ok").await;
    until("it runs", async || first.handlers.calls().len() == 1).await;
    sleep(Duration::from_secs(2)).await;
    first.drain().await;
    world.until_handled("work", 3).await;
    assert_eq!(world.effects(), keys("a", 1..4));
    assert_eq!(attempts(&first.handlers.calls()), [1]);
    assert_eq!(second.handlers.calls_for("a-1"), [], "it did not run twice");
}

#[tokio::test(start_paused = true)]
async fn a_message_that_waits_for_its_next_attempt_comes_first_at_the_next_host() {
    let world = World::new();
    let (first, second) = two(&world).await;
    world.publish("work", "a", 1..2, "fail 1 after 60000").await;
    world.publish("work", "a", 2..20, "ok").await;
    world.publish("work", "b", 1..2, "take 3000").await;
    world.publish("work", "b", 2..20, "ok").await;
    until("the first failed", async || {
        first.handlers.calls_for("a-1").len() == 1
    })
    .await;
    sleep(Duration::from_secs(1)).await;
    first.drain().await;
    world.until_handled("work", 38).await;
    for lane in ["a", "b"] {
        assert_eq!(world.effects_of(lane), keys(lane, 1..20));
    }
    assert_eq!(attempts(&second.handlers.calls_for("a-1")), [2]);
}

#[tokio::test(start_paused = true)]
async fn a_host_that_dies_is_followed_when_its_lease_has_run_out() {
    let world = World::new();
    let (first, second) = two(&world).await;
    world.publish("work", "a", 1..30, "take 500").await;
    until("some were handled", async || world.effects().len() == 5).await;
    let died = world.now();
    first.die().await;
    world.until_handled("work", 29).await;
    assert_eq!(world.effects(), keys("a", 1..30));
    let gap = second.handlers.calls()[0].at.saturating_sub(died);
    assert!(gap < TERMS.ttl + Duration::from_millis(500), "{gap:?}");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_cannot_renew_is_interrupted_before_the_next_one_begins() {
    let world = World::new();
    let (first, second) = two(&world).await;
    world.publish("work", "a", 1..2, "take 25000").await;
    world.publish("work", "a", 2..9, "ok").await;
    until("it runs", async || first.handlers.calls().len() == 1).await;
    sleep(Duration::from_secs(3)).await;
    first.faults.down(true);
    until("the second leads", async || second.consumes() == ["work"]).await;
    let (ended, interrupted) = first.handlers.calls()[0].ended.expect("it ended");
    assert!(interrupted);
    let next = second.handlers.calls();
    assert!(
        next.iter().all(|call| call.at > ended),
        "{next:?} after {ended:?}"
    );
    first.faults.down(false);
    world.until_handled("work", 8).await;
    assert_eq!(world.effects(), keys("a", 1..9));
    assert_eq!(attempts(&second.handlers.calls_for("a-1")), [2]);
    // It is well again, and follows.
    until("the first follows", async || {
        first.phase("work") == Some(Phase::Follower)
    })
    .await;
    assert_eq!(first.handlers.calls().len(), 1, "it began nothing more");
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_steps_down_leaves_the_lease_to_another() {
    let world = World::new();
    let (first, second) = two(&world).await;
    for (from, to) in [(&first, &second), (&second, &first)] {
        from.host()
            .consumer("work")
            .expect("it is there")
            .step_down();
        to.until_consumes(&["work"]).await;
        until("it follows", async || {
            from.phase("work") == Some(Phase::Follower)
        })
        .await;
        // For good, not only until it notices that the lease was free.
        sleep(Duration::from_mins(1)).await;
        to.until_consumes(&["work"]).await;
    }
}

#[tokio::test(start_paused = true)]
async fn a_leader_that_steps_down_alone_leads_again_after_a_moment() {
    let world = World::new();
    let host = world.host("alone", vec![leased("work")]).await;
    host.until_consumes(&["work"]).await;
    host.host()
        .consumer("work")
        .expect("it is there")
        .step_down();
    until("it does not lead", async || host.consumes().is_empty()).await;
    let since = world.now();
    host.until_consumes(&["work"]).await;
    let gap = world.now() - since;
    assert!(gap <= TERMS.rest() + Duration::from_millis(100), "{gap:?}");
}

#[tokio::test(start_paused = true)]
async fn a_host_that_cannot_consume_gives_the_lease_back_and_says_why() {
    let world = World::new();
    // Its queue may not be declared and is not there.
    let unfit = ConsumerSpec {
        declare: false,
        ..leased("work")
    };
    let first = world.host("first", vec![unfit]).await;
    let unfit = || match first.phase("work") {
        Some(Phase::Waiting(why)) => {
            why.contains("no such queue") || why.contains("does not exist")
        }
        _ => false,
    };
    until("it says what is missing", async || unfit()).await;
    sleep(Duration::from_mins(1)).await;
    assert!(
        unfit(),
        "it is not taken for a follower: {:?}",
        first.phase("work")
    );
    let second = world.host("second", vec![leased("work")]).await;
    second.until_consumes(&["work"]).await;
    until("the first follows", async || {
        first.phase("work") == Some(Phase::Follower)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_paused_leader_hands_nothing_over_until_it_is_resumed_everywhere() {
    let world = World::new();
    let (first, second) = two(&world).await;
    let done = second.host().set_paused("work", true).await;
    assert!(done.expect("the store answers"));
    until("both are paused", async || {
        [&first, &second]
            .iter()
            .all(|host| host.phase("work") == Some(Phase::Paused))
    })
    .await;
    world.publish("work", "a", 1..5, "ok").await;
    sleep(Duration::from_mins(10)).await;
    assert_eq!(world.effects(), [""; 0]);
    let done = first.host().set_paused("work", false).await;
    assert!(done.expect("the store answers"));
    world.until_handled("work", 4).await;
    assert_eq!(world.effects(), keys("a", 1..5));
}
