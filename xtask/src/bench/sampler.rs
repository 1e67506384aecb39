//! Reading a host's counters while it works.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use ureq::Agent;

/// A host that makes no progress for so long is stuck.
const PATIENCE: Duration = Duration::from_secs(60);

/// A window in which a host worked at full load.
#[derive(Debug)]
pub(super) struct Window<T> {
    pub(super) messages: usize,
    pub(super) seconds: f64,
    pub(super) before: T,
    pub(super) after: T,
}

/// A host's counters at a moment.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Sample {
    received: f64,
    completed: f64,
}

pub(super) struct Sampler {
    agent: Agent,
    admin: String,
}

impl Sampler {
    /// `admin` as in `http://127.0.0.1:7070`.
    pub(super) fn new(admin: String) -> Self {
        let config = Agent::config_builder()
            .timeout_global(Some(Duration::from_secs(5)))
            .build();
        Self {
            agent: config.into(),
            admin,
        }
    }

    /// Whether every consumer of the host does what it should.
    pub(super) fn ready(&self) -> bool {
        let answer = self.agent.get(format!("{}/readyz", self.admin)).call();
        answer.is_ok_and(|answer| answer.status() == 200)
    }

    /// Follows a host from before its first message to the completion of the
    /// last. `check` is called at each look, and ends it with an error; `note`
    /// is called at both ends. The window opens at the last look
    /// that saw nothing received, which counts against the host, by up to the
    /// 2 ms between two looks.
    pub(super) fn follow<T>(
        &self,
        messages: usize,
        mut check: impl FnMut() -> Result<()>,
        mut note: impl FnMut() -> Result<T>,
    ) -> Result<Window<T>> {
        let mut progress = Instant::now();
        let (mut opened, mut first, mut before) = (None, 0.0, None);
        let mut last = 0.0;
        loop {
            check()?;
            if progress.elapsed() > PATIENCE {
                bail!("failed to see progress for {PATIENCE:?}: {last} of {messages} completed");
            }
            let now = Instant::now();
            let Some(sample) = self.sample() else {
                thread::sleep(Duration::from_millis(2));
                continue;
            };
            if sample.received == 0.0 || opened.is_none() {
                (opened, first) = (Some(now), sample.completed);
                before = Some(note()?);
            }
            if sample.completed > last {
                (progress, last) = (Instant::now(), sample.completed);
            }
            if sample.completed >= messages as f64 {
                let opened = opened.context("the window never opened")?;
                return Ok(Window {
                    // Counters hold whole numbers far below 2^52.
                    messages: messages - first as usize,
                    seconds: opened.elapsed().as_secs_f64(),
                    before: before.context("the window never opened")?,
                    after: note()?,
                });
            }
            thread::sleep(pause(sample, messages, opened.map(|at| at.elapsed())));
        }
    }

    fn sample(&self) -> Option<Sample> {
        let mut answer = self
            .agent
            .get(format!("{}/metrics", self.admin))
            .call()
            .ok()?;
        let text = answer.body_mut().read_to_string().ok()?;
        Some(read(&text))
    }
}

/// Looking costs the host some work: seldom while it is far from the end,
/// often enough near it that the look is not what is measured.
fn pause(sample: Sample, messages: usize, so_far: Option<Duration>) -> Duration {
    let least = Duration::from_millis(2);
    let done = sample.completed / messages as f64;
    if done <= 0.0 {
        return least;
    }
    let so_far = so_far.unwrap_or_default().as_secs_f64();
    let left = so_far * (1.0 - done) / done;
    Duration::from_secs_f64((left / 2.0).clamp(0.002, 0.1))
}

fn read(text: &str) -> Sample {
    let sum = |name: &str, label: &str| {
        let lines = text.lines().filter_map(|line| line.strip_prefix(name));
        let matching = lines.filter(|rest| {
            let whole_name = rest.starts_with(['{', ' ']);
            whole_name && rest.contains(label)
        });
        matching
            .filter_map(|rest| rest.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum()
    };
    Sample {
        received: sum("holdfast_received_total", ""),
        completed: sum("holdfast_messages_total", "ending=\"completed\""),
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::TcpListener;

    use super::*;

    /// Answers each look with the next pair of counters, on a new connection.
    fn host(counters: &'static [(u32, u32)]) -> Sampler {
        let listener = TcpListener::bind("127.0.0.1:0").unwrap();
        let address = listener.local_addr().unwrap();
        thread::spawn(move || {
            for (received, completed) in counters {
                let (mut stream, _) = listener.accept().unwrap();
                let asked = stream.read(&mut [0; 1024]).unwrap();
                assert!(asked > 0);
                let body = format!(
                    "holdfast_received_total{{consumer=\"a\"}} {received}\n\
                     holdfast_messages_total{{ending=\"completed\"}} {completed}\n"
                );
                let head = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length";
                write!(stream, "{head}: {}\r\n\r\n{body}", body.len()).unwrap();
            }
        });
        Sampler::new(format!("http://{address}"))
    }

    fn counting() -> impl FnMut() -> Result<u32> {
        let mut looks = 0;
        move || {
            looks += 1;
            Ok(looks)
        }
    }

    #[test]
    fn the_window_opens_with_the_last_look_that_saw_nothing() {
        let sampler = host(&[(0, 0), (0, 0), (60, 40), (100, 100)]);
        let window = sampler.follow(100, || Ok(()), counting()).unwrap();
        assert_eq!(window.messages, 100);
        assert_eq!((window.before, window.after), (2, 3));
        assert!(window.seconds > 0.0);
    }

    #[test]
    fn what_was_completed_before_the_first_look_does_not_count() {
        let sampler = host(&[(60, 40), (100, 100)]);
        let window = sampler.follow(100, || Ok(()), counting()).unwrap();
        assert_eq!(window.messages, 60);
    }

    #[test]
    fn a_host_that_ends_ends_the_measurement() {
        let sampler = host(&[(0, 0)]);
        let mut looks = 0;
        let check = || {
            looks += 1;
            match looks {
                1 => Ok(()),
                _ => bail!("the host ended"),
            }
        };
        let error = sampler.follow(100, check, counting()).unwrap_err();
        assert_eq!(error.to_string(), "the host ended");
    }

    #[test]
    fn counters_are_summed_over_consumers_and_nothing_else() {
        let text = "# TYPE holdfast_messages_total counter\n\
            holdfast_messages_total{consumer=\"a\",side=\"a\",ending=\"completed\"} 40\n\
            holdfast_messages_total{consumer=\"b\",side=\"b\",ending=\"completed\"} 2\n\
            holdfast_messages_total{consumer=\"a\",side=\"a\",ending=\"duplicate\"} 7\n\
            holdfast_messages_total_seconds{ending=\"completed\"} 9\n\
            holdfast_received_total{consumer=\"a\",side=\"a\"} 50\n";
        let expected = Sample {
            received: 50.0,
            completed: 42.0,
        };
        assert_eq!(read(text), expected);
    }

    #[test]
    fn the_pauses_get_shorter_towards_the_end() {
        let at = |completed| {
            let sample = Sample {
                received: completed,
                completed,
            };
            pause(sample, 1000, Some(Duration::from_secs(1)))
        };
        assert_eq!(at(0.0), Duration::from_millis(2));
        assert_eq!(at(500.0), Duration::from_millis(100));
        assert!(at(990.0) < Duration::from_millis(10));
        assert_eq!(at(1000.0), Duration::from_millis(2));
    }
}
