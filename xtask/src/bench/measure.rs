//! Processor time of other processes, waiting for quiet, and medians.

use std::fs;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};

use super::Servers;

/// Linux reports processor time to programs in hundredths of a second,
/// whatever its own clock does.
const TICK: Duration = Duration::from_millis(10);

/// One run of one variant.
#[derive(Debug, Clone, Copy)]
pub(super) struct Run {
    pub(super) messages: usize,
    pub(super) seconds: f64,
    pub(super) own: Duration,
    pub(super) broker: Duration,
    pub(super) redis: Duration,
    /// What Redis grew by, in bytes.
    pub(super) memory: Option<i64>,
}

impl Run {
    pub(super) fn per_second(&self) -> f64 {
        self.messages as f64 / self.seconds
    }

    /// A processor time as microseconds per message.
    pub(super) fn each(&self, cpu: Duration) -> f64 {
        cpu.as_secs_f64() * 1e6 / self.messages as f64
    }
}

/// What the servers have used so far.
#[derive(Debug, Clone, Copy)]
pub(super) struct ServerCpu {
    broker: Duration,
    redis: Duration,
}

impl ServerCpu {
    pub(super) fn now(servers: &Servers) -> Result<Self> {
        Ok(Self {
            broker: cpu(servers.rabbitmq.pid()?)?,
            redis: cpu(servers.redis.pid())?,
        })
    }

    /// What was used since then: the broker's part, and Redis's.
    pub(super) fn used_since(&self, before: Self) -> (Duration, Duration) {
        (
            self.broker.saturating_sub(before.broker),
            self.redis.saturating_sub(before.redis),
        )
    }
}

/// The time all threads of a process have run, in user and system mode.
pub(super) fn cpu(pid: u32) -> Result<Duration> {
    let path = format!("/proc/{pid}/stat");
    let stat = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
    parse_stat(&stat).with_context(|| format!("failed to read a processor time from {path}"))
}

fn parse_stat(stat: &str) -> Option<Duration> {
    // The second field, the name, may hold anything up to the last bracket.
    let (_, fields) = stat.rsplit_once(')')?;
    let mut times = fields.split_whitespace().skip(11);
    let mut next = || times.next()?.parse::<u32>().ok();
    Some(TICK * (next()? + next()?))
}

/// Waits until a process has hardly run for a fifth of a second: the broker
/// goes on writing for a moment after it has confirmed the last message.
pub(super) fn quiet(pid: u32) -> Result<()> {
    let window = Duration::from_millis(200);
    let started = Instant::now();
    while started.elapsed() < Duration::from_secs(30) {
        let before = cpu(pid)?;
        thread::sleep(window);
        if cpu(pid)? <= before + 2 * TICK {
            return Ok(());
        }
    }
    bail!("failed to see process {pid} at rest within 30 s");
}

/// The middle value; between the two middle ones of an even number.
pub(super) fn median(values: impl IntoIterator<Item = f64>) -> Option<f64> {
    let mut values: Vec<f64> = values.into_iter().collect();
    values.sort_by(f64::total_cmp);
    let last = values.len().checked_sub(1)?;
    Some(f64::midpoint(values[last / 2], values[values.len() / 2]))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_median_is_the_middle_value() {
        assert_eq!(median([3.0, 1.0, 2.0]), Some(2.0));
        assert_eq!(median([4.0, 1.0, 2.0, 3.0]), Some(2.5));
        assert_eq!(median([7.0]), Some(7.0));
        assert_eq!(median([]), None);
    }

    #[test]
    fn processor_time_is_user_and_system_time_whatever_the_name() {
        let stat = "42 (a ) 9 (b) S 1 1 1 0 -1 0 0 0 0 0 150 50 0 0 20 0";
        assert_eq!(parse_stat(stat), Some(Duration::from_secs(2)));
        assert_eq!(parse_stat("42 (cut"), None);
    }
}
