//! The brokers' part: who is given what, what comes back, what is gone.

use holdfast_core::lane::Lanes;
use holdfast_core::lease::Lease;
use holdfast_core::settle::Ending;

use crate::checked::Checked;
use crate::met::Met;
use crate::rules::Rule;
use crate::world::{Host, Job, Place, Stage, World};

impl Host {
    /// The epoch under which it works.
    #[must_use]
    pub fn epoch(&self) -> Option<u8> {
        match self.lease {
            Some(Lease::Leader { epoch, .. } | Lease::Draining { epoch, .. }) => {
                u8::try_from(epoch).ok()
            }
            _ => None,
        }
    }

    /// Takes it messages?
    #[must_use]
    pub fn consumes(&self) -> bool {
        let leads = self
            .lease
            .is_none_or(|lease| matches!(lease, Lease::Leader { .. }));
        self.up && !self.paused && !self.halted && leads
    }
}

impl Checked {
    /// The next copy in the queue goes to this host.
    pub(crate) fn deliver(&self, world: &mut World, h: usize) -> Option<()> {
        let host = &world.hosts[h];
        host.consumes().then_some(())?;
        let number = u8::try_from(h).ok()?;
        let queue = &mut world.queues[usize::from(host.side)];
        if self.setup.ordered && self.setup.keeps(Rule::SingleActive) {
            let active = *queue.active.get_or_insert(number);
            (active == number).then_some(())?;
        }
        let now = world.now;
        let ready = |place: Place| matches!(place, Place::Ready(at) if at <= now);
        let taken = queue.copies.iter().filter_map(|copy| match copy.place {
            Place::Held { host, tag } if host == number => Some(tag),
            _ => None,
        });
        // Tags only matter while a delivery is open, so the smallest free one
        // will do.
        let used: u64 = taken.fold(1, |used, tag| used | 1 << tag);
        let tag = u8::try_from(used.trailing_ones()).ok()?;
        let copy = queue.copies.iter_mut().find(|copy| ready(copy.place))?;
        copy.place = Place::Held { host: number, tag };
        let message = copy.message;
        let lane = self.message(message).lane;
        let runs = !self.setup.ordered
            || !self.setup.keeps(Rule::LanesInOrder)
            || self
                .lanes(&world.hosts[h])
                .enter(lane, usize::MAX)
                .is_some();
        if !runs {
            self.seen.met(Met::LaneWaited);
        }
        world.hosts[h].jobs.push(Job {
            message,
            tag,
            live: true,
            stage: if runs { Stage::Ready(now) } else { Stage::Lane },
        });
        Some(())
    }

    /// The lanes of a host's channel, with its deliveries in the order in which
    /// they came.
    fn lanes(&self, host: &Host) -> Lanes<u8, usize> {
        let mut lanes = Lanes::default();
        for (at, job) in host.jobs.iter().enumerate() {
            if job.live {
                let _ = lanes.enter(self.message(job.message).lane, at);
            }
        }
        lanes
    }

    /// A delivery is over; the next of its lane may run.
    pub(crate) fn leave(&self, world: &mut World, h: usize, j: usize) {
        let now = world.now;
        let host = &mut world.hosts[h];
        let job = &host.jobs[j];
        if self.setup.ordered && job.live {
            let lane = self.message(job.message).lane;
            if let Some(next) = self.lanes(host).leave(&lane)
                && host.jobs[next].stage == Stage::Lane
            {
                host.jobs[next].stage = Stage::Ready(now);
            }
        }
        host.jobs.remove(j);
    }

    /// A delivery is acknowledged and over.
    pub(crate) fn settle(&self, world: &mut World, h: usize, j: usize, ending: Ending) {
        let job = world.hosts[h].jobs[j].clone();
        self.acknowledge(world, h, &job, ending);
        self.leave(world, h, j);
    }

    /// The broker hears an acknowledgement.
    pub(crate) fn acknowledge(&self, world: &mut World, h: usize, job: &Job, ending: Ending) {
        if !job.live && self.setup.keeps(Rule::OldAcksVoid) {
            return;
        }
        let queue = &mut world.queues[usize::from(world.hosts[h].side)];
        if let Some(at) = queue.held(h, job.tag) {
            let copy = queue.copies.remove(at);
            if ending == Ending::LeftToOwner {
                self.seen.met(Met::LeftToOwner);
            }
            self.judge_ack(world, copy.message, ending);
        }
    }

    /// A delivery goes back to the broker. In an ordered queue what waits behind
    /// it goes back with it, or it would run first.
    pub(crate) fn abandon(&self, world: &mut World, h: usize, j: usize) {
        let job = world.hosts[h].jobs[j].clone();
        if self.setup.ordered && job.live && self.setup.keeps(Rule::LaneHandedBackWhole) {
            let lane = self.message(job.message).lane;
            self.hand_back(world, h, |checked, other| {
                other.stage == Stage::Lane && checked.message(other.message).lane == lane
            });
        }
        let at = world.hosts[h].jobs.iter().position(|other| *other == job);
        self.requeue(world, h, &job);
        if let Some(at) = at {
            self.leave(world, h, at);
        }
    }

    fn requeue(&self, world: &mut World, h: usize, job: &Job) {
        let now = world.now;
        let queue = &mut world.queues[usize::from(world.hosts[h].side)];
        if job.live
            && let Some(at) = queue.held(h, job.tag)
        {
            queue.copies[at].place = Place::Ready(now);
        }
    }

    /// These deliveries go back to the broker.
    fn hand_back(&self, world: &mut World, h: usize, which: impl Fn(&Self, &Job) -> bool) {
        let jobs = std::mem::take(&mut world.hosts[h].jobs);
        let (back, stay): (Vec<Job>, Vec<Job>) = jobs.into_iter().partition(|job| which(self, job));
        world.hosts[h].jobs = stay;
        for job in back {
            self.requeue(world, h, &job);
        }
    }

    /// The channel of a host is gone: what it held is in the queue again, and
    /// what still runs there can acknowledge nothing.
    pub(crate) fn close(&self, world: &mut World, h: usize) {
        let now = world.now;
        let number = u8::try_from(h).unwrap_or(u8::MAX);
        let queue = &mut world.queues[usize::from(world.hosts[h].side)];
        for copy in &mut queue.copies {
            if matches!(copy.place, Place::Held { host, .. } if host == number) {
                copy.place = Place::Ready(now);
            }
        }
        if queue.active == Some(number) {
            queue.active = None;
        }
        for job in &mut world.hosts[h].jobs {
            job.live = false;
        }
    }

    /// The connection is lost. Deliveries whose handler has not begun are
    /// dropped; the others go on, void.
    pub(crate) fn cut(&self, world: &mut World, h: usize) {
        self.close(world, h);
        world.hosts[h].jobs.retain(|job| !job.waits());
        world.history.rough = true;
    }

    /// Everything stops at once: handlers are interrupted and all goes back.
    /// What is being recorded is recorded to its end.
    pub(crate) fn stop(&self, world: &mut World, h: usize) {
        if self.setup.keeps(Rule::ChannelClosedOnLoss) {
            self.close(world, h);
        } else {
            self.unsubscribe(world, h);
        }
        self.hand_back(world, h, |_, job| {
            job.waits() || matches!(job.stage, Stage::Run { .. })
        });
        world.history.rough = true;
    }

    /// No more messages are taken; what waits goes back, what runs goes on.
    pub(crate) fn unsubscribe(&self, world: &mut World, h: usize) {
        let number = u8::try_from(h).unwrap_or(u8::MAX);
        let queue = &mut world.queues[usize::from(world.hosts[h].side)];
        if queue.active == Some(number) {
            queue.active = None;
        }
        self.hand_back(world, h, |_, job| job.waits());
        world.history.rough = true;
    }
}

impl Job {
    /// Its handler has not been called and nothing is recorded.
    #[must_use]
    pub fn waits(&self) -> bool {
        matches!(
            self.stage,
            Stage::Lane | Stage::Ready(_) | Stage::Begin(_) | Stage::Looked(..)
        )
    }
}

impl crate::world::Queue {
    /// Where the delivery with this tag is.
    fn held(&self, h: usize, tag: u8) -> Option<usize> {
        let host = u8::try_from(h).unwrap_or(u8::MAX);
        let place = Place::Held { host, tag };
        self.copies.iter().position(|copy| copy.place == place)
    }
}
