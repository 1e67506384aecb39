//! Endings that publish something first: the outbox, a dead letter.

use std::time::Duration;

use holdfast_core::claim::{self, Claim, ParkReason, Refused, UndeliverableAnswer};
use holdfast_core::key::ClaimKey;
use holdfast_core::settle::Confirmed;
use holdfast_ports::message::Outbox;
use holdfast_ports::store::Place;

use super::Round;
use super::wait::LONGEST_LOOK;
use crate::ask::Step;
use crate::books::Why;
use crate::letter::{self, Facts};
use crate::session::{Job, Session};

/// The wait between two tries to publish what must not be lost.
pub(crate) const PUBLISH_AGAIN: Duration = Duration::from_millis(500);

/// What is known about a message that is given up.
pub(crate) struct Letter {
    pub(crate) reason: ParkReason,
    pub(crate) error: String,
    pub(crate) attempts: u32,
    pub(super) first_seen_ms: Option<u64>,
    pub(super) digest: String,
    pub(super) unsent: Outbox,
}

impl Letter {
    pub(super) fn without_claim(reason: ParkReason, error: &str) -> Self {
        let (error, digest) = (error.to_owned(), String::new());
        Self {
            reason,
            error,
            attempts: 0,
            first_seen_ms: None,
            digest,
            unsent: Outbox::default(),
        }
    }
}

impl Session {
    /// Publishes a committed outbox, records that, and acknowledges.
    pub(super) async fn publish(
        &self,
        job: &Job,
        at: &Place,
        outbox: &Outbox,
        tries: u32,
    ) -> Round {
        let context = &self.context;
        let messages = letter::outbox(&at.group, &at.key, &job.delivery.message, outbox);
        let publishes = messages.into_iter().map(|(broker, message)| async move {
            let target = message.to.to_string();
            match broker
                .as_ref()
                .map_or(Some(&context.broker), |name| context.brokers.get(name))
            {
                Some(broker) => broker
                    .publish(message)
                    .await
                    .map_err(|e| (e.is_undeliverable(), e.to_string())),
                None => Err((true, format!("no broker {broker:?} is configured"))),
            }
            .map_err(|(undeliverable, error)| (undeliverable, format!("{target}: {error}")))
        });
        let results = futures_util::future::join_all(publishes).await;
        let errors: Vec<(bool, String)> = results.into_iter().filter_map(Result::err).collect();
        let undeliverable = errors.iter().find(|(undeliverable, _)| *undeliverable);
        match (errors.first(), undeliverable) {
            (None, _) => {
                match self
                    .ask(Step::Published, &self.leaving, || {
                        context.store.published(at)
                    })
                    .await
                {
                    Ok(answer) => match claim::published(answer) {
                        Ok(proof) => Round::ack(proof),
                        Err(refused) => self.refused(refused),
                    },
                    Err(why) => self.unanswered(why),
                }
            }
            (Some((_, error)), None) => {
                tracing::warn!(consumer = %context.spec.name, key = %at.key, error, "the outbox is not published yet");
                let wait = context.spec.backoff.wait(tries + 1, 0.5).min(LONGEST_LOOK);
                Round::Wait(wait, Why::Delay)
            }
            (_, Some((_, error))) => self.undeliverable(at, error).await,
        }
    }

    pub(super) async fn undeliverable(&self, at: &Place, error: &str) -> Round {
        let context = &self.context;
        let limit = context.spec.backoff.attempts;
        tracing::warn!(consumer = %context.spec.name, key = %at.key, error, "the outbox has no target");
        match self
            .ask(Step::Undeliverable, &self.leaving, || {
                context.store.undeliverable(at, error, limit)
            })
            .await
        {
            Ok(UndeliverableAnswer::Again { tries }) => Round::Wait(
                context
                    .spec
                    .backoff
                    .wait(tries, context.surroundings.unit()),
                Why::Delay,
            ),
            // The claim now says parking, and the next look at it buries it.
            Ok(UndeliverableAnswer::GivenUp | UndeliverableAnswer::Lost) => Round::Again,
            Ok(UndeliverableAnswer::Fenced(by)) => self.refused(Refused::Fenced(by)),
            Err(why) => self.unanswered(why),
        }
    }

    /// Gives a claimed message up: records it, publishes the letter, records
    /// that, acknowledges.
    pub(super) async fn park(&self, job: &Job, at: &Place, claim: Claim, letter: Letter) -> Round {
        let (context, shown, fence) = (&self.context, claim.shown(), claim.fence());
        tracing::warn!(
            consumer = %context.spec.name, key = %at.key, reason = %letter.reason, attempts = letter.attempts,
            error = letter.error, "giving the message up"
        );
        let park = self.ask(Step::Park, &self.leaving, || {
            context
                .store
                .park(at, shown, letter.reason, Some(letter.error.as_str()))
        });
        match park.await {
            Ok(answer) => match claim.kept(answer) {
                Ok(()) if self.halts_lanes() => self.given_up(job, at, fence, &letter, true).await,
                Ok(()) => self.bury_claimed(job, at, fence, &letter).await,
                Err(refused) => self.refused(refused),
            },
            Err(why) => self.unanswered(why),
        }
    }

    pub(crate) async fn bury_claimed(
        &self,
        job: &Job,
        at: &Place,
        fence: u64,
        letter: &Letter,
    ) -> Round {
        let Some(confirmed) = self.bury(job, Some(&at.key), letter).await else {
            return Round::ABANDON;
        };
        match self
            .ask(Step::Buried, &self.leaving, || {
                self.context.store.buried(at, fence)
            })
            .await
        {
            Ok(answer) => match claim::buried(confirmed, answer) {
                Ok(proof) => Round::ack(proof),
                Err(refused) => self.refused(refused),
            },
            Err(why) => self.unanswered(why),
        }
    }

    /// Publishes the dead letter until the broker confirms it; none when told to
    /// stop before.
    pub(super) async fn bury(
        &self,
        job: &Job,
        key: Option<&ClaimKey>,
        letter: &Letter,
    ) -> Option<Confirmed> {
        let context = &self.context;
        let now = (context.surroundings.wall_ms)();
        let facts = Facts {
            reason: letter.reason,
            error: &letter.error,
            attempts: letter.attempts,
            first_seen_ms: letter.first_seen_ms.unwrap_or(now),
            dead_at_ms: now,
            key,
            digest: &letter.digest,
            unsent: &letter.unsent,
        };
        let message = letter::dead_letter(&context.spec, &job.delivery.message, &facts);
        loop {
            match context.broker.publish(message.clone()).await {
                Ok(confirmed) => return Some(confirmed),
                Err(error) => tracing::error!(
                    consumer = %context.spec.name, %error, queue = %message.to,
                    "the dead letter is not published yet; the message is kept"
                ),
            }
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => return None,
                () = tokio::time::sleep(PUBLISH_AGAIN) => {}
            }
        }
    }
}
