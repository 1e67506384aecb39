//! One call of a script, put together.

use std::time::Duration;

use redis::{Arg, Cmd, ToRedisArgs};

use crate::script::Which;

/// Room for arguments; a begin without extras is just below.
const ROOM: usize = 384;
/// Room for each key, and what goes with it in a call for many.
const ROOM_EACH: usize = 96;

/// Longest `keep` that Redis can add to its clock without trouble: 100 years.
const LONGEST_MS: u64 = 100 * 365 * 24 * 3_600_000;

/// A script with its keys and arguments so far.
#[derive(Debug)]
pub(crate) struct Call {
    pub(crate) which: Which,
    pub(crate) command: Cmd,
    /// The answer counts only when replicas have it.
    pub(crate) replicated: bool,
}

impl Call {
    pub(crate) fn new(which: Which, keys: &[&str]) -> Self {
        let mut command = Cmd::with_capacity(2 * keys.len() + 16, ROOM + ROOM_EACH * keys.len());
        command
            .arg("EVALSHA")
            .arg(which.text().hash.as_str())
            .arg(keys.len());
        for key in keys {
            command.arg(*key);
        }
        Self {
            which,
            command,
            replicated: false,
        }
    }

    /// Decides the hash slot.
    pub(crate) fn first_key(&self) -> &[u8] {
        // After the name of the command, the script and the number of keys.
        match self.command.args_iter().nth(3) {
            Some(Arg::Simple(key)) => key,
            _ => &[],
        }
    }

    pub(crate) fn arg(mut self, arg: impl ToRedisArgs) -> Self {
        self.command.arg(arg);
        self
    }

    pub(crate) fn push(&mut self, arg: impl ToRedisArgs) {
        self.command.arg(arg);
    }

    /// Whole milliseconds, at least one: Redis takes no zero.
    pub(crate) fn millis(self, span: Duration) -> Self {
        let millis = u64::try_from(span.as_millis()).unwrap_or(LONGEST_MS);
        self.arg(millis.clamp(1, LONGEST_MS))
    }

    pub(crate) fn micros(self, span: Duration) -> Self {
        let micros = u64::try_from(span.as_micros()).unwrap_or(LONGEST_MS * 1000);
        self.arg(micros.min(LONGEST_MS * 1000))
    }

    /// A number or nothing.
    pub(crate) fn optional(self, number: Option<u64>) -> Self {
        match number {
            Some(number) => self.arg(number),
            None => self.arg(""),
        }
    }
}

/// A number as 20 digits, so that texts compare as the numbers do: a double
/// would be wrong beyond 2^53.
pub(crate) fn digits(number: u64) -> String {
    format!("{number:020}")
}
