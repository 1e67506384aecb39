//! What arrives, in which order, how much at once, and how it ends.

use bytes::Bytes;

use super::bed::{Bed, Consumer, WATCHED, to_queue, unique};
use super::cases;
use crate::broker::Ended;
use crate::message::{Header, Outgoing};

cases![
    a_message_arrives_as_it_was_published,
    an_empty_body_arrives,
    headers_of_the_host_are_dropped_but_those_of_an_outbox,
    messages_arrive_in_the_order_in_which_they_were_published,
    unsettled_deliveries_are_bounded_by_the_prefetch,
    a_message_that_is_published_later_wakes_a_waiting_consumer,
    a_queue_that_does_not_exist_cannot_be_consumed,
    an_exclusive_consumer_is_alone,
    after_a_cancel_nothing_arrives_and_the_rest_is_handed_back,
];

async fn a_message_arrives_as_it_was_published(bed: Bed) {
    bed.prepare().await;
    let sent = Outgoing {
        body: Bytes::from_static(&[0, 159, 146, 150, 255]),
        id: Some("order-17".to_owned()),
        content_type: Some("application/octet-stream".to_owned()),
        headers: vec![
            Header::text("colour", "grün"),
            Header {
                name: "raw".to_owned(),
                value: vec![0, 255, 1],
            },
            Header::text("traceparent", "00-4bf92f3577b34da6a3ce929d0e0e4736-00f0-01"),
        ],
        timestamp_ms: Some(1_700_000_000_000),
        ..to_queue(&bed.queue, "")
    };
    let confirmed = bed.broker.publish(sent.clone()).await;
    confirmed.expect("a confirmation");

    let mut consumer = bed.consumer(10).await;
    let delivery = consumer.next().await;
    let got = delivery.message;
    assert_eq!(got.body, sent.body, "the body");
    assert_eq!(got.id, sent.id, "the id");
    assert_eq!(got.content_type, sent.content_type, "the content type");
    assert_eq!(got.timestamp_ms, sent.timestamp_ms, "the timestamp");
    for header in &sent.headers {
        let value = got.header(&header.name);
        assert_eq!(value, Some(header.value.as_slice()), "{}", header.name);
    }
    assert_eq!(got.headers.len(), sent.headers.len(), "{:?}", got.headers);
    let from = (got.exchange.as_str(), got.routing_key.as_str());
    assert_eq!(from, ("", bed.queue.as_str()), "exchange and routing key");
    assert!(!got.redelivered, "its first delivery");
    assert_eq!(got.wait_left_ms, None, "it never waited");
}

async fn an_empty_body_arrives(bed: Bed) {
    bed.prepare().await;
    bed.publish([""]).await;
    bed.consumer(1).await.expect("").await;
}

async fn headers_of_the_host_are_dropped_but_those_of_an_outbox(bed: Bed) {
    bed.prepare().await;
    let sent = Outgoing {
        headers: vec![
            Header::text("x-holdfast-wait-left", "60000"),
            Header::text("x-holdfast-routing-key", "forged"),
            Header::text("x-holdfast-reason", "forged"),
            Header::text("x-holdfast-sequence", "7"),
        ],
        ..to_queue(&bed.queue, "hello")
    };
    bed.broker.publish(sent).await.expect("a confirmation");
    let got = bed.consumer(1).await.next().await.message;
    let names: Vec<&str> = got.headers.iter().map(|h| h.name.as_str()).collect();
    assert_eq!(names, ["x-holdfast-sequence"]);
    assert_eq!(got.wait_left_ms, None);
    assert_eq!(got.routing_key, bed.queue);
}

async fn messages_arrive_in_the_order_in_which_they_were_published(bed: Bed) {
    bed.prepare().await;
    let texts: Vec<String> = (0..100).map(|n| format!("message {n}")).collect();
    bed.publish(texts.clone()).await;
    let mut consumer = bed.consumer(7).await;
    for text in texts {
        let ticket = consumer.expect(&text).await.ticket;
        consumer.ack(ticket);
    }
}

/// Hazard: lapin and RabbitMQ | without prefetch the client's buffer has no bound | always set
async fn unsettled_deliveries_are_bounded_by_the_prefetch(bed: Bed) {
    bed.prepare().await;
    bed.publish(["a", "b", "c", "d"]).await;
    let mut consumer = bed.consumer(2).await;
    let first = consumer.expect("a").await;
    consumer.expect("b").await;
    consumer.expect_nothing().await;
    consumer.ack(first.ticket);
    consumer.expect("c").await;
    consumer.expect_nothing().await;
}

async fn a_message_that_is_published_later_wakes_a_waiting_consumer(bed: Bed) {
    bed.prepare().await;
    let mut consumer = bed.consumer(2).await;
    let waiting = tokio::spawn(async move { consumer.expect("late").await });
    tokio::time::sleep(WATCHED).await;
    bed.publish(["late"]).await;
    waiting.await.expect("the message");
}

async fn a_queue_that_does_not_exist_cannot_be_consumed(mut bed: Bed) {
    bed.queue = unique("missing");
    match bed.broker.subscribe(&bed.request(1)).await {
        Ok(_) => panic!("it was subscribed to"),
        Err(error) => assert!(!error.is_transient(), "{error}"),
    }
}

async fn an_exclusive_consumer_is_alone(bed: Bed) {
    bed.prepare().await;
    let mut request = bed.request(1);
    request.exclusive = true;
    let first = bed.broker.subscribe(&request).await;
    let first = Consumer::new(first.expect("a subscription"));
    match bed.other.subscribe(&request).await {
        Ok(_) => panic!("a second one was let in"),
        Err(error) => assert!(!error.is_transient(), "{error}"),
    }
    drop(first);
    let start = std::time::Instant::now();
    while bed.other.subscribe(&request).await.is_err() {
        assert!(start.elapsed() < super::bed::PATIENCE, "never free again");
        tokio::time::sleep(std::time::Duration::from_millis(10)).await;
    }
}

async fn after_a_cancel_nothing_arrives_and_the_rest_is_handed_back(bed: Bed) {
    bed.prepare().await;
    bed.publish(["a", "b", "c", "d", "e"]).await;
    let mut consumer = bed.consumer(10).await;
    let first = consumer.expect("a").await;
    let second = consumer.expect("b").await;
    consumer.subscription.cancel().await;
    consumer.subscription.cancel().await;
    let after = tokio::time::timeout(super::bed::PATIENCE, consumer.subscription.next()).await;
    let after = after.expect("an end in time");
    assert!(matches!(after, Err(Ended::Closed(_))), "{after:?}");

    // What was in hand can still be settled; only then the rest must be back,
    // so that a message that is handed back late keeps its place before it.
    consumer.ack(first.ticket);
    consumer.abandon(second.ticket);
    consumer.settler.flush().await;
    let mut next = bed.consumer_of(&bed.other, 10).await;
    for text in ["b", "c", "d", "e"] {
        next.expect(text).await;
    }
}
