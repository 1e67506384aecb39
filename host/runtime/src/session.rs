//! The deliveries of one subscription, from its start to its end.

use std::collections::{BTreeMap, HashMap};
use std::sync::{Arc, Mutex, OnceLock, PoisonError};
use std::time::Duration;

use holdfast_core::claim::FencedBy;
use holdfast_core::key::ClaimKey;
use holdfast_core::lane::Lanes;
use holdfast_core::settle::{Ending, Settlement};
use holdfast_ports::broker::{Broker, Delivery, Ended, Settler, Subscription};
use holdfast_ports::error::PortError;
use holdfast_ports::plugins::{Interrupt, Plugins};
use holdfast_ports::store::SharedStore;
use tokio::sync::{Semaphore, watch};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;
use tokio_util::task::TaskTracker;

use crate::ask::{NoAnswer, Step, ask};
use crate::batch::Batcher;
use crate::books::Books;
use crate::foreign::Foreign;
use crate::halts::{Halts, LaneName, Marks};
use crate::identity::Gate;
use crate::in_hand::InHand;
use crate::ordered::{Queued, Unsettled};
use crate::route::{Refusal, Route, route};
use crate::rule::GroupRule;
use crate::sharing::Seat;
use crate::spec::{ConsumerSpec, OnPoison, Surroundings};
use crate::stop::Stop;

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
    /// The lanes that were halted.
    pub halts: Arc<Halts>,
    /// Its place in a row of partitions.
    pub seat: Option<Seat>,
    /// Is the store the one we started with?
    pub gate: watch::Receiver<Gate>,
    /// When messages that were handed back meanwhile may be tried again.
    pub(crate) not_before: Mutex<HashMap<ClaimKey, Instant>>,
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
    /// Counts as in hand while it lives.
    in_hand: InHand,
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
    /// All was handed back, to be delivered anew in its order; and why.
    Again(&'static str),
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
    pub(crate) tracker: TaskTracker,
    pub(crate) unsettled: Unsettled,
    /// Messages that wait for the other side.
    pub(crate) foreign: Foreign,
    lanes: Mutex<Lanes<LaneName, Queued>>,
    /// Why lanes were halted; those that went on are not looked up any more.
    pub(crate) halted: Mutex<Marks>,
    fenced: OnceLock<FencedBy>,
    again: OnceLock<&'static str>,
}

/// How long work that was told to end at once may take to notice.
const GRACE: Duration = Duration::from_secs(1);

impl Session {
    /// Consumes until told to stop, until the subscription ends, or until a
    /// claim step is fenced. When it returns nothing of it runs any more:
    /// handlers ended (or were interrupted after `patience`), waiting messages
    /// were handed back, and the broker saw the acknowledgements.
    ///
    /// # Errors
    /// The store did not say which lanes are halted; nothing was consumed.
    pub async fn run(
        context: Arc<Context>,
        mut subscription: Box<dyn Subscription>,
        epoch: Option<u64>,
        stop: &Stop,
        patience: Duration,
    ) -> Result<End, PortError> {
        // Of its own: what this session interrupts must not end the calls of
        // the next.
        let stop = stop.child();
        let session = Arc::new(Self {
            context,
            settler: subscription.settler(),
            epoch,
            interrupt: stop.interrupt().clone(),
            stopping: stop.told().clone(),
            leaving: stop.told_at_once().clone(),
            tracker: TaskTracker::new(),
            unsettled: Unsettled::default(),
            lanes: Mutex::default(),
            halted: Mutex::default(),
            foreign: Foreign::default(),
            fenced: OnceLock::new(),
            again: OnceLock::new(),
        });
        let watching = Arc::clone(&session);
        session.spawn(async move { watching.watch_foreign().await });
        let watching = Arc::clone(&session);
        session.spawn(async move { watching.watch_gate().await });
        let ordered = session.context.spec.ordered();
        let end = if ordered {
            let end = session.consume_in_order(subscription.as_mut()).await;
            // What watches does not outlive a session that could not begin.
            end.inspect_err(|_| session.stopping.cancel())?
        } else {
            session.consume(subscription.as_mut()).await
        };
        session.stopping.cancel();
        if ordered {
            session.forget_waiting();
        } else if !matches!(end, End::Ended(_)) {
            subscription.cancel().await;
        }
        session.finish(patience).await;
        if ordered {
            // Only now, and all at once, so that what is handed back keeps its
            // order and nobody else is given what comes behind it.
            subscription.close().await;
        } else {
            session.settler.flush().await;
        }
        session.tracker.wait().await;
        // A lane may have been halted at the last moment.
        session.forget_waiting();
        Ok(match (session.fenced.get(), session.again.get()) {
            (Some(by), _) => End::Fenced(*by),
            (None, Some(why)) => End::Again(why),
            (None, None) => end,
        })
    }

    async fn consume(self: &Arc<Self>, subscription: &mut dyn Subscription) -> End {
        loop {
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => return End::Stopped,
                next = subscription.next() => match next {
                    Ok(delivery) => {
                        let (session, job) = (Arc::clone(self), self.job(delivery));
                        self.spawn(async move { session.process(job).await });
                    }
                    Err(ended) => return End::Ended(ended),
                },
            }
        }
    }

    /// Starts work that ends before the session does.
    pub(crate) fn spawn(&self, work: impl Future<Output = ()> + Send + 'static) {
        let tasks = &self.context.surroundings.tasks;
        tasks.track(&self.tracker, work);
    }

    /// Enters a delivery in the books.
    pub(crate) fn job(&self, delivery: Delivery) -> Job {
        let context = &self.context;
        context.books.receive();
        let full = context.books.in_flight() >= u64::from(context.spec.prefetch);
        context
            .books
            .prefetch_full(full && context.permits.available_permits() > 0);
        let route = route(&context.spec, &delivery.message);
        let key = match &route {
            Ok(route) => Some(route.key.clone()),
            Err(refusal) => refusal.key.clone(),
        };
        Job {
            delivery,
            route,
            received: Instant::now(),
            in_hand: context.books.held().take(key),
        }
    }

    /// Lets running handlers end, and interrupts those that do not.
    async fn finish(&self, patience: Duration) {
        self.tracker.close();
        tokio::select! {
            biased;
            () = self.tracker.wait() => return,
            () = self.leaving.cancelled() => {}
            () = tokio::time::sleep(patience) => {
                tracing::warn!(consumer = %self.context.spec.name, "handlers did not end in time; interrupting them");
            }
        }
        self.interrupt.set();
        self.leaving.cancel();
        // A publish may hang for longer; what it is for is recorded anyway.
        let _ = tokio::time::timeout(GRACE, self.tracker.wait()).await;
    }

    /// Ends everything once the store is known not to be the one we started
    /// with.
    async fn watch_gate(&self) {
        let mut gate = self.context.gate.clone();
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => {}
            halted = gate.wait_for(|gate| matches!(gate, Gate::Halted(_))) => {
                if halted.is_ok() {
                    self.fence(FencedBy::Store);
                }
            }
        }
    }

    /// Is the store known not to be the one this session began with? Then what
    /// it answered proves nothing, and nothing more is asked of it.
    pub(crate) fn distrusts(&self) -> bool {
        self.fenced.get() == Some(&FencedBy::Store)
            || matches!(*self.context.gate.borrow(), Gate::Halted(_))
    }

    /// Asks the store until it answers or `stop` is cancelled.
    pub(crate) async fn ask<T, F>(
        &self,
        step: Step,
        stop: &CancellationToken,
        call: impl FnMut() -> F,
    ) -> Result<T, NoAnswer>
    where
        F: Future<Output = Result<T, PortError>>,
    {
        if self.distrusts() {
            return Err(NoAnswer::Fenced);
        }
        ask(step, stop, call).await
    }

    /// Settles a delivery and enters its ending in the books.
    pub(crate) fn settle(&self, job: Job, settlement: Settlement) {
        let settlement = if self.distrusts() {
            Settlement::Abandon
        } else {
            settlement
        };
        let ending = settlement.ending();
        let tag = job.delivery.ticket.tag;
        let ending = match self.settler.settle(job.delivery.ticket, settlement) {
            Ok(()) => ending,
            Err(_void) => Ending::Abandoned,
        };
        drop(job.in_hand);
        if self.context.spec.ordered() {
            self.unsettled.remove(tag);
        }
        self.context.books.end(ending, job.received.elapsed());
    }

    /// Nothing more may be done under this session.
    pub(crate) fn fence(&self, by: FencedBy) {
        let _ = self.fenced.set(by);
        self.interrupt.set();
        self.stopping.cancel();
        self.leaving.cancel();
    }

    /// Everything is handed back and delivered anew: what is in hand cannot be
    /// finished in its order.
    pub(crate) fn begin_again(&self, why: &'static str) {
        if !self.stopping.is_cancelled() {
            let _ = self.again.set(why);
            self.stopping.cancel();
        }
    }

    /// Does a message that is given up stop its lane?
    pub(crate) fn halts_lanes(&self) -> bool {
        let spec = &self.context.spec;
        spec.ordered() && spec.order.on_poison == OnPoison::Halt
    }

    pub(crate) fn lanes(&self) -> std::sync::MutexGuard<'_, Lanes<LaneName, Queued>> {
        self.lanes.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
