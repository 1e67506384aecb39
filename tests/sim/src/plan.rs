//! What a seed asks for: messages, what their handlers do, and faults.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::dice::Dice;
use crate::life::Spot;
use crate::net::Way;
use crate::setup::Setup;

/// What the handler of a message does.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Behaviour {
    pub(crate) work: Duration,
    /// It asks for a retry at attempts up to this.
    pub(crate) fails: u32,
    /// It rejects at this attempt and later.
    pub(crate) rejects: bool,
    /// Its host dies in it, at attempts up to this.
    pub(crate) kills: u32,
    /// It runs beyond its deadline at the first attempt.
    pub(crate) hangs: bool,
    /// It publishes to a queue that does not exist.
    pub(crate) nowhere: bool,
    /// Its message names a lane.
    pub(crate) in_lane: bool,
}

/// A message.
#[derive(Clone, Debug)]
pub(crate) struct Message {
    pub(crate) key: Option<String>,
    pub(crate) lane: Option<String>,
    pub(crate) number: u64,
    pub(crate) conflicting: bool,
}

/// Something that is done to the world from outside.
#[derive(Clone, Debug)]
pub(crate) enum Act {
    /// A copy of a message arrives at a broker.
    Publish(usize, &'static str),
    /// A host dies, now or at a place; it starts anew after this.
    Kill(usize, Option<Spot>, Duration),
    /// A host drains and starts anew.
    Restart(usize),
    /// A host stands still for a time, now or from a place on.
    Freeze(usize, Option<Spot>, Duration),
    /// The way of a host to the store is not open for a time.
    StoreWay(usize, Way, Duration),
    /// The way of a host to its broker is not open for a time.
    BrokerWay(usize, Way, Duration),
    /// Its connection to the broker ends.
    Cut(usize),
    /// The store refuses everybody for a time.
    StoreDown(Duration),
    /// A broker starts anew: connections end, and it is away for a time.
    BrokerDown(&'static str, Duration),
    /// A leader is told to step down.
    StepDown(usize),
    /// Consumers of a side are paused, for a time.
    Pause(&'static str, Duration),
    /// The cut-over rule moves to this share.
    Flip(u16),
}

impl Act {
    /// What kind of fault it is, if any.
    pub(crate) fn kind(&self) -> Option<&'static str> {
        Some(match self {
            Self::Publish(..) => return None,
            Self::Kill(_, None, _) => "kill",
            Self::Kill(_, Some(Spot::AtCall(_)), _) => "kill at a call",
            Self::Kill(_, Some(Spot::AtPoll(_)), _) => "kill at an await",
            Self::Restart(_) => "drain and restart",
            Self::Freeze(_, None, _) => "freeze",
            Self::Freeze(..) => "freeze at a call",
            Self::StoreWay(_, Way::Swallowed, _) => "store swallowed",
            Self::StoreWay(..) => "store refused",
            Self::BrokerWay(_, Way::Swallowed, _) => "broker swallowed",
            Self::BrokerWay(..) => "broker refused",
            Self::Cut(_) => "connection cut",
            Self::StoreDown(_) => "store away",
            Self::BrokerDown(..) => "broker restarted",
            Self::StepDown(_) => "step down",
            Self::Pause(..) => "pause",
            Self::Flip(_) => "rule flipped",
        })
    }
}

/// Everything that a seed asks for.
#[derive(Clone, Debug)]
pub(crate) struct Plan {
    pub(crate) setup: Setup,
    pub(crate) messages: Vec<Message>,
    pub(crate) behaviours: BTreeMap<String, Behaviour>,
    /// In the order of their times.
    pub(crate) acts: Vec<(Duration, Act)>,
    /// The share of calls of the store that go wrong, of a thousand.
    pub(crate) store_odds: u64,
    /// The same for publishes.
    pub(crate) publish_odds: u64,
    /// The rate of the store's clock against that of the hosts, in millionths.
    pub(crate) rate: u64,
    /// What a single message that is handed back loses: its place.
    pub(crate) requeues_behind: bool,
    pub(crate) hundredths: u16,
    /// Messages without a key, or without a lane where one is needed.
    pub(crate) nameless: u64,
}

/// Faults begin and messages are published within this.
const LOAD: u64 = 12_000;

impl Plan {
    pub(crate) fn of(seed: u64) -> Self {
        let setup = Setup::of(seed);
        let mut dice = Dice::new(seed);
        let odds = *dice.one(&[0, 0, 15, 60]);
        let mut plan = Self {
            setup,
            messages: Vec::new(),
            behaviours: BTreeMap::new(),
            acts: Vec::new(),
            store_odds: odds,
            publish_odds: *dice.one(&[0, 0, 30, 120]),
            rate: dice.between(995_000, 1_005_000),
            requeues_behind: dice.per_mille(500),
            hundredths: u16::try_from(dice.between(0, 100) * 100).unwrap_or(5_000),
            nameless: 0,
        };
        plan.publish(&mut dice);
        let faults = *dice.one(&[0, 1, 2, 3, 4, 6]);
        for _ in 0..faults {
            let at = dice.millis(100, LOAD);
            let act = plan.fault(&mut dice);
            plan.acts.push((at, act));
        }
        if setup.two_sides {
            for _ in 0..dice.between(0, 3) {
                let share = u16::try_from(dice.between(0, 4) * 2_500).unwrap_or(0);
                plan.acts.push((dice.millis(100, LOAD), Act::Flip(share)));
            }
        }
        plan.acts.sort_by_key(|(at, _)| *at);
        plan
    }

    /// Nothing goes wrong but what handlers do.
    pub(crate) fn is_calm(&self) -> bool {
        self.store_odds == 0
            && self.publish_odds == 0
            && !self.acts.iter().any(|(_, act)| act.kind().is_some())
            && !self.behaviours.values().any(|of| of.kills > 0)
    }

    fn publish(&mut self, dice: &mut Dice) {
        let count = dice.between(6, 22);
        let lanes = dice.between(1, 4);
        let spread = dice.between(1, 700);
        let sides = self.setup.sides();
        let mut at: Vec<u64> = sides.iter().map(|_| dice.between(0, 400)).collect();
        let mut numbers: BTreeMap<String, u64> = BTreeMap::new();
        for n in 0..count {
            let lane = match (self.setup.lanes, self.setup.ordered()) {
                (true, _) => Some(format!("l{}", dice.between(1, lanes))),
                (false, true) => Some("all".to_owned()),
                (false, false) => None,
            };
            let number = lane.as_ref().map_or(0, |lane| {
                let number = numbers.entry(lane.clone()).or_default();
                *number += 1;
                *number
            });
            let key = format!("m{n}");
            self.behaviours.insert(key.clone(), behaviour(dice));
            self.messages.push(Message {
                key: Some(key),
                lane,
                number,
                conflicting: false,
            });
            let index = self.messages.len() - 1;
            // Orders that two queues have in common cannot miss a message.
            let missing = self.setup.two_sides && !self.setup.ordered() && dice.per_mille(40);
            let missing = missing.then(|| *dice.one(sides));
            for (side, at) in sides.iter().zip(&mut at) {
                *at += dice.between(0, spread);
                if missing == Some(*side) {
                    continue;
                }
                let time = Duration::from_millis(*at);
                self.acts.push((time, Act::Publish(index, side)));
                if dice.per_mille(120) {
                    let later = time + dice.millis(0, 6_000);
                    self.acts.push((later, Act::Publish(index, side)));
                }
            }
        }
        let time = |dice: &mut Dice| dice.millis(500, LOAD);
        if !self.setup.ordered() && dice.per_mille(150) {
            let at = usize::try_from(dice.between(0, count - 1)).unwrap_or(0);
            let second = Message {
                conflicting: true,
                ..self.messages[at].clone()
            };
            self.messages.push(second);
            let after = self
                .acts
                .iter()
                .filter(|(_, act)| matches!(act, Act::Publish(of, _) if *of == at))
                .map(|(time, _)| *time)
                .max();
            let act = Act::Publish(self.messages.len() - 1, sides[0]);
            let after = after.unwrap_or_default();
            self.acts.push((after + dice.millis(1, 3_000), act));
        }
        if dice.per_mille(100) {
            self.nameless = 1;
            self.messages.push(Message {
                key: None,
                lane: None,
                number: 0,
                conflicting: false,
            });
            let act = Act::Publish(self.messages.len() - 1, sides[0]);
            self.acts.push((time(dice), act));
        }
    }

    fn fault(&self, dice: &mut Dice) -> Act {
        let sides = self.setup.sides();
        let hosts = (self.setup.hosts * sides.len()) as u64;
        let host = usize::try_from(dice.between(0, hosts - 1)).unwrap_or(0);
        let side = *dice.one(sides);
        let away = dice.millis(50, 6_000);
        let way = *dice.one(&[Way::Refused, Way::Swallowed]);
        match dice.between(0, 16) {
            0 => Act::Kill(host, None, away),
            1..=3 => Act::Kill(host, Some(Spot::AtCall(dice.between(0, 60))), away),
            4..=5 => Act::Kill(host, Some(Spot::AtPoll(dice.between(0, 200))), away),
            6 => Act::Restart(host),
            7 => Act::Freeze(host, None, dice.millis(500, 9_000)),
            8 | 16 => {
                let spot = Spot::AtCall(dice.between(0, 60));
                Act::Freeze(host, Some(spot), dice.millis(500, 9_000))
            }
            9 => Act::StoreWay(host, way, away),
            10 => Act::BrokerWay(host, way, away),
            11 => Act::Cut(host),
            12 => Act::StoreDown(away),
            13 => Act::BrokerDown(side, away),
            14 => Act::StepDown(host),
            _ => Act::Pause(side, away),
        }
    }
}

fn behaviour(dice: &mut Dice) -> Behaviour {
    let mut of = Behaviour {
        work: match dice.between(0, 9) {
            0..5 => Duration::ZERO,
            5..9 => dice.millis(1, 40),
            _ => dice.millis(100, 390),
        },
        in_lane: dice.per_mille(300),
        ..Behaviour::default()
    };
    match dice.between(0, 99) {
        0..16 => of.fails = u32::try_from(dice.between(1, 3)).unwrap_or(1),
        16..20 => of.fails = u32::MAX,
        20..24 => of.rejects = true,
        24..27 => of.kills = u32::try_from(dice.between(1, 2)).unwrap_or(1),
        27..30 => of.hangs = true,
        30..32 => of.nowhere = true,
        _ => {}
    }
    of
}
