//! How deliveries end, and whose tickets are worth nothing.

use std::collections::BTreeSet;

use holdfast_core::settle::Settlement;

use super::bed::{Bed, PATIENCE, ack, body};
use super::cases;

cases![
    an_acknowledged_message_does_not_come_again,
    an_abandoned_message_comes_again_and_says_so,
    what_was_not_settled_comes_again_when_the_subscription_is_dropped,
    deliveries_are_settled_in_any_order,
    a_slow_message_does_not_hold_up_the_acknowledgement_of_others,
    a_ticket_of_another_subscription_is_given_back,
    a_flush_with_nothing_to_settle_returns,
];

async fn an_acknowledged_message_does_not_come_again(bed: Bed) {
    bed.prepare().await;
    bed.publish(["a", "b"]).await;
    let mut consumer = bed.consumer(10).await;
    for text in ["a", "b"] {
        let delivery = consumer.expect(text).await;
        consumer.ack(delivery.ticket);
    }
    consumer.leave().await;
    bed.publish(["c"]).await;
    let mut next = bed.consumer(10).await;
    next.expect("c").await;
    next.expect_nothing().await;
}

async fn an_abandoned_message_comes_again_and_says_so(bed: Bed) {
    bed.prepare().await;
    bed.publish(["a"]).await;
    let mut consumer = bed.consumer(1).await;
    let first = consumer.expect("a").await;
    assert!(!first.message.redelivered);
    consumer.abandon(first.ticket);
    let second = consumer.expect("a").await;
    assert!(second.message.redelivered);
    consumer.ack(second.ticket);
    consumer.expect_nothing().await;
}

async fn what_was_not_settled_comes_again_when_the_subscription_is_dropped(bed: Bed) {
    bed.prepare().await;
    bed.publish(["a", "b", "c"]).await;
    let mut consumer = bed.consumer(10).await;
    let first = consumer.expect("a").await;
    consumer.expect("b").await;
    consumer.ack(first.ticket);
    consumer.leave().await;

    let mut next = bed.consumer_of(&bed.other, 10).await;
    assert!(next.expect("b").await.message.redelivered);
    next.expect("c").await;
    next.expect_nothing().await;
}

async fn deliveries_are_settled_in_any_order(bed: Bed) {
    bed.prepare().await;
    let all: BTreeSet<String> = (0..300).map(|n| format!("message {n}")).collect();
    bed.publish(all.clone()).await;
    let mut consumer = bed.consumer(20).await;
    let (mut held, mut done, mut step) = (Vec::new(), BTreeSet::new(), 7_usize);
    while done.len() < all.len() {
        // Hold a handful, then settle one of them, not in the order of arrival.
        while held.len() < 10 && done.len() + held.len() < all.len() {
            held.push(consumer.next().await);
        }
        step = step.wrapping_mul(31) % 1_009;
        let delivery = held.swap_remove(step % held.len());
        if step.is_multiple_of(4) {
            consumer.abandon(delivery.ticket);
        } else {
            let text = body(&delivery);
            assert!(done.insert(text.clone()), "{text:?} came after its end");
            consumer.ack(delivery.ticket);
        }
    }
    assert_eq!(done, all);
    consumer.expect_nothing().await;
    consumer.leave().await;
    bed.depth_becomes(&bed.queue, 0).await;
    bed.consumer(10).await.expect_nothing().await;
}

async fn a_slow_message_does_not_hold_up_the_acknowledgement_of_others(bed: Bed) {
    bed.prepare().await;
    bed.publish(["slow", "a", "b", "c"]).await;
    let mut consumer = bed.consumer(4).await;
    let _slow = consumer.expect("slow").await;
    for text in ["a", "b", "c"] {
        let delivery = consumer.expect(text).await;
        consumer.ack(delivery.ticket);
    }
    consumer.leave().await;
    let mut next = bed.consumer_of(&bed.other, 10).await;
    next.expect("slow").await;
    next.expect_nothing().await;
}

async fn a_ticket_of_another_subscription_is_given_back(bed: Bed) {
    bed.prepare().await;
    bed.publish(["a"]).await;
    let mut consumer = bed.consumer(1).await;
    let old = consumer.expect("a").await.ticket;
    let (generation, tag) = (old.generation, old.tag);
    drop(consumer);

    let mut next = bed.consumer(1).await;
    let delivery = next.expect("a").await;
    let refused = next.settler.settle(old, ack());
    let ticket = refused.expect_err("a ticket of another channel was taken");
    assert_eq!((ticket.generation, ticket.tag), (generation, tag));
    let refused = next.settler.settle(ticket, Settlement::Abandon);
    refused.expect_err("a ticket of another channel was taken");

    next.ack(delivery.ticket);
    next.expect_nothing().await;
}

async fn a_flush_with_nothing_to_settle_returns(bed: Bed) {
    bed.prepare().await;
    let consumer = bed.consumer(1).await;
    let flushed = tokio::time::timeout(PATIENCE, consumer.leave()).await;
    flushed.expect("a flush in time");
}
