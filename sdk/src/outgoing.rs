//! Messages that a handler sends.

use std::error::Error;
use std::fmt;

use serde::Serialize;

use crate::Header;

/// A message to publish. Bytes and text are messages with just a body.
///
/// ```
/// use holdfast_sdk::Outgoing;
///
/// let plain = Outgoing::new("thank you").with_header("tenant", "blue");
/// let json = Outgoing::json(&[1, 2, 3]).unwrap().with_lane("customer-7");
/// assert_eq!(json.body, b"[1,2,3]");
/// assert_eq!(json.content_type.as_deref(), Some("application/json"));
/// # assert_eq!(plain.headers.len(), 1);
/// ```
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Outgoing {
    /// The body, sent as it is.
    pub body: Vec<u8>,
    /// The type of the body.
    pub content_type: Option<String>,
    /// The headers, in this order.
    pub headers: Vec<Header>,
    /// The lane of the message for the next consumer; when set, the host mints
    /// a sequence number in it.
    pub lane: Option<String>,
}

impl Outgoing {
    /// A message with this body.
    pub fn new(body: impl Into<Vec<u8>>) -> Self {
        Outgoing {
            body: body.into(),
            ..Outgoing::default()
        }
    }

    /// A message whose body is the JSON of `value`.
    ///
    /// # Errors
    ///
    /// When `value` has no JSON form, such as a map whose keys are not text.
    pub fn json(value: &impl Serialize) -> Result<Self, serde_json::Error> {
        Ok(Outgoing::new(serde_json::to_vec(value)?).with_content_type("application/json"))
    }

    /// The same message with a content type.
    pub fn with_content_type(mut self, content_type: impl Into<String>) -> Self {
        self.content_type = Some(content_type.into());
        self
    }

    /// The same message with one more header.
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push(Header {
            name: name.into(),
            value: value.into(),
        });
        self
    }

    /// The same message in a lane.
    pub fn with_lane(mut self, lane: impl Into<String>) -> Self {
        self.lane = Some(lane.into());
        self
    }
}

impl From<Vec<u8>> for Outgoing {
    fn from(body: Vec<u8>) -> Self {
        Outgoing::new(body)
    }
}

impl From<String> for Outgoing {
    fn from(body: String) -> Self {
        Outgoing::new(body)
    }
}

impl From<&str> for Outgoing {
    fn from(body: &str) -> Self {
        Outgoing::new(body)
    }
}

/// Where a message goes. Text is the name of a queue.
///
/// ```
/// use holdfast_sdk::Target;
///
/// assert_eq!(Target::from("invoices"), Target::queue("invoices"));
/// let everyone = Target::exchange("events", "order.paid");
/// # drop(everyone);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Target {
    /// A queue. When the part before its first colon names a broker of the
    /// configuration, it is the rest on that broker; else it is on the
    /// consumer's own.
    Queue(String),
    /// An exchange and a routing key.
    Exchange {
        /// The exchange's name.
        exchange: String,
        /// What the exchange routes by.
        routing_key: String,
    },
}

impl Target {
    /// A queue by its name.
    pub fn queue(name: impl Into<String>) -> Self {
        Target::Queue(name.into())
    }

    /// An exchange with a routing key.
    pub fn exchange(exchange: impl Into<String>, routing_key: impl Into<String>) -> Self {
        Target::Exchange {
            exchange: exchange.into(),
            routing_key: routing_key.into(),
        }
    }
}

impl From<&str> for Target {
    fn from(queue: &str) -> Self {
        Target::queue(queue)
    }
}

impl From<String> for Target {
    fn from(queue: String) -> Self {
        Target::Queue(queue)
    }
}

/// The host did not take a message: a limit was passed, or the target's name is
/// not allowed. Nothing was staged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PublishError {
    pub(crate) reason: String,
}

impl fmt::Display for PublishError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to publish: {}", self.reason)
    }
}

impl Error for PublishError {}
