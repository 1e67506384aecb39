//! One call of a guest, from a place in the pool to its outcome.

use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_core::settle::CallFailure;
use holdfast_ports::message::Effects;
use holdfast_ports::plugins::{Call, Outcome};
use wasmtime::{Store, Trap};

use crate::bindings::batch::BatchConsumer;
use crate::bindings::consumer::Consumer;
use crate::bindings::consumer::holdfast::consumer::types::{Failure, HeaderParam, Message};
use crate::bindings::messaging::MessagingCore;
use crate::engine::Place;
use crate::guest::{Guest, Stop, Work, on_tick};
use crate::host::messaging;
use crate::options::{REUSE_CALLS, REUSE_GROWTH, REUSE_GROWTH_FLOOR};
use crate::plugin::{Handler, Loaded};
use crate::text::error_text;
use crate::threads;

/// The longest wait a handler may ask for; what is longer is cut to it.
const LONGEST_WAIT: Duration = Duration::from_secs(365 * 24 * 3600);

/// What came of some work.
pub(crate) enum Finished {
    One(Outcome),
    Many(Vec<Outcome>),
    Started(Result<(), String>),
}

/// An instance that can be called.
pub(crate) struct Live {
    store: Store<Guest>,
    instance: Instance,
    calls: u32,
    first_memory: u64,
    _place: Place,
}

enum Instance {
    Consumer(Consumer),
    Batch(BatchConsumer),
    Messaging(MessagingCore),
}

/// What a handler answered.
enum Answer {
    One(Result<(), CallFailure>),
    Many(Vec<Result<(), CallFailure>>),
    Nothing,
}

/// Does the work on a fresh instance, or on an idle one if the plugin reuses
/// them. To be run on the threads for guests.
pub(crate) async fn call(plugin: Arc<Loaded>, work: Arc<Work>, deadline: Instant) -> Finished {
    if work.first().is_some_and(|call| call.interrupt.is_set()) {
        return broken(&plugin, &work, Stop::Interrupted.to_string(), 0);
    }
    let _ticking = plugin.host.ticker.call();
    let live = match plugin.take_idle() {
        Some(mut live) => {
            live.store.data_mut().begin(work.clone(), deadline);
            live.store.set_epoch_deadline(1);
            Ok(live)
        }
        None => start(&plugin, &work, deadline).await,
    };
    let mut live = match live {
        Ok(live) => live,
        Err((text, memory)) => return broken(&plugin, &work, text, memory),
    };
    let answer = live.answer(&work).await;
    let guest = live.store.data_mut();
    guest.end();
    let memory = guest.memory.used();
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) => {
            let text = describe(&error, guest);
            return broken(&plugin, &work, text, memory);
        }
    };
    if let Some(http) = &guest.http {
        http.outbound.note_cut();
    }
    let ran = threads::ran();
    let finished = match answer {
        Answer::One(result) => {
            let effects = match result {
                Ok(()) => guest.effects(),
                Err(_) => Effects::default(),
            };
            Finished::One(outcome(&plugin, result, effects, ran, memory))
        }
        Answer::Many(results) => {
            let outcomes = results
                .into_iter()
                .map(|result| outcome(&plugin, result, Effects::default(), ran, memory));
            Finished::Many(outcomes.collect())
        }
        Answer::Nothing => Finished::Started(Ok(())),
    };
    if plugin.reuses() && live.may_be_reused(&finished) {
        plugin.keep_idle(live);
    }
    finished
}

/// Makes an instance. The error is a text and the memory it had.
async fn start(
    plugin: &Arc<Loaded>,
    work: &Arc<Work>,
    deadline: Instant,
) -> Result<Live, (String, u64)> {
    let Some(place) = plugin.host.place(plugin, deadline).await else {
        let text = format!(
            "there was no place for another instance within the deadline of {:?}",
            plugin.shared.settings.deadline
        );
        return Err((text, 0));
    };
    let guest = Guest::new(plugin.shared.clone(), work.clone(), deadline);
    let mut store = Store::new(&plugin.host.engine, guest);
    store.limiter(|guest| &mut guest.memory);
    store.epoch_deadline_callback(on_tick);
    store.set_epoch_deadline(1);
    store.set_hostcall_fuel(plugin.shared.limits.lift);
    store.set_max_component_handles(plugin.shared.limits.resources);
    let instance = match &plugin.handler {
        Handler::Consumer(pre) => pre
            .instantiate_async(&mut store)
            .await
            .map(Instance::Consumer),
        Handler::Batch(pre) => pre.instantiate_async(&mut store).await.map(Instance::Batch),
        Handler::Messaging(pre) => pre
            .instantiate_async(&mut store)
            .await
            .map(Instance::Messaging),
    };
    match instance {
        Ok(instance) => Ok(Live {
            first_memory: store.data().memory.used(),
            store,
            instance,
            calls: 0,
            _place: place,
        }),
        Err(error) => {
            let guest = store.data();
            guest.end();
            Err((describe(&error, guest), guest.memory.used()))
        }
    }
}

impl Live {
    /// Calls the handler.
    async fn answer(&mut self, work: &Work) -> wasmtime::Result<Answer> {
        self.calls += 1;
        match (&self.instance, work) {
            (_, Work::Nothing) => Ok(Answer::Nothing),
            (Instance::Consumer(consumer), Work::One(call)) => {
                let headers = headers(call);
                let answer = consumer
                    .holdfast_consumer_handler()
                    .call_handle(&mut self.store, message(call, &headers))
                    .await?;
                Ok(Answer::One(answer.map_err(failure)))
            }
            (Instance::Batch(batch), Work::Many(calls)) => {
                let headers: Vec<_> = calls.iter().map(headers).collect();
                let messages = calls.iter().zip(&headers);
                let messages: Vec<_> = messages.map(|(call, own)| message(call, own)).collect();
                let answers = batch
                    .holdfast_consumer_batch_handler()
                    .call_handle_batch(&mut self.store, &messages)
                    .await?;
                if answers.len() != calls.len() {
                    return Err(wasmtime::Error::msg(format!(
                        "it gave {} answers to {} messages",
                        answers.len(),
                        calls.len()
                    )));
                }
                let answers = answers.into_iter().map(|answer| answer.map_err(failure));
                Ok(Answer::Many(answers.collect()))
            }
            (Instance::Messaging(handler), Work::One(call)) => {
                let message = messaging::incoming(self.store.data_mut(), call)?;
                let answer = handler
                    .wasi_messaging_incoming_handler()
                    .call_handle(&mut self.store, message)
                    .await?;
                Ok(Answer::One(answer.map_err(|error| CallFailure::Retry {
                    reason: error_text(&messaging::error_text(&error)),
                    after: None,
                })))
            }
            _ => Err(wasmtime::Error::msg(
                "single messages and batches were mixed up",
            )),
        }
    }

    /// Only after success, with nothing left open, not for ever, and not once it
    /// has grown fat.
    fn may_be_reused(&self, finished: &Finished) -> bool {
        let succeeded = match finished {
            Finished::One(outcome) => outcome.result.is_ok(),
            Finished::Many(outcomes) => outcomes.iter().all(|outcome| outcome.result.is_ok()),
            Finished::Started(result) => result.is_ok(),
        };
        let guest = self.store.data();
        let grown = guest.memory.used();
        let most = (self.first_memory * REUSE_GROWTH).max(self.first_memory + REUSE_GROWTH_FLOOR);
        succeeded && guest.asks_nobody() && self.calls < REUSE_CALLS && grown <= most
    }
}

fn headers(call: &Call) -> Vec<HeaderParam<'_>> {
    let headers = call.message.headers.iter().map(|header| HeaderParam {
        name: &header.name,
        value: &header.value,
    });
    headers.collect()
}

fn message<'a>(call: &'a Call, headers: &'a [HeaderParam<'a>]) -> Message<'a> {
    let message = &call.message;
    Message {
        key: &call.key,
        id: message.id.as_deref(),
        lane: call.lane.as_deref(),
        body: &message.body,
        content_type: message.content_type.as_deref(),
        headers,
        consumer: &call.consumer,
        side: &call.side,
        attempt: call.attempt,
        fence: call.fence,
        sequence: call.sequence,
        timestamp_ms: message.timestamp_ms,
        redelivered: message.redelivered,
    }
}

fn failure(failure: Failure) -> CallFailure {
    match failure {
        Failure::Retry(retry) => CallFailure::Retry {
            reason: error_text(&retry.reason),
            after: retry
                .after_ms
                .map(|wait| Duration::from_millis(wait).min(LONGEST_WAIT)),
        },
        Failure::Reject(reason) => CallFailure::Reject(error_text(&reason)),
    }
}

fn outcome(
    plugin: &Loaded,
    result: Result<(), CallFailure>,
    effects: Effects,
    ran: Duration,
    memory: u64,
) -> Outcome {
    Outcome {
        result,
        effects,
        ran,
        memory,
        sha256: plugin.sha256.clone(),
    }
}

fn broken(plugin: &Loaded, work: &Work, text: String, memory: u64) -> Finished {
    let ran = threads::ran();
    let one = |text| {
        let result = Err(CallFailure::Broken(text));
        outcome(plugin, result, Effects::default(), ran, memory)
    };
    match work {
        Work::One(_) => Finished::One(one(text)),
        Work::Many(calls) => Finished::Many(calls.iter().map(|_| one(text.clone())).collect()),
        Work::Nothing => Finished::Started(Err(text)),
    }
}

/// Why a call ended without an answer, in words for the user.
fn describe(error: &wasmtime::Error, guest: &Guest) -> String {
    let memory = || {
        if guest.memory.refused {
            format!(
                "; it wanted more than its memory limit of {}",
                guest.memory.limit_text()
            )
        } else {
            String::new()
        }
    };
    let text = if let Some(stop) = error.downcast_ref::<Stop>() {
        format!("the handler was ended: {stop}{}", memory())
    } else if let Some(exit) = error.downcast_ref::<wasmtime_wasi::I32Exit>() {
        format!("the handler exited with code {}{}", exit.0, memory())
    } else if let Some(trap) = error.downcast_ref::<Trap>() {
        let what = match trap {
            Trap::StackOverflow => {
                "its call stack is exhausted (is there a recursion without end?)".to_owned()
            }
            Trap::UnreachableCodeReached => "it panicked or aborted".to_owned(),
            trap => trap.to_string(),
        };
        format!("the handler trapped: {what}{}", memory())
    } else {
        format!("the handler failed: {}{}", error.root_cause(), memory())
    };
    error_text(&text)
}
