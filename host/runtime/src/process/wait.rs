//! Waiting: for a permit, for the claim, for the next attempt.

use std::sync::Arc;
use std::time::Duration;

use holdfast_core::claim;
use holdfast_core::hold;
use holdfast_core::retry::Place as WaitPlace;
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use super::Round;
use crate::books::Why;
use crate::session::{Job, Session};

/// The shortest and longest time between two looks at a claim that is busy.
pub(super) const FIRST_LOOK: Duration = Duration::from_millis(25);
pub(super) const LONGEST_LOOK: Duration = Duration::from_secs(1);
/// A message is handed back before the broker's own acknowledgement time-out
/// (30 minutes by default) would close the channel.
pub(super) const LONGEST_HOLD: Duration = Duration::from_mins(25);

impl Session {
    pub(super) async fn permit(&self) -> Option<OwnedSemaphorePermit> {
        let permits = Arc::clone(&self.context.permits);
        if self.stopping.is_cancelled() {
            return None;
        }
        if let Ok(permit) = Arc::clone(&permits).try_acquire_owned() {
            return Some(permit);
        }
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => None,
            permit = permits.acquire_owned() => permit.ok(),
        }
    }

    /// The claim is busy: look again soon, then less often.
    pub(super) fn look_again(until: Duration, look: &mut Duration, why: Why) -> Round {
        let wait = until.min(*look).max(Duration::from_millis(1));
        *look = (*look * 2).min(LONGEST_LOOK);
        Round::Wait(wait, why)
    }

    /// Spends a wait, in the host or in a delay queue.
    pub(super) async fn wait(&self, job: &Job, wait: Duration, why: Why) -> Round {
        let context = &self.context;
        let _waiting = context.books.wait(why);
        let held = job.received.elapsed();
        if held >= LONGEST_HOLD {
            return Round::ABANDON;
        }
        let ordered = context.spec.ordered();
        // An unordered consumer does not keep a claim that stays busy in its
        // prefetch for ever: after a minute it waits in a delay queue.
        let too_long = !ordered
            && why != Why::Lane
            && wait < context.spec.backoff.hold_below
            && held >= hold::LONGEST;
        let asked = if too_long {
            context.spec.backoff.hold_below.max(LONGEST_LOOK)
        } else {
            wait
        };
        let until = Instant::now() + asked;
        if let WaitPlace::Queue(step) = context.spec.backoff.place(asked, ordered)
            && let Some(round) = self.defer(job, asked, step).await
        {
            return round;
        }
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => Round::ABANDON,
            () = tokio::time::sleep_until(until) => Round::Again,
        }
    }

    /// Puts a copy into the delay queue of this step and acknowledges; none when
    /// no delay queue took it.
    pub(super) async fn defer(&self, job: &Job, wait: Duration, step: Duration) -> Option<Round> {
        let context = &self.context;
        let left = wait.saturating_sub(step);
        let left = if left < Duration::from_secs(1) {
            Duration::ZERO
        } else {
            left
        };
        let message = &job.delivery.message;
        match context
            .broker
            .delay(&context.spec.queue, message, step, left)
            .await
        {
            Ok(confirmed) => Some(Round::ack(claim::deferred(confirmed))),
            Err(error) => {
                tracing::warn!(
                    consumer = %context.spec.name, %error, "no delay queue took the message; it waits in the host"
                );
                None
            }
        }
    }
}
