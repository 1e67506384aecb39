//! Waiting copies: they come back after their time, as they were.

use std::time::{Duration, Instant};

use super::bed::{Bed, STEP, to_queue};
use super::cases;
use crate::message::{Header, Outgoing};

cases![
    a_waiting_copy_comes_back_after_its_time_as_it_was,
    a_copy_that_waits_again_still_knows_where_it_came_from,
];

async fn a_waiting_copy_comes_back_after_its_time_as_it_was(bed: Bed) {
    bed.prepare().await;
    let sent = Outgoing {
        id: Some("order-17".to_owned()),
        content_type: Some("text/plain".to_owned()),
        headers: vec![Header::text("colour", "green")],
        timestamp_ms: Some(1_700_000_000_000),
        ..to_queue(&bed.queue, "later")
    };
    bed.broker.publish(sent).await.expect("a confirmation");
    let mut consumer = bed.consumer(10).await;
    let first = consumer.expect("later").await;

    let start = Instant::now();
    let copied = bed
        .broker
        .delay(&bed.queue, &first.message, STEP, Duration::ZERO);
    copied.await.expect("a confirmation");
    consumer.ack(first.ticket);

    let again = consumer.expect("later").await;
    let waited = start.elapsed();
    assert!(waited + Duration::from_millis(20) >= STEP, "{waited:?}");
    let (before, after) = (&first.message, &again.message);
    assert_eq!(after.id, before.id);
    assert_eq!(after.content_type, before.content_type);
    assert_eq!(after.headers, before.headers);
    assert_eq!(after.timestamp_ms, before.timestamp_ms);
    assert_eq!(after.exchange, before.exchange);
    assert_eq!(after.routing_key, before.routing_key);
    assert_eq!(after.wait_left_ms.unwrap_or(0), 0, "its wait is over");
    consumer.ack(again.ticket);
    consumer.expect_nothing().await;
}

async fn a_copy_that_waits_again_still_knows_where_it_came_from(bed: Bed) {
    bed.prepare().await;
    bed.publish(["later"]).await;
    let mut consumer = bed.consumer(10).await;
    let mut delivery = consumer.expect("later").await;
    // As if it had been published elsewhere and bound to this queue.
    let mut message = (*delivery.message).clone();
    message.exchange = "shop".to_owned();
    message.routing_key = "orders.new".to_owned();
    for left in [90_000, 30_000] {
        let wait = Duration::from_millis(left);
        let copied = bed.broker.delay(&bed.queue, &message, STEP, wait).await;
        copied.expect("a confirmation");
        consumer.ack(delivery.ticket);
        delivery = consumer.expect("later").await;
        message = (*delivery.message).clone();
        assert_eq!(message.wait_left_ms, Some(left));
        assert_eq!(message.exchange, "shop");
        assert_eq!(message.routing_key, "orders.new");
        assert_eq!(message.headers, [], "the host's own are not shown");
    }
    consumer.ack(delivery.ticket);
}
