//! The deliveries of one subscription, from its start to its end.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use holdfast_core::claim::FencedBy;
use holdfast_core::key::Lane;
use holdfast_core::lane::Lanes;
use holdfast_core::settle::{Ending, Settlement};
use holdfast_ports::broker::{Broker, Delivery, Ended, Settler, Subscription};
use holdfast_ports::plugins::{Interrupt, Plugins};
use holdfast_ports::store::SharedStore;
use tokio::sync::Semaphore;
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::batch::Batcher;
use crate::books::{Books, Why};
use crate::foreign::Foreign;
use crate::route::{Refusal, Route, route};
use crate::rule::GroupRule;
use crate::spec::{ConsumerSpec, Mode, Surroundings};

/// Everything one consumer works with.
pub struct Context {
    /// Its settings.
    pub spec: ConsumerSpec,
    /// Time and randomness.
    pub surroundings: Surroundings,
    /// The claims.
    pub store: SharedStore,
    /// Its own broker.
    pub broker: Arc<dyn Broker>,
    /// All configured brokers, for messages that handlers publish.
    pub brokers: BTreeMap<String, Arc<dyn Broker>>,
    /// Their names, handed to calls.
    pub broker_names: Arc<[String]>,
    /// The plugins in service.
    pub plugins: Arc<dyn Plugins>,
    /// The counts.
    pub books: Arc<Books>,
    /// The cut-over rule of the group.
    pub rule: Arc<GroupRule>,
    /// Permits for running handlers.
    pub permits: Arc<Semaphore>,
    /// Puts messages together for batch plugins.
    pub(crate) batcher: Batcher,
    /// The names of the spec, shared by all calls.
    pub(crate) names: Names,
}

pub(crate) struct Names {
    pub(crate) consumer: Arc<str>,
    pub(crate) group: Arc<str>,
    pub(crate) side: Arc<str>,
}

/// One delivery on its way.
pub(crate) struct Job {
    pub(crate) delivery: Delivery,
    pub(crate) route: Result<Route, Refusal>,
    pub(crate) received: Instant,
}

/// Why a session ended.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum End {
    /// It was told to stop.
    Stopped,
    /// The subscription is gone.
    Ended(Ended),
    /// Nothing may be handled under this epoch, or in this store.
    Fenced(FencedBy),
}

/// One subscription's worth of work.
pub struct Session {
    pub(crate) context: Arc<Context>,
    pub(crate) settler: Arc<dyn Settler>,
    pub(crate) epoch: Option<u64>,
    /// Ends running calls at once.
    pub(crate) interrupt: Interrupt,
    /// Waiting messages are handed back; running handlers may finish.
    pub(crate) stopping: CancellationToken,
    /// Nobody waits for the store any more.
    pub(crate) leaving: CancellationToken,
    lanes: Mutex<Lanes<Option<Lane>, Queued>>,
    /// Messages that wait for the other side.
    pub(crate) foreign: Foreign,
    fenced: OnceLock<FencedBy>,
    tracker: TaskTracker,
}

struct Queued {
    job: Job,
    _waiting: crate::books::Waiting,
}

impl Session {
    /// Consumes until told to stop, until the subscription ends, or until a
    /// claim step is fenced. When it returns nothing of it runs any more:
    /// handlers ended (or were interrupted after `patience`), waiting messages
    /// were handed back, and the broker saw the acknowledgements.
    pub async fn run(
        context: Arc<Context>,
        mut subscription: Box<dyn Subscription>,
        epoch: Option<u64>,
        stop: &CancellationToken,
        interrupt: &Interrupt,
        patience: Duration,
    ) -> End {
        let session = Arc::new(Self {
            context,
            settler: subscription.settler(),
            epoch,
            // Of its own: what this session interrupts must not end the calls
            // of the next.
            interrupt: interrupt.child(),
            stopping: stop.child_token(),
            leaving: CancellationToken::new(),
            lanes: Mutex::default(),
            foreign: Foreign::default(),
            fenced: OnceLock::new(),
            tracker: TaskTracker::new(),
        });
        let watching = Arc::clone(&session);
        session
            .tracker
            .spawn(async move { watching.watch_foreign().await });
        let end = loop {
            tokio::select! {
                biased;
                () = session.stopping.cancelled() => break End::Stopped,
                next = subscription.next() => match next {
                    Ok(delivery) => session.dispatch(delivery),
                    Err(ended) => break End::Ended(ended),
                },
            }
        };
        session.stopping.cancel();
        if !matches!(end, End::Ended(_)) {
            subscription.cancel().await;
        }
        session.hand_back_waiting();
        session.finish(patience).await;
        match session.fenced.get() {
            Some(by) => End::Fenced(*by),
            None => end,
        }
    }

    /// Lets running handlers end, interrupts those that do not, and makes sure
    /// that the broker has seen every settlement.
    async fn finish(&self, patience: Duration) {
        self.tracker.close();
        if tokio::time::timeout(patience, self.tracker.wait())
            .await
            .is_err()
        {
            tracing::warn!(consumer = %self.context.spec.name, "handlers did not end in time; interrupting them");
            self.interrupt.set();
            self.leaving.cancel();
            self.tracker.wait().await;
        }
        self.settler.flush().await;
    }

    fn dispatch(self: &Arc<Self>, delivery: Delivery) {
        let context = &self.context;
        context.books.receive();
        let full = context.books.in_flight() >= u64::from(context.spec.prefetch);
        context
            .books
            .prefetch_full(full && context.permits.available_permits() > 0);
        let route = route(&context.spec, &delivery.message);
        let job = Job {
            delivery,
            route,
            received: Instant::now(),
        };
        if context.spec.order.mode == Mode::None {
            let session = Arc::clone(self);
            self.tracker
                .spawn(async move { session.process(job).await });
            return;
        }
        let lane = self.lane_of(&job);
        let queued = Queued {
            job,
            _waiting: context.books.wait(Why::Lane),
        };
        let next = self.lanes().enter(lane.clone(), queued);
        if let Some(queued) = next {
            let session = Arc::clone(self);
            self.tracker
                .spawn(async move { session.run_lane(lane, queued).await });
        }
    }

    /// Strict order is one lane; a message without a usable lane has none to
    /// wait for, and shares one with its like.
    fn lane_of(&self, job: &Job) -> Option<Lane> {
        match (self.context.spec.order.mode, &job.route) {
            (Mode::Lanes, Ok(route)) => route.lane.clone(),
            _ => None,
        }
    }

    async fn run_lane(self: Arc<Self>, lane: Option<Lane>, first: Queued) {
        let mut next = Some(first);
        while let Some(Queued { job, _waiting }) = next {
            drop(_waiting);
            self.process(job).await;
            next = self.lanes().leave(&lane);
        }
    }

    fn hand_back_waiting(&self) {
        // In reverse, so that a broker that puts each one back at the head ends
        // with the original order.
        let mut waiting = self.lanes().take_waiting();
        waiting.sort_by_key(|queued| std::cmp::Reverse(queued.job.delivery.ticket.tag));
        for queued in waiting {
            self.settle(queued.job, Settlement::Abandon);
        }
    }

    /// Settles a delivery and enters its ending in the books.
    pub(crate) fn settle(&self, job: Job, settlement: Settlement) {
        let ending = settlement.ending();
        let ending = match self.settler.settle(job.delivery.ticket, settlement) {
            Ok(()) => ending,
            Err(_void) => Ending::Abandoned,
        };
        self.context.books.end(ending, job.received.elapsed());
    }

    /// Nothing more may be done under this session.
    pub(crate) fn fence(&self, by: FencedBy) {
        let _ = self.fenced.set(by);
        self.interrupt.set();
        self.stopping.cancel();
        self.leaving.cancel();
    }

    fn lanes(&self) -> std::sync::MutexGuard<'_, Lanes<Option<Lane>, Queued>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
