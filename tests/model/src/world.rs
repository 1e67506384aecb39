//! The state of everything at one moment.

use holdfast_core::claim::{ParkReason, State};
use holdfast_core::lease::{Input, Lease};
use holdfast_core::settle::Ending;

use crate::setup::{Budget, Setup};

/// Everything at one moment.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct World {
    /// Ticks since the beginning.
    pub now: u8,
    /// Ticks that may still pass before everything is healed.
    pub ticks: u8,
    /// Attempts granted so far. The store's clock never stands still between
    /// two of them.
    pub grants: u8,
    /// The claim store.
    pub store: Store,
    /// A copy of the store that may come back.
    pub backup: Option<Box<Store>>,
    /// The brokers.
    pub queues: [Queue; 2],
    /// The hosts.
    pub hosts: Vec<Host>,
    /// Calls that were sent and may still arrive.
    pub strays: Vec<Call>,
    /// The side on which the operator published a dead letter again and has
    /// not removed it yet; by message.
    pub replaying: Vec<Option<u8>>,
    /// What may still go wrong.
    pub left: Budget,
    /// What is remembered to judge by.
    pub history: History,
}

/// A claim store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Store {
    /// By key.
    pub claims: Vec<Option<Row>>,
    /// The last applied sequence, by lane.
    pub sequences: Vec<Option<u8>>,
    /// The version of the state, by lane.
    pub versions: Vec<u8>,
    /// By side.
    pub leases: [LeaseRow; 2],
    /// Which of the setup's shares is in force, and the revision of that rule.
    pub rule: (u8, u8),
    /// The incarnation; none in an empty store.
    pub id: Option<u8>,
    /// The pulse.
    pub pulse: u8,
}

/// A claim in the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Row {
    /// The owner.
    pub side: u8,
    /// Where it stands; times are whole ticks.
    pub state: State,
    /// The token of the last attempt.
    pub token: Option<u8>,
    /// Attempts so far.
    pub attempt: u8,
    /// The last fence.
    pub fence: u8,
    /// The body.
    pub body: Option<u8>,
    /// It was re-opened by a replay.
    pub replayed: bool,
    /// What is to be published.
    pub outbox: Option<u8>,
}

/// A lease in the store, live or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
pub struct LeaseRow {
    /// Who has it: a host and which life of it.
    pub owner: (u8, u8),
    /// The fence.
    pub epoch: u8,
    /// Until when, in ticks.
    pub until: u8,
}

/// A broker: one queue, and what it keeps beside it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Queue {
    /// In the order of the queue.
    pub copies: Vec<Entry>,
    /// The consumer that is given messages, of an ordered queue.
    pub active: Option<u8>,
    /// Dead letters, by message.
    pub letters: Vec<u8>,
    /// Its copy of the store's incarnation: id and pulse.
    pub incarnation: (u8, u8),
}

/// One copy of a message in a queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Entry {
    /// Which message.
    pub message: u8,
    /// Where it is.
    pub place: Place,
}

/// Where a copy is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Place {
    /// In the queue, from this tick on.
    Ready(u8),
    /// Delivered and not acknowledged.
    Held {
        /// To whom.
        host: u8,
        /// The delivery tag of the channel.
        tag: u8,
    },
}

/// One host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Host {
    /// Its side.
    pub side: u8,
    /// The process runs.
    pub up: bool,
    /// The process is stopped.
    pub paused: bool,
    /// How often it was started, less one.
    pub life: u8,
    /// The version of its plugin.
    pub plugin: u8,
    /// Which share it believes to be in force, and its revision.
    pub rule: (u8, u8),
    /// The store it knows: id and highest pulse.
    pub known: (u8, u8),
    /// It does not trust the store.
    pub halted: bool,
    /// It looked at the store since time last passed.
    pub beaten: bool,
    /// The store went back and this host could not know it yet.
    pub unaware: bool,
    /// The pulse that it missed in a store that went back.
    pub noticed: u8,
    /// Its part in the lease.
    pub lease: Option<Lease>,
    /// The question about the lease that is under way.
    pub question: Option<Question>,
    /// Its deliveries in the order in which they came.
    pub jobs: Vec<Job>,
}

/// A question about the lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Question {
    /// On its way.
    Acquire,
    /// On its way.
    Renew,
    /// Answered; the answer is on its way.
    Answered(Input),
}

/// One delivery at a host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Job {
    /// Which message.
    pub message: u8,
    /// The delivery tag.
    pub tag: u8,
    /// The channel that brought it is still there.
    pub live: bool,
    /// How far it got.
    pub stage: Stage,
}

/// How far a delivery got at its host.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Stage {
    /// Waits behind its lane.
    Lane,
    /// Asks for the claim, not before this tick.
    Ready(u8),
    /// The question was sent, its answer lost.
    Begin(Call),
    /// The claim was read and not yet written: only with a rule switched off.
    Looked(Call, Option<Row>),
    /// The handler is called.
    Run {
        /// The attempt.
        attempt: Attempt,
        /// Since when.
        since: u8,
        /// The plugin's version.
        plugin: u8,
        /// The version of the state that it was given.
        read: u8,
    },
    /// The handler succeeded.
    Commit {
        /// The attempt.
        attempt: Attempt,
        /// What it published.
        outbox: Option<u8>,
        /// The version of the state that it was given.
        read: u8,
    },
    /// State moved; the attempt does not count.
    Abandon(Attempt),
    /// The handler failed.
    Fail(Attempt),
    /// It is given up.
    Park(Attempt, ParkReason),
    /// The outbox is to be published.
    Publish(u8),
    /// The outbox is published.
    Published,
    /// The outbox has no target.
    Undeliverable,
    /// The letter of a claimed message is to be written, under this fence.
    Bury(u8),
    /// It is written.
    Buried(u8),
    /// The letter of a message without a claim is to be written.
    Refuse,
    /// A copy goes to the delay queue.
    Defer,
    /// Its ending is recorded.
    Ack(Ending),
}

/// A granted attempt.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Attempt {
    /// Its token.
    pub token: u8,
    /// The lease epoch.
    pub epoch: Option<u8>,
    /// Its number.
    pub number: u8,
    /// Its fence.
    pub fence: u8,
    /// Which grant of all it was: what the fence is judged by.
    pub grant: u8,
}

/// A call of the store.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Call {
    /// Who asks.
    pub host: u8,
    /// About which message.
    pub message: u8,
    /// The token.
    pub token: u8,
    /// The lease epoch.
    pub epoch: Option<u8>,
    /// The incarnation that is expected.
    pub expected: u8,
    /// Which call.
    pub what: What,
}

/// The calls.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// May it run?
    Begin {
        /// The owner if the key is new.
        owner: u8,
        /// The revision of the rule that says so.
        rule: u8,
    },
    /// It succeeded.
    Commit {
        /// What it published.
        outbox: Option<u8>,
        /// The version of the state that it was given.
        read: u8,
    },
    /// It is not to count.
    Abandon,
    /// It failed.
    Fail,
    /// It is given up.
    Park(ParkReason),
    /// The outbox is published.
    Published,
    /// The outbox has no target.
    Undeliverable,
    /// The letter is written, for the giving up under this fence.
    Buried(u8),
}

/// What is remembered to judge by; no part of the system knows it.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct History {
    /// By key.
    pub keys: Vec<KeyHistory>,
    /// The place in its lane of the last message that was committed, by lane.
    pub lanes: Vec<Option<u8>>,
    /// An attempt may have outlived its lock: a host was stopped, the store
    /// slow, or an operator used force.
    pub overrun: bool,
    /// An attempt may have ended without its handler being called.
    pub rough: bool,
    /// The store has forgotten something.
    pub forgot: bool,
    /// The first promise that was broken.
    pub broken: Option<Broken>,
}

/// What is remembered of one key.
#[derive(Clone, Debug, Default, PartialEq, Eq, Hash)]
pub struct KeyHistory {
    /// How often effects were committed.
    pub committed: u8,
    /// The body that they were made of.
    pub body: Option<u8>,
    /// What was committed to be published.
    pub outbox: Option<u8>,
    /// What was published, one bit for each content.
    pub sent: u8,
    /// Token and number of the latest grant.
    pub latest: Option<(u8, u8)>,
    /// Calls of the handler.
    pub calls: u8,
    /// The side that began it.
    pub began: Option<u8>,
    /// The side that failed it.
    pub failed: Option<u8>,
    /// The fence and the grant that a receiver saw last.
    pub receiver: (u8, u8),
}

/// A promise that was broken.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Broken {
    /// Effects of one key were committed twice.
    TwoEffects,
    /// A message was acknowledged and its ending is not recorded.
    Unrecorded,
    /// A stale attempt committed.
    StaleCommit,
    /// A receiver that compares fences took an older attempt after a newer.
    StaleFence,
    /// A message of a lane was committed after one behind it.
    Inversion,
    /// A key was begun on one side and then on the other.
    SideChanged,
    /// Two attempts of one key ran at the same time.
    Overlap,
    /// The handler was called more often than the limit says.
    TooManyCalls,
    /// A message was given up before its attempts were spent.
    GivenUpEarly,
    /// Something else was published than was committed.
    OtherContent,
    /// Effects that rest on old state were applied.
    LostUpdate,
}

impl World {
    /// The beginning.
    #[must_use]
    pub fn new(setup: &Setup) -> Self {
        let host = |side: &u8| Host {
            side: *side,
            up: true,
            paused: false,
            life: 0,
            plugin: 0,
            rule: (0, 1),
            known: (1, 1),
            halted: false,
            beaten: false,
            unaware: false,
            noticed: 0,
            lease: setup.leased[usize::from(*side)].then(|| Lease::new(std::time::Duration::ZERO)),
            question: None,
            jobs: Vec::new(),
        };
        let queue = |messages: &Vec<u8>| Queue {
            copies: messages
                .iter()
                .map(|message| Entry::ready(*message, 0))
                .collect(),
            active: None,
            letters: vec![0; setup.messages.len()],
            incarnation: (1, 1),
        };
        Self {
            now: 0,
            ticks: setup.ticks,
            grants: 0,
            store: Store::new(setup),
            backup: None,
            queues: [queue(&setup.queues[0]), queue(&setup.queues[1])],
            hosts: setup.hosts.iter().map(host).collect(),
            strays: Vec::new(),
            replaying: vec![None; setup.messages.len()],
            left: setup.budget.clone(),
            history: History {
                keys: vec![KeyHistory::default(); setup.keys()],
                lanes: vec![None; setup.lanes()],
                overrun: false,
                rough: false,
                forgot: false,
                broken: None,
            },
        }
    }

    /// Remembers the first promise that was broken.
    pub fn breaks(&mut self, promise: Broken) {
        self.history.broken.get_or_insert(promise);
    }
}

impl Store {
    /// A store that its hosts know and that holds nothing yet.
    #[must_use]
    pub fn new(setup: &Setup) -> Self {
        Self {
            claims: vec![None; setup.keys()],
            sequences: vec![None; setup.lanes()],
            versions: vec![0; setup.lanes()],
            leases: [LeaseRow::default(); 2],
            rule: (0, 1),
            id: Some(1),
            pulse: 1,
        }
    }
}

impl Entry {
    /// A copy that is delivered from this tick on.
    #[must_use]
    pub fn ready(message: u8, at: u8) -> Self {
        Self {
            message,
            place: Place::Ready(at),
        }
    }
}

impl Job {
    /// The attempt that its handler works on, or has succeeded in.
    #[must_use]
    pub fn handling(&self) -> Option<&Attempt> {
        match &self.stage {
            Stage::Run { attempt, .. } | Stage::Commit { attempt, .. } => Some(attempt),
            _ => None,
        }
    }
}
