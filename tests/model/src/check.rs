//! The promises, and the model as the checker wants it.

use holdfast_core::claim::{Ending, State};
use stateright::{Model, Property};

use crate::action::Action;
use crate::checked::Checked;
use crate::world::{Broken, World};

impl Model for Checked {
    type State = World;
    type Action = Action;

    fn init_states(&self) -> Vec<World> {
        vec![World::new(&self.setup)]
    }

    fn actions(&self, world: &World, actions: &mut Vec<Action>) {
        // What follows a broken promise says nothing.
        if world.history.broken.is_none() {
            self.possible(world, actions);
        }
    }

    fn next_state(&self, world: &World, action: Action) -> Option<World> {
        let mut next = world.clone();
        self.happen(&mut next, action)?;
        (next != *world).then_some(next)
    }

    fn format_action(&self, action: &Action) -> String {
        action.to_string()
    }

    fn properties(&self) -> Vec<Property<Self>> {
        use Broken as B;
        let always = Property::<Self>::always;
        vec![
            always("no key has two committed effects", |_, w| {
                !broke(w, B::TwoEffects)
            }),
            always(
                "nothing is acknowledged without a recorded ending",
                |_, w| !broke(w, B::Unrecorded),
            ),
            always("no message is skipped by everyone", Self::none_skipped),
            always("a failed claim is never forgotten", Self::none_forgotten),
            always("a stale token or epoch commits nothing", |_, w| {
                !broke(w, B::StaleCommit)
            }),
            always(
                "no older attempt passes a receiver that compares fences",
                |_, w| !broke(w, B::StaleFence),
            ),
            always("commits of one lane are in order", |_, w| {
                !broke(w, B::Inversion)
            }),
            always("no commit rests on state that has changed since", |_, w| {
                !broke(w, B::LostUpdate)
            }),
            always(
                "a key that was begun changes sides only when released",
                |_, w| !broke(w, B::SideChanged),
            ),
            always(
                "attempts of one key overlap only after a standstill",
                |_, w| !broke(w, B::Overlap),
            ),
            always("no handler is called more often than allowed", |_, w| {
                !broke(w, B::TooManyCalls)
            }),
            always(
                "nothing is given up before its attempts are spent",
                |_, w| !broke(w, B::GivenUpEarly),
            ),
            always("one host leads a consumer", Self::one_leader),
            always("only what was committed is published", |_, w| {
                !broke(w, B::OtherContent)
            }),
            always("what is done is published", Self::done_is_published),
            always("what is parked has its letter", Self::parked_has_letter),
            always("healed and drained, every message has ended", Self::drains),
        ]
    }
}

fn broke(world: &World, promise: Broken) -> bool {
    world.history.broken == Some(promise)
}

impl Checked {
    /// Each message is somewhere, or has ended.
    pub(crate) fn none_skipped(&self, world: &World) -> bool {
        (0..self.setup.messages.len()).all(|number| {
            u8::try_from(number).is_ok_and(|message| {
                self.is_somewhere(world, message) || self.has_ended(world, message)
            })
        })
    }

    /// Its claim is done, by its own body.
    pub(crate) fn has_ended(&self, world: &World, message: u8) -> bool {
        let facts = self.message(message);
        let key = usize::from(facts.key);
        let history = &world.history.keys[key];
        let row = world.store.claims[key].as_ref();
        let done = row.is_some_and(|row| matches!(row.state, State::Done { .. }));
        let forgotten = world.history.forgot && history.committed > 0;
        (done || forgotten) && history.body.is_none_or(|body| body == facts.body)
    }

    fn none_forgotten(&self, world: &World) -> bool {
        let rows = world.store.claims.iter().zip(&world.history.keys);
        rows.into_iter().all(|(row, history)| match history.failed {
            Some(side) => row.as_ref().is_some_and(|row| row.side == side),
            None => true,
        })
    }

    fn one_leader(&self, world: &World) -> bool {
        (0..2).all(|side| {
            let hosts = world.hosts.iter().enumerate();
            let leaders = hosts.filter(|(h, host)| host.side == side && self.leads(world, *h));
            leaders.count() < 2
        })
    }

    fn done_is_published(&self, world: &World) -> bool {
        let rows = world.store.claims.iter().zip(&world.history.keys);
        rows.into_iter().all(|(row, history)| {
            let done = row.as_ref().is_some_and(|row| {
                row.state
                    == State::Done {
                        ending: Ending::Completed,
                    }
            });
            !done
                || history
                    .outbox
                    .is_none_or(|outbox| history.sent & (1 << outbox) != 0)
        })
    }

    fn parked_has_letter(&self, world: &World) -> bool {
        let parked = |key: u8| {
            let row = world.store.claims[usize::from(key)].as_ref();
            row.filter(|row| matches!(row.state, State::Parked { .. }))
        };
        let written = |number: usize| world.queues.iter().any(|queue| queue.letters[number] > 0);
        world.store.claims.iter().enumerate().all(|(key, _)| {
            let key = u8::try_from(key).unwrap_or(u8::MAX);
            parked(key).is_none_or(|row| {
                let mut messages = self.setup.messages.iter().enumerate();
                messages.any(|(number, message)| {
                    message.key == key
                        && row.body.is_none_or(|body| body == message.body)
                        && written(number)
                })
            })
        })
    }
}
