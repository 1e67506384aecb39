//! Waiting for something that another process does.

use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Result, bail};

/// How long a test waits for what has to come. It guards against waiting for
/// ever and measures nothing: more than a busy machine needs, and less than the
/// 10 min that tests name where a time-out must not come to the rescue.
pub const PATIENCE: Duration = Duration::from_secs(300);

/// Asks `ready` every 10 ms until it answers with a value.
///
/// # Errors
/// Fails with `ready`'s own error at once, or when `limit` has passed.
pub fn wait_for<T>(
    what: &str,
    limit: Duration,
    mut ready: impl FnMut() -> Result<Option<T>>,
) -> Result<T> {
    let started = Instant::now();
    loop {
        if let Some(value) = ready()? {
            return Ok(value);
        }
        if started.elapsed() > limit {
            bail!("failed to see {what} within {limit:?}");
        }
        thread::sleep(Duration::from_millis(10));
    }
}
