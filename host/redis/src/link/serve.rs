//! The task behind a [`Link`](super::Link).

use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Pipeline, Value};
use tokio::sync::mpsc::UnboundedReceiver;
use tokio::time::MissedTickBehavior;

use super::batch::{Health, exchange, tell};
use super::{BATCH, Job, Settings, Status};
use crate::error::LinkError;

/// Pause after the first failed attempt to connect; doubled up to the longest.
const FIRST_PAUSE: Duration = Duration::from_millis(50);
const LONGEST_PAUSE: Duration = Duration::from_secs(1);

/// How often an idle connection is tried.
const PING: Duration = Duration::from_secs(1);

/// Batches without an answer in a row after which the connection is given up:
/// the server may be back at another place behind the same name.
const SILENT: u32 = 2;

/// Why serving ended.
enum Stop {
    /// The store was dropped.
    Closed,
    /// The connection is gone.
    Lost(LinkError),
}

/// Connects, serves, and connects again, until the store is dropped.
pub(super) async fn run(
    mut queue: UnboundedReceiver<Job>,
    settings: Arc<Settings>,
    status: Arc<Status>,
) {
    let mut pause = FIRST_PAUSE;
    while !queue.is_closed() {
        match connect(&settings).await {
            Ok(connection) => {
                let start = Instant::now();
                match serve(connection, &mut queue, &settings, &status).await {
                    Stop::Closed => return,
                    Stop::Lost(error) => {
                        tracing::warn!(store = settings.shown, %error, "lost the connection to Redis");
                        status.set_up(false, &settings.shown);
                    }
                }
                if start.elapsed() > LONGEST_PAUSE {
                    pause = FIRST_PAUSE;
                }
            }
            Err(error) => {
                status.set_up(false, &settings.shown);
                tracing::debug!(store = settings.shown, %error, "failed to connect to Redis");
                tell_waiting(&mut queue, error);
            }
        }
        tokio::time::sleep(pause).await;
        pause = (pause * 2).min(LONGEST_PAUSE);
    }
}

async fn connect(settings: &Settings) -> Result<MultiplexedConnection, LinkError> {
    let limit = settings.response_timeout;
    let config = AsyncConnectionConfig::new()
        .set_connection_timeout(Some(limit))
        .set_response_timeout(Some(limit));
    let client = settings.target.client(&config).await?;
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .map_err(LinkError::connecting)
}

async fn serve(
    mut connection: MultiplexedConnection,
    queue: &mut UnboundedReceiver<Job>,
    settings: &Settings,
    status: &Status,
) -> Stop {
    let mut silent = 0;
    let mut tick = tokio::time::interval(PING);
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    loop {
        let mut jobs = Vec::new();
        let outcome = tokio::select! {
            biased;
            taken = queue.recv_many(&mut jobs, BATCH) => {
                if taken == 0 {
                    return Stop::Closed;
                }
                exchange(&mut connection, jobs, settings).await
            }
            _ = tick.tick() => ping(&mut connection, settings, status).await,
        };
        match outcome {
            Ok(health) => {
                silent = 0;
                status.set_up(health == Health::Good, &settings.shown);
                if health == Health::Demoted {
                    return Stop::Lost(LinkError::Lost);
                }
            }
            Err(error @ LinkError::TimedOut(_)) => {
                status.set_up(false, &settings.shown);
                // Those behind would only wait for the same.
                tell_waiting(queue, error.clone());
                silent += 1;
                if silent >= SILENT {
                    return Stop::Lost(error);
                }
            }
            Err(error) => return Stop::Lost(error),
        }
    }
}

/// Tries the connection and measures it.
async fn ping(
    connection: &mut MultiplexedConnection,
    settings: &Settings,
    status: &Status,
) -> Result<Health, LinkError> {
    let start = Instant::now();
    let mut pipeline = Pipeline::with_capacity(1);
    pipeline.cmd("PING");
    match connection.send_packed_commands(&pipeline, 0, 1).await {
        Ok(answers) => {
            let micros = u64::try_from(start.elapsed().as_micros()).unwrap_or(u64::MAX);
            status.ping_micros.store(micros, Ordering::Relaxed);
            Ok(match answers.into_iter().next() {
                Some(Value::ServerError(error)) => Health::of(Err(&LinkError::Server(error))),
                _ => Health::Good,
            })
        }
        Err(error) if error.is_timeout() => Err(LinkError::TimedOut(settings.response_timeout)),
        Err(error) => Err(LinkError::Away(error)),
    }
}

/// Tells those who are still in the queue.
fn tell_waiting(queue: &mut UnboundedReceiver<Job>, error: LinkError) {
    let waiting = std::iter::from_fn(|| queue.try_recv().ok());
    tell(waiting, error);
}
