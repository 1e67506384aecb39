//! One consumer's life: wait until it may, prepare, subscribe, consume, again.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use futures_util::FutureExt as _;
use holdfast_core::claim::FencedBy;
use holdfast_core::ledger::Ledger;
use holdfast_core::retry::delay_steps;
use holdfast_ports::broker::{Finding, Subscribe, Subscription, Topology};
use holdfast_ports::store::{Agreement, GroupRules, LeaseName};
use metrics::gauge;
use tokio::sync::{Notify, watch};
use tokio_util::sync::CancellationToken;

use crate::identity::{Gate, Guard};
use crate::leadership::{Candidate, Standing, Term, lead};
use crate::session::{Context, End, Session};
use crate::stop::Stop;

/// Where a consumer stands.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Phase {
    /// Getting ready.
    Starting,
    /// Messages flow.
    Consuming,
    /// Another instance leads.
    Follower,
    /// An operator stopped the intake.
    Paused,
    /// Something is missing; what, and what to do about it.
    Waiting(String),
    /// Over.
    Stopped,
}

impl Phase {
    /// Does it do what it should?
    #[must_use]
    pub fn is_ready(&self) -> bool {
        matches!(self, Self::Consuming | Self::Follower | Self::Paused)
    }

    /// One word for tables and metrics.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Starting => "starting",
            Self::Consuming => "consuming",
            Self::Follower => "follower",
            Self::Paused => "paused",
            Self::Waiting(_) => "waiting",
            Self::Stopped => "stopped",
        }
    }
}

/// A consumer as shown to people.
#[derive(Clone, Debug)]
pub struct Status {
    /// Where it stands.
    pub phase: Phase,
    /// The epoch under which it leads, for a leased consumer that does.
    pub epoch: Option<u64>,
    /// What the broker's queues look like.
    pub findings: Vec<Finding>,
    /// Its books.
    pub ledger: Ledger,
}

/// A running consumer.
pub struct Consumer {
    context: Arc<Context>,
    guard: Arc<Guard>,
    shown: Mutex<(Phase, Option<u64>, Vec<Finding>)>,
    /// Why the last term as a leader could not begin.
    unfit: Mutex<Option<String>>,
    paused: watch::Sender<bool>,
    stop: CancellationToken,
    step_down: Notify,
    patience: Duration,
}

/// The wait between two tries to get ready.
const AGAIN: Duration = Duration::from_millis(250);
const AGAIN_AT_MOST: Duration = Duration::from_secs(5);
/// Before anything is known of the store.
const UNKNOWN: &str =
    "the store, or every broker that remembers which store it was, has not been reached yet";
/// The wait before a subscription that was given up to keep the order is made
/// anew.
const SOON: Duration = Duration::from_millis(20);

impl Consumer {
    /// A consumer that does not run yet.
    #[must_use]
    pub fn new(context: Arc<Context>, guard: Arc<Guard>, paused: bool) -> Self {
        let patience = context.spec.deadline + Duration::from_secs(2);
        Self {
            context,
            guard,
            shown: Mutex::new((Phase::Starting, None, Vec::new())),
            unfit: Mutex::default(),
            paused: watch::channel(paused).0,
            stop: CancellationToken::new(),
            step_down: Notify::new(),
            patience,
        }
    }

    /// Its settings and ports.
    #[must_use]
    pub fn context(&self) -> &Arc<Context> {
        &self.context
    }

    /// How it is doing.
    #[must_use]
    pub fn status(&self) -> Status {
        let (phase, epoch, findings) = self.shown().clone();
        Status {
            phase,
            epoch,
            findings,
            ledger: self.context.books.ledger(),
        }
    }

    /// Stops or continues the intake; in-flight work finishes.
    pub fn set_paused(&self, paused: bool) {
        self.paused
            .send_if_modified(|now| std::mem::replace(now, paused) != paused);
    }

    /// Did an operator stop the intake?
    #[must_use]
    pub fn is_paused(&self) -> bool {
        *self.paused.borrow()
    }

    /// Gives the lease to another instance, if this one leads.
    pub fn step_down(&self) {
        self.step_down.notify_one();
    }

    /// Ends it: running handlers finish, waiting messages are handed back.
    pub fn stop(&self) {
        self.stop.cancel();
    }

    /// Runs until [`Consumer::stop`].
    pub async fn run(&self) {
        let spec = &self.context.spec;
        let mut paused = self.paused.subscribe();
        let mut gate = self.guard.gate();
        while !self.stop.is_cancelled() {
            let held = self.held(*paused.borrow_and_update(), &gate.borrow_and_update());
            if let Some(phase) = held {
                self.show(phase);
                tokio::select! {
                    biased;
                    () = self.stop.cancelled() => {}
                    _ = paused.changed() => {}
                    _ = gate.changed() => {}
                }
                continue;
            }
            // The run ends when it is stopped, paused, or the store is in doubt.
            let stop = Stop::default();
            let work = async {
                match &spec.lease {
                    None => {
                        self.consume(None, &stop).await;
                    }
                    Some(_) => self.consume_leased(stop.told()).await,
                }
            };
            let held = async {
                loop {
                    tokio::select! {
                        biased;
                        () = self.stop.cancelled() => {}
                        _ = paused.changed() => {}
                        _ = gate.changed() => {}
                    }
                    let stopped = self.stop.is_cancelled();
                    let held = self.held(*paused.borrow(), &gate.borrow());
                    if stopped || held.is_some() {
                        stop.soon();
                        // Said at once, although handlers may still run.
                        if let Some(why @ Phase::Waiting(_)) = held {
                            self.show(why);
                        }
                        std::future::pending::<()>().await;
                    }
                }
            };
            tokio::select! {
                biased;
                () = work => {}
                () = held => {}
            }
        }
        self.show(Phase::Stopped);
    }

    fn held(&self, paused: bool, gate: &Gate) -> Option<Phase> {
        match gate {
            Gate::Unknown(why) if why.is_empty() => Some(Phase::Waiting(UNKNOWN.into())),
            Gate::Unknown(why) => Some(Phase::Waiting(format!("{UNKNOWN}: {why}"))),
            Gate::Halted(why) => Some(Phase::Waiting(why.clone())),
            Gate::Open if paused => Some(Phase::Paused),
            Gate::Open => None,
        }
    }

    async fn consume_leased(&self, stop: &CancellationToken) {
        let spec = &self.context.spec;
        let Some(terms) = &spec.lease else { return };
        let name = LeaseName {
            group: spec.group.clone(),
            consumer: spec.name.clone(),
        };
        let owner = (self.context.surroundings.random)();
        let labels = [("consumer", spec.name.to_string())];
        let show = |standing: Standing| {
            let epoch = match standing {
                Standing::Leads(epoch) => Some(epoch),
                Standing::Unknown | Standing::Follows | Standing::Apart => None,
            };
            gauge!("holdfast_lease_leader", &labels).set(if epoch.is_some() { 1.0 } else { 0.0 });
            #[expect(
                clippy::cast_precision_loss,
                reason = "microseconds since 1970 fit a double exactly"
            )]
            gauge!("holdfast_lease_epoch", &labels).set(epoch.unwrap_or(0) as f64);
            self.shown().1 = epoch;
            match (standing, self.unfit().clone()) {
                // It is no follower before it heard that another leads: whoever waits
                // until it is ready may rely on the queue to be there.
                (Standing::Unknown | Standing::Leads(_), _) => self.show(Phase::Starting),
                (Standing::Apart, Some(why)) => self.show(Phase::Waiting(why)),
                (Standing::Follows | Standing::Apart, _) => self.show(Phase::Follower),
            }
        };
        let consume =
            |epoch: u64, stop: Stop| async move { self.consume(Some(epoch), &stop).await }.boxed();
        let seat = self.context.seat.as_ref();
        let candidate = Candidate {
            name: &name,
            terms,
            owner,
            seat,
        };
        if let Some(seat) = seat {
            seat.enter();
        }
        lead(
            &self.context.store,
            &candidate,
            stop,
            &self.step_down,
            show,
            consume,
        )
        .await;
        if let Some(seat) = seat {
            seat.exit();
        }
    }

    /// Subscribes and consumes, again and again, until `stop`.
    async fn consume(&self, epoch: Option<u64>, stop: &Stop) -> Term {
        let mut wait = AGAIN;
        while !stop.is_told() {
            let why = match self.session(epoch, stop).await {
                Ok(End::Stopped) => return Term::Over,
                Ok(End::Fenced(FencedBy::Store)) => {
                    self.guard.doubt().await;
                    tokio::time::sleep(SOON).await;
                    return Term::Failed;
                }
                Ok(End::Fenced(FencedBy::Epoch)) => return Term::Deposed,
                Ok(End::Ended(ended)) => {
                    wait = AGAIN;
                    ended.to_string()
                }
                Ok(End::Again(why)) => {
                    tracing::info!(consumer = %self.context.spec.name, why, "subscribing again, so that the order is kept");
                    tokio::time::sleep(SOON).await;
                    continue;
                }
                Err(why) if epoch.is_some() => {
                    *self.unfit() = Some(why.clone());
                    self.show(Phase::Waiting(why));
                    return Term::Failed;
                }
                Err(why) => why,
            };
            tracing::warn!(consumer = %self.context.spec.name, why, "not consuming; trying again");
            self.show(Phase::Waiting(why));
            tokio::select! {
                biased;
                () = stop.told().cancelled() => {}
                () = tokio::time::sleep(wait) => {}
            }
            wait = (wait * 2).min(AGAIN_AT_MOST);
        }
        Term::Over
    }

    /// One subscription, from checking the group's rules to its end.
    async fn session(&self, epoch: Option<u64>, stop: &Stop) -> Result<End, String> {
        // A server that does not answer holds up the set-up, but not the end.
        let subscription = tokio::select! {
            biased;
            () = stop.told().cancelled() => return Ok(End::Stopped),
            made = self.set_up() => made?,
        };
        *self.unfit() = None;
        if let Some(seat) = &self.context.seat {
            seat.consuming();
        }
        self.show(Phase::Consuming);
        let spec = &self.context.spec;
        tracing::info!(consumer = %spec.name, queue = spec.queue, side = %spec.side, "consuming");
        let context = Arc::clone(&self.context);
        Session::run(context, subscription, epoch, stop, self.patience)
            .await
            .map_err(|error| error.to_string())
    }

    /// Everything that must be before the first message.
    async fn set_up(&self) -> Result<Box<dyn Subscription>, String> {
        let context = &self.context;
        let spec = &context.spec;
        if context.plugins.current(&spec.plugin).is_none() {
            return Err(format!("no plugin named {:?} is loaded", spec.plugin));
        }
        // Nothing is claimed before the rule is known, since the first sight of
        // a key decides its side for good.
        context.rule.known().await.map_err(|e| e.to_string())?;
        if let Some(why) = context.rule.refusal(&spec.side) {
            return Err(why);
        }
        let rules = GroupRules {
            rules: spec.group_rules(),
        };
        match context
            .store
            .agree(&spec.group, &rules)
            .await
            .map_err(|e| e.to_string())?
        {
            Agreement::Agreed => {}
            Agreement::Differs(rules) => return Err(disagreement(spec.group.as_str(), &rules)),
        }
        self.guard
            .confirm(&spec.broker)
            .await
            .map_err(|e| e.to_string())?;
        let topology = topology(&context.spec);
        let findings = context
            .broker
            .prepare(&topology)
            .await
            .map_err(|e| e.to_string())?;
        for finding in &findings {
            tracing::warn!(consumer = %spec.name, queue = finding.queue, "{}", finding.text);
        }
        let fatal = findings.iter().find(|f| f.fatal).map(|f| f.text.clone());
        self.shown().2 = findings;
        if let Some(fatal) = fatal {
            return Err(fatal);
        }
        let request = Subscribe {
            queue: spec.queue.clone(),
            consumer: spec.name.to_string(),
            prefetch: spec.prefetch,
            exclusive: spec.alone(),
        };
        let subscribed = context.broker.subscribe(&request).await;
        subscribed.map_err(|e| e.to_string())
    }

    fn unfit(&self) -> std::sync::MutexGuard<'_, Option<String>> {
        self.unfit.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn show(&self, phase: Phase) {
        self.shown().0 = phase;
    }

    fn shown(&self) -> std::sync::MutexGuard<'_, (Phase, Option<u64>, Vec<Finding>)> {
        self.shown.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The queues that a consumer needs. Ordered consumers wait in the host, so they
/// need no delay queues.
#[must_use]
pub fn topology(spec: &crate::spec::ConsumerSpec) -> Topology {
    Topology {
        queue: spec.queue.clone(),
        declare: spec.declare,
        delays: if spec.ordered() {
            Vec::new()
        } else {
            delay_steps(spec.backoff.max)
        },
        single_active: spec.alone(),
    }
}

/// Says how the rules of a group differ.
#[must_use]
pub fn disagreement(group: &str, rules: &[(String, String, String)]) -> String {
    let parts: Vec<String> = rules
        .iter()
        .map(|(name, ours, theirs)| format!("{name} is {ours:?} here and {theirs:?} in the store"))
        .collect();
    format!(
        "the rules of the group {group} differ from those recorded: {}",
        parts.join(", ")
    )
}
