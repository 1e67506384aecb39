//! What is recorded.

use std::io::{BufRead, Write};

use serde::{Deserialize, Serialize};

/// Something that happened, and when: microseconds since the run began.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Event {
    /// When.
    pub at: u64,
    /// What.
    #[serde(flatten)]
    pub what: What,
}

/// How a delivery was acknowledged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum How {
    /// Its claim is done.
    Completed,
    /// Its claim was done before.
    Duplicate,
    /// Its lane's sequence was past it.
    Stale,
    /// Its dead letter is safe.
    DeadLettered,
    /// The other side is finished with it.
    LeftToOwner,
    /// A confirmed copy waits in a delay queue.
    Deferred,
}

/// What happened.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(tag = "what", rename_all = "kebab-case")]
pub enum What {
    /// A message is in its queue; once for each copy. Where it has a lane,
    /// `number` is its place in it, in queue order.
    Published {
        /// The claim key.
        key: String,
        /// The lane.
        lane: Option<String>,
        /// The place in the lane.
        number: u64,
        /// Another message had this key before, with another body.
        conflicting: bool,
    },
    /// The handler was called.
    Called {
        /// The claim key.
        key: String,
        /// By which side.
        side: String,
        /// 1 at the first call.
        attempt: u32,
        /// The fence of the attempt.
        fence: u64,
    },
    /// That call failed by itself: another may follow.
    Failed {
        /// The claim key.
        key: String,
        /// The fence of the attempt.
        fence: u64,
    },
    /// The effects of an attempt are stored.
    Committed {
        /// The claim key.
        key: String,
        /// By which side.
        side: String,
        /// The fence of the attempt.
        fence: u64,
        /// The lease that it was made under, if any.
        lease: Option<String>,
        /// The epoch of that lease.
        epoch: Option<u64>,
    },
    /// A message that a handler published arrived.
    Effect {
        /// The claim key of the message that was handled.
        key: String,
        /// The id of the published one, the same each time it is sent.
        id: String,
        /// The fence of the attempt that published it.
        fence: u64,
    },
    /// A delivery was acknowledged.
    Acknowledged {
        /// The claim key; none for a message without one.
        key: Option<String>,
        /// By which side.
        side: String,
        /// As what.
        how: How,
    },
    /// A waiting copy was confirmed by the broker.
    Deferred {
        /// The claim key.
        key: String,
        /// By which side.
        side: String,
    },
    /// A dead letter arrived.
    Letter {
        /// The claim key; none for a message without one.
        key: Option<String>,
        /// The reason, as in `x-holdfast-reason`.
        reason: String,
    },
    /// An instance became leader.
    Leads {
        /// The lease.
        lease: String,
        /// Its epoch.
        epoch: u64,
    },
    /// An operator released, assigned or replayed a claim: another side, or
    /// another effect after a letter, is no surprise.
    Reopened {
        /// The claim key.
        key: String,
    },
    /// The keys that the state of a lane says were applied, in that order.
    State {
        /// The lane, or the key where there is none.
        lane: String,
        /// What was applied.
        applied: Vec<String>,
    },
    /// A fault was made; at most so many messages were in flight.
    Fault {
        /// Its kind.
        kind: String,
        /// Messages in flight, where known.
        in_flight: Option<u64>,
    },
}

impl Event {
    /// An event at a time.
    #[must_use]
    pub fn new(at: u64, what: What) -> Self {
        Self { at, what }
    }
}

impl What {
    /// A commit of a consumer without a lease.
    #[must_use]
    pub fn committed(key: &str, side: &str, fence: u64) -> Self {
        Self::Committed {
            key: key.to_owned(),
            side: side.to_owned(),
            fence,
            lease: None,
            epoch: None,
        }
    }
}

/// Writes events as JSON, one a line.
///
/// # Errors
/// Those of the writer.
pub fn write(events: &[Event], mut to: impl Write) -> std::io::Result<()> {
    for event in events {
        serde_json::to_writer(&mut to, event)?;
        to.write_all(b"\n")?;
    }
    to.flush()
}

/// Reads what [`write()`] wrote.
///
/// # Errors
/// Those of the reader, and for a line that is no event.
pub fn read(from: impl BufRead) -> std::io::Result<Vec<Event>> {
    from.lines()
        .map(|line| Ok(serde_json::from_str(&line?)?))
        .collect()
}
