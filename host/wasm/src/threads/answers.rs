//! Answers of guests on their way to those who wait: a few at a time, since
//! handing one over may wake a thread.

use std::time::{Duration, Instant};

use tokio::sync::oneshot;

/// Answers kept back at most while there is more to do.
const ANSWERS: usize = 8;

/// How long an answer is kept back at most, but for the turn of one guest.
const HOLD: Duration = Duration::from_micros(50);

/// Answers that are handed over together.
pub(super) struct Answers<T> {
    kept: Vec<(oneshot::Sender<T>, T)>,
    since: Instant,
}

impl<T> Answers<T> {
    pub(super) fn new() -> Self {
        Self {
            kept: Vec::with_capacity(ANSWERS),
            since: Instant::now(),
        }
    }

    pub(super) fn add(&mut self, to: oneshot::Sender<T>, answer: T, now: Instant) {
        if self.kept.is_empty() {
            self.since = now;
        }
        self.kept.push((to, answer));
    }

    pub(super) fn hand_over_if_due(&mut self, now: Instant) {
        if self.kept.len() >= ANSWERS || (!self.kept.is_empty() && now - self.since >= HOLD) {
            self.hand_over();
        }
    }

    pub(super) fn hand_over(&mut self) {
        for (to, answer) in self.kept.drain(..) {
            // Nobody waits any more: the call has ended properly all the same.
            let _ = to.send(answer);
        }
    }
}
