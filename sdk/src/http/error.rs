//! Why there is no answer.

use std::error::Error;
use std::fmt;

use super::Response;

/// Why a request has no answer that is of use. `?` makes a retry of it.
///
/// ```
/// use holdfast_sdk::http::{HttpError, Request};
/// use holdfast_sdk::{Context, Failure, Message, TestContext};
///
/// fn handle(_: Message, ctx: &Context) -> Result<(), Failure> {
///     match ctx.http().send(Request::post("https://pay.example.com/charges")) {
///         Err(error) if error.may_have_arrived() => Err(Failure::retry(format!("perhaps charged: {error}"))),
///         other => Ok(drop(other?.error_for_status()?)),
///     }
/// }
///
/// let test = TestContext::new().reply_error(HttpError::Timeout);
/// let answer = test.call(handle, Message::new("")).unwrap_err();
/// assert_eq!(answer, Failure::retry("perhaps charged: no whole answer came in time"));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
#[non_exhaustive]
pub enum HttpError {
    /// The configuration does not let this plugin ask there; nothing was sent.
    /// The host's log names the entry that `allow-hosts` lacks.
    Denied,
    /// The request is none; nothing was sent.
    InvalidRequest(String),
    /// The other side was not reached; nothing was sent.
    Connection(String),
    /// No whole answer came in time. The request may have been carried out.
    Timeout,
    /// The connection broke. The request may have been carried out.
    Interrupted(String),
    /// The answer is larger than the request allows, in bytes. The request was
    /// carried out, or is being.
    TooLarge(usize),
    /// There is an answer, and its status is no success.
    Status(Box<Response>),
}

impl HttpError {
    /// May the other side have done what it was asked to do? If so, asking
    /// again is a repeat, which it can tell by the `Idempotency-Key`.
    pub fn may_have_arrived(&self) -> bool {
        match self {
            HttpError::Denied | HttpError::InvalidRequest(_) | HttpError::Connection(_) => false,
            HttpError::Timeout
            | HttpError::Interrupted(_)
            | HttpError::TooLarge(_)
            | HttpError::Status(_) => true,
        }
    }
}

impl fmt::Display for HttpError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            HttpError::Denied => {
                f.write_str("the host may not be asked: it is not among the plugin's allow-hosts")
            }
            HttpError::InvalidRequest(why) => write!(f, "the request is wrong: {why}"),
            HttpError::Connection(why) => write!(f, "not connected: {why}"),
            HttpError::Timeout => f.write_str("no whole answer came in time"),
            HttpError::Interrupted(why) => write!(f, "no whole answer came: {why}"),
            HttpError::TooLarge(limit) => write!(f, "the answer is larger than {limit} bytes"),
            HttpError::Status(answer) => {
                write!(f, "the answer has status {}", answer.status)?;
                let body = &answer.body[..answer.body.len().min(200)];
                match String::from_utf8_lossy(body).trim() {
                    "" => Ok(()),
                    text => write!(f, ": {text}"),
                }
            }
        }
    }
}

impl Error for HttpError {}
