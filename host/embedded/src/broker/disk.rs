//! Queues in their file: one row per queue, message, and mark of what was
//! delivered.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_core::time::Micros;
use holdfast_ports::broker::{Incarnation, Keep};
use holdfast_ports::message::{Header, Incoming, is_own};
use serde::{Deserialize, Serialize};
use tokio::time::Instant;

use super::state::{Kept, Move, Queue, Spec, State, Waiting};
use crate::engine::Engine;
use crate::rows::{Key, Rows, Stop};

const QUEUE: u8 = b'q';
const MESSAGE: u8 = b'm';
const DELIVERED: u8 = b'd';
const INCARNATION: u8 = b'i';

/// A message in the file.
#[derive(Debug, Serialize, Deserialize)]
pub(super) struct StoredMessage {
    pub(super) id: Option<String>,
    pub(super) body: Vec<u8>,
    pub(super) content_type: Option<String>,
    pub(super) headers: Vec<Header>,
    pub(super) timestamp_ms: Option<u64>,
    pub(super) exchange: String,
    pub(super) routing_key: String,
    pub(super) wait_left_ms: Option<u64>,
    /// In a delay queue: when it has waited long enough.
    pub(super) due: Option<u64>,
}

#[derive(Debug, Serialize, Deserialize)]
struct StoredQueue {
    single_active: bool,
    delay: Option<(String, Duration)>,
}

fn message_key(queue: &str, position: u64) -> Key {
    Key::new(MESSAGE, &[queue]).numbered(position)
}

impl StoredMessage {
    /// The message as consumers get it, and the host's own headers apart.
    pub(super) fn kept(self) -> Kept {
        let (own, headers) = self.headers.into_iter().partition(|h| is_own(&h.name));
        let message = Incoming {
            id: self.id,
            body: self.body.into(),
            content_type: self.content_type,
            headers,
            timestamp_ms: self.timestamp_ms,
            redelivered: false,
            exchange: self.exchange,
            routing_key: self.routing_key,
            wait_left_ms: self.wait_left_ms,
            aside: Vec::new(),
        };
        Kept {
            message: Arc::new(message),
            own,
        }
    }
}

/// Reads everything back. `now` are the same moment on the two clocks.
pub(super) fn load(rows: &Rows<'_>, now: (Micros, Instant)) -> Result<State, Stop> {
    let mut state = State::default();
    let mut names = Vec::new();
    rows.scan(&Key::new(QUEUE, &[""]), |name, stored: StoredQueue| {
        let name = String::from_utf8_lossy(name).into_owned();
        let spec = Spec {
            single_active: stored.single_active,
            delay: stored.delay,
        };
        state.declare(&name, spec);
        names.push(name);
        Ok(true)
    })?;
    for name in names {
        let Some(queue) = state.queues.get_mut(&name) else {
            continue;
        };
        queue.delivered = rows.get(&Key::new(DELIVERED, &[&name]))?.unwrap_or(0);
        load_messages(rows, &name, queue, now)?;
    }
    Ok(state)
}

fn load_messages(
    rows: &Rows<'_>,
    name: &str,
    queue: &mut Queue,
    (wall, monotonic): (Micros, Instant),
) -> Result<(), Stop> {
    let prefix = Key::new(MESSAGE, &[name, ""]);
    rows.scan(&prefix, |rest, stored: StoredMessage| {
        let Ok(position) = rest.try_into().map(u64::from_be_bytes) else {
            return Ok(true);
        };
        let due = stored.due.map(|due| monotonic + Micros(due).since(wall));
        let waiting = Waiting {
            kept: Arc::new(stored.kept()),
            redelivered: false,
            due,
        };
        queue.restore(position, waiting);
        Ok(true)
    })
}

/// Keeps a message and calls `then` once that is safe; drops it otherwise.
pub(super) fn put(
    engine: &Engine,
    queue: &str,
    position: u64,
    stored: StoredMessage,
    then: impl FnOnce(StoredMessage) + Send + 'static,
) {
    let key = message_key(queue, position);
    engine.submit(
        move |rows| {
            rows.put(&key, &stored, None)?;
            Ok(stored)
        },
        |answer| {
            if let Ok(stored) = answer {
                then(stored);
            }
        },
    );
}

pub(super) fn remove(engine: &Engine, queue: &str, position: u64) {
    let key = message_key(queue, position);
    engine.submit(move |rows| rows.delete(&key), |_| ());
}

/// Moves messages whose time has come. Until that is on disk, a restart finds
/// them in their delay queue and moves them again.
pub(super) fn carry_over(engine: &Engine, moves: Vec<Move>) {
    if moves.is_empty() {
        return;
    }
    engine.submit(
        move |rows| {
            for Move { from, to } in &moves {
                let from = message_key(&from.0, from.1);
                let Some(mut stored) = rows.get::<StoredMessage>(&from)? else {
                    continue;
                };
                stored.due = None;
                rows.put(&message_key(&to.0, to.1), &stored, None)?;
                rows.delete(&from)?;
            }
            Ok(())
        },
        |_| (),
    );
}

/// Notes how far the queue has been delivered, as it is when the note is
/// written.
pub(super) fn note_delivered(engine: &Engine, memory: &Arc<Mutex<State>>, queue: &str) {
    let (memory, queue) = (memory.clone(), queue.to_owned());
    engine.submit(
        move |rows| {
            let delivered = {
                let mut state = memory.lock().unwrap_or_else(PoisonError::into_inner);
                let Some(queue) = state.queues.get_mut(&queue) else {
                    return Ok(());
                };
                queue.noting = false;
                queue.delivered
            };
            rows.put(&Key::new(DELIVERED, &[&queue]), &delivered, None)
        },
        |_| (),
    );
}

pub(super) fn write_queue(rows: &mut Rows<'_>, name: &str, spec: &Spec) -> Result<(), Stop> {
    let stored = StoredQueue {
        single_active: spec.single_active,
        delay: spec.delay.clone(),
    };
    rows.put(&Key::new(QUEUE, &[name]), &stored, None)
}

pub(super) fn delete_queue(rows: &mut Rows<'_>, name: &str) -> Result<(), Stop> {
    let mut positions = Vec::new();
    let prefix = Key::new(MESSAGE, &[name, ""]);
    rows.scan(&prefix, |rest, _: StoredMessage| {
        positions.extend(rest.try_into().map(u64::from_be_bytes));
        Ok(true)
    })?;
    for position in positions {
        rows.delete(&message_key(name, position))?;
    }
    rows.delete(&Key::new(DELIVERED, &[name]))?;
    rows.delete(&Key::new(QUEUE, &[name]))?;
    Ok(())
}

/// Reads the incarnation of a service, after replacing it if there is another.
pub(super) fn incarnation(
    rows: &mut Rows<'_>,
    service: &str,
    keep: &Keep,
) -> Result<Option<Incarnation>, Stop> {
    let key = Key::new(INCARNATION, &[service]);
    let kept: Option<(String, u64)> = rows.get(&key)?;
    let kept = kept.map(|(id, pulse)| Incarnation { id, pulse });
    let Some(put) = keep.decide(kept.as_ref()) else {
        return Ok(kept);
    };
    rows.put(&key, &(&put.id, put.pulse), None)?;
    Ok(Some(put))
}
