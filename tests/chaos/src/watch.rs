//! What is seen while the run goes on, shared by everything that sees.

use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use holdfast_live::Got;
use holdfast_servers::{Asked, ThirdParty, answer};
use serde_json::Value;

use crate::history::{Call, Effect, Id, Micros};
use crate::load::{LOADS, Load};

/// How long a tenth of the calls takes, so that faults hit handlers that run.
const SLOW: Duration = Duration::from_millis(200);

/// Collects what happens, by the clock of the run.
pub(crate) struct Watch {
    began: OnceLock<Instant>,
    seen: Mutex<Seen>,
    /// For each load, how many messages are to be published by now.
    targets: [AtomicU64; LOADS.len()],
    /// For each load, when its last effect arrived.
    last: [AtomicU64; LOADS.len()],
    ended: AtomicBool,
    final_targets: AtomicBool,
}

#[derive(Default)]
struct Seen {
    calls: Vec<Call>,
    effects: Vec<Effect>,
    by_name: std::collections::HashMap<String, usize>,
    copies: u64,
    /// Messages confirmed, for each second.
    published: Vec<u64>,
    strange: Vec<String>,
}

impl Watch {
    pub(crate) fn new() -> Arc<Self> {
        Arc::new(Self {
            began: OnceLock::new(),
            seen: Mutex::default(),
            targets: Default::default(),
            last: Default::default(),
            ended: AtomicBool::new(false),
            final_targets: AtomicBool::new(false),
        })
    }

    /// Since this was asked for the first time, which is when messages flow.
    pub(crate) fn now(&self) -> Micros {
        let began = self.began.get_or_init(Instant::now);
        Micros::try_from(began.elapsed().as_micros()).unwrap_or(Micros::MAX)
    }

    fn seen(&self) -> MutexGuard<'_, Seen> {
        // Plain data, whole after every statement.
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The server that handlers tell of each call.
    pub(crate) fn recorder(self: &Arc<Self>) -> Result<ThirdParty> {
        let watch = Arc::clone(self);
        ThirdParty::forgetful(move |asked, socket| {
            match call(asked, watch.now()) {
                Ok(call) => {
                    let slow = call.id.1 % 10 == 3;
                    watch.seen().calls.push(call);
                    if slow {
                        std::thread::sleep(SLOW);
                    }
                }
                Err(error) => watch.seen().strange.push(format!("{error:#}: {asked:?}")),
            }
            answer(socket, 200, "")
        })
    }

    /// A message from the queue `out`.
    pub(crate) fn effect(&self, got: &Got) {
        let at = self.now();
        let effect = match effect(got, at) {
            Ok(effect) => effect,
            Err(error) => return self.seen().strange.push(format!("{error:#}: {got:?}")),
        };
        if let Some(place) = LOADS.iter().position(|load| load.group == effect.id.0) {
            self.last[place].store(at, Ordering::Relaxed);
        }
        let mut seen = self.seen();
        let known = seen.by_name.get(&effect.name).copied();
        let known = known.map(|place| &seen.effects[place]);
        // A publish may be repeated, saying the same under the same id.
        if known.is_some_and(|known| known.same_as(&effect)) {
            seen.copies += 1;
            return;
        }
        let place = seen.effects.len();
        seen.by_name.insert(effect.name.clone(), place);
        seen.effects.push(effect);
    }

    /// So many more messages were confirmed.
    pub(crate) fn published(&self, count: u64) {
        let second = (self.now() / 1_000_000) as usize;
        let mut seen = self.seen();
        if seen.published.len() <= second {
            seen.published.resize(second + 1, 0);
        }
        seen.published[second] += count;
    }

    /// How many messages of a load are to be published by now.
    pub(crate) fn target(&self, place: usize) -> u64 {
        self.targets[place].load(Ordering::Acquire)
    }

    pub(crate) fn raise(&self, place: usize, target: u64) {
        self.targets[place].store(target, Ordering::Release);
    }

    /// How many messages of all loads are to be published by now.
    pub(crate) fn all_targets(&self) -> u64 {
        (0..LOADS.len()).map(|place| self.target(place)).sum()
    }

    /// The targets are what they will be.
    pub(crate) fn fix_targets(&self) {
        self.final_targets.store(true, Ordering::Release);
    }

    pub(crate) fn targets_are_final(&self) -> bool {
        self.final_targets.load(Ordering::Acquire)
    }

    /// No more messages are wanted.
    pub(crate) fn end(&self) {
        self.ended.store(true, Ordering::Release);
    }

    pub(crate) fn has_ended(&self) -> bool {
        self.ended.load(Ordering::Acquire)
    }

    /// Whether every load has had an effect since.
    pub(crate) fn flows_since(&self, at: Micros) -> bool {
        self.last
            .iter()
            .all(|last| last.load(Ordering::Relaxed) > at)
    }

    /// The loads that had none since.
    pub(crate) fn stalled(&self, at: Micros) -> Vec<&'static str> {
        let loads = LOADS.iter().zip(&self.last);
        let stalled = loads.filter(|(_, last)| last.load(Ordering::Relaxed) <= at);
        stalled.map(|(load, _)| load.group).collect()
    }

    /// How many effects have arrived.
    pub(crate) fn effects(&self) -> u64 {
        self.seen().effects.len() as u64
    }

    /// How many calls were made.
    pub(crate) fn calls(&self) -> u64 {
        self.seen().calls.len() as u64
    }

    /// All of it: calls, effects, copies, messages published for each second, and
    /// what could not be understood.
    pub(crate) fn take(&self) -> Taken {
        let seen = std::mem::take(&mut *self.seen());
        Taken {
            calls: seen.calls,
            effects: seen.effects,
            copies: seen.copies,
            published: seen.published,
            strange: seen.strange,
        }
    }
}

/// What a [`Watch`] has seen.
pub(crate) struct Taken {
    pub(crate) calls: Vec<Call>,
    pub(crate) effects: Vec<Effect>,
    pub(crate) copies: u64,
    pub(crate) published: Vec<u64>,
    pub(crate) strange: Vec<String>,
}

impl Effect {
    fn same_as(&self, other: &Self) -> bool {
        Self {
            at: other.at,
            ..self.clone()
        } == *other
    }
}

/// `/GROUP/SIDE/NUMBER`, with the fence that the host sends along.
fn call(asked: &Asked, at: Micros) -> Result<Call> {
    let mut parts = asked.path.trim_start_matches('/').split('/');
    let mut part = || parts.next().context("a part of the path");
    let (group, side, number) = (part()?, part()?.to_owned(), part()?);
    let fence = asked.header("holdfast-fence");
    let fence = fence.first().context("a fence")?;
    Ok(Call {
        at,
        id: id(group, number)?,
        side,
        fence: fence.parse().context("a fence that is a number")?,
    })
}

/// What the probe publishes.
fn effect(got: &Got, at: Micros) -> Result<Effect> {
    let report: Value = serde_json::from_slice(&got.body)?;
    let number = |name: &str| report[name].as_u64().with_context(|| name.to_owned());
    let text = |name: &str| report[name].as_str().with_context(|| name.to_owned());
    // `group/key/1`
    let group = got.id.split('/').next().unwrap_or_default();
    Ok(Effect {
        at,
        name: got.id.clone(),
        id: id(group, text("key")?)?,
        side: text("side")?.to_owned(),
        attempt: number("attempt")?,
        fence: number("fence")?,
        count: number("count")?,
    })
}

/// The message with this group and claim key.
pub(crate) fn id(group: &str, key: &str) -> Result<Id> {
    let load = Load::of(group).with_context(|| format!("no load has the group {group:?}"))?;
    Ok((load.group, key.parse().context("a key that is a number")?))
}
