//! What is put together for one run of the checker, and what may go wrong in it.

use std::time::Duration;

use holdfast_core::claim::OnForeign;
use holdfast_core::lease::Terms;
use holdfast_core::retry::Backoff;

use crate::rules::Rule;

/// The time that passes at once.
pub const TICK: Duration = Duration::from_secs(1);
/// How long an attempt holds its claim.
pub const LOCK: Duration = Duration::from_secs(2);
/// After how long a key that was never begun may be taken over.
pub const ASSIGN_TIMEOUT: Duration = Duration::from_secs(2);
/// The lease of a side that has one.
pub const TERMS: Terms = Terms {
    ttl: Duration::from_secs(3),
    renew: Duration::from_secs(1),
    retry: Duration::from_secs(1),
};

/// A message as its publisher meant it.
#[derive(Clone, Copy, Debug)]
pub struct Message {
    /// Its claim key.
    pub key: u8,
    /// Its lane.
    pub lane: u8,
    /// Its number in the lane, where the consumers look at it.
    pub sequence: Option<u8>,
    /// What its body says.
    pub body: u8,
    /// Its handler never succeeds.
    pub poison: bool,
}

/// Something that may go wrong or be done by an operator, each a number of
/// times.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fault {
    /// A host dies; it may start again.
    Crash,
    /// A host loses its connection to the broker.
    Cut,
    /// An answer (of the store, or a confirmation) is lost.
    Lost,
    /// A call arrives a second time, at any time later.
    Twice,
    /// The store keeps everybody waiting while time passes.
    Slow,
    /// A host is stopped; it may go on.
    Pause,
    /// A handler asks for another attempt.
    Retry,
    /// A handler says that it can never succeed.
    Reject,
    /// The target of what a handler published does not exist.
    NoTarget,
    /// The operator changes the cut-over rule.
    Flip,
    /// The operator releases a claim, with force.
    Release,
    /// The operator replays a dead letter.
    Replay,
    /// The operator tells a leader to step down.
    StepDown,
    /// A host loads a new version of the plugin.
    Reload,
    /// The store is replaced by an older copy of itself.
    Rollback,
    /// The store is emptied.
    Flush,
}

/// How often each fault may happen.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct Budget([u8; 16]);

impl Budget {
    /// This many of each.
    #[must_use]
    pub fn of(faults: &[(Fault, u8)]) -> Self {
        let mut budget = Self::default();
        for (fault, times) in faults {
            budget.0[*fault as usize] = *times;
        }
        budget
    }

    /// How often it may still happen.
    #[must_use]
    pub fn left(&self, fault: Fault) -> u8 {
        self.0[fault as usize]
    }

    /// Takes one; none when there is none.
    #[must_use]
    pub fn spend(&mut self, fault: Fault) -> Option<()> {
        let left = &mut self.0[fault as usize];
        *left = left.checked_sub(1)?;
        Some(())
    }
}

/// Everything that is fixed in one run.
#[derive(Clone, Debug)]
pub struct Setup {
    /// What it is called.
    pub name: &'static str,
    /// The messages.
    pub messages: Vec<Message>,
    /// Which of them each broker has, in the order of its queue.
    pub queues: [Vec<u8>; 2],
    /// The side of each host. Side 0 moves away, side 1 is moved to; each
    /// consumes from the broker of its number.
    pub hosts: Vec<u8>,
    /// Lanes are kept in order.
    pub ordered: bool,
    /// Whether the consumer of a side has a lease.
    pub leased: [bool; 2],
    /// What a host does with a message of the other side.
    pub on_foreign: OnForeign,
    /// Calls of the handler in all.
    pub attempts: u32,
    /// Waits are spent in a delay queue.
    pub delay_queue: bool,
    /// Each message makes its handler publish one.
    pub outbox: bool,
    /// Each handler reads and writes the state of its lane.
    pub stateful: bool,
    /// The shares of keys that go to side 1, in hundredths of a percent, that
    /// the operator chooses from; the first is in force at the beginning.
    pub shares: Vec<u16>,
    /// The store compares the revision of the rule when a key is new (one Redis
    /// server can, a cluster cannot).
    pub compares_rule: bool,
    /// How often time passes.
    pub ticks: u8,
    /// What may go wrong.
    pub budget: Budget,
    /// The rule that is switched off.
    pub off: Option<Rule>,
}

impl Setup {
    /// One message with one key on both brokers, two hosts on side 0 and one on
    /// side 1, nothing going wrong.
    #[must_use]
    pub fn new(name: &'static str) -> Self {
        Self {
            name,
            messages: vec![Message::new(0, 0)],
            queues: [vec![0], vec![0]],
            hosts: vec![0, 0, 1],
            ordered: false,
            leased: [false; 2],
            on_foreign: OnForeign::Hold,
            attempts: 2,
            delay_queue: false,
            outbox: false,
            stateful: false,
            shares: vec![0, 10_000],
            compares_rule: true,
            ticks: 4,
            budget: Budget::default(),
            off: None,
        }
    }

    /// With this rule switched off.
    #[must_use]
    pub fn without(mut self, rule: Rule) -> Self {
        self.off = Some(rule);
        self
    }

    /// May fail or be done this often.
    #[must_use]
    pub fn with(mut self, faults: &[(Fault, u8)]) -> Self {
        for (fault, times) in faults {
            self.budget.0[*fault as usize] = *times;
        }
        self
    }

    /// The number of keys.
    #[must_use]
    pub fn keys(&self) -> usize {
        count(self.messages.iter().map(|message| message.key))
    }

    /// The number of lanes.
    #[must_use]
    pub fn lanes(&self) -> usize {
        count(self.messages.iter().map(|message| message.lane))
    }

    /// Is this rule in force?
    #[must_use]
    pub fn keeps(&self, rule: Rule) -> bool {
        self.off != Some(rule)
    }

    /// The schedule of attempts.
    #[must_use]
    pub fn backoff(&self) -> Backoff {
        let limited = self.keeps(Rule::AttemptsLimited);
        Backoff {
            attempts: if limited { self.attempts } else { u32::MAX },
            initial: TICK,
            factor: 1.0,
            max: TICK,
            jitter: 0.0,
            hold_below: if self.delay_queue {
                Duration::ZERO
            } else {
                TICK * 2
            },
        }
    }
}

impl Message {
    /// A message of this key and lane; its body says the key.
    #[must_use]
    pub fn new(key: u8, lane: u8) -> Self {
        Self {
            key,
            lane,
            sequence: None,
            body: key,
            poison: false,
        }
    }
}

fn count(ids: impl Iterator<Item = u8>) -> usize {
    ids.max().map_or(0, |largest| usize::from(largest) + 1)
}
