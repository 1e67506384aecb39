//! A row of partitions is spread evenly over the hosts that are there.

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast_order::{TERMS, TestHost, World, row, until};
use holdfast_runtime::spec::ConsumerSpec;
use tokio::time::sleep;

use crate::keys;

const PARTITIONS: usize = 8;

fn all() -> BTreeSet<String> {
    (0..PARTITIONS).map(|n| format!("work.{n}")).collect()
}

/// Each partition is led by exactly one of these, and each host leads as many
/// as it is to, in any order.
fn are_spread(hosts: &[&TestHost], shares: &[usize]) -> bool {
    let led: Vec<Vec<String>> = hosts.iter().map(|host| host.consumes()).collect();
    let mut counts: Vec<usize> = led.iter().map(Vec::len).collect();
    counts.sort_unstable();
    let once = led.iter().flatten().collect::<BTreeSet<_>>().len() == PARTITIONS;
    once && counts == shares
}

async fn until_spread(hosts: &[&TestHost], shares: &[usize]) {
    until("the partitions are spread", async || {
        are_spread(hosts, shares)
    })
    .await;
}

#[tokio::test(start_paused = true)]
async fn a_host_alone_leads_all_of_a_row() {
    let world = World::new();
    let host = world.host("a", row("work", PARTITIONS)).await;
    until_spread(&[&host], &[8]).await;
    assert_eq!(host.consumes().into_iter().collect::<BTreeSet<_>>(), all());
}

#[tokio::test(start_paused = true)]
async fn a_new_host_has_its_share_within_two_lease_times_and_a_dead_ones_is_taken() {
    let world = World::new();
    let first = world.host("a", row("work", PARTITIONS)).await;
    until_spread(&[&first], &[8]).await;
    let second = world.host("b", row("work", PARTITIONS)).await;
    let since = world.now();
    until_spread(&[&first, &second], &[4, 4]).await;
    let third = world.host("c", row("work", PARTITIONS)).await;
    until_spread(&[&first, &second, &third], &[2, 3, 3]).await;
    let took = world.now() - since;
    assert!(took < TERMS.ttl * 2, "{took:?}");
    sleep(Duration::from_mins(10)).await;
    assert!(are_spread(&[&first, &second, &third], &[2, 3, 3]));

    let died = world.now();
    first.die().await;
    until_spread(&[&second, &third], &[4, 4]).await;
    let took = world.now() - died;
    assert!(took < TERMS.ttl + Duration::from_secs(2), "{took:?}");

    // One that ends in order leaves nothing unled for long.
    let ended = world.now();
    second.drain().await;
    until_spread(&[&third], &[8]).await;
    let took = world.now() - ended;
    assert!(took < Duration::from_secs(2), "{took:?}");
}

/// Partitions that are led by others are asked for, too, and must not be in the
/// way of the free ones.
#[tokio::test(start_paused = true)]
async fn a_free_partition_is_found_among_those_that_others_lead() {
    let world = World::new();
    let first = world.host("a", row("work", PARTITIONS)).await;
    until_spread(&[&first], &[8]).await;
    let mut longest = Duration::ZERO;
    for name in ["b", "c", "d"] {
        let since = world.now();
        let next = world.host(name, row("work", PARTITIONS)).await;
        next.faults.delay(Duration::from_millis(20));
        until_spread(&[&first, &next], &[4, 4]).await;
        longest = longest.max(world.now() - since);
        next.drain().await;
        until_spread(&[&first], &[8]).await;
    }
    println!("{longest:?}");
    assert!(longest < TERMS.retry, "{longest:?}");
}

#[tokio::test(start_paused = true)]
async fn what_is_not_to_be_moved_stays_where_it_is() {
    let world = World::new();
    let first = world.host("a", row("work", PARTITIONS)).await;
    let second = world.host("b", row("work", PARTITIONS)).await;
    until_spread(&[&first, &second], &[4, 4]).await;
    let epochs = |host: &TestHost| -> Vec<Option<u64>> {
        let status = host.host().status();
        status.iter().map(|(_, status)| status.epoch).collect()
    };
    let before = (epochs(&first), epochs(&second));
    sleep(Duration::from_hours(1)).await;
    assert_eq!((epochs(&first), epochs(&second)), before);
}

#[tokio::test(start_paused = true)]
async fn order_is_kept_while_partitions_move() {
    let world = World::new();
    let first = world.host("a", row("work", PARTITIONS)).await;
    until_spread(&[&first], &[8]).await;
    for n in 0..PARTITIONS {
        let queue = format!("work.{n}");
        world
            .publish(&queue, &format!("l{n}"), 1..200, "take 300")
            .await;
    }
    let second = world.host("b", row("work", PARTITIONS)).await;
    until_spread(&[&first, &second], &[4, 4]).await;
    let third = world.host("c", row("work", PARTITIONS)).await;
    until_spread(&[&first, &second, &third], &[2, 3, 3]).await;
    first.die().await;
    until("all are handled", async || {
        world.effects().len() == 199 * PARTITIONS
    })
    .await;
    for n in 0..PARTITIONS {
        let lane = format!("l{n}");
        assert_eq!(world.effects_of(&lane), keys(&lane, 1..200));
    }
}

#[tokio::test(start_paused = true)]
async fn a_host_that_can_lead_none_leaves_its_share_to_the_others() {
    let world = World::new();
    let unfit = |spec: ConsumerSpec| ConsumerSpec {
        queue: format!("missing.{}", spec.queue),
        declare: false,
        ..spec
    };
    let unfit = row("work", PARTITIONS).into_iter().map(unfit).collect();
    let first = world.host("unfit", unfit).await;
    let second = world.host("fit", row("work", PARTITIONS)).await;
    until_spread(&[&first, &second], &[0, 8]).await;
    let mut unled = Duration::ZERO;
    let step = Duration::from_millis(100);
    while world.now() < Duration::from_hours(1) {
        if second.consumes().len() < PARTITIONS {
            unled += step;
        }
        sleep(step).await;
    }
    assert!(
        unled < Duration::from_mins(1),
        "some unled for {unled:?} of an hour"
    );
}

#[tokio::test(start_paused = true)]
async fn a_host_that_lost_its_leases_is_not_taken_for_one_that_cannot_lead() {
    let world = World::new();
    let host = world.host("a", row("work", PARTITIONS)).await;
    until_spread(&[&host], &[8]).await;
    for n in 0..PARTITIONS {
        let lane = format!("l{n}");
        world
            .publish(&format!("work.{n}"), &lane, 1..2, "take 1000")
            .await;
    }
    until("all run", async || {
        host.handlers.calls().len() == PARTITIONS
    })
    .await;
    for partition in all() {
        world.lose_lease(&partition).await;
    }
    let since = world.now();
    until("all are handled", async || {
        world.effects().len() == PARTITIONS
    })
    .await;
    let took = world.now() - since;
    assert!(took < TERMS.ttl, "{took:?}");
}

#[tokio::test(start_paused = true)]
async fn a_partition_that_no_host_can_lead_disturbs_no_other() {
    let world = World::new();
    let specs = || {
        let mut specs = row("work", PARTITIONS);
        specs[3].queue = "missing".into();
        specs[3].declare = false;
        specs
    };
    let first = world.host("a", specs()).await;
    let second = world.host("b", specs()).await;
    let led = || first.consumes().len() + second.consumes().len();
    until("seven are led", async || {
        led() == 7 && first.consumes().len().abs_diff(second.consumes().len()) <= 1
    })
    .await;
    let mut moved = 0;
    for _ in 0..6_000 {
        sleep(Duration::from_millis(100)).await;
        moved += usize::from(led() < 7);
    }
    assert!(moved < 20, "seven were not all led {moved} times of 6000");
}
