//! What is judged at the moment at which the store decides.

use holdfast_core::claim::{OnForeign, StateName};
use holdfast_core::settle::Ending;

use crate::checked::Checked;
use crate::store::About;
use crate::world::{Attempt, Broken, Call, Job, World};

impl Checked {
    /// An attempt was granted.
    pub(crate) fn judge_grant(&self, world: &mut World, call: &Call, about: About) {
        let other = |job: &Job| {
            self.message(job.message).key == self.message(call.message).key
                && job
                    .handling()
                    .is_some_and(|attempt| attempt.token != call.token)
        };
        let mut jobs = world.hosts.iter().flat_map(|host| &host.jobs);
        if !world.history.overrun && jobs.any(other) {
            world.breaks(Broken::Overlap);
        }
        let grant = world.grants;
        let history = &mut world.history.keys[about.key];
        let before = history.began.replace(about.side);
        history.latest = Some((call.token, grant));
        if before.is_some_and(|side| side != about.side) {
            world.breaks(Broken::SideChanged);
        }
    }

    /// Effects were written.
    pub(crate) fn judge_commit(
        &self,
        world: &mut World,
        call: &Call,
        about: About,
        outbox: Option<u8>,
        read: u8,
    ) {
        if world.hosts[about.host].unaware {
            return;
        }
        let message = *self.message(call.message);
        let lease = world.store.leases[usize::from(about.side)];
        let deposed = call
            .epoch
            .is_some_and(|epoch| epoch != lease.epoch || lease.until <= world.now);
        let history = &mut world.history.keys[about.key];
        let stale = history.latest.is_none_or(|(token, _)| token != call.token);
        let twice = history.committed > 0;
        history.committed += 1;
        history.body = Some(message.body);
        history.outbox = outbox;
        if twice {
            world.breaks(Broken::TwoEffects);
        }
        if stale || deposed {
            world.breaks(Broken::StaleCommit);
        }
        if self.setup.stateful && read != world.store.versions[about.lane] {
            world.breaks(Broken::LostUpdate);
        }
        let place = message.sequence.unwrap_or(call.message);
        let last = world.history.lanes[about.lane].replace(place);
        if self.setup.ordered && last.is_some_and(|last| last >= place) {
            world.breaks(Broken::Inversion);
        }
    }

    /// A message is given up since its attempts are spent.
    pub(crate) fn judge_given_up(&self, world: &mut World, key: usize) {
        let calls = u32::from(world.history.keys[key].calls);
        if !world.history.rough && calls < self.setup.attempts {
            world.breaks(Broken::GivenUpEarly);
        }
    }

    /// The handler is called, and calls a receiver that compares fences.
    pub(crate) fn judge_call(&self, world: &mut World, message: u8, attempt: &Attempt) {
        let history = &mut world.history.keys[usize::from(self.message(message).key)];
        if history
            .latest
            .is_some_and(|(token, _)| token == attempt.token)
        {
            history.calls += 1;
        }
        let too_many = u32::from(history.calls) > self.setup.attempts;
        let (fence, grant) = history.receiver;
        let taken = attempt.fence >= fence;
        if taken {
            history.receiver = (attempt.fence, attempt.grant);
        }
        if too_many {
            world.breaks(Broken::TooManyCalls);
        }
        if taken && attempt.grant < grant {
            world.breaks(Broken::StaleFence);
        }
    }

    /// A copy of a message was acknowledged.
    pub(crate) fn judge_ack(&self, world: &mut World, message: u8, ending: Ending) {
        let facts = *self.message(message);
        let key = usize::from(facts.key);
        let row = world.store.claims[key].as_ref();
        let name = row.map(|row| row.state.name());
        let done = name == Some(StateName::Done);
        let finished = done || name == Some(StateName::Parked);
        let replayed = row.is_some_and(|row| row.replayed);
        let history = &world.history.keys[key];
        let elsewhere = self.is_somewhere(world, message);
        let recorded = match ending {
            Ending::Completed | Ending::Duplicate => {
                done && history.body.is_none_or(|body| body == facts.body)
            }
            Ending::Stale => {
                let last = world.store.sequences[usize::from(facts.lane)];
                done || last >= facts.sequence
            }
            Ending::DeadLettered | Ending::Deferred => elsewhere || done,
            Ending::LeftToOwner => self.setup.on_foreign == OnForeign::Drop || finished || replayed,
            Ending::Abandoned => false,
        };
        if !recorded && !world.history.forgot {
            world.breaks(Broken::Unrecorded);
        }
    }

    /// Is the message in a queue or in the dead letters?
    pub(crate) fn is_somewhere(&self, world: &World, message: u8) -> bool {
        let at = usize::from(message);
        world.queues.iter().any(|queue| {
            queue.letters[at] > 0 || queue.copies.iter().any(|copy| copy.message == message)
        })
    }
}
