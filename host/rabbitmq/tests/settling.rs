//! Acknowledgements that are followed by a close.

mod common;

use common::*;
use holdfast_ports::broker::{Settler, Ticket};
use holdfast_servers::unique;

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
