//! Looking through a queue without consuming from it.

use std::sync::Arc;

use async_trait::async_trait;

use crate::error::PortError;
use crate::message::{Header, Incoming};

/// A look through the messages of one queue that were ready when it began, in
/// their order. What it has seen nobody else gets while it lasts. Afterwards
/// everything but what was removed is back in its order, however the look ends:
/// by [`Look::leave`], by being dropped, or because the process died.
#[async_trait]
pub trait Look: Send {
    /// Messages that were ready when the look began; it sees at most so many,
    /// and fewer when somebody else consumes from the queue.
    fn ready(&self) -> u64;

    /// The next message; none after the last one, or after as many as were
    /// asked for.
    ///
    /// # Errors
    /// Transient when the broker cannot be reached: the look is over.
    async fn next(&mut self) -> Result<Option<Seen>, PortError>;

    /// Removes a message that was seen.
    ///
    /// # Errors
    /// Transient when the broker cannot be reached: the look is over, and the
    /// message may be there or not.
    async fn remove(&mut self, seen: Spot) -> Result<(), PortError>;

    /// Puts back what was not removed, and returns once the broker has seen
    /// every removal.
    ///
    /// # Errors
    /// Transient when the broker cannot be reached: what was removed at last may
    /// still be there.
    async fn leave(self: Box<Self>) -> Result<(), PortError>;
}

/// A message as a look shows it.
#[derive(Clone, Debug)]
pub struct Seen {
    /// Its place in this look.
    pub spot: Spot,
    /// The message as a consumer of the queue would get it.
    pub message: Arc<Incoming>,
    /// The host's own headers, which consumers do not get. Anyone who may
    /// publish to the queue can have written them.
    pub own: Vec<Header>,
}

/// Names a message within one look.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Spot(pub u64);

/// How much a queue holds, and who consumes from it.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages that are ready.
    pub ready: u64,
    /// Consumers of all clients; those that stopped taking messages are not
    /// among them, although they may have some in hand.
    pub consumers: u64,
}
