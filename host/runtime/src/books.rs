//! The books of one consumer: what came in, how it ended, what is under way.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use holdfast_core::ledger::Ledger;
use holdfast_core::settle::Ending;
use metrics::{Counter, Gauge, Histogram, counter, gauge, histogram};

use crate::in_hand::Deliveries;

/// Why a message waits in the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Why {
    /// Behind its lane.
    Lane,
    /// For the other side to finish.
    OtherSide,
    /// For its next attempt.
    Delay,
}

impl Why {
    /// Every reason.
    pub const ALL: [Self; 3] = [Self::Lane, Self::OtherSide, Self::Delay];

    /// The label in metrics and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Lane => "lane",
            Self::OtherSide => "other side",
            Self::Delay => "delay",
        }
    }
}

/// Counters of one consumer, kept for the books and shown as metrics.
pub struct Books {
    received: AtomicU64,
    ended: [AtomicU64; Ending::ALL.len()],
    in_flight: AtomicI64,
    waiting: Arc<[AtomicI64; 3]>,
    held: Deliveries,
    full: AtomicBool,
    metrics: Metrics,
}

struct Metrics {
    received: Counter,
    ended: [Counter; Ending::ALL.len()],
    in_flight: Gauge,
    waiting: [Gauge; 3],
    prefetch_full: Gauge,
    handler_seconds: Histogram,
    message_seconds: Histogram,
    attempts: [Counter; 3],
}

impl std::fmt::Debug for Books {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.ledger().fmt(f)
    }
}

/// How an attempt ended, for `holdfast_attempts_total`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Attempt {
    /// The handler succeeded.
    Ok,
    /// Another attempt follows.
    Retry,
    /// It was given up.
    GivenUp,
}

impl Books {
    /// New books for a consumer and side.
    #[must_use]
    pub fn new(consumer: &str, side: &str) -> Self {
        let labels = [("consumer", consumer.to_owned()), ("side", side.to_owned())];
        let of = |key: &'static str, value: &'static str| {
            let mut all = labels.to_vec();
            all.push((key, value.to_owned()));
            all
        };
        Self {
            received: AtomicU64::new(0),
            ended: Default::default(),
            in_flight: AtomicI64::new(0),
            waiting: Arc::default(),
            held: Deliveries::default(),
            full: AtomicBool::new(false),
            metrics: Metrics {
                received: counter!("holdfast_received_total", &labels),
                ended: Ending::ALL
                    .map(|e| counter!("holdfast_messages_total", &of("ending", e.as_str()))),
                in_flight: gauge!("holdfast_in_flight", &labels),
                waiting: Why::ALL.map(|why| gauge!("holdfast_waiting", &of("why", why.as_str()))),
                prefetch_full: gauge!("holdfast_prefetch_full", &labels),
                handler_seconds: histogram!("holdfast_handler_seconds", &labels),
                message_seconds: histogram!("holdfast_message_seconds", &labels),
                attempts: ["ok", "retry", "given_up"]
                    .map(|r| counter!("holdfast_attempts_total", &of("result", r))),
            },
        }
    }

    /// A delivery came in.
    pub fn receive(&self) {
        self.received.fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_add(1, Ordering::Relaxed);
        self.metrics.received.increment(1);
        self.metrics.in_flight.increment(1.0);
    }

    /// A delivery ended, this long after it came in.
    pub fn end(&self, ending: Ending, after: Duration) {
        let at = Ending::ALL
            .iter()
            .position(|e| *e == ending)
            .unwrap_or(Ending::ALL.len() - 1);
        self.ended[at].fetch_add(1, Ordering::Relaxed);
        self.in_flight.fetch_sub(1, Ordering::Relaxed);
        self.metrics.ended[at].increment(1);
        self.metrics.in_flight.decrement(1.0);
        self.metrics.message_seconds.record(after);
        self.prefetch_full(false);
    }

    /// A handler ran this long.
    pub fn ran(&self, took: Duration, attempt: Attempt) {
        self.metrics.handler_seconds.record(took);
        self.metrics.attempts[attempt as usize].increment(1);
    }

    /// A message starts to wait; it stops when the guard is dropped.
    #[must_use]
    pub fn wait(&self, why: Why) -> Waiting {
        let gauge = self.metrics.waiting[why as usize].clone();
        gauge.increment(1.0);
        self.waiting[why as usize].fetch_add(1, Ordering::Relaxed);
        Waiting {
            gauge,
            counts: Arc::clone(&self.waiting),
            why,
        }
    }

    /// Messages that wait, by [`Why::ALL`].
    #[must_use]
    pub fn waiting(&self) -> [u64; 3] {
        let count = |at: usize| u64::try_from(self.waiting[at].load(Ordering::Relaxed));
        std::array::from_fn(|at| count(at).unwrap_or(0))
    }

    /// What is in hand.
    #[must_use]
    pub fn held(&self) -> &Deliveries {
        &self.held
    }

    /// The books with what is really in hand, read again until nothing moved in
    /// between and they close, a few times at most. A delivery that vanished
    /// without an ending keeps them open in every reading.
    #[must_use]
    pub fn at_rest(&self) -> Ledger {
        const READINGS: u32 = 100;
        let read = || {
            let books = self.ledger();
            let in_flight = self.held.count();
            let still = self.ledger();
            let moved = (still.received, still.ended) != (books.received, books.ended);
            (Ledger { in_flight, ..books }, moved)
        };
        let mut readings = (0..READINGS).map(|_| read());
        readings
            .find(|(books, moved)| !moved && books.closes())
            .map_or_else(|| read().0, |(books, _)| books)
    }

    /// Whether waiting messages fill the prefetch.
    pub fn prefetch_full(&self, full: bool) {
        if self.full.swap(full, Ordering::Relaxed) == full {
            return;
        }
        self.metrics.prefetch_full.set(if full { 1.0 } else { 0.0 });
    }

    /// Deliveries that have not ended.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        u64::try_from(self.in_flight.load(Ordering::Relaxed)).unwrap_or(0)
    }

    /// The books as they stand. While messages flow the parts are read one
    /// after another; they close exactly when nothing moves.
    #[must_use]
    pub fn ledger(&self) -> Ledger {
        Ledger {
            received: self.received.load(Ordering::Relaxed),
            ended: std::array::from_fn(|at| self.ended[at].load(Ordering::Relaxed)),
            in_flight: self.in_flight(),
        }
    }
}

/// Counts a waiting message while it lives.
pub struct Waiting {
    gauge: Gauge,
    counts: Arc<[AtomicI64; 3]>,
    why: Why,
}

impl Drop for Waiting {
    fn drop(&mut self) {
        self.gauge.decrement(1.0);
        self.counts[self.why as usize].fetch_sub(1, Ordering::Relaxed);
    }
}
