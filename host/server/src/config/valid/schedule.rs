//! How long the whole retry schedule of a message can take.

use std::time::Duration;

use super::consumer::Retry;

/// The longest time from a message's first call to the end of its last: every
/// attempt up to its deadline, and every wait between two with its jitter. A
/// handler that names its own delay can take longer.
pub(super) fn longest(retry: &Retry, deadline: Duration) -> Duration {
    let calls = deadline.saturating_mul(retry.attempts);
    let most = retry.max.as_secs_f64();
    let mut wait = retry.initial.as_secs_f64().min(most);
    let mut waits = 0.0;
    for done in 1..retry.attempts {
        if wait >= most {
            waits += most * f64::from(retry.attempts - done);
            break;
        }
        waits += wait;
        wait = (wait * retry.factor).min(most);
    }
    let waits = Duration::try_from_secs_f64(waits * (1.0 + retry.jitter)).unwrap_or(Duration::MAX);
    // Milliseconds are the finest unit a setting has.
    let millis = calls.saturating_add(waits).as_millis();
    Duration::from_millis(u64::try_from(millis).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn retry(attempts: u32, initial: u64, factor: f64, max: u64, jitter: f64) -> Retry {
        Retry {
            attempts,
            initial: Duration::from_secs(initial),
            factor,
            max: Duration::from_secs(max),
            jitter,
            hold_below: Duration::ZERO,
        }
    }

    #[test]
    fn waits_grow_to_their_maximum_and_stay_there() {
        let second = Duration::from_secs(1);
        assert_eq!(longest(&retry(1, 1, 2.0, 60, 0.5), second), second);
        assert_eq!(
            longest(&retry(4, 1, 2.0, 60, 0.0), second),
            Duration::from_secs(4 + 7)
        );
        assert_eq!(
            longest(&retry(4, 1, 2.0, 2, 0.0), second),
            Duration::from_secs(4 + 5)
        );
        assert_eq!(
            longest(&retry(3, 2, 1.0, 60, 0.0), second),
            Duration::from_secs(3 + 4)
        );
        assert_eq!(
            longest(&retry(3, 2, 1.0, 60, 0.5), second),
            Duration::from_secs(3 + 6)
        );
    }
}
