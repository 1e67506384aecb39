//! One message from delivery to settlement.
//!
//! Each await below is a place where the process may die. What a restart finds:
//!
//! | dies while | claim says | what happens |
//! |---|---|---|
//! | asking for the claim | nothing, or running | redelivered; the lock expires, the attempt counted |
//! | the handler runs | running | the same |
//! | committing | running or committed | runs again, or goes on with the outbox |
//! | publishing the outbox | committed | redelivered; published again under the same ids |
//! | recording a failure | running or failed | redelivered on the same side |
//! | deferring | failed | the original or the copy comes, or both: one runs, one is a duplicate |
//! | parking, burying | parking | redelivered; the letter is published (again) |
//! | acknowledging | done or parked | redelivered; acknowledged without a call |

use std::sync::Arc;
use std::time::Duration;

use holdfast_core::claim::{
    self, Asked, BeginFacts, Claim, Committed, FencedBy, Next, ParkReason, Refused, Token,
    UndeliverableAnswer, interpret,
};
use holdfast_core::retry::Place as WaitPlace;
use holdfast_core::settle::{Proof, Settlement, Verdict, decide};
use holdfast_ports::message::{Outbox, Snapshot};
use holdfast_ports::plugins::{Call, Outcome, Plugin};
use holdfast_ports::store::{Begin, Commit, Place};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::Instant;

use crate::ask::{NoAnswer, ask};
use crate::books::{Attempt, Why};
use crate::letter::{self, Facts};
use crate::route::Route;
use crate::session::{Job, Session};

/// How one round over a message ended.
enum Round {
    /// The delivery is over.
    Settle(Settlement),
    /// Ask for the claim again after this time.
    Wait(Duration, Why),
    /// Ask for the claim again at once.
    Again,
}

impl Round {
    fn ack(proof: Proof) -> Self {
        Self::Settle(Settlement::Ack(proof))
    }

    const ABANDON: Self = Self::Settle(Settlement::Abandon);
}

/// The shortest and longest time between two looks at a claim that is busy or
/// the other side's.
const FIRST_LOOK: Duration = Duration::from_millis(25);
const LONGEST_LOOK: Duration = Duration::from_secs(1);
/// A message is handed back before the broker's own acknowledgement time-out
/// (30 minutes by default) would close the channel.
const LONGEST_HOLD: Duration = Duration::from_mins(25);
/// The wait between two tries to publish what must not be lost.
const PUBLISH_AGAIN: Duration = Duration::from_millis(500);

impl Session {
    /// Works on a delivery until it is settled.
    pub(crate) async fn process(&self, job: Job) {
        let settlement = self.work(&job).await;
        self.settle(job, settlement);
    }

    async fn work(&self, job: &Job) -> Settlement {
        let route = match &job.route {
            Ok(route) => route,
            Err(refusal) => {
                let letter = Letter::without_claim(refusal.reason, &refusal.error);
                return match self.bury(job, refusal.key.as_ref(), &letter).await {
                    Some(confirmed) => Settlement::Ack(claim::buried_without_claim(confirmed)),
                    None => Settlement::Abandon,
                };
            }
        };
        let at = self.place(route);
        let mut look = FIRST_LOOK;
        let left = job
            .delivery
            .message
            .wait_left_ms
            .map_or(Duration::ZERO, Duration::from_millis);
        let mut round = if left.is_zero() {
            Round::Again
        } else {
            Round::Wait(left, Why::Delay)
        };
        loop {
            round = match round {
                Round::Settle(settlement) => return settlement,
                Round::Again => self.round(job, route, &at, &mut look).await,
                Round::Wait(wait, why) => self.wait(job, wait, why).await,
            };
        }
    }

    fn place(&self, route: &Route) -> Place {
        let spec = &self.context.spec;
        Place {
            group: spec.group.clone(),
            key: route.key.clone(),
            slot: spec.slot,
            lease: self.epoch.map(|_| spec.name.clone()),
            keep: spec.keep,
        }
    }

    /// Asks for the claim once and does what the answer says.
    async fn round(&self, job: &Job, route: &Route, at: &Place, look: &mut Duration) -> Round {
        let context = &self.context;
        let Some(permit) = self.permit().await else {
            return Round::ABANDON;
        };
        let Some(plugin) = context.plugins.current(&context.spec.plugin) else {
            return Round::Wait(LONGEST_LOOK, Why::Delay);
        };
        let token = Token((context.surroundings.random)());
        let begin = Begin {
            at: at.clone(),
            facts: self.facts(route, token),
            state: plugin.info().uses_state,
        };
        let answer = match ask("begin", &self.stopping, || {
            context.store.begin(begin.clone())
        })
        .await
        {
            Ok(answer) => answer,
            Err(NoAnswer::BadRecord(error)) => {
                let letter = Letter::without_claim(ParkReason::BadRecord, &error);
                return match self.bury(job, Some(&route.key), &letter).await {
                    Some(confirmed) => Round::ack(claim::buried_without_claim(confirmed)),
                    None => Round::ABANDON,
                };
            }
            Err(other) => return self.unanswered(other),
        };
        count_answer(&answer);
        let asked = Asked {
            group: at.group.clone(),
            key: at.key.clone(),
            side: context.spec.side.clone(),
            token,
            epoch: self.epoch,
            attempts: context.spec.backoff.attempts,
            on_foreign: context.spec.on_foreign,
        };
        match interpret(asked, answer) {
            Next::Run { claim, state } => {
                self.attempt(job, route, at, claim, state, plugin, permit)
                    .await
            }
            Next::GiveUp {
                claim,
                error,
                first_seen_ms,
            } => {
                drop(permit);
                let error =
                    error.unwrap_or_else(|| "the process died during the last attempt".into());
                let letter = Letter {
                    reason: ParkReason::AttemptsSpent,
                    error,
                    attempts: claim.attempt() - 1,
                    first_seen_ms: Some(first_seen_ms),
                    digest: plugin.info().sha256.clone(),
                    unsent: Outbox::default(),
                };
                self.park(job, at, claim, letter).await
            }
            Next::Ack(proof) => Round::ack(proof),
            Next::Publish { outbox, tries } => {
                drop(permit);
                self.publish(job, at, &outbox, tries).await
            }
            Next::Bury {
                reason,
                error,
                attempts,
                first_seen_ms,
                outbox,
            } => {
                drop(permit);
                let letter = Letter {
                    reason,
                    error: error.unwrap_or_default(),
                    attempts,
                    first_seen_ms: Some(first_seen_ms),
                    digest: plugin.info().sha256.clone(),
                    unsent: outbox,
                };
                self.bury_claimed(job, at, &letter).await
            }
            Next::Conflict => {
                drop(permit);
                let letter = Letter::without_claim(
                    ParkReason::KeyConflict,
                    &format!(
                        "another message with the key {:?} has another body",
                        route.key.as_str()
                    ),
                );
                match self.bury(job, Some(&route.key), &letter).await {
                    Some(confirmed) => Round::ack(claim::buried_without_claim(confirmed)),
                    None => Round::ABANDON,
                }
            }
            Next::Wait(until) => Self::look_again(until, look, Why::Delay),
            Next::Foreign { .. } => Self::look_again(LONGEST_LOOK, look, Why::OtherSide),
            Next::Stop(by) => {
                self.fence(by);
                Round::ABANDON
            }
        }
    }

    fn facts(&self, route: &Route, token: Token) -> BeginFacts {
        let spec = &self.context.spec;
        let rule = self.context.rule.load();
        let hashed = match &route.lane {
            Some(lane) if spec.ordered() => lane.as_str(),
            _ => route.key.as_str(),
        };
        BeginFacts {
            side: spec.side.clone(),
            owner_if_new: rule
                .as_ref()
                .map_or(&spec.side, |rule| rule.owner(hashed))
                .clone(),
            token,
            fingerprint: route.fingerprint,
            lane: route.lane.clone(),
            sequence: route.sequence,
            epoch: self.epoch,
            lock: spec.lock(),
            assign_timeout: rule
                .as_ref()
                .map_or(Duration::from_mins(1), |rule| rule.assign_timeout),
        }
    }

    async fn permit(&self) -> Option<OwnedSemaphorePermit> {
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

    /// The claim is busy or the other side's: look again soon, then less often.
    fn look_again(until: Duration, look: &mut Duration, why: Why) -> Round {
        let wait = until.min(*look).max(Duration::from_millis(1));
        *look = (*look * 2).min(LONGEST_LOOK);
        Round::Wait(wait, why)
    }

    /// Calls the handler and records what came of it.
    #[expect(
        clippy::too_many_arguments,
        reason = "everything one attempt is about, used once"
    )]
    async fn attempt(
        &self,
        job: &Job,
        route: &Route,
        at: &Place,
        claim: Claim,
        state: Snapshot,
        plugin: Arc<dyn Plugin>,
        permit: OwnedSemaphorePermit,
    ) -> Round {
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
                match ask("fail", &self.leaving, || {
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
                    first_seen_ms: None,
                    digest: sha256.to_string(),
                    unsent: Outbox::default(),
                };
                self.park(job, at, claim, letter).await
            }
        }
    }

    fn call(&self, job: &Job, route: &Route, claim: &Claim, state: Snapshot) -> Call {
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

    async fn commit(&self, job: &Job, at: &Place, claim: Claim, commit: Commit) -> Round {
        let store = &self.context.store;
        let shown = claim.shown();
        let answer = match ask("commit", &self.leaving, || store.commit(at, shown, &commit)).await {
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
                self.publish(job, at, &outbox, 0).await
            }
            Ok(Committed::Again(claim)) => {
                // Another message changed the state that this one read. The
                // attempt is not counted and is made again on fresh state.
                let shown = claim.shown();
                match ask("abandon", &self.leaving, || store.abandon(at, shown)).await {
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

    /// Publishes a committed outbox, records that, and acknowledges.
    async fn publish(&self, job: &Job, at: &Place, outbox: &Outbox, tries: u32) -> Round {
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
                match ask("published", &self.leaving, || context.store.published(at)).await {
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

    async fn undeliverable(&self, at: &Place, error: &str) -> Round {
        let context = &self.context;
        let limit = context.spec.backoff.attempts;
        tracing::warn!(consumer = %context.spec.name, key = %at.key, error, "the outbox has no target");
        match ask("undeliverable", &self.leaving, || {
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
    async fn park(&self, job: &Job, at: &Place, claim: Claim, mut letter: Letter) -> Round {
        let (context, shown) = (&self.context, claim.shown());
        tracing::warn!(
            consumer = %context.spec.name, key = %at.key, reason = %letter.reason, attempts = letter.attempts,
            error = letter.error, "giving the message up"
        );
        let park = ask("park", &self.leaving, || {
            context
                .store
                .park(at, shown, letter.reason, Some(letter.error.as_str()))
        });
        match park.await {
            Ok(answer) => match claim.kept(answer) {
                Ok(()) => {
                    letter.first_seen_ms =
                        letter.first_seen_ms.or(job.delivery.message.timestamp_ms);
                    self.bury_claimed(job, at, &letter).await
                }
                Err(refused) => self.refused(refused),
            },
            Err(why) => self.unanswered(why),
        }
    }

    async fn bury_claimed(&self, job: &Job, at: &Place, letter: &Letter) -> Round {
        let Some(confirmed) = self.bury(job, Some(&at.key), letter).await else {
            return Round::ABANDON;
        };
        match ask("buried", &self.leaving, || self.context.store.buried(at)).await {
            Ok(answer) => match claim::buried(confirmed, answer) {
                Ok(proof) => Round::ack(proof),
                Err(refused) => self.refused(refused),
            },
            Err(why) => self.unanswered(why),
        }
    }

    /// Publishes the dead letter until the broker confirms it; none when told to
    /// stop before.
    async fn bury(
        &self,
        job: &Job,
        key: Option<&holdfast_core::key::ClaimKey>,
        letter: &Letter,
    ) -> Option<holdfast_core::settle::Confirmed> {
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
                () = self.stopping.cancelled() => return None,
                () = tokio::time::sleep(PUBLISH_AGAIN) => {}
            }
        }
    }

    /// Spends a wait, in the host or in a delay queue.
    async fn wait(&self, job: &Job, wait: Duration, why: Why) -> Round {
        let context = &self.context;
        let _waiting = context.books.wait(why);
        let held = job.received.elapsed();
        if held >= LONGEST_HOLD {
            return Round::ABANDON;
        }
        let ordered = context.spec.ordered();
        // An unordered consumer does not keep a claim that stays busy or foreign
        // in its prefetch for ever: after a minute it waits in a delay queue.
        let too_long = !ordered
            && why != Why::Lane
            && wait < context.spec.backoff.hold_below
            && held >= LONGEST_LOOK * 60;
        let asked = if too_long {
            context.spec.backoff.hold_below.max(LONGEST_LOOK)
        } else {
            wait
        };
        let until = Instant::now() + asked;
        if let WaitPlace::Queue(step) = context.spec.backoff.place(asked, ordered) {
            let left = asked.saturating_sub(step);
            let left = if left < Duration::from_secs(1) {
                Duration::ZERO
            } else {
                left
            };
            match context
                .broker
                .delay(&context.spec.queue, &job.delivery.message, step, left)
                .await
            {
                Ok(confirmed) => return Round::ack(claim::deferred(confirmed)),
                Err(error) => tracing::warn!(
                    consumer = %context.spec.name, %error, "no delay queue took the message; it waits in the host"
                ),
            }
        }
        tokio::select! {
            biased;
            () = self.stopping.cancelled() => Round::ABANDON,
            () = tokio::time::sleep_until(until) => Round::Again,
        }
    }

    fn refused(&self, refused: Refused) -> Round {
        match refused {
            Refused::Lost => {}
            Refused::Fenced(by) => self.fence(by),
        }
        Round::ABANDON
    }

    fn unanswered(&self, why: NoAnswer) -> Round {
        match why {
            NoAnswer::Stopped => {}
            NoAnswer::Fenced => self.fence(FencedBy::Store),
            NoAnswer::BadRecord(error) => {
                tracing::error!(error, "the claim's record cannot be read any more")
            }
        }
        Round::ABANDON
    }
}

/// What is known about a message that is given up.
struct Letter {
    reason: ParkReason,
    error: String,
    attempts: u32,
    first_seen_ms: Option<u64>,
    digest: String,
    unsent: Outbox,
}

impl Letter {
    fn without_claim(reason: ParkReason, error: &str) -> Self {
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

impl Attempt {
    fn of(verdict: &Verdict) -> Self {
        match verdict {
            Verdict::Commit => Self::Ok,
            Verdict::Retry { .. } => Self::Retry,
            Verdict::GiveUp { .. } => Self::GivenUp,
        }
    }
}

fn count_answer<S, O>(answer: &claim::BeginAnswer<S, O>) {
    use claim::BeginAnswer as A;
    let name = match answer {
        A::Granted { .. } => "granted",
        A::Foreign { .. } => "foreign",
        A::Assigned { .. } => "assigned",
        A::Done => "done",
        A::Committed { .. } => "committed",
        A::Parking { .. } => "parking",
        A::Parked { .. } => "parked",
        A::Busy { .. } => "busy",
        A::Conflict => "conflict",
        A::Stale { .. } => "stale",
        A::Fenced(_) => "fenced",
    };
    metrics::counter!("holdfast_claims_total", "answer" => name).increment(1);
}
