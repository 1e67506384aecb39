//! What all parts of a run share: one store, a broker for each side, time,
//! chance, and the record.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_core::incarnation::Incarnation;
use holdfast_core::time::Micros;
use holdfast_embedded::{EmbeddedBroker, EmbeddedStore};
use holdfast_history::What;
use tokio::time::Instant;

use crate::dice::Dice;
use crate::plan::Plan;
use crate::record::Record;

/// The beginning of time for the store, in microseconds since 1970.
const EPOCH: u64 = 1_700_000_000_000_000;

pub(crate) struct World {
    pub(crate) plan: Plan,
    start: Instant,
    pub(crate) store: Arc<EmbeddedStore>,
    pub(crate) brokers: BTreeMap<&'static str, EmbeddedBroker>,
    dice: Mutex<Dice>,
    record: Mutex<Record>,
    pub(crate) known: Mutex<Known>,
}

/// What the recorder has to remember to tell a first commit from a repeated one.
#[derive(Default)]
pub(crate) struct Known {
    /// The fence of each token that was granted.
    pub(crate) fences: BTreeMap<u64, u64>,
    /// The tokens that committed.
    pub(crate) committed: BTreeSet<u64>,
    /// The brokers' copies of the store's incarnation.
    pub(crate) incarnations: BTreeMap<&'static str, Incarnation>,
    /// Letters of messages that have no key.
    pub(crate) nameless_letters: u64,
    /// Messages that handlers published without a place to go.
    pub(crate) calls: u64,
}

impl World {
    pub(crate) fn new(plan: Plan, seed: u64) -> Arc<Self> {
        let start = Instant::now();
        let rate = plan.rate;
        let clock = Arc::new(move || {
            let passed = u64::try_from(start.elapsed().as_micros()).unwrap_or(0);
            Micros(EPOCH + passed / 1_000_000 * rate + passed % 1_000_000 * rate / 1_000_000)
        });
        let sides = plan.setup.sides();
        let broker = |side: &&'static str| {
            let broker = EmbeddedBroker::open_with(None, clock.clone()).expect("a broker");
            (*side, broker)
        };
        Arc::new(Self {
            start,
            brokers: sides.iter().map(broker).collect(),
            store: Arc::new(EmbeddedStore::open_with(None, clock.clone()).expect("a store")),
            dice: Mutex::new(Dice::new(seed.rotate_left(17) ^ 0xd1ce)),
            record: Mutex::default(),
            known: Mutex::default(),
            plan,
        })
    }

    pub(crate) fn dice(&self) -> MutexGuard<'_, Dice> {
        self.dice.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn known(&self) -> MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn record(&self) -> MutexGuard<'_, Record> {
        self.record.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn passed(&self) -> Duration {
        self.start.elapsed()
    }

    pub(crate) fn at(&self, time: Duration) -> Instant {
        self.start + time
    }

    /// A line of the trace.
    pub(crate) fn note(&self, who: &str, what: fmt::Arguments<'_>) {
        let at = self.passed().as_millis();
        self.record().line(at, who, what);
    }

    /// An event of the history.
    pub(crate) fn happened(&self, what: What) {
        let at = u64::try_from(self.passed().as_micros()).unwrap_or(0);
        self.record().event(at, what);
    }
}
