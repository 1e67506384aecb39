//! One host of the run, over its lives.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_ports::broker::Broker;
use holdfast_runtime::host::{Host, Parts};
use holdfast_runtime::spec::Surroundings;
use holdfast_runtime::tasks::Tasks;
use tokio::task::JoinHandle;
use tokio_util::sync::CancellationToken;

use crate::broker::SimBroker;
use crate::guest::{Guest, Guests};
use crate::life::{self, Life};
use crate::net::Link;
use crate::store::SimStore;
use crate::world::World;

/// A drain takes no longer than this, whatever is broken.
pub(crate) const DRAIN: Duration = Duration::from_secs(60);

/// A place where a host runs, one process after another.
pub(crate) struct Seat {
    world: Arc<World>,
    pub(crate) side: &'static str,
    number: usize,
    pub(crate) to_store: Arc<Link>,
    pub(crate) to_broker: Arc<Link>,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    lives: Vec<Arc<Life>>,
    now: Option<Process>,
    /// How long the next pause between two processes is.
    away: Option<Duration>,
    draining: Vec<Drained>,
}

/// Whether a drain ended as it should.
pub(crate) type Drained = JoinHandle<Result<(), String>>;

#[derive(Clone)]
pub(crate) struct Process {
    pub(crate) life: Arc<Life>,
    pub(crate) host: Arc<Host>,
}

impl Seat {
    pub(crate) fn new(world: Arc<World>, side: &'static str, number: usize) -> Arc<Self> {
        Arc::new(Self {
            world,
            side,
            number,
            to_store: Arc::default(),
            to_broker: Arc::default(),
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The process that runs here, if one does.
    pub(crate) fn process(&self) -> Option<Process> {
        let now = self.state().now.clone();
        now.filter(|process| !process.life.is_over())
    }

    /// The name of its consumer.
    pub(crate) fn consumer(&self) -> String {
        format!("c-{}", self.side)
    }

    /// After the process has ended, the next one starts after this.
    pub(crate) fn stay_away(&self, time: Duration) {
        self.state().away = Some(time);
    }

    pub(crate) fn away(&self) -> Duration {
        let planned = self.state().away.take();
        planned.unwrap_or_else(|| self.world.dice().millis(50, 2_000))
    }

    pub(crate) fn remember(&self, draining: Drained) {
        self.state().draining.push(draining);
    }

    pub(crate) fn remembered(&self) -> Vec<Drained> {
        std::mem::take(&mut self.state().draining)
    }

    /// What panicked in any of its processes.
    pub(crate) fn panics(&self) -> Vec<String> {
        let state = self.state();
        state.lives.iter().filter_map(|l| l.panicked()).collect()
    }

    /// Starts a process.
    pub(crate) fn start(&self) -> Arc<Life> {
        let lives = self.state().lives.len() + 1;
        let name = format!("{}.{}.{lives}", self.side, self.number);
        self.world.note(&name, format_args!("starts"));
        let life = Life::new(name);
        self.state().lives.push(Arc::clone(&life));
        let world = &self.world;
        let closed = CancellationToken::new();
        self.to_broker.cut();
        let broker: Arc<dyn Broker> = Arc::new(SimBroker {
            world: Arc::clone(world),
            life: Arc::clone(&life),
            link: Arc::clone(&self.to_broker),
            name: self.side,
            closed,
        });
        let (dice, clock) = (Arc::clone(world), Arc::clone(world));
        let parts = Parts {
            service: "sim".to_owned(),
            store: Arc::new(SimStore {
                world: Arc::clone(world),
                life: Arc::clone(&life),
                link: Arc::clone(&self.to_store),
            }),
            brokers: BTreeMap::from([(self.side.to_owned(), broker)]),
            plugins: Arc::new(Guests(Guest::new(Arc::clone(world), Arc::clone(&life)))),
            surroundings: Surroundings {
                wall_ms: Arc::new(move || {
                    u64::try_from(clock.passed().as_millis()).unwrap_or(u64::MAX)
                }),
                random: Arc::new(move || dice.dice().next()),
                tasks: Tasks::started_by(Arc::new(life::Tasks(Arc::clone(&life)))),
            },
        };
        let host = Host::start(parts);
        let setup = world.plan.setup;
        let (specs, rules) = (
            vec![setup.spec(self.side)],
            setup.rules(world.plan.hundredths),
        );
        let starting = Arc::clone(&host);
        life.start(async move { starting.apply(specs, rules).await });
        let begun = Arc::clone(&life);
        self.state().now = Some(Process { life, host });
        begun
    }

    /// Drains what runs here, in a task of its own. The answer says whether it
    /// ended in time, and whether its books close.
    pub(crate) fn drain(self: &Arc<Self>) -> Option<Drained> {
        let process = self.process()?;
        let world = Arc::clone(&self.world);
        world.note(&process.life.name, format_args!("drains"));
        let Process { life, host } = process;
        let draining = Arc::clone(&host);
        let drained = life.start(async move { draining.drain().await });
        Some(tokio::spawn(async move {
            let ended = tokio::select! {
                biased;
                ended = tokio::time::timeout(DRAIN, drained) => ended.is_ok(),
                () = life.over.cancelled() => return Ok(()),
            };
            if life.is_over() {
                // It was killed meanwhile.
                return Ok(());
            }
            let name = life.name.clone();
            let open: Vec<String> = host
                .books()
                .into_iter()
                .filter(|(_, _, books)| {
                    let ledger = books.at_rest();
                    !ledger.closes() || ledger.in_flight > 0
                })
                .map(|(consumer, _, books)| format!("{consumer}: {:?}", books.at_rest()))
                .collect();
            world.note(&name, format_args!("has drained: {ended}"));
            life.kill();
            if !ended {
                Err(format!("{name} did not drain within {DRAIN:?}"))
            } else if open.is_empty() {
                Ok(())
            } else {
                Err(format!(
                    "the books of {name} do not close: {}",
                    open.join(", ")
                ))
            }
        }))
    }
}
