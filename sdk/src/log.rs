//! Lines for the host's log.

use std::fmt::Display;

use crate::host::Host;

/// How much a log line matters.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Level {
    /// Every step, for finding a fault.
    Trace,
    /// What a developer wants to see.
    Debug,
    /// What an operator wants to see.
    Info,
    /// Something is odd, and the handler went on.
    Warn,
    /// Something failed.
    Error,
}

/// Writes to the host's log, which adds the plugin, the consumer and the key.
/// The host escapes control characters and cuts what is too long.
///
/// ```
/// use holdfast_sdk::{Context, Failure, Level, Message, TestContext};
///
/// fn handle(_: Message, ctx: &Context) -> Result<(), Failure> {
///     ctx.log().warn("the rate is old");
///     ctx.log().info(format_args!("attempt {}", ctx.message().attempt));
///     Ok(())
/// }
///
/// let test = TestContext::new();
/// test.call(handle, Message::new("")).unwrap();
/// assert_eq!(test.logs()[0].level, Level::Warn);
/// assert_eq!(test.logs()[1].text, "attempt 1");
/// ```
#[derive(Clone, Copy, Debug)]
pub struct Log<'a> {
    host: &'a Host,
}

impl<'a> Log<'a> {
    pub(crate) fn new(host: &'a Host) -> Self {
        Log { host }
    }

    /// Writes one line at this level.
    pub fn write(&self, level: Level, text: impl Display) {
        self.host.log(level, &text.to_string());
    }

    /// Every step, for finding a fault.
    pub fn trace(&self, text: impl Display) {
        self.write(Level::Trace, text);
    }

    /// What a developer wants to see.
    pub fn debug(&self, text: impl Display) {
        self.write(Level::Debug, text);
    }

    /// What an operator wants to see.
    pub fn info(&self, text: impl Display) {
        self.write(Level::Info, text);
    }

    /// Something is odd, and the handler goes on.
    pub fn warn(&self, text: impl Display) {
        self.write(Level::Warn, text);
    }

    /// Something failed.
    pub fn error(&self, text: impl Display) {
        self.write(Level::Error, text);
    }
}
