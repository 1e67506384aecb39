//! What the tests on real brokers speak.
#![expect(dead_code, reason = "each test program uses a part of it")]

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use futures_util::future::join_all;
use holdfast_core::claim;
use holdfast_core::settle::{Confirmed, Settlement};
use holdfast_ports::broker::{
    Broker, Delivery, Finding, PublishError, Subscribe, Subscription, Topology,
};
use holdfast_ports::message::{Outgoing, Target};
use holdfast_rabbitmq::{Options, RabbitMq};
use holdfast_servers::{RabbitMq as Server, shared_rabbitmq};
use lapin::options::{QueueDeclareOptions, QueueDeleteOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{Connection, ConnectionProperties};

pub(crate) const PATIENCE: Duration = Duration::from_secs(60);

/// The server that the tests of one program share.
pub(crate) async fn shared() -> &'static Server {
    let server = tokio::task::spawn_blocking(shared_rabbitmq).await;
    server.expect("a task").expect("a server")
}

/// A server that a test may kill.
pub(crate) async fn private() -> Server {
    let server = tokio::task::spawn_blocking(Server::start).await;
    server.expect("a task").expect("a server")
}

/// Does something with a server that blocks.
pub(crate) async fn with<T: Send + 'static>(
    mut server: Server,
    act: impl FnOnce(&mut Server) -> anyhow::Result<T> + Send + 'static,
) -> (Server, T) {
    let done = tokio::task::spawn_blocking(move || {
        let result = act(&mut server);
        (server, result)
    });
    let (server, result) = done.await.expect("a task");
    (server, result.expect("the server did it"))
}

pub(crate) fn options(server: &Server) -> Options {
    let mut options = Options::new(server.url(), "live");
    options.heartbeat = Duration::from_secs(2);
    options
}

pub(crate) fn client(server: &Server) -> Arc<dyn Broker> {
    connect(options(server))
}

pub(crate) fn connect(options: Options) -> Arc<dyn Broker> {
    Arc::new(RabbitMq::connect(options).expect("an address"))
}

pub(crate) fn topology(queue: &str, delays: &[Duration]) -> Topology {
    Topology {
        queue: queue.to_owned(),
        declare: true,
        delays: delays.to_vec(),
        single_active: false,
    }
}

pub(crate) async fn prepare(broker: &Arc<dyn Broker>, topology: &Topology) -> Vec<Finding> {
    eventually("the queues are there", async || {
        broker.prepare(topology).await.ok()
    })
    .await
}

pub(crate) async fn subscribe(
    broker: &Arc<dyn Broker>,
    queue: &str,
    prefetch: u16,
) -> Box<dyn Subscription> {
    let request = Subscribe {
        queue: queue.to_owned(),
        consumer: "live".to_owned(),
        prefetch,
        exclusive: false,
    };
    eventually("a subscription", async || {
        broker.subscribe(&request).await.ok()
    })
    .await
}

pub(crate) async fn next(subscription: &mut Box<dyn Subscription>) -> Delivery {
    tokio::time::timeout(PATIENCE, subscription.next())
        .await
        .expect("a delivery in time")
        .expect("a delivery")
}

pub(crate) fn body(delivery: &Delivery) -> String {
    String::from_utf8_lossy(&delivery.message.body).into_owned()
}

pub(crate) fn message(queue: &str, text: impl Into<String>) -> Outgoing {
    Outgoing {
        to: Target::Queue(queue.to_owned()),
        body: Bytes::from(text.into()),
        id: None,
        content_type: None,
        headers: Vec::new(),
        timestamp_ms: None,
    }
}

pub(crate) async fn publish(
    broker: &Arc<dyn Broker>,
    queue: &str,
    text: impl Into<String>,
) -> Result<Confirmed, PublishError> {
    broker.publish(message(queue, text)).await
}

/// Publishes this many numbered messages at once.
pub(crate) async fn publish_many(broker: &Arc<dyn Broker>, queue: &str, count: usize) {
    let publishes = (0..count).map(|n| publish(broker, queue, n.to_string()));
    for answer in join_all(publishes).await {
        answer.expect("a confirmation");
    }
}

pub(crate) fn ack() -> Settlement {
    Settlement::Ack(claim::buried_without_claim(Confirmed::by_broker()))
}

/// Asks again and again until there is something, up to a deadline.
pub(crate) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "{what}: not in time");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
}

/// Another program's queue.
pub(crate) async fn declare_as_stranger(
    server: &Server,
    queue: &str,
    arguments: &[(&str, AMQPValue)],
) {
    let connection = stranger(server).await;
    let channel = connection.create_channel().await.expect("a channel");
    let mut table = FieldTable::default();
    for (name, value) in arguments {
        table.insert((*name).into(), value.clone());
    }
    let durable = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let declared = channel.queue_declare(queue.into(), durable, table).await;
    declared.expect("a queue");
}

pub(crate) async fn delete_as_stranger(server: &Server, queue: &str) {
    let connection = stranger(server).await;
    let channel = connection.create_channel().await.expect("a channel");
    let deleted = channel.queue_delete(queue.into(), QueueDeleteOptions::default());
    deleted.await.expect("no queue");
}

async fn stranger(server: &Server) -> Connection {
    let connected = Connection::connect(&server.url(), ConnectionProperties::default()).await;
    connected.expect("a connection")
}
