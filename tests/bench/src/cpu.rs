//! What a run took: wall time by a monotonic clock, and processor time.

use std::fs;
use std::time::{Duration, Instant};

use anyhow::{Context, Result};
use serde_json::{Value, json};

/// Linux reports processor time to programs in hundredths of a second,
/// whatever its own clock does.
const TICK: Duration = Duration::from_millis(10);

/// A run that has begun.
pub(crate) struct Stopwatch {
    started: Instant,
    cpu: Duration,
}

impl Stopwatch {
    pub(crate) fn start() -> Result<Self> {
        Ok(Self {
            cpu: own_cpu()?,
            started: Instant::now(),
        })
    }

    /// The report of a run over this many messages.
    pub(crate) fn report(&self, messages: usize) -> Result<Value> {
        let seconds = self.started.elapsed().as_secs_f64();
        let cpu = own_cpu()?.saturating_sub(self.cpu);
        Ok(json!({
            "messages": messages,
            "seconds": seconds,
            "cpu_us": u64::try_from(cpu.as_micros())?,
        }))
    }
}

/// The time all threads of this process have run, in user and system mode.
fn own_cpu() -> Result<Duration> {
    let stat = fs::read_to_string("/proc/self/stat").context("failed to read /proc/self/stat")?;
    // The second field, the name, may hold anything up to the last bracket.
    let fields = stat.rsplit_once(')').map_or("", |(_, rest)| rest);
    let mut times = fields.split_whitespace().skip(11);
    let mut next = || -> Result<u32> {
        let field = times.next().context("too few fields in /proc/self/stat")?;
        Ok(field.parse()?)
    };
    Ok(TICK * (next()? + next()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn work_shows_up_as_processor_time() {
        let before = own_cpu().unwrap();
        let started = Instant::now();
        while own_cpu().unwrap() < before + 2 * TICK {
            assert!(started.elapsed() < Duration::from_secs(10));
        }
    }
}
