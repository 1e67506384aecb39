//! What goes wrong, what operators do, and how time passes.

use holdfast_core::claim::{Ending, Fingerprint, ParkReason, State};
use holdfast_core::incarnation::{Difference, Finding, Incarnation, judge};
use holdfast_core::lease::Lease;
use holdfast_core::replay::{self, Replay};

use crate::checked::Checked;
use crate::met::Met;
use crate::rules::Rule;
use crate::setup::{Fault, Message, TICK};
use crate::world::{Entry, History, Row, Stage, Store, World};

/// Why time cannot pass yet.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Pending {
    /// Nothing is in the way.
    Nothing,
    /// Only answers of the store or the broker are.
    Answers,
    /// A running host has something to do.
    Work,
}

impl Checked {
    /// A host that runs does at once what it can; only a handler may take until
    /// the next tick. So time passes when nothing is left to do.
    pub(crate) fn pending(&self, world: &World) -> Pending {
        let mut most = Pending::Nothing;
        for (h, host) in world.hosts.iter().enumerate() {
            if !host.up || host.paused {
                continue;
            }
            let learns = host.rule != world.store.rule;
            let drains = matches!(host.lease, Some(Lease::Draining { .. })) && host.jobs.is_empty();
            if learns || drains || self.beats(world, h) || self.due(world, h).is_some() {
                return Pending::Work;
            }
            if host.question.is_some() {
                most = Pending::Answers;
            }
            for job in &host.jobs {
                most = most.max(match &job.stage {
                    Stage::Lane => Pending::Nothing,
                    Stage::Ready(at) if *at > world.now => Pending::Nothing,
                    Stage::Run { since, .. } if *since == world.now => Pending::Nothing,
                    Stage::Run { .. } | Stage::Ack(_) => Pending::Work,
                    _ => Pending::Answers,
                });
            }
        }
        most
    }

    /// Time passes.
    pub(crate) fn tick(&self, world: &mut World, slow: bool) -> Option<()> {
        match (self.pending(world), slow) {
            (Pending::Nothing, false) => {}
            (Pending::Answers, true) => {
                world.left.spend(Fault::Slow)?;
                world.history.overrun = true;
                world.history.rough = true;
            }
            _ => return None,
        }
        world.now = world.now.checked_add(1)?;
        for host in &mut world.hosts {
            host.beaten = false;
        }
        Some(())
    }

    /// A host dies. A call that it had sent may still arrive.
    pub(crate) fn crash(&self, world: &mut World, h: usize, sending: Option<usize>) -> Option<()> {
        let host = &world.hosts[h];
        host.up.then_some(())?;
        world.left.spend(Fault::Crash)?;
        if let Some(j) = sending {
            world.left.spend(Fault::Twice)?;
            let call = self.call(world, h, host_job(world, h, j)?)?;
            world.strays.push(call);
        }
        self.close(world, h);
        let host = &mut world.hosts[h];
        host.jobs.clear();
        (host.up, host.paused, host.halted) = (false, false, false);
        (host.lease, host.question) = (None, None);
        (host.beaten, host.known) = (false, (0, 0));
        world.history.rough = true;
        Some(())
    }

    /// A host starts again. It compares the store with the broker's copy.
    pub(crate) fn restart(&self, world: &mut World, h: usize) -> Option<()> {
        let side = usize::from(world.hosts[h].side);
        (!world.hosts[h].up).then_some(())?;
        let copy = world.queues[side].incarnation;
        let found = found(&world.store);
        let different = matches!(
            judge(found.as_ref(), Some(&known(copy))),
            Finding::Different(_)
        );
        let store = (world.store.id.unwrap_or(0), world.store.pulse);
        let rule = world.store.rule;
        let leased = self.setup.leased[side];
        let forgot = world.history.forgot;
        let host = &mut world.hosts[h];
        host.up = true;
        host.life += 1;
        host.halted = different && self.setup.keeps(Rule::StoreCompared);
        // It could have known, had it been told what was noticed before.
        host.unaware = forgot && !different && store.1 >= host.noticed;
        host.known = store;
        host.beaten = true;
        host.rule = rule;
        host.lease = leased.then(|| Lease::new(TICK * u32::from(world.now)));
        Some(())
    }

    /// A host stops where it is.
    pub(crate) fn pause(&self, world: &mut World, h: usize) -> Option<()> {
        let host = &mut world.hosts[h];
        (host.up && !host.paused).then_some(())?;
        host.paused = true;
        world.history.overrun = true;
        world.history.rough = true;
        world.left.spend(Fault::Pause)
    }

    /// It goes on.
    pub(crate) fn resume(&self, world: &mut World, h: usize) -> Option<()> {
        let host = &mut world.hosts[h];
        host.paused.then_some(())?;
        host.paused = false;
        Some(())
    }

    /// A host hears of the cut-over rule.
    pub(crate) fn learn(&self, world: &mut World, h: usize) -> Option<()> {
        let rule = world.store.rule;
        let host = &mut world.hosts[h];
        (host.up && !host.paused && host.rule != rule).then_some(())?;
        host.rule = rule;
        Some(())
    }

    /// Looks this host at the store before time passes on?
    pub(crate) fn beats(&self, world: &World, h: usize) -> bool {
        let host = &world.hosts[h];
        let watched =
            self.setup.budget.left(Fault::Rollback) + self.setup.budget.left(Fault::Flush) > 0;
        watched && host.up && !host.paused && !host.halted && !host.beaten
    }

    /// A host raises the pulse and sees whether it is the store it knows.
    pub(crate) fn beat(&self, world: &mut World, h: usize) -> Option<()> {
        self.beats(world, h).then_some(())?;
        let remembered = known(world.hosts[h].known);
        let older = world.store.pulse < world.hosts[h].known.1;
        let raise = |store: &mut Store| store.pulse += u8::from(store.id.is_some());
        // Looked at first and raised then: a host that finds it too low must
        // not hide that from the others.
        let early = !self.setup.keeps(Rule::PulseRaisedAfterLook);
        if early {
            raise(&mut world.store);
        }
        let verdict = judge(found(&world.store).as_ref(), Some(&remembered));
        let missed = match verdict {
            Finding::Different(Difference::Older { .. }) => !self.setup.keeps(Rule::PulseCompared),
            Finding::Different(_) => !self.setup.keeps(Rule::StoreCompared),
            Finding::First | Finding::Same => true,
        };
        if !early && missed {
            raise(&mut world.store);
        }
        let pulse = world.store.pulse;
        let side = usize::from(world.hosts[h].side);
        let host = &mut world.hosts[h];
        host.beaten = true;
        host.unaware &= !older;
        if missed {
            host.known.1 = pulse;
            // The copy at the broker is renewed less often.
            if pulse.is_multiple_of(2) {
                world.queues[side].incarnation.1 = pulse;
            }
        } else {
            self.seen.met(Met::Distrusted);
            host.halted = true;
            host.noticed = host.known.1;
            // The broker remembers it for whoever starts next.
            let known = host.known.1;
            let copy = &mut world.queues[side].incarnation.1;
            if self.setup.keeps(Rule::NoticeKept) {
                *copy = known.max(*copy);
            }
            self.stop(world, h);
        }
        Some(())
    }

    /// The store is copied, or the copy put in its place.
    pub(crate) fn roll_back(&self, world: &mut World) -> Option<()> {
        if world.backup.is_none() {
            (world.left.left(Fault::Rollback) > 0).then_some(())?;
            world.backup = Some(Box::new(world.store.clone()));
            return Some(());
        }
        world.left.spend(Fault::Rollback)?;
        let store = *world.backup.take()?;
        self.replaced(world, store);
        for host in &mut world.hosts {
            host.unaware = true;
        }
        Some(())
    }

    /// The store is emptied.
    pub(crate) fn flush(&self, world: &mut World) -> Option<()> {
        world.left.spend(Fault::Flush)?;
        let mut store = Store::new(&self.setup);
        (store.id, store.pulse) = (None, 0);
        self.replaced(world, store);
        Some(())
    }

    fn replaced(&self, world: &mut World, store: Store) {
        world.store = store;
        let History { keys, .. } = &mut world.history;
        for key in keys {
            (key.began, key.failed, key.latest, key.calls) = (None, None, None, 0);
        }
        world.history.forgot = true;
        world.history.overrun = true;
        world.history.rough = true;
    }

    /// An operator replays a dead letter, one step at a time: the claim is
    /// re-opened, the message published, the letter removed.
    pub(crate) fn replay_letter(&self, world: &mut World, message: usize) -> Option<()> {
        if let Some(side) = world.replaying[message].take() {
            let letters = &mut world.queues[usize::from(side)].letters[message];
            *letters = letters.saturating_sub(1);
            self.seen.met(Met::Replayed);
            return Some(());
        }
        let side = (0..2_u8).find(|side| world.queues[usize::from(*side)].letters[message] > 0)?;
        let number = u8::try_from(message).ok()?;
        let facts = self.message(number);
        let key = usize::from(facts.key);
        let queue = &mut world.queues[usize::from(side)];
        match self.may_replay(world.store.claims[key].as_ref(), side, facts) {
            Replay::Reopen => {
                world.left.spend(Fault::Replay)?;
                self.replay(world, key);
            }
            Replay::Publish => {
                queue.copies.push(Entry::ready(number, world.now));
                world.replaying[message] = Some(side);
            }
            Replay::Finished => queue.letters[message] -= 1,
            Replay::Refused(_) => return None,
        }
        Some(())
    }

    fn may_replay(&self, row: Option<&Row>, side: u8, message: &Message) -> Replay {
        let owner = self.side(row.map_or(side, |row| row.side));
        let reason = match row.map(|row| &row.state) {
            Some(State::Parking { reason } | State::Parked { reason }) => *reason,
            _ => ParkReason::Rejected,
        };
        let claim = row.map(|row| replay::Known {
            side: &owner,
            state: row.state.name(),
            stale: matches!(
                row.state,
                State::Done {
                    ending: Ending::Stale
                }
            ),
            fingerprint: row.body.map(|body| Fingerprint([body; 8])),
        });
        replay::replay(&replay::Facts {
            side: &self.side(side),
            reason,
            fingerprint: Some(Fingerprint([message.body; 8])),
            sequenced: message.sequence.is_some(),
            new_key: false,
            claim,
        })
    }
}

fn host_job(world: &World, h: usize, j: usize) -> Option<&crate::world::Job> {
    world.hosts[h].jobs.get(j)
}

fn known((id, pulse): (u8, u8)) -> Incarnation {
    Incarnation {
        id: id.to_string(),
        pulse: pulse.into(),
    }
}

fn found(store: &Store) -> Option<Incarnation> {
    store.id.map(|id| known((id, store.pulse)))
}
