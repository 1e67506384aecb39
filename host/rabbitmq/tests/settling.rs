//! Acknowledgements that are followed by a close.

mod common;

use std::collections::BTreeSet;

use common::*;
use holdfast_core::settle::Settlement;
use holdfast_ports::broker::{Settler, Ticket};
use holdfast_servers::unique;

/// Hazard: lapin and RabbitMQ | acknowledgements right before a close come back as redeliveries from quorum queues | a drain waits until the broker has seen them
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_was_acknowledged_before_a_close_never_comes_again() {
    const COUNT: usize = 5_000;
    let server = shared().await;
    let (feeder, queue) = (client(server), unique("drain"));
    prepare(&feeder, &topology(&queue, &[])).await;
    for round in 0..20 {
        publish_many(&feeder, &queue, COUNT).await;
        let broker = client(server);
        let mut subscription = subscribe(&broker, &queue, 256).await;
        let settler = subscription.settler();
        let mut last = Vec::new();
        for n in 0..COUNT {
            let delivery = next(&mut subscription).await;
            let first = !delivery.message.redelivered;
            assert!(first, "{} in round {round}", body(&delivery));
            last.push(delivery.ticket);
            if n < COUNT - 200 {
                settle(&*settler, &mut last);
            }
        }
        // As a drain does it: no more, the last ones end, close.
        subscription.cancel().await;
        settle(&*settler, &mut last);
        if round % 2 == 0 {
            broker.close().await;
        } else {
            settler.flush().await;
            drop((subscription, settler, broker));
        }
    }
    // Whatever had come back would be before it.
    publish(&feeder, &queue, "last")
        .await
        .expect("a confirmation");
    let mut subscription = subscribe(&feeder, &queue, 10).await;
    assert_eq!(body(&next(&mut subscription).await), "last");
}

/// A drain under load: some were acknowledged out of order, others end after the
/// cancel, the rest is handed back.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_drain_brings_back_what_was_abandoned_and_nothing_else() {
    const ROUNDS: usize = 30;
    const RUNNING: usize = 32;
    let server = shared().await;
    let (feeder, queue) = (client(server), unique("mixed"));
    prepare(&feeder, &topology(&queue, &[])).await;
    publish_many(&feeder, &queue, ROUNDS * 400).await;
    let mut done = BTreeSet::new();
    for round in 0..ROUNDS {
        let broker = client(server);
        let mut subscription = subscribe(&broker, &queue, 256).await;
        let settler = subscription.settler();
        let mut window = Vec::new();
        for n in 0..300 {
            let delivery = next(&mut subscription).await;
            let text = body(&delivery);
            assert!(!done.contains(&text), "{text} again in round {round}");
            window.push(delivery);
            if window.len() > 240 {
                let one = window.swap_remove(n * 7 % RUNNING);
                done.insert(body(&one));
                settler.settle(one.ticket, ack()).expect("a live channel");
            }
        }
        window.sort_by_key(|delivery| delivery.ticket.tag);
        let waiting = window.split_off(RUNNING);
        for delivery in waiting {
            let abandoned = settler.settle(delivery.ticket, Settlement::Abandon);
            abandoned.expect("a live channel");
        }
        subscription.cancel().await;
        for delivery in window {
            done.insert(body(&delivery));
            settler
                .settle(delivery.ticket, ack())
                .expect("a live channel");
            tokio::task::yield_now().await;
        }
        settler.flush().await;
        drop((subscription, settler));
        broker.close().await;
    }
    let mut subscription = subscribe(&feeder, &queue, 256).await;
    while done.len() < ROUNDS * 400 {
        let delivery = next(&mut subscription).await;
        let text = body(&delivery);
        assert!(done.insert(text), "{} again", body(&delivery));
        let settled = subscription.settler().settle(delivery.ticket, ack());
        settled.expect("a live channel");
    }
}

fn settle(settler: &dyn Settler, tickets: &mut Vec<Ticket>) {
    for ticket in tickets.drain(..) {
        settler.settle(ticket, ack()).expect("a live channel");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dropping_a_client_that_took_messages_gives_them_to_another() {
    let server = shared().await;
    let (broker, queue) = (client(server), unique("dropped"));
    prepare(&broker, &topology(&queue, &[])).await;
    publish_many(&broker, &queue, 100).await;
    let other = client(server);
    let mut subscription = subscribe(&other, &queue, 100).await;
    next(&mut subscription).await;
    drop((subscription, other));
    let mut subscription = subscribe(&broker, &queue, 100).await;
    let mut seen = Vec::new();
    for _ in 0..100 {
        seen.push(body(&next(&mut subscription).await));
    }
    let expected: Vec<String> = (0..100).map(|n| n.to_string()).collect();
    assert_eq!(seen, expected, "all of them, in order");
}

/// While much is open, what is settled beyond it waits for company; not for ever.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_behind_slow_ones_makes_room_for_another_all_the_same() {
    const PREFETCH: u16 = 64;
    const MORE: usize = 50;
    let server = shared().await;
    let (broker, queue) = (client(server), unique("slow"));
    prepare(&broker, &topology(&queue, &[])).await;
    publish_many(&broker, &queue, usize::from(PREFETCH) + MORE).await;
    let mut subscription = subscribe(&broker, &queue, PREFETCH).await;
    let settler = subscription.settler();
    let mut slow = Vec::new();
    for _ in 1..PREFETCH {
        slow.push(next(&mut subscription).await.ticket);
    }
    for _ in 0..MORE {
        let quick = next(&mut subscription).await;
        settler.settle(quick.ticket, ack()).expect("a live channel");
    }
    // There is only one place besides the slow ones, so each made room.
    next(&mut subscription).await;
    assert_eq!(slow.len(), usize::from(PREFETCH) - 1);
}
