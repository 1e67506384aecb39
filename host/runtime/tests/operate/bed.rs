//! What the tests speak: a host whose handler does what it is told.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use holdfast_core::claim::OnForeign;
use holdfast_core::key::ClaimKey;
use holdfast_core::name::{Consumer, Group, Side};
use holdfast_core::retry::Backoff;
use holdfast_core::settle::CallFailure;
use holdfast_core::time::Micros;
use holdfast_embedded::{EmbeddedBroker, EmbeddedStore};
use holdfast_ports::broker::Broker;
use holdfast_ports::message::{Effects, Header, Outgoing, Staged, Target};
use holdfast_ports::plugins::{Call, Outcome, Plugin, PluginInfo, Plugins, World};
use holdfast_ports::store::{ClaimView, Place, Slot, Store};
use holdfast_runtime::dead::{Changed, DeadLetters, Did, Looked, Replaying, Which};
use holdfast_runtime::host::{Host, Parts};
use holdfast_runtime::spec::{Batch, ConsumerSpec, Mode, OnPoison, Order, Source, Surroundings};
use holdfast_runtime::tasks::Tasks;
use tokio::sync::Semaphore;
use tokio::time::{Instant, sleep};

use crate::shaken::{Kept, Shaken};

/// What the handler does with a message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Does {
    Succeeds,
    Rejects,
    Fails,
    /// Publishes to this queue.
    Publishes(&'static str),
    /// Waits until the test lets it go.
    Waits,
    Panics,
}

/// The handler, and what it did.
pub(crate) struct Handler {
    info: PluginInfo,
    does: Mutex<BTreeMap<String, Does>>,
    /// Keys and attempts of successful calls, in their order.
    ran: Mutex<Vec<(String, u32)>>,
    gate: Semaphore,
}

impl Handler {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            info: PluginInfo {
                name: "told".into(),
                sha256: "d1".into(),
                bytes: 1,
                version: String::new(),
                world: World::Consumer,
                uses_state: false,
                since_ms: 0,
            },
            does: Mutex::default(),
            ran: Mutex::default(),
            gate: Semaphore::new(0),
        })
    }

    /// From now on.
    pub(crate) fn with(&self, key: &str, does: Does) {
        lock(&self.does).insert(key.to_owned(), does);
    }

    /// Everything succeeds from now on.
    pub(crate) fn mend(&self) {
        lock(&self.does).clear();
    }

    /// Lets calls that wait go on.
    pub(crate) fn let_go(&self, calls: usize) {
        self.gate.add_permits(calls);
    }

    pub(crate) fn ran(&self) -> Vec<(String, u32)> {
        lock(&self.ran).clone()
    }

    /// The keys of successful calls, in their order.
    pub(crate) fn keys(&self) -> Vec<String> {
        self.ran().into_iter().map(|(key, _)| key).collect()
    }
}

#[async_trait]
impl Plugin for Handler {
    fn info(&self) -> &PluginInfo {
        &self.info
    }

    async fn handle(&self, call: Call) -> Outcome {
        let does = lock(&self.does).get(&call.key).cloned();
        let mut effects = Effects::default();
        let result = match does.unwrap_or(Does::Succeeds) {
            Does::Succeeds => Ok(()),
            Does::Rejects => Err(CallFailure::Reject("not today".into())),
            Does::Fails => Err(CallFailure::Broken("out of order".into())),
            Does::Publishes(queue) => {
                effects.outbox.push(Staged {
                    broker: None,
                    to: Target::Queue(queue.to_owned()),
                    body: b"sent".to_vec(),
                    content_type: None,
                    headers: Vec::new(),
                    lane: None,
                });
                Ok(())
            }
            Does::Waits => match self.gate.acquire().await {
                Ok(permit) => {
                    permit.forget();
                    Ok(())
                }
                Err(_) => Err(CallFailure::Broken("closed".into())),
            },
            Does::Panics => panic!("on purpose"),
        };
        if result.is_ok() {
            lock(&self.ran).push((call.key, call.attempt));
        }
        Outcome {
            result,
            effects,
            ran: Duration::ZERO,
            memory: 0,
            sha256: "d1".into(),
        }
    }

    async fn handle_batch(&self, _: Vec<Call>) -> Vec<Outcome> {
        Vec::new()
    }
}

struct Only(Arc<Handler>);

impl Plugins for Only {
    fn current(&self, _: &str) -> Option<Arc<dyn Plugin>> {
        Some(self.0.clone())
    }
}

fn lock<T>(of: &Mutex<T>) -> MutexGuard<'_, T> {
    of.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Broker and store; hosts come and go.
pub(crate) struct Bed {
    pub(crate) store: Arc<EmbeddedStore>,
    pub(crate) queues: EmbeddedBroker,
    pub(crate) handler: Arc<Handler>,
    /// What the broker remembers of the store.
    pub(crate) kept: Kept,
    /// Added to the store's clock, in seconds.
    later: Arc<std::sync::atomic::AtomicU64>,
}

impl Bed {
    pub(crate) fn new() -> Self {
        let later = Arc::<std::sync::atomic::AtomicU64>::default();
        let (start, ahead) = (Instant::now(), Arc::clone(&later));
        let clock = Arc::new(move || {
            let ahead = ahead.load(std::sync::atomic::Ordering::Relaxed);
            let since = start.elapsed() + Duration::from_secs(ahead);
            Micros(1_700_000_000_000_000).plus(since)
        });
        Self {
            store: Arc::new(EmbeddedStore::open_with(None, clock).expect("a store")),
            queues: EmbeddedBroker::open(None).expect("a broker"),
            handler: Handler::new(),
            kept: Kept::default(),
            later,
        }
    }

    /// The store's time moves on.
    pub(crate) fn pass(&self, time: Duration) {
        let seconds = time.as_secs();
        self.later
            .fetch_add(seconds, std::sync::atomic::Ordering::Relaxed);
    }

    /// A host with this consumer, which consumes.
    pub(crate) async fn host(&self, spec: ConsumerSpec) -> Stage {
        self.host_in(spec, "consuming").await
    }

    /// A host with this consumer, which was paused before.
    pub(crate) async fn host_that_is_paused(&self, spec: ConsumerSpec) -> Stage {
        self.host_in(spec, "paused").await
    }

    async fn host_in(&self, spec: ConsumerSpec, phase: &str) -> Stage {
        let broker = self.broker(&spec.queue);
        let host = self.start(self.store.clone(), &broker, &spec).await;
        let stage = Stage {
            host,
            broker,
            store: self.store.clone(),
            spec,
        };
        stage
            .until("it is in its phase", async || stage.phase() == phase)
            .await;
        stage
    }

    /// A client of the broker, which remembers the store.
    pub(crate) fn broker(&self, queue: &str) -> Arc<Shaken> {
        Arc::new(Shaken::new(self.queues.client(), queue, &self.kept))
    }

    /// Starts a host on this store, and does not wait for it.
    pub(crate) async fn start(
        &self,
        store: Arc<dyn Store>,
        broker: &Arc<Shaken>,
        spec: &ConsumerSpec,
    ) -> Arc<Host> {
        let shared: Arc<dyn Broker> = broker.clone();
        let random = std::sync::atomic::AtomicU64::new(1);
        let seed = {
            use std::hash::BuildHasher as _;
            std::collections::hash_map::RandomState::new().hash_one(1)
        };
        let parts = Parts {
            service: "test".into(),
            store,
            brokers: BTreeMap::from([("main".to_owned(), shared)]),
            plugins: Arc::new(Only(self.handler.clone())),
            surroundings: Surroundings {
                wall_ms: Arc::new(|| 1_763_769_600_000),
                random: Arc::new(move || {
                    let n = random.fetch_add(1, std::sync::atomic::Ordering::Relaxed);
                    seed.wrapping_add(n.wrapping_mul(0x9e37_79b9_7f4a_7c15))
                }),
                tasks: Tasks::default(),
            },
        };
        let host = Host::start(parts);
        host.apply(vec![spec.clone()], BTreeMap::new()).await;
        host
    }

    /// Publishes a message with this id.
    pub(crate) async fn publish(&self, queue: &str, id: &str, body: &str) {
        self.send(queue, Some(id), body, Vec::new()).await;
    }

    pub(crate) async fn send(
        &self,
        queue: &str,
        id: Option<&str>,
        body: &str,
        headers: Vec<Header>,
    ) {
        let message = Outgoing {
            to: Target::Queue(queue.to_owned()),
            body: body.to_owned().into(),
            id: id.map(str::to_owned),
            content_type: None,
            headers,
            timestamp_ms: None,
        };
        self.queues.publish(message).await.expect("published");
    }
}

/// A running host.
pub(crate) struct Stage {
    pub(crate) host: Arc<Host>,
    pub(crate) broker: Arc<Shaken>,
    store: Arc<EmbeddedStore>,
    pub(crate) spec: ConsumerSpec,
}

impl Stage {
    pub(crate) fn phase(&self) -> &'static str {
        let status = self.host.status();
        let first = status.first().map(|(_, status)| status.phase.as_str());
        first.unwrap_or("gone")
    }

    /// Waits for something.
    pub(crate) async fn until(&self, what: &str, mut holds: impl AsyncFnMut() -> bool) {
        let end = Instant::now() + Duration::from_secs(600);
        while !holds().await {
            assert!(Instant::now() < end, "waited in vain until {what}");
            sleep(Duration::from_millis(10)).await;
        }
    }

    pub(crate) async fn depth(&self, queue: &str) -> u64 {
        let depth = self.broker.depth(queue).await.expect("a depth");
        depth.unwrap_or(0)
    }

    /// Waits until nothing is queued, waiting or in flight.
    pub(crate) async fn settle(&self) {
        self.until("everything is settled", async || {
            let queues = self.spec.queue.clone();
            let flying = self
                .host
                .status()
                .iter()
                .any(|(_, s)| s.ledger.in_flight > 0);
            let mut queued = self.depth(&queues).await;
            for step in holdfast_core::retry::delay_steps(self.spec.backoff.max) {
                let queue = holdfast_ports::broker::delay_queue(&queues, step);
                queued += self.depth(&queue).await;
            }
            !flying && queued == 0
        })
        .await;
    }

    pub(crate) async fn claim(&self, key: &str) -> Option<ClaimView> {
        let at = Place {
            group: self.spec.group.clone(),
            key: ClaimKey::from_known(key),
            slot: Slot::Group,
            lease: None,
            keep: self.spec.keep,
        };
        self.store.show(&at).await.expect("an answer")
    }

    pub(crate) async fn state(&self, key: &str) -> String {
        let claim = self.claim(key).await;
        claim.map_or("none".to_owned(), |claim| claim.state.to_string())
    }

    async fn letters<T>(&self, act: impl AsyncFnOnce(DeadLetters<'_>) -> T) -> T {
        let consumer = self.host.consumer(self.spec.name.as_str());
        let consumer = consumer.expect("it runs");
        act(DeadLetters::of(consumer.context())).await
    }

    pub(crate) async fn dead(&self) -> Looked {
        let looked =
            self.letters(async |letters| letters.list(&Which::default(), 1000, 1000, true).await);
        looked.await.expect("an answer").expect("a queue")
    }

    pub(crate) async fn replay(&self, which: &Which, how: &Replaying) -> Changed {
        let how = Replaying {
            limit: if how.limit == 0 { 1000 } else { how.limit },
            ..how.clone()
        };
        let changed = self.letters(async |letters| letters.replay(which, &how).await);
        changed.await.expect("an answer").expect("a queue")
    }

    /// Replays everything.
    pub(crate) async fn replay_all(&self) -> Changed {
        self.replay(&Which::default(), &Replaying::default()).await
    }

    pub(crate) async fn drop_letters(&self, which: &Which, dry_run: bool) -> Changed {
        let changed =
            self.letters(async |letters| letters.drop_letters(which, dry_run, 1000).await);
        changed.await.expect("an answer").expect("a queue")
    }
}

/// What was done, by the names of the letters.
pub(crate) fn did(changed: &Changed) -> Vec<(String, &'static str)> {
    let name = |(letter, did): &(holdfast_runtime::dead::Letter, Did)| {
        (letter.name().unwrap_or("-").to_owned(), did.as_str())
    };
    changed.letters.iter().map(name).collect()
}

/// Why the only letter was refused.
pub(crate) fn refusal(changed: &Changed) -> String {
    match changed.letters.as_slice() {
        [(_, Did::Refused(why))] => why.clone(),
        _ => panic!("not one refusal: {:?}", did(changed)),
    }
}

pub(crate) fn by_key(key: &str) -> Which {
    Which {
        key: Some(key.to_owned()),
        ..Which::default()
    }
}

/// A consumer of `work` that gives up after the first attempt.
pub(crate) fn spec() -> ConsumerSpec {
    ConsumerSpec {
        row: None,
        name: Consumer::new("work").expect("a name"),
        broker: "main".into(),
        queue: "work".into(),
        plugin: "told".into(),
        concurrency: 8,
        prefetch: 32,
        declare: true,
        batch: Batch {
            max: 1,
            wait: Duration::ZERO,
        },
        max_body: 100,
        group: Group::new("work").expect("a name"),
        side: Side::new("new").expect("a name"),
        key: Source::MessageId,
        keep: Duration::from_secs(3600),
        slot: Slot::Group,
        fingerprint: true,
        on_foreign: OnForeign::Hold,
        backoff: Backoff {
            attempts: 1,
            ..Backoff::default()
        },
        order: Order {
            mode: Mode::None,
            lane: None,
            sequence: None,
            on_poison: OnPoison::Park,
        },
        lease: None,
        deadline: Duration::from_secs(30),
    }
}

/// The same in lanes by a header.
pub(crate) fn in_lanes() -> ConsumerSpec {
    let mut spec = spec();
    spec.order.mode = Mode::Lanes;
    spec.order.lane = Some(Source::Header("lane".into()));
    spec
}

/// The header that makes a lane.
pub(crate) fn lane(name: &str) -> Vec<Header> {
    vec![Header::text("lane", name)]
}
