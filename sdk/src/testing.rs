//! A host for native tests.

use std::cell::RefCell;
use std::collections::{BTreeMap, VecDeque};
use std::rc::Rc;

use serde::de::DeserializeOwned;

use crate::http::{HttpError, Request, Response, Url};
use crate::{
    BatchContext, BatchHandler, Context, Failure, Handler, Level, Message, Outgoing, Target,
};

/// A host in memory, so that `cargo test` runs a handler without wasm, a broker
/// or a store.
///
/// It keeps what a host keeps: a call that succeeds commits its state and its
/// messages, one that fails leaves neither. One `TestContext` is one lane.
///
/// ```
/// use holdfast_sdk::{Context, Failure, Json, Message, Outgoing, Target, TestContext};
/// use serde::Deserialize;
///
/// #[derive(Deserialize)]
/// struct Payment {
///     cents: i64,
/// }
///
/// fn handle(payment: Json<Payment>, ctx: &Context) -> Result<(), Failure> {
///     let total = ctx.state().increment("total", payment.cents)?;
///     ctx.publish("totals", Outgoing::json(&total)?)?;
///     if payment.cents < 0 {
///         return Err(Failure::reject("a payment is never negative"));
///     }
///     Ok(())
/// }
///
/// let test = TestContext::new();
/// test.call(handle, Message::new(r#"{"cents": 250}"#)).unwrap();
/// test.call(handle, Message::new(r#"{"cents": -1}"#)).unwrap_err();
///
/// assert_eq!(test.value_json("total"), Some(250));
/// assert_eq!(test.published().len(), 1);
/// assert_eq!(test.published()[0].to, Target::queue("totals"));
/// ```
#[derive(Debug, Default)]
pub struct TestContext {
    host: Host,
}

/// A message that a handler published and its host would send.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Published {
    /// Where it goes.
    pub to: Target,
    /// What goes there.
    pub message: Outgoing,
}

/// A line that a handler logged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LogLine {
    /// How much it matters.
    pub level: Level,
    /// The line itself.
    pub text: String,
}

impl TestContext {
    /// A host without variables or state.
    pub fn new() -> Self {
        TestContext::default()
    }

    /// The same host with a variable of the plugin's configuration.
    pub fn var(self, name: impl Into<String>, value: impl Into<String>) -> Self {
        self.host.edit(|world| {
            world.vars.insert(name.into(), value.into());
        });
        self
    }

    /// The same host with a value that an earlier message left.
    pub fn state(self, name: impl Into<String>, value: impl Into<Vec<u8>>) -> Self {
        self.host.edit(|world| {
            world.effects.state.insert(name.into(), value.into());
        });
        self
    }

    /// The same host, refusing every published message for this reason.
    pub fn refuse_publishes(self, reason: impl Into<String>) -> Self {
        self.host
            .edit(|world| world.refuse_publishes = Some(reason.into()));
        self
    }

    /// The same host, with the answer to the next request that has none yet:
    /// the first one given is for the first request.
    pub fn reply(self, response: Response) -> Self {
        self.host
            .edit(|world| world.replies.push_back(Ok(response)));
        self
    }

    /// The same host, where the next request that has no answer yet fails.
    pub fn reply_error(self, error: HttpError) -> Self {
        self.host.edit(|world| world.replies.push_back(Err(error)));
        self
    }

    /// Delivers one message to a handler.
    ///
    /// # Errors
    ///
    /// The handler's own answer, or that of the type it takes the message as.
    pub fn call<A>(&self, handler: impl Handler<A>, message: Message) -> Result<(), Failure> {
        let before = self.host.edit(|world| world.effects.clone());
        let context = Context::new(message.clone(), self.host.clone());
        let answer = handler.call(&message, &context);
        if answer.is_err() {
            self.host.edit(|world| world.effects = before);
        }
        answer
    }

    /// Delivers messages to a batch handler; the answers are in their order.
    ///
    /// # Panics
    ///
    /// When there are not as many answers as messages, which a host takes for a
    /// failure of the whole call.
    pub fn call_batch<A>(
        &self,
        handler: impl BatchHandler<A>,
        messages: Vec<Message>,
    ) -> Vec<Result<(), Failure>> {
        let count = messages.len();
        let answers = handler.call(messages, &BatchContext::new(self.host.clone()));
        assert_eq!(
            answers.len(),
            count,
            "a batch handler must give one answer for each message"
        );
        answers
    }

    /// The committed value of that name.
    pub fn value(&self, name: &str) -> Option<Vec<u8>> {
        self.host.state_get(name)
    }

    /// The committed value of that name, read as JSON.
    ///
    /// # Panics
    ///
    /// When it is there and is not the JSON of a `T`.
    pub fn value_json<T: DeserializeOwned>(&self, name: &str) -> Option<T> {
        self.value(name).map(|value| {
            serde_json::from_slice(&value).expect("the value must be JSON of the type asked for")
        })
    }

    /// The committed messages, in the order they were published.
    pub fn published(&self) -> Vec<Published> {
        self.host.edit(|world| world.effects.published.clone())
    }

    /// Every request made so far, those of failed calls included: a request is
    /// not staged.
    pub fn requests(&self) -> Vec<Request> {
        self.host.edit(|world| world.requests.clone())
    }

    /// Every line logged so far, those of failed calls included.
    pub fn logs(&self) -> Vec<LogLine> {
        self.host.edit(|world| world.logs.clone())
    }
}

/// The host of a native build.
#[derive(Clone, Debug, Default)]
pub(crate) struct Host(Rc<RefCell<World>>);

#[derive(Debug, Default)]
struct World {
    vars: BTreeMap<String, String>,
    logs: Vec<LogLine>,
    refuse_publishes: Option<String>,
    replies: VecDeque<Result<Response, HttpError>>,
    requests: Vec<Request>,
    effects: Effects,
}

#[derive(Clone, Debug, Default)]
struct Effects {
    state: BTreeMap<String, Vec<u8>>,
    published: Vec<Published>,
}

impl Host {
    fn edit<T>(&self, change: impl FnOnce(&mut World) -> T) -> T {
        change(&mut self.0.borrow_mut())
    }

    pub(crate) fn log(&self, level: Level, text: &str) {
        self.edit(|world| {
            world.logs.push(LogLine {
                level,
                text: text.to_owned(),
            });
        });
    }

    pub(crate) fn var(&self, name: &str) -> Option<String> {
        self.edit(|world| world.vars.get(name).cloned())
    }

    pub(crate) fn state_get(&self, name: &str) -> Option<Vec<u8>> {
        self.edit(|world| world.effects.state.get(name).cloned())
    }

    pub(crate) fn state_set(&self, name: &str, value: &[u8]) {
        self.edit(|world| world.effects.state.insert(name.to_owned(), value.to_vec()));
    }

    pub(crate) fn state_delete(&self, name: &str) {
        self.edit(|world| world.effects.state.remove(name));
    }

    pub(crate) fn state_increment(&self, name: &str, by: i64) -> Result<i64, String> {
        let old = match self.state_get(name) {
            None => 0,
            Some(value) => std::str::from_utf8(&value)
                .ok()
                .and_then(|text| text.parse().ok())
                .ok_or("it is not a whole number")?,
        };
        let sum = i64::checked_add(old, by).ok_or("the sum does not fit in 64 bits")?;
        self.state_set(name, sum.to_string().as_bytes());
        Ok(sum)
    }

    pub(crate) fn publish(&self, to: Target, message: Outgoing) -> Result<(), String> {
        self.edit(|world| match &world.refuse_publishes {
            Some(reason) => Err(reason.clone()),
            None => {
                world.effects.published.push(Published { to, message });
                Ok(())
            }
        })
    }

    pub(crate) fn http(&self, request: &Request, _: &Url<'_>) -> Result<Response, HttpError> {
        let reply = self.edit(|world| {
            world.requests.push(request.clone());
            world.replies.pop_front()
        });
        let Request { method, url, .. } = request;
        let reply = reply.unwrap_or_else(|| {
            panic!("the handler asks {method} {url}, and the test has no reply for it; add one with `TestContext::reply`")
        })?;
        if reply.body.len() > request.max_answer {
            return Err(HttpError::TooLarge(request.max_answer));
        }
        Ok(reply)
    }
}
