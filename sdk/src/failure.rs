//! How a handler says that it did not succeed.

use std::error::Error;
use std::fmt::{self, Display};
use std::time::Duration;

/// Why a message was not handled, and what is to be done with it.
///
/// Every standard error converts into a retry, so `?` is the short way to say
/// "try again later". What can never succeed is rejected, in so many words.
///
/// ```
/// use holdfast_sdk::{Failure, Message};
/// use std::time::Duration;
///
/// fn handle(message: Message) -> Result<(), Failure> {
///     let text = std::str::from_utf8(&message.body)?;
///     match text {
///         "" => Err(Failure::reject("the body is empty")),
///         "busy" => Err(Failure::retry_after("the bank is closed", Duration::from_secs(60))),
///         _ => Ok(()),
///     }
/// }
///
/// assert!(matches!(handle(Message::new(vec![0xff])), Err(Failure::Retry { .. })));
/// assert_eq!(handle(Message::new("")), Err(Failure::reject("the body is empty")));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Failure {
    /// Try again later, on this side. The claim is kept, and nothing that the
    /// attempt staged is applied.
    Retry {
        /// Shown to operators, and kept with the claim.
        reason: String,
        /// Not before this long from now; the consumer's configured back-off
        /// when absent. The host counts in whole milliseconds.
        after: Option<Duration>,
    },
    /// It can never succeed: it goes to the dead letters now.
    Reject(String),
}

impl Failure {
    /// Try again after the consumer's configured back-off.
    pub fn retry(reason: impl Into<String>) -> Self {
        Failure::Retry {
            reason: reason.into(),
            after: None,
        }
    }

    /// Try again, but not before `after` has passed.
    pub fn retry_after(reason: impl Into<String>, after: Duration) -> Self {
        Failure::Retry {
            reason: reason.into(),
            after: Some(after),
        }
    }

    /// Never try again.
    pub fn reject(reason: impl Into<String>) -> Self {
        Failure::Reject(reason.into())
    }
}

impl Display for Failure {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Failure::Retry { reason, .. } | Failure::Reject(reason) => f.write_str(reason),
        }
    }
}

/// The reason is the error with all its causes.
impl<E: Error> From<E> for Failure {
    fn from(error: E) -> Self {
        Failure::retry(with_causes(&error))
    }
}

/// Turns what went wrong into a rejection, where `?` alone would be a retry.
///
/// ```
/// use holdfast_sdk::{Failure, OrReject};
///
/// fn amount(text: Option<&str>) -> Result<u64, Failure> {
///     let text = text.or_reject("the order has no amount")?;
///     text.parse().or_reject("the amount is not a number")
/// }
///
/// assert_eq!(amount(None), Err(Failure::reject("the order has no amount")));
/// assert_eq!(
///     amount(Some("ten")),
///     Err(Failure::reject("the amount is not a number: invalid digit found in string")),
/// );
/// ```
pub trait OrReject<T> {
    /// The value, or a rejection for this reason.
    ///
    /// # Errors
    ///
    /// [`Failure::Reject`], with the causes behind the reason.
    fn or_reject(self, reason: impl Display) -> Result<T, Failure>;
}

impl<T, E: Error> OrReject<T> for Result<T, E> {
    fn or_reject(self, reason: impl Display) -> Result<T, Failure> {
        self.map_err(|error| Failure::Reject(format!("{reason}: {}", with_causes(&error))))
    }
}

impl<T> OrReject<T> for Option<T> {
    fn or_reject(self, reason: impl Display) -> Result<T, Failure> {
        self.ok_or_else(|| Failure::Reject(reason.to_string()))
    }
}

fn with_causes(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(error) = cause {
        text.push_str(": ");
        text.push_str(&error.to_string());
        cause = error.source();
    }
    text
}
