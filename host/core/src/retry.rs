//! Waits between attempts, and the steps of the delay queues.

use std::time::Duration;

/// When to try again, and how often in all.
#[derive(Clone, Debug, PartialEq)]
pub struct Backoff {
    /// Calls of the handler in all, at least 1.
    pub attempts: u32,
    /// The wait after the first failure.
    pub initial: Duration,
    /// Each wait is this many times the one before.
    pub factor: f64,
    /// No wait is longer.
    pub max: Duration,
    /// The share of a wait that is random: 0.1 spreads it by up to ten percent
    /// to either side.
    pub jitter: f64,
    /// A shorter wait is spent in the host.
    pub hold_below: Duration,
}

impl Default for Backoff {
    fn default() -> Self {
        Self {
            attempts: 8,
            initial: Duration::from_secs(1),
            factor: 2.0,
            max: Duration::from_secs(300),
            jitter: 0.1,
            hold_below: Duration::from_secs(5),
        }
    }
}

/// Where a wait is spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Place {
    /// In the host, with the message unacknowledged.
    Host(Duration),
    /// In the delay queue of this step.
    Queue(Duration),
}

impl Backoff {
    /// The wait after failed attempt number `attempt`; `random` is in 0..1.
    #[must_use]
    pub fn wait(&self, attempt: u32, random: f64) -> Duration {
        let plain = self.plain(attempt);
        if plain < self.hold_below {
            plain
                .mul_f64(1.0 + self.jitter * (2.0 * random - 1.0))
                .min(self.max)
        } else {
            plain
        }
    }

    fn plain(&self, attempt: u32) -> Duration {
        let exponent = i32::try_from(attempt.saturating_sub(1)).unwrap_or(i32::MAX);
        let seconds = self.initial.as_secs_f64() * self.factor.powi(exponent);
        if seconds.is_finite() && seconds < self.max.as_secs_f64() {
            Duration::from_secs_f64(seconds)
        } else {
            self.max
        }
    }

    /// Where to spend a wait. An ordered consumer keeps its messages in the
    /// host, at the head of their lane.
    #[must_use]
    pub fn place(&self, wait: Duration, ordered: bool) -> Place {
        if ordered || wait < self.hold_below {
            Place::Host(wait)
        } else {
            Place::Queue(nearest_step(wait, &delay_steps(self.max)))
        }
    }

    /// All waits of a message that always fails, added up.
    #[must_use]
    pub fn schedule(&self) -> Duration {
        (1..self.attempts).fold(Duration::ZERO, |sum, attempt| {
            sum.saturating_add(self.plain(attempt))
        })
    }
}

/// The steps of the delay queues: powers of two of a second up to the first
/// that covers `max`.
#[must_use]
pub fn delay_steps(max: Duration) -> Vec<Duration> {
    let mut steps = vec![Duration::from_secs(1)];
    while let Some(last) = steps.last()
        && *last < max
        && steps.len() < 32
    {
        steps.push(*last * 2);
    }
    steps
}

/// The step nearest to a wait. A wait beyond the last step takes the last; the
/// message goes round again when it comes back too early.
#[must_use]
pub fn nearest_step(wait: Duration, steps: &[Duration]) -> Duration {
    steps
        .iter()
        .copied()
        .min_by_key(|step| step.abs_diff(wait))
        .unwrap_or(Duration::from_secs(1))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn waits_double_up_to_the_cap() {
        let backoff = Backoff {
            jitter: 0.0,
            ..Backoff::default()
        };
        let waits: Vec<u64> = (1..=11).map(|n| backoff.wait(n, 0.5).as_secs()).collect();
        assert_eq!(waits, [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]);
        assert_eq!(backoff.wait(u32::MAX, 0.5), secs(300));
        assert_eq!(backoff.schedule(), secs(127));
    }

    #[test]
    fn jitter_spreads_only_waits_that_are_spent_in_the_host() {
        let backoff = Backoff::default();
        assert_eq!(backoff.wait(1, 0.0), Duration::from_millis(900));
        assert_eq!(backoff.wait(1, 1.0), Duration::from_millis(1100));
        assert_eq!(backoff.wait(4, 0.0), secs(8));
    }

    #[test]
    fn steps_are_powers_of_two_up_to_the_first_that_covers_the_cap() {
        assert_eq!(delay_steps(secs(300)).last(), Some(&secs(512)));
        assert_eq!(delay_steps(secs(8)), [secs(1), secs(2), secs(4), secs(8)]);
        assert_eq!(delay_steps(Duration::from_millis(1)), [secs(1)]);
        assert_eq!(nearest_step(secs(300), &delay_steps(secs(300))), secs(256));
        assert_eq!(nearest_step(secs(9000), &delay_steps(secs(300))), secs(512));
    }

    #[test]
    fn ordered_messages_wait_in_the_host_however_long() {
        let backoff = Backoff::default();
        assert_eq!(backoff.place(secs(60), true), Place::Host(secs(60)));
        assert_eq!(backoff.place(secs(60), false), Place::Queue(secs(64)));
        assert_eq!(backoff.place(secs(4), false), Place::Host(secs(4)));
    }
}
