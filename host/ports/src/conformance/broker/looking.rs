//! Looking through a queue: nothing is lost, and nothing changes its place.

use std::time::Duration;

use super::bed::{Bed, Consumer, PATIENCE, STEP, WATCHED, body, to_queue, unique};
use super::cases;
use crate::broker::delay_queue;
use crate::look::{Counts, Look, Seen};
use crate::message::{Header, Outgoing};

cases![
    a_queue_that_does_not_exist_cannot_be_looked_at,
    a_look_shows_every_message_in_its_order_and_leaves_it_there,
    a_look_shows_no_more_than_it_was_asked_for,
    a_look_shows_the_hosts_own_headers_apart,
    what_is_removed_is_gone_and_the_rest_keeps_its_order,
    a_look_that_ends_half_way_puts_everything_back_in_its_order,
    what_arrives_during_a_look_stays_behind_what_it_saw,
    a_second_look_waits_for_the_first,
    a_waiting_copy_that_was_looked_at_comes_back_all_the_same,
    consumers_are_counted,
];

/// More messages than an adapter would ask for at once.
const MANY: usize = 700;

async fn look(bed: &Bed, queue: &str, limit: usize) -> Box<dyn Look> {
    let look = tokio::time::timeout(PATIENCE, bed.broker.look(queue, limit)).await;
    let look = look.expect("a look in time").expect("a look");
    look.expect("there is such a queue")
}

async fn next(look: &mut Box<dyn Look>) -> Option<Seen> {
    let next = tokio::time::timeout(PATIENCE, look.next()).await;
    next.expect("an answer in time").expect("an answer")
}

fn text(seen: &Seen) -> String {
    String::from_utf8_lossy(&seen.message.body).into_owned()
}

/// The texts of everything that a look shows.
async fn all(look: &mut Box<dyn Look>) -> Vec<String> {
    let mut texts = Vec::new();
    while let Some(seen) = next(look).await {
        texts.push(text(&seen));
    }
    texts
}

fn numbers(range: std::ops::Range<usize>) -> Vec<String> {
    range.map(|n| format!("message {n}")).collect()
}

/// Many at once, in their order.
async fn publish(bed: &Bed, texts: &[String]) {
    bed.publish(texts.iter().cloned()).await;
    bed.depth_becomes(&bed.queue, texts.len() as u64).await;
}

async fn consume_all(consumer: &mut Consumer, expected: &[String]) {
    for text in expected {
        let ticket = consumer.expect(text).await.ticket;
        consumer.ack(ticket);
    }
    consumer.expect_nothing().await;
}

async fn a_queue_that_does_not_exist_cannot_be_looked_at(bed: Bed) {
    let missing = bed.broker.look(&unique("missing"), 10).await;
    assert!(missing.expect("an answer").is_none());
    bed.prepare().await;
    let mut empty = look(&bed, &bed.queue, 10).await;
    assert_eq!(empty.ready(), 0);
    assert!(next(&mut empty).await.is_none());
    empty.leave().await.expect("an end");
}

async fn a_look_shows_every_message_in_its_order_and_leaves_it_there(bed: Bed) {
    bed.prepare().await;
    let texts = numbers(0..MANY);
    publish(&bed, &texts).await;
    for _ in 0..2 {
        let mut look = look(&bed, &bed.queue, MANY + 1).await;
        assert_eq!(look.ready(), MANY as u64);
        assert_eq!(all(&mut look).await, texts);
        look.leave().await.expect("an end");
        bed.depth_becomes(&bed.queue, MANY as u64).await;
    }
    consume_all(&mut bed.consumer(100).await, &texts).await;
}

async fn a_look_shows_no_more_than_it_was_asked_for(bed: Bed) {
    bed.prepare().await;
    let texts = numbers(0..20);
    publish(&bed, &texts).await;
    let mut look = look(&bed, &bed.queue, 7).await;
    assert_eq!(look.ready(), 20);
    assert_eq!(all(&mut look).await, texts[..7]);
    look.leave().await.expect("an end");
    consume_all(&mut bed.consumer(100).await, &texts).await;
}

async fn a_look_shows_the_hosts_own_headers_apart(bed: Bed) {
    bed.prepare().await;
    let sent = Outgoing {
        id: Some("order-17".to_owned()),
        content_type: Some("text/plain".to_owned()),
        timestamp_ms: Some(1_700_000_000_000),
        headers: vec![
            Header::text("colour", "grün"),
            Header::text("x-holdfast-reason", "rejected"),
            Header::text("x-holdfast-lane", "l"),
        ],
        ..to_queue(&bed.queue, "poison")
    };
    bed.broker.publish(sent).await.expect("a confirmation");
    bed.depth_becomes(&bed.queue, 1).await;
    let mut look = look(&bed, &bed.queue, 10).await;
    let seen = next(&mut look).await.expect("the message");
    let message = &seen.message;
    assert_eq!(text(&seen), "poison");
    assert_eq!(message.id.as_deref(), Some("order-17"));
    assert_eq!(message.content_type.as_deref(), Some("text/plain"));
    assert_eq!(message.timestamp_ms, Some(1_700_000_000_000));
    assert_eq!(message.header("colour"), Some("grün".as_bytes()));
    assert_eq!(message.header("x-holdfast-lane"), Some("l".as_bytes()));
    assert_eq!(message.headers.len(), 2, "{:?}", message.headers);
    assert_eq!(seen.own, [Header::text("x-holdfast-reason", "rejected")]);
    look.leave().await.expect("an end");
}

async fn what_is_removed_is_gone_and_the_rest_keeps_its_order(bed: Bed) {
    bed.prepare().await;
    let texts = numbers(0..MANY);
    publish(&bed, &texts).await;
    let mut look = look(&bed, &bed.queue, MANY).await;
    let (mut kept, mut gone, mut count) = (Vec::new(), Vec::new(), 0);
    while let Some(seen) = next(&mut look).await {
        // A few while it looks, others afterwards.
        match count % 100 {
            7 => look.remove(seen.spot).await.expect("removed"),
            n if n % 5 == 3 => gone.push(seen.spot),
            _ => kept.push(text(&seen)),
        }
        count += 1;
    }
    assert_eq!(count, MANY);
    gone.reverse();
    for spot in gone {
        look.remove(spot).await.expect("removed");
    }
    look.leave().await.expect("an end");
    bed.depth_becomes(&bed.queue, kept.len() as u64).await;
    consume_all(&mut bed.consumer(100).await, &kept).await;
}

async fn a_look_that_ends_half_way_puts_everything_back_in_its_order(bed: Bed) {
    bed.prepare().await;
    let texts = numbers(0..MANY);
    publish(&bed, &texts).await;
    for seen_before in [1, MANY / 2, MANY] {
        let mut look = look(&bed, &bed.queue, MANY).await;
        for text in &texts[..seen_before] {
            let seen = next(&mut look).await.expect("a message");
            assert_eq!(&self::text(&seen), text);
        }
        drop(look);
        bed.depth_becomes(&bed.queue, MANY as u64).await;
    }
    consume_all(&mut bed.consumer(100).await, &texts).await;
}

async fn what_arrives_during_a_look_stays_behind_what_it_saw(bed: Bed) {
    bed.prepare().await;
    let texts = numbers(0..10);
    publish(&bed, &texts[..5]).await;
    let mut look = look(&bed, &bed.queue, 100).await;
    next(&mut look).await.expect("a message");
    bed.publish(texts[5..].iter().cloned()).await;
    for text in &texts[1..5] {
        let seen = next(&mut look).await.expect("a message");
        assert_eq!(&self::text(&seen), text);
    }
    look.leave().await.expect("an end");
    bed.depth_becomes(&bed.queue, 10).await;
    consume_all(&mut bed.consumer(100).await, &texts).await;
}

async fn a_second_look_waits_for_the_first(bed: Bed) {
    bed.prepare().await;
    publish(&bed, &numbers(0..3)).await;
    let mut first = look(&bed, &bed.queue, 10).await;
    let spot = next(&mut first).await.expect("a message").spot;
    for broker in [bed.broker.clone(), bed.other.clone()] {
        let early = tokio::time::timeout(WATCHED, broker.look(&bed.queue, 10)).await;
        assert!(early.is_err(), "a second look was let in");
    }
    let (queue, other) = (bed.queue.clone(), bed.other.clone());
    let second = tokio::spawn(async move {
        let look = other.look(&queue, 10).await.expect("a look");
        let mut look = look.expect("there is such a queue");
        let seen = all(&mut look).await;
        look.leave().await.expect("an end");
        seen
    });
    first.remove(spot).await.expect("removed");
    first.leave().await.expect("an end");
    assert_eq!(second.await.expect("a look"), numbers(1..3));
}

async fn a_waiting_copy_that_was_looked_at_comes_back_all_the_same(bed: Bed) {
    bed.prepare().await;
    bed.publish(["later"]).await;
    let mut consumer = bed.consumer(10).await;
    let first = consumer.expect("later").await;
    let copied = bed
        .broker
        .delay(&bed.queue, &first.message, STEP, Duration::ZERO);
    copied.await.expect("a confirmation");
    consumer.ack(first.ticket);
    // It may be over before the look begins.
    let delay = delay_queue(&bed.queue, STEP);
    let mut look = look(&bed, &delay, 10).await;
    let _ = all(&mut look).await;
    look.leave().await.expect("an end");
    let again = consumer.expect("later").await;
    assert_eq!(body(&again), "later");
    consumer.ack(again.ticket);
    consumer.expect_nothing().await;
}

async fn consumers_are_counted(bed: Bed) {
    let counts = async || bed.broker.counts(&bed.queue).await.expect("counts");
    assert_eq!(counts().await, None);
    bed.prepare().await;
    assert_eq!(counts().await, Some(Counts::default()));
    let becomes = async |expected| {
        let start = std::time::Instant::now();
        while counts().await.map(|c| c.consumers) != Some(expected) {
            assert!(start.elapsed() < PATIENCE, "{:?}", counts().await);
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    };
    let mut one = bed.consumer(1).await;
    let two = bed.consumer_of(&bed.other, 1).await;
    becomes(2).await;
    one.subscription.cancel().await;
    becomes(1).await;
    drop(two);
    becomes(0).await;
}
