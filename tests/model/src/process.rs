//! One delivery at a host, step by step, as `host/runtime/src/process` works on
//! it. What an answer allows is decided by core.

use holdfast_core::claim::{
    self, Asked, BeginAnswer, Claim, Committed, FencedBy, Next, OnForeign, ParkReason, Refused,
    Token, UndeliverableAnswer, interpret,
};
use holdfast_core::retry::Place as Wait;
use holdfast_core::settle::{CallFailure, Confirmed, Ending, Verdict, decide};

use crate::checked::Checked;
use crate::met::Met;
use crate::rules::Rule;
use crate::setup::{Fault, TICK};
use crate::store::Answer;
use crate::units::{small_fence, whole};
use crate::world::{Attempt, Broken, Call, Entry, Job, Question, Stage, What, World};

/// What becomes of a call of the store, or of a publish.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Net {
    /// It is answered.
    Fine,
    /// It is carried out and the answer is lost.
    Lost,
    /// It is answered, and arrives again some time later.
    Twice,
}

/// What a handler says.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Outcome {
    /// It succeeded.
    Ok,
    /// It asks for another attempt.
    Retry,
    /// It says that it can never succeed.
    Reject,
}

impl Checked {
    /// The call of the store that a delivery is waiting to make.
    pub(crate) fn call(&self, world: &World, h: usize, job: &Job) -> Option<Call> {
        let host = &world.hosts[h];
        let call = |token: u8, epoch: Option<u8>, what: What| Call {
            host: u8::try_from(h).unwrap_or(u8::MAX),
            message: job.message,
            token,
            epoch,
            // A host that does not trust the store writes nothing there.
            expected: if host.halted { 0 } else { host.known.0 },
            what,
        };
        let step = |attempt: &Attempt, what: What| call(attempt.token, attempt.epoch, what);
        Some(match &job.stage {
            Stage::Ready(at) if *at <= world.now => {
                let (share, rule) = host.rule;
                let owner = self.owner(share, job.message);
                let begin = What::Begin { owner, rule };
                call(fresh_token(world), host.epoch(), begin)
            }
            Stage::Begin(call) => {
                let mut call = call.clone();
                if !self.setup.keeps(Rule::SameTokenAgain) {
                    call.token = fresh_token(world);
                }
                call
            }
            Stage::Looked(call, _) => call.clone(),
            Stage::Commit {
                attempt,
                outbox,
                read,
            } => step(
                attempt,
                What::Commit {
                    outbox: *outbox,
                    read: *read,
                },
            ),
            Stage::Abandon(attempt) => step(attempt, What::Abandon),
            Stage::Fail(attempt) => step(attempt, What::Fail),
            Stage::Park(attempt, reason) => step(attempt, What::Park(*reason)),
            Stage::Published => call(0, None, What::Published),
            Stage::Undeliverable => call(0, None, What::Undeliverable),
            Stage::Buried(fence) => call(0, None, What::Buried(*fence)),
            _ => return None,
        })
    }

    /// The next step of a delivery, if it is its turn.
    pub(crate) fn step(&self, world: &mut World, h: usize, j: usize, net: Net) -> Option<()> {
        let job = world.hosts[h].jobs.get(j)?.clone();
        if let Some(call) = self.call(world, h, &job) {
            return self.ask(world, h, j, call, net);
        }
        if net == Net::Twice {
            return None;
        }
        let side = usize::from(world.hosts[h].side);
        let message = usize::from(job.message);
        let next = match job.stage {
            Stage::Publish(outbox) => {
                self.send(world, &job, outbox);
                if self.setup.keeps(Rule::PublishedBeforeDone) {
                    Stage::Published
                } else {
                    Stage::Ack(Ending::Completed)
                }
            }
            Stage::Bury(fence) => {
                add_letter(&mut world.queues[side].letters[message]);
                if self.setup.keeps(Rule::LetterBeforeParked) {
                    Stage::Buried(fence)
                } else {
                    Stage::Ack(Ending::DeadLettered)
                }
            }
            Stage::Refuse => {
                add_letter(&mut world.queues[side].letters[message]);
                ack(&claim::buried_without_claim(Confirmed::by_broker()))
            }
            Stage::Defer => return self.defer(world, h, j, net),
            Stage::Ack(ending) if net == Net::Fine => {
                self.settle(world, h, j, ending);
                return Some(());
            }
            _ => return None,
        };
        if net == Net::Fine {
            world.hosts[h].jobs[j].stage = next;
        }
        Some(())
    }

    fn send(&self, world: &mut World, job: &Job, outbox: u8) {
        let history = &mut world.history.keys[usize::from(self.message(job.message).key)];
        history.sent |= 1 << outbox;
        if history.outbox != Some(outbox) {
            world.breaks(Broken::OtherContent);
        }
    }

    fn defer(&self, world: &mut World, h: usize, j: usize, net: Net) -> Option<()> {
        let job = world.hosts[h].jobs[j].clone();
        let early = !self.setup.keeps(Rule::CopyBeforeAck);
        if early && job.live {
            self.acknowledge(world, h, &job, Ending::Deferred);
            world.hosts[h].jobs[j].live = false;
            return Some(());
        }
        self.seen.met(Met::Deferred);
        let side = usize::from(world.hosts[h].side);
        let copy = Entry::ready(job.message, world.now + 1);
        world.queues[side].copies.push(copy);
        if early {
            self.leave(world, h, j);
        } else if net == Net::Fine {
            world.hosts[h].jobs[j].stage = ack(&claim::deferred(Confirmed::by_broker()));
        }
        Some(())
    }

    /// A call of the store, and what its answer leads to.
    fn ask(&self, world: &mut World, h: usize, j: usize, call: Call, net: Net) -> Option<()> {
        let stage = world.hosts[h].jobs[j].stage.clone();
        let begin = matches!(call.what, What::Begin { .. });
        if begin && !self.setup.keeps(Rule::DecidedInOneStep) && net == Net::Fine {
            let key = usize::from(self.message(call.message).key);
            if let Stage::Looked(_, read) = stage {
                let answer = self.execute_late(world, &call, read);
                self.hear(world, h, j, &call, answer);
            } else {
                let read = world.store.claims[key].clone();
                world.hosts[h].jobs[j].stage = Stage::Looked(call, read);
            }
            return Some(());
        }
        let answer = self.execute(world, &call);
        match net {
            Net::Lost => {
                if begin {
                    world.hosts[h].jobs[j].stage = Stage::Begin(call);
                }
                return Some(());
            }
            Net::Twice => {
                world.strays.push(call.clone());
                world.history.rough = true;
            }
            Net::Fine => {}
        }
        self.hear(world, h, j, &call, answer);
        Some(())
    }

    fn hear(&self, world: &mut World, h: usize, j: usize, call: &Call, answer: Answer) {
        let job = world.hosts[h].jobs[j].clone();
        let next = match (answer, job.stage.clone()) {
            (Answer::Begin(BeginAnswer::RuleMoved), _) => {
                world.hosts[h].rule = world.store.rule;
                Ok(Stage::Ready(world.now))
            }
            (Answer::Begin(answer), _) => self.begun(world, h, call, answer),
            (
                Answer::Commit(answer),
                Stage::Commit {
                    attempt, outbox, ..
                },
            ) => match self.claim_of(call, &attempt).committed(answer) {
                Ok(Committed::Done(proof)) => Ok(ack(&proof)),
                Ok(Committed::Publish(_)) => Ok(self.publishing(world, outbox.unwrap_or(0))),
                Ok(Committed::Again(_)) => Ok(Stage::Abandon(attempt)),
                Err(refused) => Err(refused),
            },
            (Answer::Step(answer), Stage::Abandon(attempt)) => {
                let calls =
                    &mut world.history.keys[usize::from(self.message(job.message).key)].calls;
                let kept = self.claim_of(call, &attempt).kept(answer);
                *calls = calls.saturating_sub(u8::from(kept.is_ok()));
                kept.map(|()| Stage::Ready(world.now))
            }
            (Answer::Step(answer), Stage::Fail(attempt)) => {
                let kept = self.claim_of(call, &attempt).kept(answer);
                kept.map(|()| self.waits(world))
            }
            (Answer::Step(answer), Stage::Park(attempt, _)) => {
                let kept = self.claim_of(call, &attempt).kept(answer);
                kept.map(|()| self.burying(attempt.fence))
            }
            (Answer::Step(answer), Stage::Published) => claim::published(answer).map(|proof| {
                let key = usize::from(self.message(job.message).key);
                match world.history.keys[key].outbox {
                    Some(outbox) if !self.setup.keeps(Rule::PublishedBeforeDone) => {
                        Stage::Publish(outbox)
                    }
                    _ => ack(&proof),
                }
            }),
            (Answer::Step(answer), Stage::Buried(fence)) => {
                claim::buried(Confirmed::by_broker(), answer).map(|proof| {
                    if self.setup.keeps(Rule::LetterBeforeParked) {
                        ack(&proof)
                    } else {
                        Stage::Bury(fence)
                    }
                })
            }
            (Answer::Undeliverable(answer), _) => match answer {
                UndeliverableAnswer::Again { .. } => Ok(self.waits(world)),
                UndeliverableAnswer::GivenUp | UndeliverableAnswer::Lost => {
                    Ok(Stage::Ready(world.now))
                }
                UndeliverableAnswer::Fenced(by) => Err(Refused::Fenced(by)),
            },
            (_, stage) => Ok(stage),
        };
        match next {
            Ok(stage) => world.hosts[h].jobs[j].stage = stage,
            Err(Refused::Lost) => self.abandon(world, h, j),
            Err(Refused::Fenced(by)) => self.fenced(world, h, j, by),
        }
    }

    fn begun(
        &self,
        world: &World,
        h: usize,
        call: &Call,
        answer: BeginAnswer<(), Option<u8>>,
    ) -> Result<Stage, Refused> {
        let host = &world.hosts[h];
        let message = self.message(call.message);
        let (key, lane) = (usize::from(message.key), usize::from(message.lane));
        if let BeginAnswer::Foreign { .. } = answer
            && !self.setup.keeps(Rule::ForeignHeld)
        {
            return Ok(Stage::Ack(Ending::LeftToOwner));
        }
        let grant = world.history.keys[key].latest.map_or(0, |latest| latest.1);
        let attempt = |claim: &Claim| Attempt {
            token: call.token,
            epoch: call.epoch,
            number: u8::try_from(claim.attempt()).unwrap_or(u8::MAX),
            fence: small_fence(claim.fence()),
            grant,
        };
        Ok(match interpret(self.asked(host.side, call), answer) {
            Next::Run { claim, .. } => Stage::Run {
                attempt: attempt(&claim),
                since: world.now,
                plugin: host.plugin,
                read: world.store.versions[lane],
            },
            Next::GiveUp { claim, .. } => {
                self.seen.met(Met::GivenUpUncalled);
                Stage::Park(attempt(&claim), ParkReason::AttemptsSpent)
            }
            Next::Ack(proof) => ack(&proof),
            Next::Publish { outbox, .. } => {
                let stored = outbox.unwrap_or(0);
                let fresh = !self.setup.keeps(Rule::StoredOutboxPublished);
                self.publishing(world, if fresh { host.plugin } else { stored })
            }
            Next::Bury { fence, .. } => self.burying(small_fence(fence)),
            Next::Conflict => Stage::Refuse,
            Next::RuleMoved => Stage::Ready(world.now),
            Next::Wait(_) | Next::Foreign { .. } => self.waits(world),
            Next::Stop(by) => return Err(Refused::Fenced(by)),
        })
    }

    fn publishing(&self, _: &World, outbox: u8) -> Stage {
        if self.setup.keeps(Rule::PublishedBeforeDone) {
            Stage::Publish(outbox)
        } else {
            Stage::Published
        }
    }

    fn burying(&self, fence: u8) -> Stage {
        if self.setup.keeps(Rule::LetterBeforeParked) {
            Stage::Bury(fence)
        } else {
            Stage::Buried(fence)
        }
    }

    /// Looks again, or tries again, a tick from now.
    fn waits(&self, world: &World) -> Stage {
        match self.backoff.place(TICK, self.setup.ordered) {
            Wait::Host(wait) => Stage::Ready(world.now + whole(wait)),
            Wait::Queue(_) => Stage::Defer,
        }
    }

    /// The handler is called.
    pub(crate) fn handle(
        &self,
        world: &mut World,
        h: usize,
        j: usize,
        outcome: Outcome,
    ) -> Option<()> {
        let job = world.hosts[h].jobs.get(j)?.clone();
        let Stage::Run {
            attempt,
            plugin,
            read,
            ..
        } = job.stage
        else {
            return None;
        };
        self.judge_call(world, job.message, &attempt);
        let result = match outcome {
            Outcome::Ok => Ok(()),
            Outcome::Retry => {
                let _ = world.left.spend(Fault::Retry);
                Err(CallFailure::Broken(String::new()))
            }
            Outcome::Reject => {
                let _ = world.left.spend(Fault::Reject);
                Err(CallFailure::Reject(String::new()))
            }
        };
        let stage = match decide(result, attempt.number.into(), &self.backoff, 0.5) {
            Verdict::Commit => Stage::Commit {
                attempt,
                outbox: self.setup.outbox.then_some(plugin),
                read,
            },
            Verdict::Retry { .. } => Stage::Fail(attempt),
            Verdict::GiveUp { reason, .. } => Stage::Park(attempt, reason),
        };
        if !self.setup.keeps(Rule::AckAfterCommit) && job.live && outcome == Outcome::Ok {
            self.acknowledge(world, h, &job, Ending::Completed);
            world.hosts[h].jobs[j].live = false;
        }
        world.hosts[h].jobs[j].stage = stage;
        Some(())
    }

    /// The broker says that the target of the outbox does not exist.
    pub(crate) fn no_target(&self, world: &mut World, h: usize, j: usize) -> Option<()> {
        let job = world.hosts[h].jobs.get_mut(j)?;
        matches!(job.stage, Stage::Publish(_)).then_some(())?;
        job.stage = Stage::Undeliverable;
        world.left.spend(Fault::NoTarget)
    }

    /// Nothing more may be done under this epoch, or in this store.
    fn fenced(&self, world: &mut World, h: usize, j: usize, by: FencedBy) {
        self.abandon(world, h, j);
        self.stop(world, h);
        if by == FencedBy::Store {
            world.hosts[h].halted = true;
        }
        self.ended_fenced(world, h);
    }

    fn asked(&self, side: u8, call: &Call) -> Asked {
        Asked {
            group: self.group.clone(),
            key: self.key(call.message),
            side: self.side(side),
            token: Token(call.token.into()),
            epoch: call.epoch.map(u64::from),
            attempts: self.backoff.attempts,
            on_foreign: self.setup.on_foreign,
        }
    }

    /// The claim that an attempt holds. The state of the model keeps its parts,
    /// since it is copied for each way that things may go.
    fn claim_of(&self, call: &Call, attempt: &Attempt) -> Claim {
        let asked = Asked {
            attempts: u32::MAX,
            on_foreign: OnForeign::Hold,
            ..self.asked(0, call)
        };
        let answer: BeginAnswer<(), ()> = BeginAnswer::Granted {
            attempt: attempt.number.into(),
            fence: attempt.fence.into(),
            error: None,
            first_seen_ms: 0,
            state: (),
        };
        match interpret(asked, answer) {
            Next::Run { claim, .. } | Next::GiveUp { claim, .. } => claim,
            _ => unreachable!("a grant is a claim"),
        }
    }
}

/// Only a proof leads to an acknowledgement.
fn ack(proof: &holdfast_core::settle::Proof) -> Stage {
    Stage::Ack(proof.ending())
}

/// More than two letters of one message are as good as two.
fn add_letter(letters: &mut u8) {
    *letters = (*letters + 1).min(2);
}

/// The smallest token that nobody has in hand. Tokens are only ever compared
/// for being the same, so one that is forgotten everywhere is as good as a new
/// one.
fn fresh_token(world: &World) -> u8 {
    let stores = [Some(&world.store), world.backup.as_deref()];
    let claims = stores.into_iter().flatten().flat_map(|store| &store.claims);
    let rows = claims.flatten().filter_map(|row| row.token);
    let jobs = world.hosts.iter().flat_map(|host| &host.jobs);
    let held = jobs.filter_map(|job| match &job.stage {
        Stage::Begin(call) | Stage::Looked(call, _) => Some(call.token),
        Stage::Run { attempt, .. }
        | Stage::Commit { attempt, .. }
        | Stage::Abandon(attempt)
        | Stage::Fail(attempt)
        | Stage::Park(attempt, _) => Some(attempt.token),
        _ => None,
    });
    let strays = world.strays.iter().map(|call| call.token);
    let used: u64 = rows
        .chain(held)
        .chain(strays)
        .fold(1, |used, token| used | 1 << token);
    u8::try_from(used.trailing_ones()).unwrap_or(u8::MAX)
}

impl Question {
    /// Is it still on its way?
    #[must_use]
    pub fn unanswered(&self) -> bool {
        !matches!(self, Self::Answered(_))
    }
}
