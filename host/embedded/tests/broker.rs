//! The embedded broker keeps the rules of every broker, in memory and on disk,
//! and what a file holds outlives the value.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_core::claim;
use holdfast_core::settle::{Confirmed, Settlement};
use holdfast_embedded::EmbeddedBroker;
use holdfast_ports::broker::{
    Broker, Delivery, Ended, Incarnation, Keep, PublishError, Subscribe, Subscription, Topology,
    dead_queue, delay_queue,
};
use holdfast_ports::conformance;
use holdfast_ports::message::{Header, Outgoing, Target};

const PATIENCE: Duration = Duration::from_secs(20);
const STEP: Duration = Duration::from_millis(200);

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_in_memory_keeps_every_rule() {
    let broker = EmbeddedBroker::open(None).unwrap();
    conformance::broker::run(async || Arc::new(broker.client()) as Arc<dyn Broker>).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_on_disk_keeps_every_rule() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("made/on/demand/queues.redb");
    let broker = EmbeddedBroker::open(Some(path)).unwrap();
    conformance::broker::run(async || Arc::new(broker.client()) as Arc<dyn Broker>).await;
}

async fn open(path: &Path, single_active: bool) -> EmbeddedBroker {
    let broker = EmbeddedBroker::open(Some(path.to_owned())).unwrap();
    let topology = Topology {
        queue: "q".to_owned(),
        declare: true,
        delays: vec![STEP],
        single_active,
    };
    assert_eq!(broker.prepare(&topology).await.unwrap(), []);
    broker
}

fn message(queue: &str, text: &str) -> Outgoing {
    Outgoing {
        to: Target::Queue(queue.to_owned()),
        body: Bytes::copy_from_slice(text.as_bytes()),
        id: None,
        content_type: None,
        headers: Vec::new(),
        timestamp_ms: None,
    }
}

async fn publish(broker: &EmbeddedBroker, texts: &[&str]) {
    for text in texts {
        broker.publish(message("q", text)).await.unwrap();
    }
}

async fn consume(broker: &EmbeddedBroker) -> Box<dyn Subscription> {
    let request = Subscribe {
        queue: "q".to_owned(),
        consumer: "test".to_owned(),
        prefetch: 100,
        exclusive: false,
    };
    broker.subscribe(&request).await.unwrap()
}

async fn next(subscription: &mut Box<dyn Subscription>) -> (String, bool, Delivery) {
    let delivery = tokio::time::timeout(PATIENCE, subscription.next()).await;
    let delivery = delivery.unwrap().unwrap();
    let text = String::from_utf8(delivery.message.body.to_vec()).unwrap();
    (text, delivery.message.redelivered, delivery)
}

fn ack() -> Settlement {
    Settlement::Ack(claim::buried_without_claim(Confirmed::by_broker()))
}

#[tokio::test]
async fn what_was_not_acknowledged_comes_again_after_a_restart_in_its_order() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queues.redb");
    let broker = open(&path, false).await;
    publish(&broker, &["a", "b", "c", "d"]).await;
    let mut consumer = consume(&broker).await;
    let mut held = Vec::new();
    for _ in 0..3 {
        held.push(next(&mut consumer).await.2);
    }
    let second = held.remove(1).ticket;
    consumer.settler().settle(second, ack()).unwrap();
    drop((consumer, broker));

    let broker = open(&path, false).await;
    let mut consumer = consume(&broker).await;
    let mut seen = Vec::new();
    for _ in 0..3 {
        let (text, redelivered, delivery) = next(&mut consumer).await;
        seen.push((text, redelivered));
        consumer.settler().settle(delivery.ticket, ack()).unwrap();
    }
    let expected = [("a", true), ("c", true), ("d", false)];
    assert_eq!(seen, expected.map(|(text, again)| (text.to_owned(), again)));
    drop((consumer, broker));

    let broker = open(&path, false).await;
    assert_eq!(broker.depth("q").await.unwrap(), Some(0));
    publish(&broker, &["e"]).await;
    let mut consumer = consume(&broker).await;
    let (text, redelivered, _) = next(&mut consumer).await;
    assert_eq!((text.as_str(), redelivered), ("e", false));
}

#[tokio::test]
async fn a_waiting_copy_survives_a_restart_and_waits_no_longer_than_it_must() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queues.redb");
    let broker = open(&path, false).await;
    publish(&broker, &["a"]).await;
    let mut consumer = consume(&broker).await;
    let (_, _, delivery) = next(&mut consumer).await;
    let left = Duration::from_secs(7);
    let start = std::time::Instant::now();
    let copied = broker.delay("q", &delivery.message, STEP, left).await;
    copied.unwrap();
    consumer.settler().settle(delivery.ticket, ack()).unwrap();
    drop((consumer, broker));

    let broker = open(&path, false).await;
    let waiting = broker.depth(&delay_queue("q", STEP)).await.unwrap();
    assert_eq!(waiting, Some(1));
    let mut consumer = consume(&broker).await;
    let (text, redelivered, delivery) = next(&mut consumer).await;
    assert!(start.elapsed() >= STEP);
    assert_eq!((text.as_str(), redelivered), ("a", false));
    assert_eq!(delivery.message.wait_left_ms, Some(7000));
    drop((consumer, broker));

    let broker = open(&path, false).await;
    assert_eq!(
        broker.depth("q").await.unwrap(),
        Some(1),
        "moved, not copied"
    );
    let (text, redelivered, _) = next(&mut consume(&broker).await).await;
    assert_eq!((text.as_str(), redelivered), ("a", true));
    assert_eq!(
        broker.depth(&delay_queue("q", STEP)).await.unwrap(),
        Some(0)
    );
}

#[tokio::test]
async fn a_message_whose_time_comes_is_counted_where_it_belongs() {
    let broker = EmbeddedBroker::open(None).unwrap();
    let topology = Topology {
        queue: "q".to_owned(),
        declare: true,
        delays: vec![STEP],
        single_active: false,
    };
    broker.prepare(&topology).await.unwrap();
    let delayed = delay_queue("q", STEP);
    broker.publish(message(&delayed, "a")).await.unwrap();
    assert_eq!(broker.depth(&delayed).await.unwrap(), Some(1));
    let start = std::time::Instant::now();
    while broker.depth("q").await.unwrap() == Some(0) {
        assert!(start.elapsed() < PATIENCE);
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(broker.depth(&delayed).await.unwrap(), Some(0));
}

#[tokio::test]
async fn a_single_active_consumer_keeps_its_turn_until_its_deliveries_are_settled() {
    let folder = tempfile::tempdir().unwrap();
    let broker = open(&folder.path().join("queues.redb"), true).await;
    publish(&broker, &["a", "b"]).await;
    let (mut old, mut new) = (consume(&broker).await, consume(&broker).await);
    let (_, _, held) = next(&mut old).await;
    old.cancel().await;
    let early = tokio::time::timeout(Duration::from_millis(100), new.next()).await;
    assert!(early.is_err(), "the old one still has a message in hand");
    old.settler()
        .settle(held.ticket, Settlement::Abandon)
        .unwrap();
    assert_eq!(next(&mut new).await.0, "a");
    assert_eq!(next(&mut new).await.0, "b");
}

#[tokio::test]
async fn only_queues_and_the_default_exchange_take_messages() {
    let broker = EmbeddedBroker::open(None).unwrap();
    broker.declare_queue("q").await.unwrap();
    let mut by_default = message("q", "a");
    by_default.to = Target::Exchange(String::new(), "q".to_owned());
    broker.publish(by_default.clone()).await.unwrap();
    by_default.to = Target::Exchange("events".to_owned(), "q".to_owned());
    let error = broker.publish(by_default).await.unwrap_err();
    assert!(matches!(error, PublishError::Returned(_)));
    assert!(error.to_string().contains("no exchange \"events\""));
    assert_eq!(broker.depth("q").await.unwrap(), Some(1));
}

#[tokio::test]
async fn queues_are_listed_and_read_without_consuming() {
    let broker = EmbeddedBroker::open(None).unwrap();
    broker.declare_queue("q").await.unwrap();
    publish(&broker, &["a", "b", "c"]).await;
    broker.declare_queue("other").await.unwrap();
    let mut letter = message("other", "poison");
    letter.headers = vec![Header::text("x-holdfast-reason", "rejected")];
    broker.publish(letter).await.unwrap();
    let mut consumer = consume(&broker).await;
    let _held = next(&mut consumer).await;

    let queues: Vec<_> = broker
        .queues()
        .into_iter()
        .map(|view| (view.name, view.ready, view.unsettled))
        .collect();
    let expected = [("other".to_owned(), 1, 0), ("q".to_owned(), 2, 1)];
    assert_eq!(queues, expected);
    let read = broker.read("q", 1).unwrap();
    assert_eq!(read.len(), 1);
    assert_eq!(&read[0].message.body[..], b"b");
    let letters = broker.read("other", 10).unwrap();
    assert_eq!(letters[0].own[0].value, b"rejected");
    assert_eq!(letters[0].message.headers, []);
    assert_eq!(broker.read("missing", 10), None);
}

#[tokio::test]
async fn a_deleted_queue_cancels_its_consumers() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queues.redb");
    let broker = open(&path, false).await;
    publish(&broker, &["a", "b"]).await;
    let mut consumer = consume(&broker).await;
    let (_, _, held) = next(&mut consumer).await;
    assert!(broker.delete_queue("q").await.unwrap());
    assert!(!broker.delete_queue("q").await.unwrap());
    assert_eq!(consumer.next().await.unwrap_err(), Ended::Cancelled);
    assert!(consumer.settler().settle(held.ticket, ack()).is_err());
    drop((consumer, broker));
    let broker = open(&path, false).await;
    assert_eq!(broker.depth("q").await.unwrap(), Some(0));
    assert_eq!(broker.depth(&dead_queue("q")).await.unwrap(), Some(0));
}

#[tokio::test]
async fn the_incarnation_survives_a_restart() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("queues.redb");
    let kept = Incarnation {
        id: "first".to_owned(),
        pulse: 7,
    };
    let broker = open(&path, false).await;
    let put = broker
        .incarnation("orders", Keep::Replace(kept.clone()))
        .await
        .unwrap();
    assert_eq!(put.as_ref(), Some(&kept));
    drop(broker);
    let broker = open(&path, false).await;
    let found = broker.incarnation("orders", Keep::Look).await.unwrap();
    assert_eq!(found, Some(kept));
}
