//! What a handler can ask of its host.

use crate::host::Host;
use crate::http::Http;
use crate::{Log, Message, Outgoing, PublishError, State, Target};

/// The host, as one call of a handler sees it.
///
/// State and published messages are staged: the handler sees its own changes at
/// once, the world sees them when the claim is committed, and when the call
/// fails there never was anything.
///
/// ```
/// use holdfast_sdk::{Context, Failure, Message, Outgoing, TestContext};
///
/// fn handle(message: Message, ctx: &Context) -> Result<(), Failure> {
///     let greeting = ctx.var("greeting").unwrap_or_else(|| "hello".into());
///     let count = ctx.state().increment("seen", 1)?;
///     ctx.log().info(format_args!("message {count} is {}", message.key));
///     ctx.publish("greetings", Outgoing::new(format!("{greeting} {count}")))?;
///     Ok(())
/// }
///
/// let test = TestContext::new().var("greeting", "bonjour");
/// test.call(handle, Message::new("")).unwrap();
/// assert_eq!(test.published()[0].message.body, b"bonjour 1");
/// ```
#[derive(Debug)]
pub struct Context {
    message: Message,
    host: Host,
}

impl Context {
    pub(crate) fn new(message: Message, host: Host) -> Self {
        Context { message, host }
    }

    /// The message of this call, for a handler that takes its body as
    /// [`Json`](crate::Json).
    pub fn message(&self) -> &Message {
        &self.message
    }

    /// The log of the plugin.
    pub fn log(&self) -> Log<'_> {
        Log::new(&self.host)
    }

    /// A variable of the plugin's configuration (`vars`).
    pub fn var(&self, name: &str) -> Option<String> {
        self.host.var(name)
    }

    /// The state of this message's lane, or of its claim key where there are no
    /// lanes.
    pub fn state(&self) -> State<'_> {
        State::new(&self.host)
    }

    /// Asks other servers. Unlike all else here that is not staged: a request
    /// goes out at once, and again with every attempt.
    pub fn http(&self) -> Http<'_> {
        Http::new(&self.host)
    }

    /// Stages a message. It is sent, under an id that stays the same however
    /// often the host has to try, once the claim is committed.
    ///
    /// # Errors
    ///
    /// When a limit is passed or the target's name is not allowed.
    pub fn publish(
        &self,
        to: impl Into<Target>,
        message: impl Into<Outgoing>,
    ) -> Result<(), PublishError> {
        self.host
            .publish(to.into(), message.into())
            .map_err(|reason| PublishError { reason })
    }
}

/// The host, as a batch handler sees it: an effect could not say which of the
/// messages it belongs to, so there are none.
///
/// ```
/// use holdfast_sdk::{BatchContext, Failure, Message, TestContext};
///
/// fn handle(messages: Vec<Message>, ctx: &BatchContext) -> Vec<Result<(), Failure>> {
///     ctx.log().debug(format_args!("{} messages", messages.len()));
///     messages.iter().map(|_| Ok(())).collect()
/// }
///
/// let answers = TestContext::new().call_batch(handle, vec![Message::new("a")]);
/// assert_eq!(answers, [Ok(())]);
/// ```
#[derive(Debug)]
pub struct BatchContext {
    host: Host,
}

impl BatchContext {
    pub(crate) fn new(host: Host) -> Self {
        BatchContext { host }
    }

    /// The log of the plugin.
    pub fn log(&self) -> Log<'_> {
        Log::new(&self.host)
    }

    /// A variable of the plugin's configuration (`vars`).
    pub fn var(&self, name: &str) -> Option<String> {
        self.host.var(name)
    }
}
