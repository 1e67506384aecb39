//! What a handler is given.

use std::ops::Deref;
use std::rc::Rc;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::Failure;

/// One delivery of one message.
///
/// A `Message` is a shared, read-only handle: cloning it copies no body. Its
/// fields are those of [`Delivery`], reached directly.
///
/// ```
/// use holdfast_sdk::{Failure, Message};
///
/// fn handle(message: Message) -> Result<(), Failure> {
///     if message.body.is_empty() {
///         return Err(Failure::reject("the body is empty"));
///     }
///     assert_eq!(message.attempt, 1);
///     assert_eq!(message.header("tenant"), Some("blue"));
///     Ok(())
/// }
///
/// handle(Message::new("hello").with_header("tenant", "blue")).unwrap();
/// ```
#[derive(Clone, Debug, PartialEq)]
pub struct Message(Rc<Delivery>);

/// The fields of a [`Message`].
#[derive(Clone, Debug, Default, PartialEq)]
#[non_exhaustive]
pub struct Delivery {
    /// The claim key: what makes two messages the same message.
    pub key: String,
    /// The broker's message id.
    pub id: Option<String>,
    /// The ordering key, when the consumer has one.
    pub lane: Option<String>,
    /// The body, as it was published.
    pub body: Vec<u8>,
    /// The type of the body, as the publisher named it.
    pub content_type: Option<String>,
    /// The headers, in the broker's order.
    pub headers: Vec<Header>,
    /// The configured consumer.
    pub consumer: String,
    /// The side under which that consumer claims.
    pub side: String,
    /// 1 at the first call. It is recorded before the call, so an attempt that
    /// ended in a crash counts too.
    pub attempt: u32,
    /// Grows with every attempt at this key, over restarts and hosts. A sink
    /// that refuses a smaller fence than it saw is safe from late writers.
    pub fence: u64,
    /// The message's number in its lane, when the consumer has one.
    pub sequence: Option<u64>,
    /// When it was published, in milliseconds since 1970, if the publisher said.
    pub timestamp_ms: Option<u64>,
    /// Whether the broker says that it delivered this message before.
    pub redelivered: bool,
}

/// A message header. Text is UTF-8; numbers and booleans are their text.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Header {
    /// The header's name, as the broker spells it.
    pub name: String,
    /// The bytes that the broker carried.
    pub value: Vec<u8>,
}

impl Deref for Message {
    type Target = Delivery;

    fn deref(&self) -> &Delivery {
        &self.0
    }
}

impl From<Delivery> for Message {
    fn from(delivery: Delivery) -> Self {
        Message(Rc::new(delivery))
    }
}

impl Message {
    /// A message for a test: this body, the first attempt, no headers.
    pub fn new(body: impl Into<Vec<u8>>) -> Self {
        Message::from(Delivery {
            key: "test-message".into(),
            id: Some("test-message".into()),
            body: body.into(),
            consumer: "test".into(),
            side: "test".into(),
            attempt: 1,
            fence: 1,
            ..Delivery::default()
        })
    }

    /// A message for a test, its body the JSON of `value`.
    ///
    /// # Panics
    ///
    /// When `value` has no JSON form, such as a map whose keys are not text.
    pub fn json(value: &impl Serialize) -> Self {
        let body = serde_json::to_vec(value).expect("the value must have a JSON form");
        let mut message = Message::new(body);
        message.edit().content_type = Some("application/json".into());
        message
    }

    /// The same message under another claim key.
    pub fn with_key(mut self, key: impl Into<String>) -> Self {
        self.edit().key = key.into();
        self
    }

    /// The same message in a lane.
    pub fn with_lane(mut self, lane: impl Into<String>) -> Self {
        self.edit().lane = Some(lane.into());
        self
    }

    /// The same message with one more header.
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.edit().headers.push(Header {
            name: name.into(),
            value: value.into(),
        });
        self
    }

    /// The same message at a later attempt; the fence grows with it.
    pub fn with_attempt(mut self, attempt: u32) -> Self {
        let delivery = self.edit();
        delivery.attempt = attempt;
        delivery.fence = u64::from(attempt);
        delivery.redelivered = attempt > 1;
        self
    }

    /// The same message with a sequence number.
    pub fn with_sequence(mut self, sequence: u64) -> Self {
        self.edit().sequence = Some(sequence);
        self
    }

    fn edit(&mut self) -> &mut Delivery {
        Rc::make_mut(&mut self.0)
    }
}

impl Delivery {
    /// The first header of that name, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|header| header.name == name)
            .and_then(|header| std::str::from_utf8(&header.value).ok())
    }

    /// Parses the body as JSON.
    ///
    /// # Errors
    ///
    /// A rejection that says where parsing stopped: a body that does not parse
    /// now never will.
    pub fn parse_json<T: DeserializeOwned>(&self) -> Result<T, Failure> {
        serde_json::from_slice(&self.body)
            .map_err(|error| Failure::reject(format!("failed to parse the body as JSON: {error}")))
    }
}
