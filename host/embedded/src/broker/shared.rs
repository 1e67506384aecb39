//! What all clients of one embedded broker share.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_core::settle::Confirmed;
use holdfast_ports::broker::PublishError;
use holdfast_ports::error::PortError;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use super::disk::{self, StoredMessage};
use super::state::{State, Waiting};
use crate::clock::Clock;
use crate::engine::Engine;

pub(super) struct Shared {
    pub(super) memory: Arc<Mutex<State>>,
    /// None: nothing outlives the value.
    pub(super) disk: Option<Engine>,
    pub(super) clock: Clock,
    /// The queues that are looked through, one at a time each.
    pub(super) looks: Mutex<BTreeMap<String, Arc<tokio::sync::Mutex<()>>>>,
}

impl Shared {
    /// The queues. Jobs for the file are handed over while this is held, so that
    /// the file sees things in the order in which they happened.
    pub(super) fn state(&self) -> MutexGuard<'_, State> {
        self.memory.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// What tells of changes in a queue; for one that is gone, something that
    /// never does.
    pub(super) fn changed(&self, queue: &str) -> Arc<Notify> {
        let state = self.state();
        let found = state.queues.get(queue);
        found.map_or_else(Arc::default, |queue| queue.changed.clone())
    }

    /// Puts a message at the end of a queue and waits until it is safe.
    pub(super) async fn append(
        &self,
        queue: &str,
        mut stored: StoredMessage,
    ) -> Result<Confirmed, PublishError> {
        let (sender, receiver) = oneshot::channel();
        {
            let mut state = self.state();
            let Some(found) = state.queues.get_mut(queue) else {
                return Err(PublishError::Returned(format!(
                    "there is no queue {queue:?} in the embedded broker"
                )));
            };
            let position = found.take_position();
            let due = found.spec.delay.as_ref().map(|(_, step)| {
                stored.due = Some((self.clock)().plus(*step).0);
                Instant::now() + *step
            });
            let (memory, name) = (self.memory.clone(), queue.to_owned());
            let arrive = move |state: &mut State, stored: StoredMessage| {
                let waiting = Waiting {
                    kept: Arc::new(stored.kept()),
                    redelivered: false,
                    due,
                };
                state.arrive(&name, position, waiting);
            };
            match &self.disk {
                None => {
                    arrive(&mut state, stored);
                    return Ok(Confirmed::by_broker());
                }
                Some(engine) => disk::put(engine, queue, position, stored, move |stored| {
                    arrive(
                        &mut memory.lock().unwrap_or_else(PoisonError::into_inner),
                        stored,
                    );
                    // Nobody may be waiting any more: the publish was given up.
                    let _ = sender.send(());
                }),
            }
        }
        match receiver.await {
            Ok(()) => Ok(Confirmed::by_broker()),
            Err(_) => Err(PublishError::Away(PortError::transient(
                "write a message to the embedded broker's file",
            ))),
        }
    }

    /// Messages whose time has come go to their queue.
    pub(super) fn mature(&self, state: &mut State, queue: &str) {
        let moves = state.mature(queue, Instant::now());
        if let Some(engine) = &self.disk {
            disk::carry_over(engine, moves);
        }
    }

    /// Waits until everything said so far is in the file.
    pub(super) async fn flushed(&self) -> Result<(), PortError> {
        match &self.disk {
            Some(engine) => engine.run("flush", |_| Ok(())).await,
            None => Ok(()),
        }
    }

    /// The same where there is nobody to tell.
    pub(super) async fn flush(&self) {
        if let Err(error) = self.flushed().await {
            tracing::warn!(%error, "acknowledgements may come back as redeliveries");
        }
    }
}

/// A whole number of milliseconds; none for nothing.
pub(super) fn millis(left: Duration) -> Option<u64> {
    let left = u64::try_from(left.as_millis()).unwrap_or(u64::MAX);
    (left > 0).then_some(left)
}
