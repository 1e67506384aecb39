//! Everything that can happen next.

use std::fmt;

use crate::checked::Checked;
use crate::faults::Pending;
use crate::leading::Reply;
use crate::process::{Net, Outcome};
use crate::setup::Fault;
use crate::world::{Question, Stage, World};

/// One thing that happens. Hosts, deliveries and keys are given by number.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Action {
    /// A host is given the next message of its queue.
    Deliver(usize),
    /// A delivery goes one step on.
    Step(usize, usize, Net),
    /// A handler answers.
    Handle(usize, usize, Outcome),
    /// What a handler published has no target.
    NoTarget(usize, usize),
    /// A call that was sent long ago arrives.
    Stray(usize),
    /// A timer of the lease goes off.
    Timer(usize),
    /// A question about the lease is answered.
    Answer(usize, Reply),
    /// The answer arrives.
    Hear(usize),
    /// A draining leader is done.
    Drained(usize),
    /// A host looks at the store.
    Beat(usize),
    /// A host hears of the cut-over rule.
    Learn(usize),
    /// Time passes.
    Tick,
    /// Time passes while the store keeps everybody waiting.
    SlowTick,
    /// A host dies.
    Crash(usize),
    /// A host dies after it sent the call of this delivery.
    CrashSending(usize, usize),
    /// A host starts again.
    Restart(usize),
    /// A host stops where it is.
    Pause(usize),
    /// It goes on.
    Resume(usize),
    /// A host loses its connection to the broker.
    Cut(usize),
    /// A host loads a new version of the plugin.
    Reload(usize),
    /// The operator chooses another share.
    Flip(usize),
    /// The operator releases a claim with force, to a side or to whom the rule
    /// says.
    Release(usize, Option<u8>),
    /// The operator replays a dead letter, one step further.
    Replay(usize),
    /// The operator tells a leader to step down.
    StepDown(usize),
    /// The store is copied, and later replaced by the copy.
    RollBack,
    /// The store is emptied.
    Flush,
}

impl Checked {
    /// What can happen next, the ordinary first.
    pub(crate) fn possible(&self, world: &World, actions: &mut Vec<Action>) {
        self.ordinary(world, actions);
        self.unusual(world, actions);
        self.operators(world, actions);
    }

    /// What happens without anything going wrong.
    pub(crate) fn ordinary(&self, world: &World, actions: &mut Vec<Action>) {
        for (h, host) in world.hosts.iter().enumerate() {
            if !host.up || host.paused {
                continue;
            }
            if self.due(world, h).is_some() {
                actions.push(Action::Timer(h));
            }
            match &host.question {
                Some(Question::Answered(_)) => actions.push(Action::Hear(h)),
                Some(_) => actions.push(Action::Answer(h, Reply::Fine)),
                None => {}
            }
            if self.beats(world, h) {
                actions.push(Action::Beat(h));
            }
            if host.rule != world.store.rule {
                actions.push(Action::Learn(h));
            }
            for (j, job) in host.jobs.iter().enumerate() {
                match &job.stage {
                    Stage::Lane => {}
                    Stage::Ready(at) if *at > world.now => {}
                    Stage::Run { .. } => {
                        actions.push(Action::Handle(h, j, self.usual(job.message)))
                    }
                    _ => actions.push(Action::Step(h, j, Net::Fine)),
                }
            }
            actions.push(Action::Drained(h));
            actions.push(Action::Deliver(h));
        }
        if world.ticks > 0 {
            actions.push(Action::Tick);
        }
    }

    fn usual(&self, message: u8) -> Outcome {
        if self.message(message).poison {
            Outcome::Retry
        } else {
            Outcome::Ok
        }
    }

    fn unusual(&self, world: &World, actions: &mut Vec<Action>) {
        let may = |fault| world.left.left(fault) > 0;
        for (h, host) in world.hosts.iter().enumerate() {
            if !host.up {
                actions.push(Action::Restart(h));
                continue;
            }
            if host.paused {
                actions.push(Action::Resume(h));
            } else if may(Fault::Pause) {
                actions.push(Action::Pause(h));
            }
            // The broker drops a host that misses its heartbeats.
            if may(Fault::Cut) || host.paused {
                actions.push(Action::Cut(h));
            }
            if may(Fault::Crash) {
                actions.push(Action::Crash(h));
            }
            if host.question.is_some_and(|question| question.unanswered()) {
                if may(Fault::Lost) {
                    actions.push(Action::Answer(h, Reply::Lost));
                }
                if may(Fault::Slow) {
                    actions.push(Action::Answer(h, Reply::Late));
                }
            }
            for (j, job) in host.jobs.iter().enumerate() {
                let calls = self.call(world, h, job).is_some();
                let publishes = matches!(
                    job.stage,
                    Stage::Publish(_) | Stage::Bury(_) | Stage::Refuse | Stage::Defer
                );
                if may(Fault::Lost) && (calls || publishes) {
                    actions.push(Action::Step(h, j, Net::Lost));
                }
                if may(Fault::Twice) && calls && !host.paused {
                    actions.push(Action::Step(h, j, Net::Twice));
                }
                if may(Fault::Twice) && calls && may(Fault::Crash) {
                    actions.push(Action::CrashSending(h, j));
                }
                if host.paused {
                    continue;
                }
                if matches!(job.stage, Stage::Publish(_)) && may(Fault::NoTarget) {
                    actions.push(Action::NoTarget(h, j));
                }
                if matches!(job.stage, Stage::Run { .. }) {
                    if may(Fault::Retry) && !self.message(job.message).poison {
                        actions.push(Action::Handle(h, j, Outcome::Retry));
                    }
                    if may(Fault::Reject) {
                        actions.push(Action::Handle(h, j, Outcome::Reject));
                    }
                }
            }
        }
        actions.extend((0..world.strays.len()).map(Action::Stray));
        if may(Fault::Slow) && world.ticks > 0 && self.pending(world) == Pending::Answers {
            actions.push(Action::SlowTick);
        }
    }

    fn operators(&self, world: &World, actions: &mut Vec<Action>) {
        let may = |fault| world.left.left(fault) > 0;
        if may(Fault::Flip) {
            let others =
                (0..self.setup.shares.len()).filter(|n| *n != usize::from(world.store.rule.0));
            actions.extend(others.map(Action::Flip));
        }
        for (h, host) in world.hosts.iter().enumerate() {
            if may(Fault::Reload) && host.up && !host.paused && host.plugin == 0 {
                actions.push(Action::Reload(h));
            }
            if may(Fault::StepDown) {
                actions.push(Action::StepDown(h));
            }
        }
        if may(Fault::Release) {
            for key in 0..world.store.claims.len() {
                if world.store.claims[key].is_some() {
                    for to in [None, Some(0), Some(1)] {
                        actions.push(Action::Release(key, to));
                    }
                }
            }
        }
        for message in 0..self.setup.messages.len() {
            if self.setup.budget.left(Fault::Replay) > 0 {
                actions.push(Action::Replay(message));
            }
        }
        if may(Fault::Rollback) {
            actions.push(Action::RollBack);
        }
        if may(Fault::Flush) {
            actions.push(Action::Flush);
        }
    }

    /// Makes it happen; none when it cannot.
    pub(crate) fn happen(&self, world: &mut World, action: Action) -> Option<()> {
        match action {
            Action::Deliver(h) => self.deliver(world, h),
            Action::Step(h, j, net) => {
                match net {
                    Net::Fine => {}
                    Net::Lost => world.left.spend(Fault::Lost)?,
                    Net::Twice => world.left.spend(Fault::Twice)?,
                }
                self.step(world, h, j, net)
            }
            Action::Handle(h, j, outcome) => self.handle(world, h, j, outcome),
            Action::NoTarget(h, j) => self.no_target(world, h, j),
            Action::Stray(n) => {
                let call = world.strays.remove(n);
                self.execute(world, &call);
                Some(())
            }
            Action::Timer(h) => self.timer(world, h),
            Action::Answer(h, reply) => {
                if reply == Reply::Lost {
                    world.left.spend(Fault::Lost)?;
                }
                self.answer(world, h, reply)
            }
            Action::Hear(h) => self.hear_lease(world, h),
            Action::Drained(h) => self.drained(world, h),
            Action::Beat(h) => self.beat(world, h),
            Action::Learn(h) => self.learn(world, h),
            Action::Tick => {
                world.ticks = world.ticks.checked_sub(1)?;
                self.tick(world, false)
            }
            Action::SlowTick => {
                world.ticks = world.ticks.checked_sub(1)?;
                self.tick(world, true)
            }
            Action::Crash(h) => self.crash(world, h, None),
            Action::CrashSending(h, j) => self.crash(world, h, Some(j)),
            Action::Restart(h) => self.restart(world, h),
            Action::Pause(h) => self.pause(world, h),
            Action::Resume(h) => self.resume(world, h),
            Action::Cut(h) => {
                if !world.hosts[h].paused {
                    world.left.spend(Fault::Cut)?;
                }
                self.cut(world, h);
                Some(())
            }
            Action::Reload(h) => {
                world.hosts[h].plugin = 1;
                world.left.spend(Fault::Reload)
            }
            Action::Flip(share) => {
                world.store.rule.0 = u8::try_from(share).ok()?;
                world.store.rule.1 += 1;
                world.left.spend(Fault::Flip)
            }
            Action::Release(key, to) => {
                self.release(world, key, to);
                world.left.spend(Fault::Release)
            }
            Action::Replay(message) => self.replay_letter(world, message),
            Action::StepDown(h) => {
                world.left.spend(Fault::StepDown)?;
                self.step_down(world, h)
            }
            Action::RollBack => self.roll_back(world),
            Action::Flush => self.flush(world),
        }
    }
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match *self {
            Self::Deliver(h) => write!(f, "the broker gives host {h} a message"),
            Self::Step(h, j, Net::Fine) => write!(f, "host {h} takes delivery {j} one step on"),
            Self::Step(h, j, Net::Lost) => {
                write!(
                    f,
                    "host {h} takes delivery {j} one step on, and the answer is lost"
                )
            }
            Self::Step(h, j, Net::Twice) => {
                write!(
                    f,
                    "host {h} takes delivery {j} one step on, and the call will arrive again"
                )
            }
            Self::Handle(h, j, Outcome::Ok) => {
                write!(f, "the handler of delivery {j} at host {h} succeeds")
            }
            Self::Handle(h, j, Outcome::Retry) => {
                write!(f, "the handler of delivery {j} at host {h} fails")
            }
            Self::Handle(h, j, Outcome::Reject) => {
                write!(
                    f,
                    "the handler of delivery {j} at host {h} rejects the message"
                )
            }
            Self::NoTarget(h, j) => {
                write!(f, "what delivery {j} at host {h} published has no target")
            }
            Self::Stray(n) => write!(f, "call {n} arrives after all"),
            Self::Timer(h) => write!(f, "the lease timer of host {h} goes off"),
            Self::Answer(h, Reply::Fine) => write!(f, "the store answers host {h} about the lease"),
            Self::Answer(h, Reply::Lost) => {
                write!(
                    f,
                    "the store answers host {h} about the lease, and the answer is lost"
                )
            }
            Self::Answer(h, Reply::Late) => {
                write!(
                    f,
                    "the store answers host {h} about the lease, and the answer is slow"
                )
            }
            Self::Hear(h) => write!(f, "host {h} hears about the lease"),
            Self::Drained(h) => write!(f, "nothing of host {h} runs any more"),
            Self::Beat(h) => write!(f, "host {h} looks at the store"),
            Self::Learn(h) => write!(f, "host {h} hears of the cut-over rule"),
            Self::Tick => write!(f, "time passes"),
            Self::SlowTick => write!(f, "time passes while the store does not answer"),
            Self::Crash(h) => write!(f, "host {h} dies"),
            Self::CrashSending(h, j) => {
                write!(
                    f,
                    "host {h} dies; the call of its delivery {j} is on its way"
                )
            }
            Self::Restart(h) => write!(f, "host {h} starts again"),
            Self::Pause(h) => write!(f, "host {h} is stopped"),
            Self::Resume(h) => write!(f, "host {h} goes on"),
            Self::Cut(h) => write!(f, "host {h} loses its connection"),
            Self::Reload(h) => write!(f, "host {h} loads a new plugin"),
            Self::Flip(share) => write!(f, "the operator chooses share {share}"),
            Self::Release(key, None) => write!(f, "the operator releases key {key}"),
            Self::Release(key, Some(side)) => {
                write!(f, "the operator releases key {key} to side {side}")
            }
            Self::Replay(message) => write!(f, "the operator replays message {message}"),
            Self::StepDown(h) => write!(f, "the operator tells host {h} to step down"),
            Self::RollBack => write!(f, "the store is copied, or the copy put in its place"),
            Self::Flush => write!(f, "the store is emptied"),
        }
    }
}
