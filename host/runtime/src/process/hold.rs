//! Waiting for the other side.

use std::time::Duration;

use holdfast_core::retry::{delay_steps, nearest_step};
use holdfast_ports::store::Place;

use super::Round;
use super::wait::{FIRST_LOOK, LONGEST_HOLD, LONGEST_LOOK};
use crate::books::Why;
use crate::foreign::Wake;
use crate::session::{Job, Session};

impl Session {
    /// Holds a message that the other side owns.
    pub(super) async fn hold(&self, job: &Job, at: &Place) -> Round {
        let context = &self.context;
        let waiting = context.books.wait(Why::OtherSide);
        let mut place = self.foreign.enter(at.clone(), job.received);
        let woken = tokio::select! {
            biased;
            () = self.stopping.cancelled() => return Round::ABANDON,
            woken = place.woken() => woken,
            () = tokio::time::sleep_until(job.received + LONGEST_HOLD) => return Round::ABANDON,
        };
        let wait = match woken {
            Wake::Ask => return Round::Again,
            Wake::MakeRoom(wait) => wait,
        };
        let _leaving = self.foreign.leave();
        drop(waiting);
        let step = nearest_step(wait, &delay_steps(context.spec.backoff.max));
        match self.defer(job, wait, step).await {
            Some(round) => round,
            None => Round::Wait(wait.min(LONGEST_LOOK), Why::OtherSide),
        }
    }

    /// The rule that was to decide a new key is not the current one any more.
    pub(super) async fn read_rule_again(&self, seen: Option<u64>, look: &mut Duration) -> Round {
        match self.context.rule.read_after(seen).await {
            Ok(()) => {
                *look = FIRST_LOOK;
                Round::Again
            }
            Err(error) => {
                tracing::debug!(consumer = %self.context.spec.name, %error, "the cut-over rule was not read");
                Self::look_again(LONGEST_LOOK, look, Why::Delay)
            }
        }
    }
}
