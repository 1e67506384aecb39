//! What is answered.

use serde::Serialize;
use serde::de::DeserializeOwned;

use super::HttpError;
use crate::{Header, serde_json};

/// A whole answer.
///
/// ```
/// use holdfast_sdk::http::{HttpError, Response};
///
/// let answer = Response::new(200).with_json(&["a", "b"]).unwrap();
/// assert_eq!(answer.json::<Vec<String>>().unwrap(), ["a", "b"]);
/// assert_eq!(answer.header("Content-Type"), Some("application/json"));
///
/// let error = Response::new(404).error_for_status().unwrap_err();
/// assert!(matches!(error, HttpError::Status(answer) if answer.status == 404));
/// ```
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Response {
    /// The status, such as 200.
    pub status: u16,
    /// The headers, names in lower case.
    pub headers: Vec<Header>,
    /// The body.
    pub body: Vec<u8>,
}

impl Response {
    /// An answer without headers and body, for tests.
    pub fn new(status: u16) -> Self {
        Response {
            status,
            headers: Vec::new(),
            body: Vec::new(),
        }
    }

    /// The same answer with one more header.
    pub fn with_header(mut self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.headers.push(Header {
            name: name.into(),
            value: value.into(),
        });
        self
    }

    /// The same answer with this body.
    pub fn with_body(mut self, body: impl Into<Vec<u8>>) -> Self {
        self.body = body.into();
        self
    }

    /// The same answer with the JSON of `value` as its body, and its type.
    ///
    /// # Errors
    ///
    /// When `value` has no JSON form.
    pub fn with_json(self, value: &impl Serialize) -> Result<Self, serde_json::Error> {
        let body = serde_json::to_vec(value)?;
        Ok(self
            .with_header("content-type", "application/json")
            .with_body(body))
    }

    /// Whether the status is one of success: 200 to 299.
    pub fn is_success(&self) -> bool {
        (200..300).contains(&self.status)
    }

    /// The answer itself if it is a success.
    ///
    /// # Errors
    ///
    /// [`HttpError::Status`] with the answer for every other status, redirects
    /// included: `?` makes that a retry.
    pub fn error_for_status(self) -> Result<Self, HttpError> {
        if self.is_success() {
            Ok(self)
        } else {
            Err(HttpError::Status(Box::new(self)))
        }
    }

    /// The first header of this name, in whatever case, if it is text.
    pub fn header(&self, name: &str) -> Option<&str> {
        let header = self
            .headers
            .iter()
            .find(|header| header.name.eq_ignore_ascii_case(name))?;
        std::str::from_utf8(&header.value).ok()
    }

    /// The body as JSON.
    ///
    /// # Errors
    ///
    /// When it is not the JSON of a `T`.
    pub fn json<T: DeserializeOwned>(&self) -> Result<T, serde_json::Error> {
        serde_json::from_slice(&self.body)
    }
}
