//! All consumers of one process.

mod shared;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Duration;

use holdfast_core::cutover::Rule;
use holdfast_core::name::Group;
use holdfast_ports::broker::Broker;
use holdfast_ports::error::Kind;
use holdfast_ports::plugins::Plugins;
use holdfast_ports::store::SharedStore;
use metrics::gauge;
use tokio::sync::Semaphore;
use tokio_util::sync::CancellationToken;

use crate::audit::muster;
use crate::batch::Batcher;
use crate::books::Books;
use crate::consumer::{Consumer, Status};
use crate::identity::Guard;
use crate::rule::GroupRule;
use crate::session::{Context, Names};
use crate::spec::{ConsumerSpec, Surroundings};
use crate::totals::Totals;

/// What a host is made of.
pub struct Parts {
    /// The prefix of every key in the store.
    pub service: String,
    /// The claims.
    pub store: SharedStore,
    /// The configured brokers.
    pub brokers: BTreeMap<String, Arc<dyn Broker>>,
    /// The plugins in service.
    pub plugins: Arc<dyn Plugins>,
    /// Time and randomness.
    pub surroundings: Surroundings,
}

/// A running host.
pub struct Host {
    parts: Parts,
    guard: Arc<Guard>,
    rules: Mutex<BTreeMap<Group, Arc<GroupRule>>>,
    books: Mutex<BTreeMap<(String, String), Arc<Books>>>,
    consumers: Mutex<BTreeMap<String, Running>>,
    /// Tells the hosts of a service apart.
    id: u64,
    totals: Totals,
    /// Consumers that were told to end, and may not have ended.
    draining: Mutex<Vec<Weak<Consumer>>>,
    /// Held while the store and the consumers are told who is paused.
    pausing: tokio::sync::Mutex<()>,
    stop: CancellationToken,
}

struct Running {
    consumer: Arc<Consumer>,
    task: tokio::task::JoinHandle<()>,
}

impl Host {
    /// Starts watching the store; consumers come with [`Host::apply`].
    #[must_use]
    pub fn start(parts: Parts) -> Arc<Self> {
        let guard = Arc::new(Guard::new(
            Arc::clone(&parts.store),
            &parts.service,
            parts.brokers.clone(),
        ));
        let id = (parts.surroundings.random)();
        let host = Arc::new(Self {
            id,
            totals: Totals::new(id),
            draining: Mutex::default(),
            pausing: tokio::sync::Mutex::default(),
            parts,
            guard,
            rules: Mutex::default(),
            books: Mutex::default(),
            consumers: Mutex::default(),
            stop: CancellationToken::new(),
        });
        let (guard, stop) = (Arc::clone(&host.guard), host.stop.clone());
        tokio::spawn(async move { guard.watch(&stop).await });
        let watching = Arc::clone(&host);
        tokio::spawn(async move { watching.watch_store().await });
        let adding = Arc::clone(&host);
        tokio::spawn(async move { adding.add_totals().await });
        host
    }

    /// Runs exactly these consumers from now on: new ones start, changed ones
    /// are drained and started anew, others stop. Unchanged ones go on
    /// undisturbed. `rules` are the first values of the cut-over rules by group.
    pub async fn apply(self: &Arc<Self>, specs: Vec<ConsumerSpec>, rules: BTreeMap<Group, Rule>) {
        self.keep_rules(&specs, rules);
        self.refresh_rules().await;
        let wanted: BTreeMap<String, ConsumerSpec> = specs
            .into_iter()
            .map(|spec| (spec.name.to_string(), spec))
            .collect();
        let mut ending = Vec::new();
        {
            let mut running = self.consumers();
            let names: Vec<String> = running.keys().cloned().collect();
            for name in names {
                let same = wanted.get(&name).is_some_and(|spec| {
                    running
                        .get(&name)
                        .is_some_and(|r| r.consumer.context().spec == *spec)
                });
                if !same && let Some(old) = running.remove(&name) {
                    self.remember_draining(&old);
                    old.consumer.stop();
                    ending.push(old.task);
                }
            }
        }
        for task in ending {
            let _ = task.await;
        }
        let paused = self.paused().await;
        for (name, spec) in wanted {
            if !self.consumers().contains_key(&name) {
                // Not known yet: the look at the store that tells it follows.
                let paused = paused
                    .as_ref()
                    .map_or(true, |paused| paused.contains(&name));
                let running = self.spawn(spec, paused);
                self.consumers().insert(name, running);
            }
        }
    }

    fn spawn(&self, spec: ConsumerSpec, paused: bool) -> Running {
        let books = {
            let mut all = self.books.lock().unwrap_or_else(PoisonError::into_inner);
            let (name, side) = (spec.name.to_string(), spec.side.to_string());
            let books = all.entry((name.clone(), side.clone()));
            Arc::clone(books.or_insert_with(|| Arc::new(Books::new(&name, &side))))
        };
        let brokers = self.parts.brokers.clone();
        let Some(broker) = brokers.get(&spec.broker).cloned() else {
            unreachable!("the configuration was checked: every consumer's broker exists")
        };
        let rule = self.rule_in(&mut self.rules(), &spec.group);
        let context = Context {
            surroundings: self.parts.surroundings.clone(),
            store: Arc::clone(&self.parts.store),
            broker,
            broker_names: brokers.keys().cloned().collect(),
            brokers,
            plugins: Arc::clone(&self.parts.plugins),
            books,
            rule,
            permits: Arc::new(Semaphore::new(spec.concurrency)),
            batcher: Batcher::start(spec.batch),
            names: Names {
                consumer: spec.name.as_str().into(),
                group: spec.group.as_str().into(),
                side: spec.side.as_str().into(),
            },
            spec,
        };
        let consumer = Arc::new(Consumer::new(
            Arc::new(context),
            Arc::clone(&self.guard),
            paused,
        ));
        let running = Arc::clone(&consumer);
        let task = tokio::spawn(async move { running.run().await });
        Running { consumer, task }
    }

    /// Keeps what others may change fresh: cut-over rules, and the gauges of
    /// store and brokers.
    async fn watch_store(&self) {
        let mut known = muster::Known::default();
        loop {
            self.refresh_rules().await;
            if let Err(error) = self.refresh_paused().await {
                tracing::debug!(%error, "paused consumers were not read");
            }
            let store = self.parts.store.as_ref();
            let answered = muster::answer(store, self.id, &mut known, || self.in_hand());
            if let Err(error) = answered.await {
                tracing::debug!(%error, "an audit was not answered");
            }
            gauge!("holdfast_store_up").set(if self.parts.store.is_up() { 1.0 } else { 0.0 });
            for (name, broker) in &self.parts.brokers {
                gauge!("holdfast_broker_up", "broker" => name.clone()).set(if broker.is_up() {
                    1.0
                } else {
                    0.0
                });
            }
            tokio::select! {
                () = self.stop.cancelled() => return,
                () = self.parts.store.changed() => {}
                () = tokio::time::sleep(Duration::from_secs(1)) => {}
            }
        }
    }

    /// Keeps a rule for each group, since the store may have one even when the
    /// configuration has none.
    fn keep_rules(&self, specs: &[ConsumerSpec], mut firsts: BTreeMap<Group, Rule>) {
        let mut kept = self.rules();
        kept.retain(|group, _| specs.iter().any(|spec| spec.group == *group));
        for group in specs.iter().map(|spec| &spec.group) {
            let rule = self.rule_in(&mut kept, group);
            if let Some(first) = firsts.remove(group) {
                rule.set_first(first);
            }
        }
    }

    fn rule_in(&self, kept: &mut BTreeMap<Group, Arc<GroupRule>>, group: &Group) -> Arc<GroupRule> {
        let rule = kept.entry(group.clone()).or_insert_with(|| {
            let store = Arc::clone(&self.parts.store);
            Arc::new(GroupRule::new(group.clone(), store))
        });
        Arc::clone(rule)
    }

    async fn refresh_rules(&self) {
        let rules: Vec<Arc<GroupRule>> = self.rules().values().cloned().collect();
        for rule in rules {
            if let Err(error) = rule.read().await {
                tracing::debug!(?rule, %error, "the cut-over rule was not read");
                if error.kind == Kind::Transient {
                    // The others would wait for the same.
                    return;
                }
            }
        }
    }

    fn rules(&self) -> std::sync::MutexGuard<'_, BTreeMap<Group, Arc<GroupRule>>> {
        self.rules.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// A consumer by name.
    #[must_use]
    pub fn consumer(&self, name: &str) -> Option<Arc<Consumer>> {
        self.consumers()
            .get(name)
            .map(|running| Arc::clone(&running.consumer))
    }

    /// All consumers and how they do.
    #[must_use]
    pub fn status(&self) -> Vec<(Arc<Consumer>, Status)> {
        self.consumers()
            .values()
            .map(|r| (Arc::clone(&r.consumer), r.consumer.status()))
            .collect()
    }

    /// The guard of the store.
    #[must_use]
    pub fn guard(&self) -> &Arc<Guard> {
        &self.guard
    }

    /// What it is made of.
    #[must_use]
    pub fn parts(&self) -> &Parts {
        &self.parts
    }

    /// Ends everything in order: intake stops, running handlers finish, waiting
    /// messages are handed back, brokers see the acknowledgements, connections
    /// close.
    pub async fn drain(&self) {
        let running = std::mem::take(&mut *self.consumers());
        for one in running.values() {
            self.remember_draining(one);
            one.consumer.stop();
        }
        for (name, one) in running {
            if let Err(error) = one.task.await {
                tracing::error!(consumer = name, %error, "the consumer did not end in order");
            }
        }
        self.finish_totals().await;
        self.stop.cancel();
        for broker in self.parts.brokers.values() {
            broker.close().await;
        }
    }

    fn consumers(&self) -> std::sync::MutexGuard<'_, BTreeMap<String, Running>> {
        self.consumers
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
