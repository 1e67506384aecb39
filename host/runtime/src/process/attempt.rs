//! One call of the handler, and the recording of what came of it.

use std::sync::Arc;

use holdfast_core::claim::{Claim, Committed};
use holdfast_core::settle::{Verdict, decide};
use holdfast_ports::message::{Outbox, Snapshot};
use holdfast_ports::plugins::{Call, Outcome, Plugin};
use holdfast_ports::store::{Commit, Place};
use tokio::sync::OwnedSemaphorePermit;

use super::Round;
use super::ending::Letter;
use crate::ask::Step;
use crate::books::{Attempt, Why};
use crate::route::Route;
use crate::session::{Job, Session};

/// A granted claim and what came with it.
pub(super) struct Granted {
    pub(super) claim: Claim,
    pub(super) first_seen_ms: u64,
    pub(super) state: Snapshot,
    pub(super) permit: OwnedSemaphorePermit,
}

impl Session {
    /// Calls the handler and records what came of it.
    pub(super) async fn attempt(
        &self,
        job: &Job,
        route: &Route,
        at: &Place,
        granted: Granted,
        plugin: Arc<dyn Plugin>,
    ) -> Round {
        let Granted {
            claim,
            first_seen_ms,
            state,
            permit,
        } = granted;
        let context = &self.context;
        let call = self.call(job, route, &claim, state);
        let outcome = context.batcher.call(Arc::clone(&plugin), call).await;
        drop(permit);
        let Outcome {
            result,
            effects,
            ran,
            sha256,
            ..
        } = outcome;
        if self.interrupt.is_set() && result.is_err() {
            return Round::ABANDON;
        }
        let verdict = decide(
            result,
            claim.attempt(),
            &context.spec.backoff,
            context.surroundings.unit(),
        );
        context.books.ran(ran, Attempt::of(&verdict));
        match verdict {
            Verdict::Commit => {
                let commit = Commit {
                    lane: route.lane.clone(),
                    sequence: route.sequence,
                    effects,
                };
                self.commit(job, at, claim, commit).await
            }
            Verdict::Retry { after, error } => {
                tracing::info!(
                    consumer = %context.spec.name, key = %route.key, attempt = claim.attempt(), ?after, error,
                    "attempt failed; the claim is kept"
                );
                let shown = claim.shown();
                match self
                    .ask(Step::Fail, &self.leaving, || {
                        context.store.fail(at, shown, &error)
                    })
                    .await
                {
                    Ok(answer) => match claim.kept(answer) {
                        Ok(()) => Round::Wait(after, Why::Delay),
                        Err(refused) => self.refused(refused),
                    },
                    Err(why) => self.unanswered(why),
                }
            }
            Verdict::GiveUp { reason, error } => {
                let letter = Letter {
                    reason,
                    error,
                    attempts: claim.attempt(),
                    first_seen_ms: Some(first_seen_ms),
                    digest: sha256.to_string(),
                    unsent: Outbox::default(),
                };
                Box::pin(self.park(job, at, claim, letter)).await
            }
        }
    }

    pub(super) fn call(&self, job: &Job, route: &Route, claim: &Claim, state: Snapshot) -> Call {
        let context = &self.context;
        Call {
            message: Arc::clone(&job.delivery.message),
            key: route.key.as_str().to_owned(),
            encoded_key: route.key.encoded(),
            lane: route.lane.as_ref().map(|lane| lane.as_str().to_owned()),
            consumer: Arc::clone(&context.names.consumer),
            group: Arc::clone(&context.names.group),
            side: Arc::clone(&context.names.side),
            attempt: claim.attempt(),
            fence: claim.fence(),
            sequence: route.sequence,
            state,
            brokers: Arc::clone(&context.broker_names),
            interrupt: self.interrupt.clone(),
        }
    }

    pub(super) async fn commit(
        &self,
        job: &Job,
        at: &Place,
        claim: Claim,
        commit: Commit,
    ) -> Round {
        let store = &self.context.store;
        let shown = claim.shown();
        let answer = match self
            .ask(Step::Commit, &self.leaving, || {
                store.commit(at, shown, &commit)
            })
            .await
        {
            Ok(answer) => answer,
            Err(why) => return self.unanswered(why),
        };
        match claim.committed(answer) {
            Ok(Committed::Done(proof)) => Round::ack(proof),
            Ok(Committed::Publish(minted)) => {
                let outbox = Outbox {
                    messages: commit.effects.outbox,
                    minted,
                };
                Box::pin(self.publish(job, at, &outbox, 0)).await
            }
            Ok(Committed::Again(claim)) => {
                // Another message changed the state that this one read. The
                // attempt is not counted and is made again on fresh state.
                let shown = claim.shown();
                match self
                    .ask(Step::Abandon, &self.leaving, || store.abandon(at, shown))
                    .await
                {
                    Ok(answer) => match claim.kept(answer) {
                        Ok(()) => Round::Again,
                        Err(refused) => self.refused(refused),
                    },
                    Err(why) => self.unanswered(why),
                }
            }
            Err(refused) => self.refused(refused),
        }
    }
}

impl Attempt {
    fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Commit => Self::Ok,
            Verdict::Retry { .. } => Self::Retry,
            Verdict::GiveUp { .. } => Self::GivenUp,
        }
    }
}
