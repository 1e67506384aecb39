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
use crate::halts::Halts;
use crate::identity::Guard;
use crate::rule::GroupRule;
use crate::session::{Context, Names};
use crate::sharing::{Seat, Sharing};
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

/// How long telling the brokers of the store may hold up the end of a process.
const LAST_COPIES: Duration = Duration::from_secs(2);

/// A running host.
pub struct Host {
    parts: Parts,
    guard: Arc<Guard>,
    rules: Mutex<BTreeMap<Group, Arc<GroupRule>>>,
    books: Mutex<BTreeMap<(String, String), Arc<Books>>>,
    consumers: Mutex<BTreeMap<String, Running>>,
    rows: Mutex<BTreeMap<String, Row>>,
    /// Held while flags are read or written, so that what was read last is not
    /// older than what was written last.
    flags: Arc<tokio::sync::Mutex<()>>,
    /// Tells the hosts of a service apart.
    id: u64,
    totals: Totals,
    /// Consumers that were told to end, and may not have ended.
    draining: Mutex<Vec<Weak<Consumer>>>,
    stop: CancellationToken,
}

/// A row of partitions that is shared with other instances.
struct Row {
    sharing: Arc<Sharing>,
    stop: CancellationToken,
    task: tokio::task::JoinHandle<()>,
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
            parts,
            guard,
            rules: Mutex::default(),
            books: Mutex::default(),
            consumers: Mutex::default(),
            rows: Mutex::default(),
            flags: Arc::default(),
            stop: CancellationToken::new(),
        });
        let tasks = &host.parts.surroundings.tasks;
        let (guard, stop) = (Arc::clone(&host.guard), host.stop.clone());
        tasks.spawn(async move { guard.watch(&stop).await });
        let watching = Arc::clone(&host);
        tasks.spawn(async move { watching.watch_store().await });
        let adding = Arc::clone(&host);
        tasks.spawn(async move { adding.add_totals().await });
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
        let rows: Vec<String> = wanted.values().filter_map(|s| s.row.clone()).collect();
        self.end_rows(|row| !rows.iter().any(|wanted| wanted == row))
            .await;
        let paused = self.paused().await;
        for (name, spec) in wanted {
            if !self.consumers().contains_key(&name) {
                // Not known yet: the look at the store that tells it follows.
                let paused = paused.as_ref().is_none_or(|paused| paused.contains(&name));
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
            halts: Arc::new(Halts::new(
                Arc::clone(&self.parts.store),
                &spec.name,
                Arc::clone(&self.flags),
            )),
            seat: self.seat(&spec),
            gate: self.guard.gate(),
            not_before: Mutex::default(),
            batcher: Batcher::start(spec.batch, &self.parts.surroundings.tasks),
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
        let tasks = &self.parts.surroundings.tasks;
        let task = tasks.spawn(async move { running.run().await });
        Running { consumer, task }
    }

    /// The place of a consumer in its row, for one with a lease.
    fn seat(&self, spec: &ConsumerSpec) -> Option<Seat> {
        let (row, terms) = (spec.row.as_ref()?, spec.lease?);
        let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
        let row = rows.entry(row.clone()).or_insert_with(|| {
            let me = (self.parts.surroundings.random)();
            let sharing = Sharing::new(Arc::clone(&self.parts.store), row, me, terms);
            let (stop, running) = (CancellationToken::new(), Arc::clone(&sharing));
            let stopped = stop.clone();
            let tasks = &self.parts.surroundings.tasks;
            let task = tasks.spawn(async move { running.run(&stopped).await });
            Row {
                sharing,
                stop,
                task,
            }
        });
        Some(row.sharing.seat(spec.name.as_str()))
    }

    /// Takes this instance off the lists of these rows.
    async fn end_rows(&self, ends: impl Fn(&str) -> bool) {
        let ending: Vec<Row> = {
            let mut rows = self.rows.lock().unwrap_or_else(PoisonError::into_inner);
            let names: Vec<String> = rows.keys().filter(|name| ends(name)).cloned().collect();
            names.iter().filter_map(|name| rows.remove(name)).collect()
        };
        for row in ending {
            row.stop.cancel();
            let _ = row.task.await;
        }
    }

    /// Keeps what others may change fresh: cut-over rules, paused consumers,
    /// halted lanes; and the gauges of store and brokers.
    async fn watch_store(&self) {
        let mut known = muster::Known::default();
        let mut news = self.parts.store.changed();
        loop {
            self.refresh_rules().await;
            let store = self.parts.store.as_ref();
            let answered = muster::answer(store, self.id, &mut known, || self.in_hand());
            if let Err(error) = answered.await {
                tracing::debug!(%error, "an audit was not answered");
            }
            if let Err(error) = self.refresh_flags().await {
                tracing::debug!(%error, "the flags were not read");
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
                biased;
                () = self.stop.cancelled() => return,
                () = news.as_mut() => news = self.parts.store.changed(),
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
        // First of all, so that other instances may take the partitions that
        // this one gives back.
        self.end_rows(|_| true).await;
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
        // Whoever starts next knows as much as this host did.
        let renewed = tokio::time::timeout(LAST_COPIES, self.guard.renew_copies()).await;
        tracing::trace!(?renewed, "the brokers were told of the store");
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
