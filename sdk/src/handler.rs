//! What counts as a handler, and how it gets its argument.

use std::ops::Deref;

use serde::de::DeserializeOwned;

use crate::{BatchContext, Context, Failure, Message};

/// A type that a handler can take in place of the [`Message`].
///
/// Implement it for a format of your own:
///
/// ```
/// use holdfast_sdk::{Failure, FromMessage, Message, OrReject, TestContext};
///
/// struct Line(String);
///
/// impl FromMessage for Line {
///     fn from_message(message: &Message) -> Result<Self, Failure> {
///         let text = std::str::from_utf8(&message.body).or_reject("not text")?;
///         Ok(Line(text.trim().to_owned()))
///     }
/// }
///
/// fn handle(line: Line) -> Result<(), Failure> {
///     assert_eq!(line.0, "hello");
///     Ok(())
/// }
///
/// TestContext::new().call(handle, Message::new(" hello\n")).unwrap();
/// ```
#[diagnostic::on_unimplemented(
    message = "`{Self}` cannot be read from a message",
    note = "take `Message`, `Json<T>` where `T: Deserialize`, or implement `FromMessage`"
)]
pub trait FromMessage: Sized {
    /// Reads the value out of the message.
    ///
    /// # Errors
    ///
    /// What the handler would answer: as a rule a rejection, since the same
    /// bytes fail in the same way next time.
    fn from_message(message: &Message) -> Result<Self, Failure>;
}

impl FromMessage for Message {
    fn from_message(message: &Message) -> Result<Self, Failure> {
        Ok(message.clone())
    }
}

/// The body as JSON. One that does not parse is rejected before the handler
/// runs.
///
/// ```
/// use holdfast_sdk::{Failure, Json, Message, TestContext};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Order {
///     id: String,
/// }
///
/// fn handle(order: Json<Order>) -> Result<(), Failure> {
///     assert_eq!(order.id, "A-1");
///     Ok(())
/// }
///
/// let test = TestContext::new();
/// test.call(handle, Message::new(r#"{"id": "A-1"}"#)).unwrap();
/// assert!(matches!(test.call(handle, Message::new("{")), Err(Failure::Reject(_))));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Json<T>(pub T);

impl<T> Deref for Json<T> {
    type Target = T;

    fn deref(&self) -> &T {
        &self.0
    }
}

impl<T: DeserializeOwned> FromMessage for Json<T> {
    fn from_message(message: &Message) -> Result<Self, Failure> {
        message.parse_json().map(Json)
    }
}

/// A function that handles one message. `Arguments` only tells the shapes
/// apart; it is never named.
#[diagnostic::on_unimplemented(
    message = "this function cannot be a handler",
    label = "not a handler",
    note = "a handler is `fn(M) -> Result<(), Failure>` or `fn(M, &Context) -> Result<(), Failure>`, where `M` is `Message`, `Json<T>` or another type that implements `FromMessage`"
)]
pub trait Handler<Arguments> {
    /// Reads the argument out of the message and calls the function.
    ///
    /// # Errors
    ///
    /// The failure of the argument, else that of the function.
    fn call(&self, message: &Message, context: &Context) -> Result<(), Failure>;
}

impl<F, M, E> Handler<(M,)> for F
where
    F: Fn(M) -> Result<(), E>,
    M: FromMessage,
    E: Into<Failure>,
{
    fn call(&self, message: &Message, _: &Context) -> Result<(), Failure> {
        self(M::from_message(message)?).map_err(Into::into)
    }
}

impl<F, M, E> Handler<(M, Context)> for F
where
    F: Fn(M, &Context) -> Result<(), E>,
    M: FromMessage,
    E: Into<Failure>,
{
    fn call(&self, message: &Message, context: &Context) -> Result<(), Failure> {
        self(M::from_message(message)?, context).map_err(Into::into)
    }
}

/// A function that handles many messages in one call.
#[diagnostic::on_unimplemented(
    message = "this function cannot be a batch handler",
    label = "not a batch handler",
    note = "a batch handler is `fn(Vec<Message>) -> Vec<Result<(), Failure>>`, with `&BatchContext` as a second argument if it wants one"
)]
pub trait BatchHandler<Arguments> {
    /// Calls the function. The host counts the answers: another number than
    /// the messages' is a failure of the whole call.
    fn call(&self, messages: Vec<Message>, context: &BatchContext) -> Vec<Result<(), Failure>>;
}

impl<F> BatchHandler<(Vec<Message>,)> for F
where
    F: Fn(Vec<Message>) -> Vec<Result<(), Failure>>,
{
    fn call(&self, messages: Vec<Message>, _: &BatchContext) -> Vec<Result<(), Failure>> {
        self(messages)
    }
}

impl<F> BatchHandler<(Vec<Message>, BatchContext)> for F
where
    F: Fn(Vec<Message>, &BatchContext) -> Vec<Result<(), Failure>>,
{
    fn call(&self, messages: Vec<Message>, context: &BatchContext) -> Vec<Result<(), Failure>> {
        self(messages, context)
    }
}
