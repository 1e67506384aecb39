//! One run: messages and faults as planned, then everything heals, and the
//! promises are checked.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use holdfast_core::halt::{Stand, Then};
use holdfast_history::{Finding, Report, Rules, What, check};
use holdfast_ports::broker::Broker as _;
use holdfast_ports::message::{Header, Outgoing, Target};
use holdfast_ports::store::Store as _;
use tokio::time::{sleep, sleep_until};

use crate::dice::Dice;
use crate::host::{Process, Seat};
use crate::life::{Life, Spot};
use crate::net::Way;
use crate::plan::{Act, Message, Plan};
use crate::setup::{EFFECTS, QUEUE, group};
use crate::world::World;
use crate::{final_state, left_over};

/// All faults are over by then.
const HEALED: Duration = Duration::from_secs(22);
/// After that everything has to come to rest within this.
const REST: Duration = Duration::from_secs(240);

/// What a run showed.
#[derive(Debug)]
pub struct Outcome {
    /// The seed.
    pub seed: u64,
    /// The name of its setup.
    pub setup: &'static str,
    /// A hash over the whole trace: the same for the same seed.
    pub hash: u64,
    /// What was wrong: a kind, and a sentence.
    pub wrong: Vec<(&'static str, String)>,
    /// What the history shows.
    pub report: Report,
    /// The faults that were made, by kind.
    pub faults: BTreeMap<&'static str, u64>,
    /// Everything that happened.
    pub lines: Vec<String>,
    /// How long it lasted, by its own clock.
    pub lasted: Duration,
}

impl Outcome {
    /// Did every promise hold?
    #[must_use]
    pub fn holds(&self) -> bool {
        self.wrong.is_empty()
    }
}

/// Runs one seed.
///
/// # Panics
/// When the parts of the world cannot be made.
#[must_use]
pub fn run(seed: u64) -> Outcome {
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_time()
        .start_paused(true)
        .build()
        .expect("a runtime");
    runtime.block_on(simulate(seed))
}

/// The world with its hosts, and what is done to it.
pub(crate) struct Stage {
    pub(crate) world: Arc<World>,
    pub(crate) seats: Vec<Arc<Seat>>,
    over: Arc<AtomicBool>,
    faults: BTreeMap<&'static str, u64>,
}

async fn simulate(seed: u64) -> Outcome {
    let plan = Plan::of(seed);
    let acts = plan.acts.clone();
    let mut stage = Stage::new(plan, seed).await;
    for (at, act) in acts {
        sleep_until(stage.world.at(at)).await;
        stage.perform(act).await;
    }
    sleep_until(stage.world.at(HEALED)).await;
    stage.heal().await;
    let mut wrong = Vec::new();
    let end = stage.world.passed() + REST;
    let mut left = left_over(&stage.world).await;
    while left.is_some() && stage.world.passed() < end {
        sleep(Duration::from_millis(250)).await;
        left = left_over(&stage.world).await;
    }
    if let Some(left) = left {
        wrong.push(("stuck", left));
    }
    stage.end(&mut wrong).await;
    let Stage { world, faults, .. } = stage;
    final_state(&world, &mut wrong).await;
    let rules = Rules {
        ordered: world.plan.setup.ordered(),
        publishes: true,
        raw_repeats: (world.plan.is_calm() && !shares_state(&world.plan)).then_some(0),
    };
    let mut record = world.record();
    let report = check(&record.history, &rules);
    let found = |finding: &Finding| (finding.kind(), finding.to_string());
    wrong.extend(report.findings.iter().map(found));
    Outcome {
        seed,
        setup: world.plan.setup.name,
        hash: record.hash,
        wrong,
        report,
        faults,
        lines: std::mem::take(&mut record.lines),
        lasted: world.passed(),
    }
}

/// Attempts are made again when another message changed the state.
fn shares_state(plan: &Plan) -> bool {
    plan.setup.lanes && !plan.setup.ordered()
}

impl Stage {
    async fn new(plan: Plan, seed: u64) -> Self {
        let world = World::new(plan, seed);
        let setup = world.plan.setup;
        let mut seats = Vec::new();
        for side in setup.sides() {
            let broker = &world.brokers[side];
            broker.declare_queue(EFFECTS).await.expect("a queue");
            let topology = holdfast_runtime::consumer::topology(&setup.spec(side));
            broker.prepare(&topology).await.expect("queues");
            for number in 0..setup.hosts {
                seats.push(Seat::new(Arc::clone(&world), side, number));
            }
        }
        let over = Arc::new(AtomicBool::new(false));
        for seat in &seats {
            let (seat, over) = (Arc::clone(seat), Arc::clone(&over));
            tokio::spawn(async move { keep_running(&seat, &over).await });
        }
        if setup.halts {
            let (world, seats, over) = (Arc::clone(&world), seats.clone(), Arc::clone(&over));
            let dice = Dice::new(seed ^ 0x0be5);
            tokio::spawn(async move { resume_lanes(world, seats, over, dice).await });
        }
        Self {
            world,
            seats,
            over,
            faults: BTreeMap::new(),
        }
    }

    async fn perform(&mut self, act: Act) {
        let world = Arc::clone(&self.world);
        if let Some(kind) = act.kind() {
            *self.faults.entry(kind).or_default() += 1;
            world.note("fault", format_args!("{act:?}"));
            world.happened(What::Fault {
                kind: kind.to_owned(),
                in_flight: None,
            });
        }
        match act {
            Act::Publish(at, side) => publish(&world, &world.plan.messages[at], side).await,
            Act::Kill(host, spot, away) => {
                let seat = &self.seats[host];
                seat.stay_away(away);
                if let Some(process) = seat.process() {
                    match spot {
                        Some(spot) => process.life.plan(spot, |life| life.kill()),
                        None => process.life.kill(),
                    }
                }
            }
            Act::Restart(host) => {
                if let Some(draining) = self.seats[host].drain() {
                    self.seats[host].remember(draining);
                }
            }
            Act::Freeze(host, spot, time) => self.freeze(host, spot, time),
            Act::StoreWay(host, way, time) => {
                let link = Arc::clone(&self.seats[host].to_store);
                link.set(way);
                later(time, move || link.set(Way::Open));
            }
            Act::BrokerWay(host, way, time) => self.close_way(host, way, time),
            Act::Cut(host) => self.seats[host].to_broker.cut(),
            Act::StoreDown(time) => {
                for seat in &self.seats {
                    let link = Arc::clone(&seat.to_store);
                    link.set(Way::Refused);
                    later(time, move || link.set(Way::Open));
                }
            }
            Act::BrokerDown(side, time) => {
                for at in 0..self.seats.len() {
                    if self.seats[at].side == side {
                        self.close_way(at, Way::Refused, time);
                    }
                }
            }
            Act::StepDown(host) => {
                let seat = &self.seats[host];
                if let Some(process) = seat.process()
                    && let Some(consumer) = process.host.consumer(&seat.consumer())
                {
                    consumer.step_down();
                }
            }
            Act::Pause(side, time) => {
                let flag = format!("paused/c-{side}");
                let _ = world.store.set_flag(&flag, Some("simulated")).await;
                tokio::spawn(async move {
                    sleep(time).await;
                    let _ = world.store.set_flag(&flag, None).await;
                });
            }
            Act::Flip(share) => flip(&world, share).await,
        }
    }

    fn freeze(&self, host: usize, spot: Option<Spot>, time: Duration) {
        let Some(Process { life, .. }) = self.seats[host].process() else {
            return;
        };
        let (link, beats) = (Arc::clone(&self.seats[host].to_broker), self.heartbeats());
        let again = Arc::clone(&life);
        let stand_still = move |life: &Life| {
            life.freeze();
            let frozen = Arc::clone(&again);
            later(beats, move || {
                if frozen.is_frozen() {
                    link.cut();
                }
            });
            later(time, move || again.thaw());
        };
        match spot {
            Some(spot) => life.plan(spot, stand_still),
            None => stand_still(&life),
        }
    }

    fn close_way(&self, host: usize, way: Way, time: Duration) {
        let link = Arc::clone(&self.seats[host].to_broker);
        link.set(way);
        if way == Way::Refused {
            link.cut();
        } else if let Some(connection) = link.current() {
            for end in [connection.at_host, connection.at_broker] {
                let link = Arc::clone(&link);
                later(self.heartbeats(), move || {
                    if link.way() != Way::Open {
                        end.cancel();
                    }
                });
            }
        }
        later(time, move || link.set(Way::Open));
    }

    /// After this long without any, an end gives a connection up.
    fn heartbeats(&self) -> Duration {
        self.world.dice().millis(1_200, 2_600)
    }

    async fn heal(&self) {
        self.world.note("heal", format_args!("all faults are over"));
        for seat in &self.seats {
            seat.to_store.set(Way::Open);
            seat.to_broker.set(Way::Open);
            if let Some(process) = seat.process() {
                process.life.heal();
            }
        }
        for side in self.world.plan.setup.sides() {
            let flag = format!("paused/c-{side}");
            let _ = self.world.store.set_flag(&flag, None).await;
        }
    }

    /// Drains every host.
    async fn end(&self, wrong: &mut Vec<(&'static str, String)>) {
        self.over.store(true, Ordering::Relaxed);
        let mut drained = Vec::new();
        for seat in &self.seats {
            drained.extend(seat.drain());
            drained.extend(seat.remembered());
        }
        for draining in drained {
            match draining.await {
                Ok(Ok(())) => {}
                Ok(Err(why)) => wrong.push(("drain", why)),
                Err(error) => wrong.push(("drain", error.to_string())),
            }
        }
        for seat in &self.seats {
            for panic in seat.panics() {
                wrong.push(("panicked", panic));
            }
        }
    }
}

/// Does something after a time.
fn later(time: Duration, act: impl FnOnce() + Send + 'static) {
    tokio::spawn(async move {
        sleep(time).await;
        act();
    });
}

/// Starts a process again whenever one has ended.
async fn keep_running(seat: &Seat, over: &AtomicBool) {
    while !over.load(Ordering::Relaxed) {
        let life = seat.start();
        life.over.cancelled().await;
        let away = seat.away();
        sleep(away).await;
    }
}

async fn publish(world: &World, message: &Message, side: &'static str) {
    let setup = world.plan.setup;
    let mut headers = Vec::new();
    if let (true, Some(lane)) = (setup.lanes, &message.lane) {
        headers.push(Header::text("lane", lane.clone()));
        headers.push(Header::text("seq", message.number.to_string()));
    }
    let key = message.key.as_deref().unwrap_or("-");
    let body = format!("{key}{}", if message.conflicting { ", again" } else { "" });
    let outgoing = Outgoing {
        to: Target::Queue(QUEUE.to_owned()),
        body: body.into(),
        id: message.key.clone(),
        content_type: None,
        headers,
        timestamp_ms: None,
    };
    if let Some(key) = &message.key {
        world.happened(What::Published {
            key: key.clone(),
            lane: message.lane.clone(),
            number: message.number,
            conflicting: message.conflicting,
        });
    }
    let lane = message.lane.as_deref().unwrap_or("-");
    let number = message.number;
    world.note(side, format_args!("gets {key} ({lane} {number})"));
    let broker = &world.brokers[side];
    broker.publish(outgoing).await.expect("a confirmation");
}

async fn flip(world: &World, share: u16) {
    let Ok(Some(rule)) = world.store.rule(&group()).await else {
        return;
    };
    let revision = rule.revision;
    let percent = holdfast_core::cutover::Percent::from_hundredths(share).unwrap_or_default();
    let rule = holdfast_core::cutover::Rule { percent, ..rule };
    let _ = world.store.set_rule(&group(), &rule, revision).await;
}

/// An operator who lets halted lanes go on.
async fn resume_lanes(
    world: Arc<World>,
    seats: Vec<Arc<Seat>>,
    over: Arc<AtomicBool>,
    mut dice: Dice,
) {
    while !over.load(Ordering::Relaxed) {
        sleep(dice.millis(500, 3_000)).await;
        let at = usize::try_from(dice.next() % seats.len() as u64).unwrap_or(0);
        let Some(process) = seats[at].process() else {
            continue;
        };
        let Some(consumer) = process.host.consumer(&seats[at].consumer()) else {
            continue;
        };
        let halts = Arc::clone(&consumer.context().halts);
        let then = if world.passed() < HEALED {
            *dice.one(&Then::ALL)
        } else {
            *dice.one(&[Then::GoOn, Then::Skip])
        };
        for mark in halts.marks().values() {
            if mark.stand == Stand::Halted {
                world.note(
                    &process.life.name,
                    format_args!("operator resumes at {}: {then:?}", mark.key),
                );
                world.happened(What::Reopened {
                    key: mark.key.clone(),
                });
            }
        }
        process.life.start(async move {
            let _ = halts.resume(None, then).await;
        });
    }
}
