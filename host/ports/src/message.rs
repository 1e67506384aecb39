//! Messages as every adapter sees them.

use bytes::Bytes;
use serde::{Deserialize, Serialize};

/// Headers with this prefix are the host's own. From outside they are dropped,
/// but for those a host put on a waiting copy.
pub const OWN_PREFIX: &str = "x-holdfast-";

/// Own headers that an outbox puts on the messages it sends, for the next
/// consumer. They are data like any other header: nothing reads them unless a
/// configuration names them (`sequence = "header:x-holdfast-sequence"`).
pub const PASSED_ON: [&str; 2] = ["x-holdfast-sequence", "x-holdfast-lane"];

/// Is this header the host's own, to be dropped when it comes from outside?
#[must_use]
pub fn is_own(name: &str) -> bool {
    name.starts_with(OWN_PREFIX) && !PASSED_ON.contains(&name)
}

/// One header. Text is UTF-8, numbers and booleans are their text.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Header {
    /// Its name.
    pub name: String,
    /// What the broker carried.
    pub value: Vec<u8>,
}

impl Header {
    /// A header with a text value.
    pub fn text(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self {
            name: name.into(),
            value: value.into().into_bytes(),
        }
    }
}

/// A message that the broker delivered.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Incoming {
    /// The broker's message id.
    pub id: Option<String>,
    /// The content.
    pub body: Bytes,
    /// The content type.
    pub content_type: Option<String>,
    /// All headers, without the host's own.
    pub headers: Vec<Header>,
    /// When it was published, in milliseconds since 1970, if the publisher said.
    pub timestamp_ms: Option<u64>,
    /// The broker says that it may have been delivered before.
    pub redelivered: bool,
    /// Where it was published to.
    pub exchange: String,
    /// With which routing key.
    pub routing_key: String,
    /// A waiting copy is not to be handled before this much longer; kept by
    /// adapters across delay queues for waits beyond the last step.
    pub wait_left_ms: Option<u64>,
    /// What it carried that would misfire if it were published again, as text:
    /// the user id, the expiration, copies to others, the broker's trail. Not
    /// among `headers`; for its dead letter.
    pub aside: Vec<Header>,
}

impl Incoming {
    /// The first header with this name.
    #[must_use]
    pub fn header(&self, name: &str) -> Option<&[u8]> {
        self.headers
            .iter()
            .find(|header| header.name == name)
            .map(|header| header.value.as_slice())
    }
}

/// Where a published message goes.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Target {
    /// A queue by name.
    Queue(String),
    /// An exchange and a routing key.
    Exchange(String, String),
}

impl std::fmt::Display for Target {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Queue(queue) => write!(f, "queue {queue:?}"),
            Self::Exchange(exchange, key) => {
                write!(f, "exchange {exchange:?} with routing key {key:?}")
            }
        }
    }
}

/// A message that a handler published: staged, stored with the claim, sent
/// after the commit.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Staged {
    /// The configured broker it goes to; none for the consumer's own.
    pub broker: Option<String>,
    /// Where it goes there.
    pub to: Target,
    /// The content.
    pub body: Vec<u8>,
    /// The content type.
    pub content_type: Option<String>,
    /// Headers, without the host's own.
    pub headers: Vec<Header>,
    /// The lane for the next consumer; a sequence number is minted in it.
    pub lane: Option<String>,
}

/// A message ready to be published.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Outgoing {
    /// Where it goes.
    pub to: Target,
    /// The content.
    pub body: Bytes,
    /// The message id.
    pub id: Option<String>,
    /// The content type.
    pub content_type: Option<String>,
    /// All headers, the host's own included.
    pub headers: Vec<Header>,
    /// When the original was published, in milliseconds since 1970.
    pub timestamp_ms: Option<u64>,
}

/// What a handler changed in its state.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum StateChange {
    /// A value was set.
    Set(String, Vec<u8>),
    /// A value was deleted.
    Delete(String),
}

/// The state of one lane (or key) as it was when the attempt began.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Snapshot {
    /// Grows with each commit that changes the state; 0 when there is none.
    pub version: u64,
    /// Names and values.
    pub values: Vec<(String, Vec<u8>)>,
}

/// Everything a handler did through the host in one attempt.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Effects {
    /// State changes, in order.
    pub state: Vec<StateChange>,
    /// The version of the state that was read, when any of it was used.
    pub state_version: Option<u64>,
    /// Published messages, in order.
    pub outbox: Vec<Staged>,
}

impl Effects {
    /// Did it do nothing?
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.state.is_empty() && self.outbox.is_empty() && self.state_version.is_none()
    }
}

/// Writes an outbox to bytes, for a store to keep.
#[must_use]
pub fn encode_outbox(outbox: &[Staged]) -> Vec<u8> {
    postcard::to_stdvec(outbox).unwrap_or_default()
}

/// Reads an outbox that [`encode_outbox`] wrote.
///
/// # Errors
/// The text says what is wrong with the bytes.
pub fn decode_outbox(bytes: &[u8]) -> Result<Vec<Staged>, String> {
    postcard::from_bytes(bytes).map_err(|error| error.to_string())
}

/// An outbox as the store kept it.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outbox {
    /// The messages, in the order in which they were published.
    pub messages: Vec<Staged>,
    /// The numbers minted for them: as long as `messages`, or empty when none
    /// has a lane.
    pub minted: Vec<Option<u64>>,
}
