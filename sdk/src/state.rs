//! What a handler remembers from one message to the next.

use std::error::Error;
use std::fmt;

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::host::Host;

/// Named values that belong to the lane of the message, or to its claim key
/// where there are no lanes.
///
/// Changes are staged: visible to this call at once, applied together with the
/// claim, exactly once, and dropped when the call fails.
///
/// ```
/// use holdfast_sdk::{Context, Failure, Message, TestContext};
///
/// fn handle(_: Message, ctx: &Context) -> Result<(), Failure> {
///     let state = ctx.state();
///     let count = state.increment("count", 1)?;
///     state.set("last", b"A-1");
///     state.set_json("both", &("A-1", count))?;
///     assert_eq!(state.get("last").as_deref(), Some(&b"A-1"[..]));
///     Ok(())
/// }
///
/// let test = TestContext::new().state("count", "41");
/// test.call(handle, Message::new("")).unwrap();
/// assert_eq!(test.value("count").as_deref(), Some(&b"42"[..]));
/// ```
#[derive(Clone, Copy, Debug)]
pub struct State<'a> {
    host: &'a Host,
}

impl<'a> State<'a> {
    pub(crate) fn new(host: &'a Host) -> Self {
        State { host }
    }

    /// The value of that name.
    pub fn get(&self, name: &str) -> Option<Vec<u8>> {
        self.host.state_get(name)
    }

    /// Sets a value.
    pub fn set(&self, name: &str, value: impl AsRef<[u8]>) {
        self.host.state_set(name, value.as_ref());
    }

    /// Removes a value. One that is absent stays so.
    pub fn delete(&self, name: &str) {
        self.host.state_delete(name);
    }

    /// Adds to a whole number, kept as decimal text, and gives the sum. An
    /// absent one counts as 0.
    ///
    /// # Errors
    ///
    /// When the value is not a whole number, or the sum does not fit in 64 bits.
    pub fn increment(&self, name: &str, by: i64) -> Result<i64, StateError> {
        self.host
            .state_increment(name, by)
            .map_err(|reason| StateError {
                step: "increment",
                name: name.to_owned(),
                reason,
            })
    }

    /// The value of that name, read as JSON.
    ///
    /// # Errors
    ///
    /// When the value is there and is not the JSON of a `T`.
    pub fn get_json<T: DeserializeOwned>(&self, name: &str) -> Result<Option<T>, StateError> {
        let Some(value) = self.get(name) else {
            return Ok(None);
        };
        match serde_json::from_slice(&value) {
            Ok(value) => Ok(Some(value)),
            Err(error) => Err(StateError {
                step: "read",
                name: name.to_owned(),
                reason: error.to_string(),
            }),
        }
    }

    /// Sets a value to the JSON of `value`.
    ///
    /// # Errors
    ///
    /// When `value` has no JSON form, such as a map whose keys are not text.
    pub fn set_json(&self, name: &str, value: &impl Serialize) -> Result<(), StateError> {
        let value = serde_json::to_vec(value).map_err(|error| StateError {
            step: "write",
            name: name.to_owned(),
            reason: error.to_string(),
        })?;
        self.set(name, value);
        Ok(())
    }
}

/// A value could not be read, written or incremented; it is as it was before.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StateError {
    step: &'static str,
    name: String,
    reason: String,
}

impl fmt::Display for StateError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(
            f,
            "failed to {} the state {:?}: {}",
            self.step, self.name, self.reason
        )
    }
}

impl Error for StateError {}
