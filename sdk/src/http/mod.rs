//! Requests to other servers.

mod error;
mod request;
mod response;
mod url;

pub use error::HttpError;
pub use request::Request;
pub use response::Response;
pub(crate) use url::Url;

use crate::host::Host;

/// Asks other servers, over HTTP or HTTPS, and waits for their answer.
///
/// Only hosts that the configuration lists are reachable (`allow-hosts` of the
/// plugin); nothing is by default. A handler that waits costs its host no
/// thread and none of its own `timeout`, but it does count for its `deadline`.
///
/// **A request is not staged.** It goes out at once, and it goes out again when
/// the handler is called again: after a failure, after a crash, or after a
/// time-out behind which it had arrived all the same. Two things help a
/// receiver to do the work once. The host adds to every request, and a handler
/// cannot change:
///
/// - `Idempotency-Key: <group>/<key>`, the same for every attempt at a message,
/// - `Holdfast-Fence: <fence>`, a number that grows with every attempt.
///
/// ```
/// use holdfast_sdk::http::{Request, Response};
/// use holdfast_sdk::{Context, Failure, Message, TestContext};
///
/// fn handle(message: Message, ctx: &Context) -> Result<(), Failure> {
///     let request = Request::post("https://pay.example.com/charges").with_body(message.body.clone());
///     let answer = ctx.http().send(request)?.error_for_status()?;
///     ctx.log().info(format_args!("charged: {}", answer.status));
///     Ok(())
/// }
///
/// let test = TestContext::new().reply(Response::new(503)).reply(Response::new(201));
/// let message = Message::new(r#"{"cents": 250}"#);
/// // An answer that is no success is a retry, like any error.
/// test.call(handle, message.clone()).unwrap_err();
/// test.call(handle, message).unwrap();
/// assert_eq!(test.requests().len(), 2);
/// assert_eq!(test.requests()[0].method, "POST");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Http<'a> {
    host: &'a Host,
}

impl<'a> Http<'a> {
    pub(crate) fn new(host: &'a Host) -> Self {
        Http { host }
    }

    /// GET.
    ///
    /// # Errors
    ///
    /// As for [`Http::send`].
    pub fn get(&self, url: impl Into<String>) -> Result<Response, HttpError> {
        self.send(Request::get(url))
    }

    /// Sends a request and reads the whole answer. An answer is one whatever
    /// its status ([`Response::error_for_status`] makes an error of most), and
    /// a redirect is not followed.
    ///
    /// # Errors
    ///
    /// When there is no whole answer. [`HttpError::may_have_arrived`] says
    /// whether the other side may have done what it was asked to do.
    pub fn send(&self, request: Request) -> Result<Response, HttpError> {
        let url = Url::parse(&request.url)?;
        self.host.http(&request, &url)
    }
}
