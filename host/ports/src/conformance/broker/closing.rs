//! What a subscription that is closed leaves behind: everything that was not
//! settled, in its order, before anybody else gets what comes later.

use std::collections::BTreeSet;

use super::bed::{Bed, Consumer, PATIENCE, ack, body};
use super::cases;
use crate::broker::{Ended, Topology};

cases![
    what_is_not_settled_goes_back_in_order_when_a_subscription_is_closed,
    of_a_queue_for_one_at_a_time_others_wait_in_line_and_then_get_the_rest_in_order,
    whoever_waits_for_an_exclusive_queue_gets_the_rest_in_order,
    a_subscription_is_closed_more_than_once,
];

const MESSAGES: usize = 90;

fn text(number: usize) -> String {
    format!("message {number}")
}

/// Takes twenty, settles some of them out of order, and closes: then nothing can
/// be settled any more. Gives what must come next.
async fn take_some_and_close(mut consumer: Consumer) -> Vec<String> {
    let mut tickets = Vec::new();
    for number in 0..20 {
        tickets.push(Some(consumer.expect(&text(number)).await.ticket));
    }
    let settled: BTreeSet<usize> = [7, 2, 0, 3, 11, 19, 12].into();
    for number in &settled {
        consumer.ack(tickets[*number].take().expect("settled once"));
    }
    consumer.subscription.close().await;
    let after = tokio::time::timeout(PATIENCE, consumer.subscription.next()).await;
    let after = after.expect("an end in time");
    assert!(matches!(after, Err(Ended::Closed(_))), "{after:?}");
    let void = tickets[5].take().expect("not settled");
    let settled_late = consumer.settler.settle(void, ack());
    settled_late.expect_err("it was settled after the end");
    let left = (0..MESSAGES).filter(|number| !settled.contains(number));
    left.map(text).collect()
}

async fn expect_all(consumer: &mut Consumer, texts: Vec<String>) {
    for text in texts {
        let delivery = consumer.next().await;
        assert_eq!(body(&delivery), text, "the next message");
        consumer.ack(delivery.ticket);
    }
    consumer.expect_nothing().await;
}

/// Hazard: lapin and RabbitMQ | a message that is requeued keeps its place only if possible | retried in place; handed back all together
async fn what_is_not_settled_goes_back_in_order_when_a_subscription_is_closed(bed: Bed) {
    bed.prepare().await;
    bed.publish((0..MESSAGES).map(text)).await;
    let consumer = bed.consumer(60).await;
    let left = take_some_and_close(consumer).await;
    let mut next = bed.consumer_of(&bed.other, 60).await;
    expect_all(&mut next, left).await;
}

async fn of_a_queue_for_one_at_a_time_others_wait_in_line_and_then_get_the_rest_in_order(bed: Bed) {
    let topology = Topology {
        single_active: true,
        ..bed.topology()
    };
    for broker in [&bed.broker, &bed.other] {
        let findings = broker.prepare(&topology).await;
        assert_eq!(findings.expect("it can be declared"), []);
    }
    bed.publish((0..MESSAGES).map(text)).await;
    let mut request = bed.request(60);
    request.exclusive = true;
    let first = bed.broker.subscribe(&request).await;
    let first = Consumer::new(first.expect("a subscription"));
    let second = bed.other.subscribe(&request).await;
    let mut second = Consumer::new(second.expect("a place in line"));
    second.expect_nothing().await;
    let left = take_some_and_close(first).await;
    expect_all(&mut second, left).await;
}

async fn whoever_waits_for_an_exclusive_queue_gets_the_rest_in_order(bed: Bed) {
    bed.prepare().await;
    bed.publish((0..MESSAGES).map(text)).await;
    let mut request = bed.request(60);
    request.exclusive = true;
    let first = bed.broker.subscribe(&request).await;
    let first = Consumer::new(first.expect("a subscription"));
    let (other, asks) = (bed.other.clone(), request.clone());
    let waiting = tokio::spawn(async move {
        loop {
            match other.subscribe(&asks).await {
                Ok(subscription) => return Consumer::new(subscription),
                Err(_) => tokio::task::yield_now().await,
            }
        }
    });
    let left = take_some_and_close(first).await;
    let second = tokio::time::timeout(PATIENCE, waiting).await;
    let mut second = second.expect("its turn in time").expect("a consumer");
    expect_all(&mut second, left).await;
}

async fn a_subscription_is_closed_more_than_once(bed: Bed) {
    bed.prepare().await;
    bed.publish(["a"]).await;
    let mut consumer = bed.consumer(1).await;
    consumer.expect("a").await;
    for _ in 0..2 {
        let closed = tokio::time::timeout(PATIENCE, consumer.subscription.close()).await;
        closed.expect("an end in time");
    }
    bed.consumer_of(&bed.other, 1).await.expect("a").await;
}
