//! What the cases speak: queues of their own, messages with a text, consumers
//! that expect deliveries.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use bytes::Bytes;
use holdfast_core::claim;
use holdfast_core::settle::{Confirmed, Settlement};

use crate::broker::{Broker, Delivery, Settler, Subscribe, Subscription, Ticket, Topology};
use crate::message::{Outgoing, Target};

/// How long anything that must happen may take.
pub(super) const PATIENCE: Duration = Duration::from_secs(90);

/// How long a case watches that something does not happen.
pub(super) const WATCHED: Duration = Duration::from_millis(150);

/// The step of the delay queues that [`Bed::prepare`] makes.
pub(super) const STEP: Duration = Duration::from_millis(300);

/// Two clients of one broker, and a queue that nobody else uses.
pub(super) struct Bed {
    pub(super) broker: Arc<dyn Broker>,
    pub(super) other: Arc<dyn Broker>,
    pub(super) queue: String,
}

impl Bed {
    pub(super) fn new(broker: Arc<dyn Broker>, other: Arc<dyn Broker>) -> Self {
        Self {
            broker,
            other,
            queue: unique("case"),
        }
    }

    /// Declares the queue with one delay step.
    pub(super) async fn prepare(&self) {
        let findings = self.broker.prepare(&self.topology()).await;
        let findings = findings.expect("the queues can be declared");
        assert_eq!(findings, [], "findings about new queues");
    }

    pub(super) fn topology(&self) -> Topology {
        Topology {
            queue: self.queue.clone(),
            declare: true,
            delays: vec![STEP],
            single_active: false,
        }
    }

    /// A consumer with this many unsettled deliveries at once.
    pub(super) async fn consumer(&self, prefetch: u16) -> Consumer {
        self.consumer_of(&self.broker, prefetch).await
    }

    /// The same on a client of the case's choice.
    pub(super) async fn consumer_of(&self, broker: &Arc<dyn Broker>, prefetch: u16) -> Consumer {
        let request = self.request(prefetch);
        let subscription = broker.subscribe(&request).await.expect("a subscription");
        Consumer::new(subscription)
    }

    pub(super) fn request(&self, prefetch: u16) -> Subscribe {
        Subscribe {
            queue: self.queue.clone(),
            consumer: "case".to_owned(),
            prefetch,
            exclusive: false,
        }
    }

    /// Publishes messages with these texts, one after another.
    pub(super) async fn publish(&self, texts: impl IntoIterator<Item = impl Into<String>>) {
        for text in texts {
            let message = to_queue(&self.queue, text);
            self.broker.publish(message).await.expect("a confirmation");
        }
    }

    /// Waits until this many messages are ready in a queue.
    pub(super) async fn depth_becomes(&self, queue: &str, expected: u64) {
        let start = Instant::now();
        loop {
            let depth = self.broker.depth(queue).await.expect("a depth");
            if depth == Some(expected) {
                return;
            }
            let patient = start.elapsed() < PATIENCE;
            assert!(patient, "{queue} has {depth:?} messages, not {expected}");
            tokio::time::sleep(Duration::from_millis(10)).await;
        }
    }
}

/// A subscription that expects.
pub(super) struct Consumer {
    pub(super) subscription: Box<dyn Subscription>,
    pub(super) settler: Arc<dyn Settler>,
}

impl Consumer {
    pub(super) fn new(subscription: Box<dyn Subscription>) -> Self {
        let settler = subscription.settler();
        Self {
            subscription,
            settler,
        }
    }

    /// The next delivery, whatever it is.
    pub(super) async fn next(&mut self) -> Delivery {
        tokio::time::timeout(PATIENCE, self.subscription.next())
            .await
            .expect("a delivery in time")
            .expect("a delivery")
    }

    /// The next delivery, which must have this text.
    pub(super) async fn expect(&mut self, text: &str) -> Delivery {
        let delivery = self.next().await;
        assert_eq!(body(&delivery), text, "the next message");
        delivery
    }

    /// Nothing is delivered for a while.
    pub(super) async fn expect_nothing(&mut self) {
        if let Ok(next) = tokio::time::timeout(WATCHED, self.subscription.next()).await {
            panic!("unexpected: {next:?}");
        }
    }

    pub(super) fn ack(&self, ticket: Ticket) {
        let settled = self.settler.settle(ticket, ack());
        assert_eq!(settled, Ok(()), "the channel is alive");
    }

    pub(super) fn abandon(&self, ticket: Ticket) {
        let settled = self.settler.settle(ticket, Settlement::Abandon);
        assert_eq!(settled, Ok(()), "the channel is alive");
    }

    /// Lets the broker see every settlement, then leaves.
    pub(super) async fn leave(self) {
        self.settler.flush().await;
    }
}

/// An acknowledgement; the proof is one that a confirmation gives.
pub(super) fn ack() -> Settlement {
    Settlement::Ack(claim::buried_without_claim(Confirmed::by_broker()))
}

pub(super) fn to_queue(queue: &str, text: impl Into<String>) -> Outgoing {
    Outgoing {
        to: Target::Queue(queue.to_owned()),
        body: Bytes::from(text.into()),
        id: None,
        content_type: None,
        headers: Vec::new(),
        timestamp_ms: None,
    }
}

pub(super) fn body(delivery: &Delivery) -> String {
    String::from_utf8_lossy(&delivery.message.body).into_owned()
}

/// A name that no other case, run or process uses.
pub(super) fn unique(stem: &str) -> String {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    let count = COUNT.fetch_add(1, Ordering::Relaxed);
    let number = RandomState::new().hash_one((std::process::id(), count));
    format!("{stem}-{number:016x}")
}
