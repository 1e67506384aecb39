//! Asking a store until it answers.
//!
//! A call that got no answer may have taken effect, so it is made again with
//! the same token, and the store answers as it did the first time. Nothing is
//! handled and nothing is acknowledged meanwhile.

use std::sync::OnceLock;
use std::time::Duration;

use holdfast_ports::error::{Kind, PortError};
use metrics::{Histogram, histogram};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// Why there is no answer.
#[derive(Debug)]
pub(crate) enum NoAnswer {
    /// Told to stop while the store was away.
    Stopped,
    /// The record of this message cannot be read.
    BadRecord(String),
    /// The store is not the one we started with.
    Fenced,
}

const FIRST_WAIT: Duration = Duration::from_millis(20);
const LONGEST_WAIT: Duration = Duration::from_secs(1);

/// Calls until there is an answer or `stop` is cancelled. `step` names the call
/// in logs and metrics.
pub(crate) async fn ask<T, F>(
    step: Step,
    stop: &CancellationToken,
    mut call: impl FnMut() -> F,
) -> Result<T, NoAnswer>
where
    F: Future<Output = Result<T, PortError>>,
{
    let mut wait = FIRST_WAIT;
    loop {
        let asked = Instant::now();
        match call().await {
            Ok(answer) => {
                step.took(asked.elapsed());
                return Ok(answer);
            }
            // Boxed, so that the usual case does not carry a timer around.
            Err(error) => Box::pin(pause(step, stop, error, wait)).await?,
        }
        wait = (wait * 2).min(LONGEST_WAIT);
    }
}

/// Waits before the next call, if there is to be one.
async fn pause(
    step: Step,
    stop: &CancellationToken,
    error: PortError,
    wait: Duration,
) -> Result<(), NoAnswer> {
    let step = step.name();
    match error.kind {
        Kind::BadRecord => return Err(NoAnswer::BadRecord(error.to_string())),
        Kind::Fenced => return Err(NoAnswer::Fenced),
        Kind::Transient => tracing::debug!(step, %error, "the store gave no answer; asking again"),
        // Refused for a reason that an operator can mend (a password, a right):
        // the message waits for that like for a store that is away.
        Kind::Permanent => tracing::error!(step, %error, "the store refuses; asking again"),
    }
    tokio::select! {
        biased;
        () = stop.cancelled() => Err(NoAnswer::Stopped),
        () = tokio::time::sleep(wait) => Ok(()),
    }
}

/// A call of the store, for logs and metrics.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Step {
    Begin,
    Commit,
    Fail,
    Park,
    Abandon,
    Published,
    Buried,
    Undeliverable,
}

impl Step {
    const ALL: [Self; 8] = [
        Self::Begin,
        Self::Commit,
        Self::Fail,
        Self::Park,
        Self::Abandon,
        Self::Published,
        Self::Buried,
        Self::Undeliverable,
    ];

    fn name(self) -> &'static str {
        match self {
            Self::Begin => "begin",
            Self::Commit => "commit",
            Self::Fail => "fail",
            Self::Park => "park",
            Self::Abandon => "abandon",
            Self::Published => "published",
            Self::Buried => "buried",
            Self::Undeliverable => "undeliverable",
        }
    }

    fn took(self, time: Duration) {
        static SECONDS: OnceLock<[Histogram; Step::ALL.len()]> = OnceLock::new();
        let seconds = SECONDS.get_or_init(|| {
            Self::ALL.map(|step| histogram!("holdfast_store_seconds", "step" => step.name()))
        });
        seconds[self as usize].record(time);
    }
}
