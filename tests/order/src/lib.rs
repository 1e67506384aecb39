//! Hosts of one process that share an embedded broker and store, with handlers
//! that do what the message says, in paused time: minutes pass in no time, and
//! in the same order in every run.
//!
//! ```
//! # use std::time::Duration;
//! # use holdfast_order::{World, spec};
//! # tokio::runtime::Builder::new_current_thread()
//! #     .enable_all()
//! #     .start_paused(true)
//! #     .build()
//! #     .unwrap()
//! #     .block_on(async {
//! let world = World::new();
//! let host = world.host("a", vec![spec("work")]).await;
//! world.publish("work", "lane", 1..4, "take 200").await;
//! world.until_handled("work", 3).await;
//! assert_eq!(world.effects(), ["lane-1", "lane-2", "lane-3"]);
//! # host.drain().await;
//! # });
//! ```

mod handlers;

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use holdfast_core::claim::OnForeign;
use holdfast_core::lease::Terms;
use holdfast_core::name::{Consumer, Group, Side};
use holdfast_core::retry::Backoff;
use holdfast_core::time::Micros;
use holdfast_embedded::{EmbeddedBroker, EmbeddedStore, Faults, FaultyStore};
use holdfast_ports::broker::Broker;
use holdfast_ports::message::{Header, Outgoing, Target};
use holdfast_ports::store::{LeaseName, SharedStore, Slot, Store as _};
use holdfast_runtime::consumer::Phase;
use holdfast_runtime::host::{Host, Parts};
use holdfast_runtime::spec::{Batch, ConsumerSpec, Mode, OnPoison, Order, Source, Surroundings};
use holdfast_runtime::tasks::Tasks;
use tokio::time::{Instant, sleep, timeout};

pub use handlers::{Called, Handlers};

/// The queue that every handler publishes its message's key to.
pub const EFFECTS: &str = "effects";

/// Longer than anything in these tests takes, in paused time.
const PATIENCE: Duration = Duration::from_hours(4);

/// One broker, one store, one clock.
pub struct World {
    store: FaultyStore<EmbeddedStore>,
    broker: EmbeddedBroker,
    start: Instant,
    random: Arc<AtomicU64>,
}

/// A host of the world.
pub struct TestHost {
    host: Arc<Host>,
    /// Its handlers and what they were called for.
    pub handlers: Arc<Handlers>,
    /// What goes wrong between it and the store.
    pub faults: Faults,
}

impl Default for World {
    fn default() -> Self {
        Self::new()
    }
}

impl World {
    /// Nothing is there yet but the queue of effects.
    ///
    /// # Panics
    /// When the embedded parts cannot be made.
    #[must_use]
    pub fn new() -> Self {
        let start = Instant::now();
        let clock = Arc::new(move || Micros(1_700_000_000_000_000).plus(start.elapsed()));
        Self {
            store: FaultyStore::new(EmbeddedStore::open_with(None, clock).expect("a store")),
            broker: EmbeddedBroker::open(None).expect("a broker"),
            start,
            random: Arc::new(AtomicU64::new(1)),
        }
    }

    /// Starts a host with these consumers, each on a plugin of its own name.
    ///
    /// # Panics
    /// When the effects cannot be declared.
    pub async fn host(&self, name: &str, specs: Vec<ConsumerSpec>) -> TestHost {
        self.broker
            .declare_queue(EFFECTS)
            .await
            .expect("a queue for effects");
        let handlers = Arc::new(Handlers::new(name, self.start));
        let store = self.store.client();
        let faults = store.faults();
        let store: SharedStore = Arc::new(store);
        let broker: Arc<dyn Broker> = Arc::new(self.broker.client());
        let (random, start) = (Arc::clone(&self.random), self.start);
        let parts = Parts {
            service: "test".into(),
            store,
            brokers: BTreeMap::from([("main".to_owned(), broker)]),
            plugins: handlers.clone(),
            surroundings: Surroundings {
                wall_ms: Arc::new(move || {
                    u64::try_from(start.elapsed().as_millis()).unwrap_or(u64::MAX)
                }),
                random: Arc::new(move || random.fetch_add(1, Ordering::Relaxed)),
                tasks: Tasks::default(),
            },
        };
        let host = Host::start(parts);
        host.apply(specs, BTreeMap::new()).await;
        TestHost {
            host,
            handlers,
            faults,
        }
    }

    /// Publishes messages of a lane with these numbers; each tells its handler
    /// what to do (see [`Handlers`]).
    ///
    /// # Panics
    /// When the queue is not there within a while.
    pub async fn publish(&self, queue: &str, lane: &str, numbers: Range<usize>, script: &str) {
        for number in numbers {
            let message = Outgoing {
                to: Target::Queue(queue.to_owned()),
                body: script.to_owned().into(),
                id: Some(format!("{lane}-{number}")),
                content_type: None,
                headers: vec![Header::text("lane", lane)],
                timestamp_ms: None,
            };
            until("the queue is there", async || {
                self.broker.publish(message.clone()).await.is_ok()
            })
            .await;
        }
    }

    /// The keys of the messages that took effect, in the order in which they
    /// did, each once: an outbox may be published again under the same id.
    #[must_use]
    pub fn effects(&self) -> Vec<String> {
        let all = self.broker.read(EFFECTS, usize::MAX).unwrap_or_default();
        let mut seen = BTreeSet::new();
        let new = all
            .iter()
            .filter(|effect| seen.insert(effect.message.id.clone()));
        new.map(|effect| String::from_utf8_lossy(&effect.message.body).into_owned())
            .collect()
    }

    /// The same of one lane.
    #[must_use]
    pub fn effects_of(&self, lane: &str) -> Vec<String> {
        let mut effects = self.effects();
        effects.retain(|key| key.rsplit_once('-').is_some_and(|(of, _)| of == lane));
        effects
    }

    /// The dead letters of a queue, by the ids of their messages.
    #[must_use]
    pub fn letters(&self, queue: &str) -> Vec<String> {
        let all = self.broker.read(&format!("{queue}.dead"), usize::MAX);
        let ids = all.unwrap_or_default().into_iter();
        ids.filter_map(|letter| letter.message.id.clone()).collect()
    }

    /// Messages of a queue: ready, and in the hands of consumers.
    #[must_use]
    pub fn queued(&self, queue: &str) -> (usize, usize) {
        let view = self.broker.queues().into_iter();
        let mut view = view.filter(|view| view.name == queue);
        view.next()
            .map_or((0, 0), |view| (view.ready, view.unsettled))
    }

    /// Waits until this many messages took effect and the queue is empty.
    pub async fn until_handled(&self, queue: &str, count: usize) {
        until("all are handled", async || {
            self.effects().len() >= count && self.queued(queue) == (0, 0)
        })
        .await;
    }

    /// The store forgets who leads a consumer; nobody is told.
    ///
    /// # Panics
    /// When nobody leads it.
    pub async fn lose_lease(&self, consumer: &str) {
        let lease = LeaseName {
            group: Group::new(consumer).expect("a name"),
            consumer: Consumer::new(consumer).expect("a name"),
        };
        let leader = self.store.leader(&lease).await.expect("the store answers");
        let owner = leader.expect("somebody leads").owner;
        let given = self.store.give_back(&lease, owner).await;
        given.expect("the store answers");
    }

    /// The time since the world began.
    #[must_use]
    pub fn now(&self) -> Duration {
        self.start.elapsed()
    }
}

impl TestHost {
    /// The host itself.
    #[must_use]
    pub fn host(&self) -> &Arc<Host> {
        &self.host
    }

    /// The consumers that it leads, or all it consumes where there is no lease.
    #[must_use]
    pub fn consumes(&self) -> Vec<String> {
        let status = self.host.status().into_iter();
        let consuming = status.filter(|(_, status)| status.phase == Phase::Consuming);
        consuming
            .map(|(consumer, _)| consumer.context().spec.name.to_string())
            .collect()
    }

    /// Where a consumer stands.
    #[must_use]
    pub fn phase(&self, consumer: &str) -> Option<Phase> {
        Some(self.host.consumer(consumer)?.status().phase)
    }

    /// Deliveries of a consumer so far.
    #[must_use]
    pub fn received(&self, consumer: &str) -> u64 {
        let consumer = self.host.consumer(consumer);
        consumer.map_or(0, |consumer| consumer.status().ledger.received)
    }

    /// Waits until it consumes exactly these.
    pub async fn until_consumes(&self, consumers: &[&str]) {
        until("the consumers consume", async || {
            self.consumes() == consumers
        })
        .await;
    }

    /// Ends it in order.
    pub async fn drain(&self) {
        self.host.drain().await;
    }

    /// As if the process had died: it reaches neither store nor broker, and the
    /// broker noticed.
    pub async fn die(&self) {
        self.faults.down(true);
        for broker in self.host.parts().brokers.values() {
            broker.close().await;
        }
    }
}

/// Waits for something, in paused time.
///
/// # Panics
/// When it does not come.
pub async fn until(what: &str, mut holds: impl AsyncFnMut() -> bool) {
    let waited = timeout(PATIENCE, async {
        while !holds().await {
            sleep(Duration::from_millis(5)).await;
        }
    });
    assert!(waited.await.is_ok(), "waited in vain until {what}");
}

/// A consumer in lanes without a lease.
///
/// # Panics
/// When this is no name.
#[must_use]
pub fn spec(name: &str) -> ConsumerSpec {
    ConsumerSpec {
        name: Consumer::new(name).expect("a name"),
        broker: "main".into(),
        queue: name.into(),
        plugin: name.into(),
        concurrency: 8,
        prefetch: 64,
        declare: true,
        batch: Batch {
            max: 1,
            wait: Duration::from_millis(1),
        },
        max_body: 1 << 20,
        group: Group::new(name).expect("a name"),
        side: Side::new("side").expect("a name"),
        key: Source::MessageId,
        keep: Duration::from_hours(24 * 7),
        slot: Slot::Group,
        fingerprint: true,
        on_foreign: OnForeign::Hold,
        backoff: Backoff {
            attempts: 3,
            initial: Duration::from_secs(1),
            factor: 2.0,
            max: Duration::from_hours(1),
            jitter: 0.0,
            hold_below: Duration::from_secs(5),
        },
        order: Order {
            mode: Mode::Lanes,
            lane: Some(Source::Header("lane".into())),
            sequence: None,
            on_poison: OnPoison::Park,
        },
        lease: None,
        row: None,
        deadline: Duration::from_secs(30),
    }
}

/// The usual lease: 15 s.
pub const TERMS: Terms = Terms {
    ttl: Duration::from_secs(15),
    renew: Duration::from_secs(5),
    retry: Duration::from_secs(1),
};

/// The same with a lease.
#[must_use]
pub fn leased(name: &str) -> ConsumerSpec {
    ConsumerSpec {
        lease: Some(TERMS),
        ..spec(name)
    }
}

/// The same where a message that is given up halts its lane.
#[must_use]
pub fn halting(mut spec: ConsumerSpec) -> ConsumerSpec {
    spec.order.on_poison = OnPoison::Halt;
    spec
}

/// A row of partitions with a lease each.
///
/// # Panics
/// When this is no name.
#[must_use]
pub fn row(name: &str, partitions: usize) -> Vec<ConsumerSpec> {
    let partition = |n| {
        let name_of = format!("{name}.{n}");
        ConsumerSpec {
            plugin: name.into(),
            row: Some(name.into()),
            ..leased(&name_of)
        }
    };
    (0..partitions).map(partition).collect()
}
