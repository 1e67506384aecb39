//! One step on both sides, and what is to be the same afterwards.

use std::fmt::Debug;
use std::time::Duration;

use holdfast_core::claim::steps::{self, Shown};
use holdfast_core::claim::{
    BeginAnswer, BeginFacts, CommitAnswer, Fingerprint, ParkReason, ReleaseAnswer, State,
    StateName, Token,
};
use holdfast_core::key::Lane;
use holdfast_ports::error::Kind;
use holdfast_ports::message::{Effects, Staged, StateChange, Target};
use holdfast_ports::store::{Begin, Commit, Incarnation, LeaseAnswer, Open, Store as _};
use holdfast_redis::RedisStore;

use crate::common::{Begun, side};
use crate::model::Model;
use crate::sides::{change_rule, look};
use crate::steps::{BeginStep, CommitStep, Epoch, KEYS, LANES, SIDES, Step, Whose};

pub(crate) type Outcome = Result<(), String>;

pub(crate) const LONG: Duration = Duration::from_secs(3600);
/// Repeated, it is longer than what is kept, so that the cut is compared too.
const ERROR: &str = "no: é";

pub(crate) async fn step(store: &RedisStore, model: &mut Model, step: &Step) -> Outcome {
    match step {
        Step::Begin(asked) => begin(store, model, asked).await,
        Step::Commit(asked) => commit(store, model, asked).await,
        Step::Fail(key, token, epoch) => {
            let (key, shown) = (KEYS[*key], shown(model, KEYS[*key], *token, *epoch));
            let error = ERROR.repeat(400);
            let theirs = store.fail(&model.place(key), shown, &error).await;
            let ours = steps::fail(model.record(key), shown, &error, &model.scope());
            model.keep(key, &ours);
            same(theirs.unwrap(), ours.answer)
        }
        Step::Park(key, token, epoch, reason, error) => {
            let (key, shown) = (KEYS[*key], shown(model, KEYS[*key], *token, *epoch));
            let (reason, error) = (ParkReason::ALL[*reason], error.then_some(ERROR));
            let theirs = store.park(&model.place(key), shown, reason, error).await;
            let ours = steps::park(model.record(key), shown, reason, error, &model.scope());
            model.keep(key, &ours);
            same(theirs.unwrap(), ours.answer)
        }
        Step::Abandon(key, token, epoch) => {
            let (key, shown) = (KEYS[*key], shown(model, KEYS[*key], *token, *epoch));
            let theirs = store.abandon(&model.place(key), shown).await;
            let ours = steps::abandon(model.record(key), shown, &model.scope());
            model.keep(key, &ours);
            same(theirs.unwrap(), ours.answer)
        }
        Step::Published(key) => {
            let key = KEYS[*key];
            let theirs = store.published(&model.place(key)).await;
            let ours = steps::published(model.record(key), &model.scope());
            model.keep(key, &ours);
            same(theirs.unwrap(), ours.answer)
        }
        Step::Buried(key, late) => {
            let key = KEYS[*key];
            let before = u64::from(*late);
            // Another store shows nothing.
            let view = store.show(&model.place(key)).await.ok().flatten();
            let fence = view.map_or(0, |claim| claim.fence);
            let theirs = store
                .buried(&model.place(key), fence.saturating_sub(before))
                .await;
            let fence = model.record(key).map_or(0, |record| record.fence);
            let fence = fence.saturating_sub(before);
            let ours = steps::buried(model.record(key), fence, &model.scope());
            model.keep(key, &ours);
            same(theirs.unwrap(), ours.answer)
        }
        Step::Undeliverable(key, limit) => {
            let key = KEYS[*key];
            let theirs = store.undeliverable(&model.place(key), ERROR, *limit).await;
            let ours = steps::undeliverable(model.record(key), ERROR, *limit, &model.scope());
            model.keep(key, &ours);
            same(theirs.unwrap(), ours.answer)
        }
        Step::Release(key, to, force) => {
            let (key, to) = (KEYS[*key], to.map(|to| side(SIDES[to])));
            let theirs = store.release(&model.place(key), to.as_ref(), *force).await;
            if !model.same_store {
                return same(theirs.unwrap_err().kind, Kind::Fenced);
            }
            let ours = steps::release(model.record(key), to.as_ref(), *force, &model.scope());
            if model.keep(key, &ours) && to.is_none() {
                model.forget(key);
            }
            same(
                untimed_release(theirs.unwrap()),
                untimed_release(ours.answer),
            )
        }
        Step::Replay(key) => {
            let key = KEYS[*key];
            let theirs = store.replay(&model.place(key)).await;
            if !model.same_store {
                return same(theirs.unwrap_err().kind, Kind::Fenced);
            }
            let ours = steps::replay(model.record(key), &model.scope());
            model.keep(key, &ours);
            same(theirs.unwrap(), ours.answer)
        }
        Step::Look(side, patient) => look(store, model, SIDES[*side], *patient).await,
        Step::ChangeRule => change_rule(store, model).await,
        Step::Depose => depose(store, model).await,
        Step::Resign => resign(store, model).await,
        Step::OtherStore(step) => {
            store
                .open(Open::Expect(Incarnation {
                    id: "another".to_owned(),
                    pulse: 0,
                }))
                .await
                .unwrap();
            model.same_store = false;
            let outcome = Box::pin(self::step(store, model, step)).await;
            model.same_store = true;
            store.open(Open::Expect(model.known.clone())).await.unwrap();
            outcome
        }
    }
}

pub(crate) fn same<T: Debug + PartialEq>(theirs: T, ours: T) -> Outcome {
    if theirs == ours {
        Ok(())
    } else {
        Err(format!("Redis says {theirs:?}, the reference {ours:?}"))
    }
}

fn token(model: &mut Model, key: &str, whose: Whose) -> Token {
    let last = model.record(key).and_then(|record| record.token);
    match (whose, last) {
        (Whose::Last, Some(token)) => token,
        _ => {
            model.next_token += 1;
            // All bytes are in use, the newline and the zero among them.
            Token(model.next_token.wrapping_mul(0x0a00_ff0d_0a25_0001))
        }
    }
}

fn epoch(model: &Model, epoch: Epoch) -> Option<u64> {
    match epoch {
        Epoch::None => None,
        Epoch::Current => model.epoch.or(Some(model.last_epoch)),
        Epoch::Old => Some(model.last_epoch.saturating_sub(1)),
    }
}

fn shown(model: &mut Model, key: &str, whose: Whose, shown: Epoch) -> Shown {
    Shown {
        token: token(model, key, whose),
        epoch: epoch(model, shown),
    }
}

fn lane(index: Option<usize>) -> Option<Lane> {
    index.map(|at| Lane::from_known(LANES[at]))
}

async fn begin(store: &RedisStore, model: &mut Model, asked: &BeginStep) -> Outcome {
    let key = KEYS[asked.key];
    let span = |long: bool| if long { LONG } else { Duration::ZERO };
    let begin = Begin {
        at: model.place(key),
        facts: BeginFacts {
            side: side(SIDES[asked.side]),
            owner_if_new: side(SIDES[asked.owner]),
            token: token(model, key, asked.token),
            fingerprint: asked.body.map(|body| Fingerprint([body; 8])),
            lane: lane(asked.lane),
            sequence: asked.sequence,
            epoch: epoch(model, asked.epoch),
            lock: span(asked.lock),
            assign_timeout: span(asked.patient),
            rule: asked.rule.map(|current| {
                let there = model.rule.unwrap_or(0);
                if current { there } else { there + 1 }
            }),
        },
        state: asked.state,
    };
    let theirs = store.begin(begin.clone()).await.unwrap();
    let (ours, wrote) = model.begin(&begin);
    if let (BeginAnswer::Granted { fence, .. }, true) = (&theirs, matches(&theirs, &ours)) {
        let last = model.fences.insert(key.to_owned(), *fence);
        let last = last.unwrap_or(0);
        if (wrote && *fence <= last) || (!wrote && *fence != last) {
            return Err(format!("the fence was {last} and is {fence}"));
        }
    }
    if let (Some(theirs), Some(ours)) = (first_seen(&theirs), first_seen(&ours))
        && theirs.abs_diff(ours) > 60_000
    {
        return Err(format!("first seen at {theirs}, not at {ours}"));
    }
    same(untimed(theirs), untimed(ours))
}

fn matches(theirs: &Begun, ours: &Begun) -> bool {
    std::mem::discriminant(theirs) == std::mem::discriminant(ours)
}

fn first_seen(answer: &Begun) -> Option<u64> {
    match answer {
        BeginAnswer::Granted { first_seen_ms, .. } | BeginAnswer::Parking { first_seen_ms, .. } => {
            Some(*first_seen_ms)
        }
        _ => None,
    }
}

/// Without what depends on the moment.
fn untimed(mut answer: Begun) -> Begun {
    match &mut answer {
        BeginAnswer::Granted {
            fence,
            first_seen_ms,
            ..
        } => (*fence, *first_seen_ms) = (0, 0),
        BeginAnswer::Parking {
            fence,
            first_seen_ms,
            ..
        } => (*fence, *first_seen_ms) = (0, 0),
        BeginAnswer::Busy { wait } => *wait = Duration::ZERO,
        _ => {}
    }
    answer
}

fn untimed_release(answer: ReleaseAnswer) -> ReleaseAnswer {
    match answer {
        ReleaseAnswer::Locked { .. } => ReleaseAnswer::Locked {
            wait: Duration::ZERO,
        },
        answer => answer,
    }
}

async fn commit(store: &RedisStore, model: &mut Model, asked: &CommitStep) -> Outcome {
    let key = KEYS[asked.key];
    let shown = shown(model, key, asked.token, asked.epoch);
    let lane_of_message = lane(asked.lane);
    let version = model.version(key, lane_of_message.as_ref());
    let change = |(name, set): &(u8, bool)| {
        let name = format!("name {name}");
        if *set {
            StateChange::Set(name, vec![0, 255, 10])
        } else {
            StateChange::Delete(name)
        }
    };
    let message = |lane: &Option<usize>| Staged {
        broker: None,
        to: Target::Queue("out".to_owned()),
        body: vec![0, 1, 2],
        content_type: None,
        headers: Vec::new(),
        lane: lane.map(|at| LANES[at].to_owned()),
    };
    let commit = Commit {
        lane: lane_of_message,
        sequence: asked.sequence,
        effects: Effects {
            state: asked.changes.iter().map(change).collect(),
            state_version: asked.read.map(|right| version + u64::from(!right)),
            outbox: asked.outbox.iter().map(message).collect(),
        },
    };
    let theirs: CommitAnswer = store
        .commit(&model.place(key), shown, &commit)
        .await
        .unwrap();
    let ours = model.commit(key, shown, &commit);
    same(theirs, ours)
}

async fn depose(store: &RedisStore, model: &mut Model) -> Outcome {
    if !model.same_store {
        let refused = store.acquire(&model.lease(), 1, LONG).await;
        return same(refused.unwrap_err().kind, Kind::Fenced);
    }
    resign(store, model).await?;
    match store.acquire(&model.lease(), model.next_token, LONG).await {
        Ok(LeaseAnswer::Ours { epoch }) if epoch > model.last_epoch => {
            model.epoch = Some(epoch);
            model.last_epoch = epoch;
            Ok(())
        }
        other => Err(format!("{other:?} after epoch {}", model.last_epoch)),
    }
}

async fn resign(store: &RedisStore, model: &mut Model) -> Outcome {
    if !model.same_store {
        let refused = store.leader(&model.lease()).await;
        return same(refused.unwrap_err().kind, Kind::Fenced);
    }
    let lease = model.lease();
    if let Some(view) = store.leader(&lease).await.unwrap() {
        let given = store.give_back(&lease, view.owner).await.unwrap();
        same(given, LeaseAnswer::Ours { epoch: view.epoch })?;
    }
    model.epoch = None;
    Ok(())
}

/// The claim as people see it.
pub(crate) async fn record(store: &RedisStore, model: &Model, key: &str) -> Outcome {
    let theirs = store.show(&model.place(key)).await.unwrap();
    let Some(ours) = model.record(key) else {
        return same(theirs.is_none(), true);
    };
    let theirs = theirs.ok_or("Redis has no claim")?;
    same(theirs.side, ours.side.clone())?;
    same(theirs.state, ours.state.name())?;
    same(theirs.fingerprint, ours.fingerprint)?;
    let reason = match ours.state {
        State::Parking { reason } | State::Parked { reason } => Some(reason.to_string()),
        State::Done {
            ending: holdfast_core::claim::Ending::Stale,
        } => Some("stale".to_owned()),
        _ => None,
    };
    same(theirs.reason, reason)?;
    let finished = ours.state.name().is_finished();
    if !finished {
        same(theirs.attempt, ours.attempt)?;
        let lane = ours.lane.as_ref().map(|lane| lane.as_str().to_owned());
        same(theirs.lane, lane)?;
        same(theirs.error, ours.error.clone())?;
        let running = ours.state.name() == StateName::Running;
        same(theirs.locked_until_ms.is_some(), running)?;
    }
    let history: Vec<_> = theirs
        .history
        .into_iter()
        .map(|entry| (entry.step, entry.side, entry.attempt, entry.detail))
        .collect();
    let expected: Vec<_> = ours
        .history
        .iter()
        .map(|entry| {
            let (step, side) = (entry.step.to_owned(), entry.side.as_str().to_owned());
            (step, side, entry.attempt, entry.detail.clone())
        })
        .collect();
    if finished && !model.is_eventful(key) {
        return same(history, vec![]);
    }
    same(history, expected)
}
