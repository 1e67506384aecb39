//! The lease: what core's machine says is carried out as
//! `host/runtime/src/leadership.rs` does, on leases kept as the stores keep them.

use std::time::Duration;

use holdfast_core::lease::{Command, Input, Lease};

use crate::checked::Checked;
use crate::met::Met;
use crate::rules::Rule;
use crate::setup::{TERMS, TICK};
use crate::units::whole;
use crate::world::{LeaseRow, Question, World};

/// What becomes of a question about the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Reply {
    /// It is answered.
    Fine,
    /// It is carried out and the answer is lost.
    Lost,
    /// It is carried out and the answer takes its time.
    Late,
}

impl Checked {
    /// When a host's timer is due, if that is before time passes on.
    pub(crate) fn due(&self, world: &World, h: usize) -> Option<Duration> {
        let host = &world.hosts[h];
        let lease = host.lease.as_ref()?;
        // A leader that stopped campaigns again when nothing of it runs.
        let busy = matches!(lease, Lease::Follower { .. }) && !host.jobs.is_empty();
        let at = lease.next_timeout()?;
        let soon = at < TICK * (u32::from(world.now) + 1);
        (host.up && !host.paused && !host.halted && soon && !busy).then_some(at)
    }

    /// A host's timer goes off.
    pub(crate) fn timer(&self, world: &mut World, h: usize) -> Option<()> {
        let at = self.due(world, h)?.max(TICK * u32::from(world.now));
        self.turn(world, h, Input::Tick, at);
        Some(())
    }

    /// The question of a host reaches the store.
    pub(crate) fn answer(&self, world: &mut World, h: usize, reply: Reply) -> Option<()> {
        let question = world.hosts[h].question.filter(Question::unanswered)?;
        let input = match question {
            Question::Acquire => self.acquire(world, h),
            _ => self.renew(world, h),
        };
        let input = match reply {
            Reply::Lost => Input::Unreachable,
            _ => input,
        };
        world.hosts[h].question = Some(Question::Answered(input));
        if reply != Reply::Late {
            self.hear_lease(world, h)?;
        }
        Some(())
    }

    /// The answer reaches the host.
    pub(crate) fn hear_lease(&self, world: &mut World, h: usize) -> Option<()> {
        let Question::Answered(input) = world.hosts[h].question? else {
            return None;
        };
        world.hosts[h].question = None;
        let mut now = TICK * u32::from(world.now);
        if !self.setup.keeps(Rule::DeadlineFromBefore) {
            // As if the question had been sent when its answer came.
            match &mut world.hosts[h].lease {
                Some(Lease::Campaigning { sent, .. }) => *sent = now,
                Some(Lease::Leader { renewing, .. }) => *renewing = renewing.map(|_| now),
                _ => {}
            }
        }
        if let Some(Lease::Campaigning { sent, .. }) = world.hosts[h].lease {
            now = now.max(sent);
        }
        self.turn(world, h, input, now);
        Some(())
    }

    /// The operator tells a leader to step down.
    pub(crate) fn step_down(&self, world: &mut World, h: usize) -> Option<()> {
        let host = &world.hosts[h];
        let leads = matches!(host.lease, Some(Lease::Leader { .. }));
        (host.up && !host.paused && leads).then_some(())?;
        self.turn(world, h, Input::StepDown, TICK * u32::from(world.now));
        Some(())
    }

    /// Nothing of a draining leader runs any more.
    pub(crate) fn drained(&self, world: &mut World, h: usize) -> Option<()> {
        let host = &world.hosts[h];
        let drains = matches!(host.lease, Some(Lease::Draining { .. }));
        let empty = host.jobs.is_empty() || !self.setup.keeps(Rule::DrainedBeforeRelease);
        (host.up && !host.paused && drains && empty).then_some(())?;
        self.turn(world, h, Input::Drained, TICK * u32::from(world.now));
        Some(())
    }

    /// A claim step was fenced: this term is over.
    pub(crate) fn ended_fenced(&self, world: &mut World, h: usize) {
        if matches!(world.hosts[h].lease, Some(Lease::Leader { .. })) {
            self.turn(world, h, Input::StepDown, TICK * u32::from(world.now));
        }
    }

    fn turn(&self, world: &mut World, h: usize, input: Input, now: Duration) {
        let Some(lease) = &mut world.hosts[h].lease else {
            return;
        };
        match lease.handle(input, now, &TERMS) {
            None | Some(Command::Start { .. }) => {}
            Some(Command::Acquire) => world.hosts[h].question = Some(Question::Acquire),
            Some(Command::Renew) => world.hosts[h].question = Some(Question::Renew),
            Some(Command::Drain) => self.unsubscribe(world, h),
            Some(Command::Stop) => {
                self.seen.met(Met::LeaderStopped);
                world.hosts[h].question = None;
                self.stop(world, h);
            }
            Some(Command::Release { .. }) => {
                world.hosts[h].question = None;
                self.close(world, h);
                self.give_back(world, h);
            }
        }
    }

    fn acquire(&self, world: &mut World, h: usize) -> Input {
        let (owner, until) = ask(world, h);
        let row = self.row(world, h);
        if row.until > until.0 && row.owner != owner {
            return held(row.until, until.0);
        }
        if row.until <= until.0 {
            row.epoch += 1;
        }
        (row.owner, row.until) = (owner, until.1);
        Input::Acquired {
            epoch: row.epoch.into(),
        }
    }

    fn renew(&self, world: &mut World, h: usize) -> Input {
        let (owner, until) = ask(world, h);
        let row = self.row(world, h);
        if row.until <= until.0 {
            Input::Gone
        } else if row.owner == owner {
            row.until = until.1;
            Input::Renewed
        } else {
            held(row.until, until.0)
        }
    }

    /// Gives the lease back, and announces it.
    fn give_back(&self, world: &mut World, h: usize) {
        let (owner, until) = ask(world, h);
        let row = self.row(world, h);
        if row.until <= until.0 || row.owner != owner {
            return;
        }
        row.until = 0;
        self.seen.met(Met::LeaseGivenBack);
        let side = world.hosts[h].side;
        for other in 0..world.hosts.len() {
            let host = &world.hosts[other];
            let listens = host.side == side && host.up && !host.paused && !host.halted;
            if other != h && listens && host.question.is_none() && host.jobs.is_empty() {
                self.turn(world, other, Input::Announced, TICK * u32::from(world.now));
            }
        }
    }

    #[expect(clippy::unused_self, reason = "reads as the other decisions do")]
    fn row<'a>(&self, world: &'a mut World, h: usize) -> &'a mut LeaseRow {
        &mut world.store.leases[usize::from(world.hosts[h].side)]
    }

    /// Leads this host a consumer by its own clock?
    pub(crate) fn leads(&self, world: &World, h: usize) -> bool {
        let now = TICK * u32::from(world.now);
        matches!(
            world.hosts[h].lease,
            Some(Lease::Leader { deadline, .. } | Lease::Draining { deadline, .. }) if deadline > now
        )
    }
}

/// Who asks, and now and until when it would have the lease.
fn ask(world: &World, h: usize) -> ((u8, u8), (u8, u8)) {
    let host = &world.hosts[h];
    let owner = (u8::try_from(h).unwrap_or(u8::MAX), host.life + 1);
    (owner, (world.now, world.now + whole(TERMS.ttl)))
}

/// Another owner has it until then.
fn held(until: u8, now: u8) -> Input {
    Input::Held {
        left: TICK * u32::from(until - now),
    }
}
