//! Healing and draining: from any moment on, when nothing goes wrong any more,
//! every message ends.

use std::collections::HashSet;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::PoisonError;

use crate::action::Action;
use crate::checked::Checked;
use crate::setup::Budget;
use crate::world::World;

/// How much time may pass until everything has ended.
const PATIENCE: u8 = 40;

impl Checked {
    /// Does everything end from here on? The steps are taken in a fixed order,
    /// and moments that were seen to drain before are not drained again.
    pub(crate) fn drains(&self, world: &World) -> bool {
        if world.history.broken.is_some() {
            // Said by another promise.
            return true;
        }
        let mut world = world.clone();
        self.heal(&mut world);
        let until = world.now.saturating_add(PATIENCE);
        let mut passed = Vec::new();
        let mut actions = Vec::new();
        loop {
            self.accept(&mut world);
            let print = fingerprint(&world);
            if self.seen().contains(&print) {
                break;
            }
            passed.push(print);
            if ended(&world) {
                if !self.none_skipped(&world) {
                    return false;
                }
                break;
            }
            if !self.go_on(&mut world, &mut actions, until) || world.history.broken.is_some() {
                return false;
            }
        }
        self.seen().extend(passed);
        true
    }

    fn seen(&self) -> std::sync::MutexGuard<'_, HashSet<u64>> {
        self.drained.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Takes the first step that there is; lets time pass when there is none.
    fn go_on(&self, world: &mut World, actions: &mut Vec<Action>, until: u8) -> bool {
        actions.clear();
        self.ordinary(world, actions);
        for action in actions.drain(..) {
            let mut next = world.clone();
            if self.happen(&mut next, action).is_some() && next != *world {
                *world = next;
                return true;
            }
        }
        world.now < until && self.tick(world, false).is_some()
    }

    /// Nothing goes wrong any more, everybody is there again, and the operator
    /// finishes what was begun.
    fn heal(&self, world: &mut World) {
        world.left = Budget::default();
        world.ticks = 0;
        world.backup = None;
        world.strays.clear();
        world.history.rough = true;
        for h in 0..world.hosts.len() {
            self.resume(world, h);
            self.restart(world, h);
        }
        // Begins none: its budget is spent.
        for message in 0..world.replaying.len() {
            while self.replay_letter(world, message).is_some() {}
        }
    }

    /// The operator accepts the store as it is, if a host does not trust it.
    fn accept(&self, world: &mut World) {
        if world.hosts.iter().all(|host| !host.halted) {
            return;
        }
        let id = *world.store.id.get_or_insert(2);
        let known = (id, world.store.pulse);
        for queue in &mut world.queues {
            queue.incarnation = known;
        }
        for host in &mut world.hosts {
            host.halted = false;
            host.known = known;
            // What the store has forgotten may run again: so it was accepted.
            (host.unaware, host.noticed) = (true, 0);
        }
    }
}

fn ended(world: &World) -> bool {
    world.queues.iter().all(|queue| queue.copies.is_empty())
        && world.hosts.iter().all(|host| host.jobs.is_empty())
}

fn fingerprint(world: &World) -> u64 {
    let mut hasher = DefaultHasher::new();
    world.hash(&mut hasher);
    hasher.finish()
}
