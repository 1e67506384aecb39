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

mod attempt;
mod ending;
mod hold;
mod wait;

use std::sync::OnceLock;
use std::time::Duration;

use holdfast_core::claim::{
    self, Asked, BeginFacts, FencedBy, Next, ParkReason, Refused, Token, interpret,
};
use holdfast_core::settle::{Proof, Settlement};
use holdfast_ports::message::Outbox;
use holdfast_ports::store::{Begin, Place, Slot};
use metrics::{Counter, counter};

use self::attempt::Granted;
pub(crate) use self::ending::{Letter, PUBLISH_AGAIN};
pub(crate) use self::wait::LONGEST_HOLD;
use self::wait::{FIRST_LOOK, LONGEST_LOOK};
use crate::ask::{NoAnswer, Step};
use crate::books::Why;
use crate::route::Route;
use crate::session::{Job, Session};

/// How the work on a delivery ended.
pub(crate) enum Over {
    /// The delivery is over.
    Settle(Settlement),
    /// It stays, and its lane was halted.
    Halt,
}

/// How one round over a message ended.
pub(crate) enum Round {
    /// The delivery is over.
    Settle(Settlement),
    /// It stays, and its lane was halted.
    Halt,
    /// Ask for the claim again after this time.
    Wait(Duration, Why),
    /// Hold it until the other side is finished.
    Hold,
    /// Ask for the claim again at once.
    Again,
}

impl Round {
    pub(super) fn ack(proof: Proof) -> Self {
        Self::Settle(Settlement::Ack(proof))
    }

    pub(crate) const ABANDON: Self = Self::Settle(Settlement::Abandon);
}

impl Session {
    /// Works on a delivery until it is settled.
    pub(crate) async fn process(&self, job: Job) {
        let settlement = match self.work(&job).await {
            Over::Settle(settlement) => settlement,
            // Only lanes are halted, and whoever has them takes care of that.
            Over::Halt => Settlement::Abandon,
        };
        self.settle(job, settlement);
    }

    pub(crate) async fn work(&self, job: &Job) -> Over {
        let route = match &job.route {
            Ok(route) => route,
            Err(refusal) => {
                let letter = Letter::without_claim(refusal.reason, &refusal.error);
                let buried = Box::pin(self.bury(job, refusal.key.as_ref(), &letter)).await;
                return Over::Settle(match buried {
                    Some(confirmed) => Settlement::Ack(claim::buried_without_claim(confirmed)),
                    None => Settlement::Abandon,
                });
            }
        };
        let at = self.place(route);
        let mut look = FIRST_LOOK;
        let left = job
            .delivery
            .message
            .wait_left_ms
            .map_or(Duration::ZERO, Duration::from_millis)
            .max(self.wait_left(&route.key));
        let mut round = if left.is_zero() {
            Round::Again
        } else {
            Round::Wait(left, Why::Delay)
        };
        loop {
            round = match round {
                Round::Settle(settlement) => return Over::Settle(settlement),
                Round::Halt => return Over::Halt,
                Round::Again => self.round(job, route, &at, &mut look).await,
                Round::Wait(wait, why) => Box::pin(self.wait(job, wait, why)).await,
                Round::Hold => Box::pin(self.hold(job, &at)).await,
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
        let facts = self.facts(route, token);
        let seen = facts.rule;
        let begin = Begin {
            at: at.clone(),
            facts,
            state: plugin.info().uses_state,
        };
        let answer = match self
            .ask(Step::Begin, &self.stopping, || {
                context.store.begin(begin.clone())
            })
            .await
        {
            Ok(answer) => answer,
            Err(NoAnswer::BadRecord(error)) => {
                let letter = Letter::without_claim(ParkReason::BadRecord, &error);
                return match Box::pin(self.bury(job, Some(&route.key), &letter)).await {
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
            Next::Run {
                claim,
                first_seen_ms,
                state,
            } => {
                let granted = Granted {
                    claim,
                    first_seen_ms,
                    state,
                    permit,
                };
                self.attempt(job, route, at, granted, plugin).await
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
                Box::pin(self.park(job, at, claim, letter)).await
            }
            Next::Ack(proof) => Round::ack(proof),
            Next::Publish { outbox, tries } => {
                drop(permit);
                Box::pin(self.publish(job, at, &outbox, tries)).await
            }
            Next::Bury {
                reason,
                error,
                attempts,
                first_seen_ms,
                fence,
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
                if self.halts_lanes() {
                    Box::pin(self.given_up(job, at, fence, &letter, false)).await
                } else {
                    Box::pin(self.bury_claimed(job, at, fence, &letter)).await
                }
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
                match Box::pin(self.bury(job, Some(&route.key), &letter)).await {
                    Some(confirmed) => Round::ack(claim::buried_without_claim(confirmed)),
                    None => Round::ABANDON,
                }
            }
            Next::Wait(until) => Self::look_again(until, look, Why::Delay),
            Next::Foreign { .. } => Round::Hold,
            Next::RuleMoved => {
                drop(permit);
                self.read_rule_again(seen, look).await
            }
            Next::Stop(by) => {
                self.fence(by);
                Round::ABANDON
            }
        }
    }

    fn facts(&self, route: &Route, token: Token) -> BeginFacts {
        let spec = &self.context.spec;
        let rule = self.context.rule.current();
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
            assign_timeout: self.context.rule.assign_timeout(),
            // With a hash slot for each key a clustered store could not compare.
            rule: rule
                .filter(|_| spec.slot == Slot::Group)
                .map(|rule| rule.revision),
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

fn count_answer<S, O>(answer: &claim::BeginAnswer<S, O>) {
    use claim::BeginAnswer as A;
    const NAMES: [&str; 12] = [
        "granted",
        "foreign",
        "assigned",
        "done",
        "committed",
        "parking",
        "parked",
        "busy",
        "conflict",
        "stale",
        "fenced",
        "rule_moved",
    ];
    static COUNTERS: OnceLock<[Counter; NAMES.len()]> = OnceLock::new();
    let at = match answer {
        A::Granted { .. } => 0,
        A::Foreign { .. } => 1,
        A::Assigned { .. } => 2,
        A::Done => 3,
        A::Committed { .. } => 4,
        A::Parking { .. } => 5,
        A::Parked { .. } => 6,
        A::Busy { .. } => 7,
        A::Conflict => 8,
        A::Stale { .. } => 9,
        A::Fenced(_) => 10,
        A::RuleMoved => 11,
    };
    let counters = COUNTERS
        .get_or_init(|| NAMES.map(|name| counter!("holdfast_claims_total", "answer" => name)));
    counters[at].increment(1);
}
