//! What is asked.

use std::time::Duration;

use serde::Serialize;

use crate::{Header, serde_json};

/// How long an answer may take unless the request says otherwise: less than a
/// call's usual deadline, so that the handler learns of it.
const TIMEOUT: Duration = Duration::from_secs(20);

/// The largest answer that is read unless the request says otherwise.
const MAX_ANSWER: usize = 4 << 20;

/// A request to another server.
///
/// ```
/// use holdfast_sdk::http::Request;
/// use std::time::Duration;
///
/// let request = Request::post("https://api.example.com/rewards")
///     .with_header("authorization", "Bearer abc")
///     .with_json(&[1, 2, 3])
///     .unwrap()
///     .with_timeout(Duration::from_secs(2));
/// assert_eq!(request.body, b"[1,2,3]");
/// # assert_eq!(request.headers.len(), 2);
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Request {
    /// The method, in upper case.
    pub method: String,
    /// The whole address, `http://` or `https://`.
    pub url: String,
    /// The headers, in this order. The host adds its own, and refuses those
    /// that only it may set, such as `host` and `connection`.
    pub headers: Vec<Header>,
    /// The body, sent as it is.
    pub body: Vec<u8>,
    /// How long the whole exchange may take, from looking up the name to the
    /// last byte of the answer; 20 s unless set.
    pub timeout: Duration,
    /// How long it may take to be connected; 10 s unless set.
    pub connect_timeout: Option<Duration>,
    /// The largest body of an answer that is read, in bytes; 4 MiB unless set.
    pub max_answer: usize,
}

impl Request {
    /// A request without headers and body.
    pub fn new(method: impl Into<String>, url: impl Into<String>) -> Self {
        Request {
            method: method.into(),
            url: url.into(),
            headers: Vec::new(),
            body: Vec::new(),
            timeout: TIMEOUT,
            connect_timeout: None,
            max_answer: MAX_ANSWER,
        }
    }

    /// GET.
    pub fn get(url: impl Into<String>) -> Self {
        Request::new("GET", url)
    }

    /// POST.
    pub fn post(url: impl Into<String>) -> Self {
        Request::new("POST", url)
    }

    /// PUT.
    pub fn put(url: impl Into<String>) -> Self {
        Request::new("PUT", url)
    }

    /// PATCH.
    pub fn patch(url: impl Into<String>) -> Self {
        Request::new("PATCH", url)
    }

    /// DELETE.
    pub fn delete(url: impl Into<String>) -> Self {
        Request::new("DELETE", url)
    }

    /// The same request with one more header.
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push(Header {
            name: name.into(),
            value: value.into(),
        });
        self
    }

    /// The same request with this body.
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The same request with the JSON of `value` as its body, and its type.
    ///
    /// # Errors
    ///
    /// When `value` has no JSON form, such as a map whose keys are not text.
    pub fn with_json(self, value: &impl Serialize) -> Result<Self, serde_json::Error> {
        let body = serde_json::to_vec(value)?;
        Ok(self
            .with_header("content-type", "application/json")
            .with_body(body))
    }

    /// The same request with another limit for the whole exchange.
    pub fn with_timeout(mut self, timeout: Duration) -> Self {
        self.timeout = timeout;
        self
    }

    /// The same request with another limit for being connected.
    pub fn with_connect_timeout(mut self, timeout: Duration) -> Self {
        self.connect_timeout = Some(timeout);
        self
    }

    /// The same request with another limit for the body of its answer.
    pub fn with_max_answer(mut self, bytes: usize) -> Self {
        self.max_answer = bytes;
        self
    }
}
