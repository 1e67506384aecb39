//! What was seen from outside, to be judged by [`crate::check()`].

use std::collections::BTreeMap;

/// Microseconds since the run began.
pub type Micros = u64;

/// Everything that was seen in a run.
#[derive(Clone, Debug, Default)]
pub struct History {
    /// Messages that were published and confirmed, on all sides.
    pub sent: BTreeMap<Id, Sent>,
    /// Calls of handlers, as a third party saw them, in the order of their arrival.
    pub calls: Vec<Call>,
    /// What handlers published, copies left out, in the order of its arrival.
    pub effects: Vec<Effect>,
    /// How many copies of effects arrived besides.
    pub copies: u64,
    /// Dead letters.
    pub letters: Vec<Letter>,
    /// What was done to hosts and servers.
    pub faults: Vec<Fault>,
}

/// A message: its group and its number there, which is its claim key.
pub type Id = (&'static str, u64);

/// What was asked for.
#[derive(Clone, Debug)]
pub struct Sent {
    /// Its lane, in an ordered group.
    pub lane: Option<u64>,
    /// Calls of the handler when nothing else goes wrong.
    pub calls: u32,
    /// The reason that its letter has to give, if it is to be given up.
    pub reason: Option<&'static str>,
}

/// A handler was called, and asked the third party.
#[derive(Clone, Debug)]
pub struct Call {
    /// When it arrived there.
    pub at: Micros,
    /// The message.
    pub id: Id,
    /// The side that made it.
    pub side: String,
    /// The fence of the attempt.
    pub fence: u64,
}

/// A committed effect.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// When it arrived first.
    pub at: Micros,
    /// The id of the outgoing message.
    pub name: String,
    /// The message.
    pub id: Id,
    /// The side that committed it.
    pub side: String,
    /// The attempt that was committed.
    pub attempt: u64,
    /// Its fence, which is the time at the store when it began.
    pub fence: u64,
    /// What its state counts: commits of its lane, or of its key without lanes.
    pub count: u64,
}

/// A dead letter.
#[derive(Clone, Debug)]
pub struct Letter {
    /// The message.
    pub id: Id,
    /// The reason it gives.
    pub reason: String,
}

/// A fault, from its beginning until everything worked again.
#[derive(Clone, Debug)]
pub struct Fault {
    /// Its kind, as it is typed.
    pub kind: String,
    /// The family of its kind.
    pub family: &'static str,
    /// What it was done to.
    pub target: String,
    /// When it began.
    pub begin: Micros,
    /// When it was over: the server was up again, the way was free.
    pub over: Micros,
    /// When every host was ready and every load had effects again.
    pub recovered: Option<Micros>,
    /// The most messages in flight at once while it lasted.
    pub in_flight: u64,
    /// Another fault was there at the same time.
    pub paired: bool,
}

impl Fault {
    /// When its consequences end at the latest.
    #[must_use]
    pub fn end(&self) -> Micros {
        self.recovered.unwrap_or(Micros::MAX)
    }
}
