//! Looking through an embedded queue. Nothing is taken out to be seen, so there
//! is nothing to put back: a consumer may get what a look has shown, and then
//! its removal does nothing.

use std::collections::VecDeque;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use holdfast_ports::error::PortError;
use holdfast_ports::look::{Look, Seen, Spot};
use tokio::sync::OwnedMutexGuard;
use tokio::time::timeout;

use super::disk;
use super::shared::Shared;
use super::state::Kept;

/// How long a second look waits for the first.
const PATIENCE: Duration = Duration::from_secs(10);

struct Looking {
    shared: Arc<Shared>,
    queue: String,
    ready: u64,
    left: VecDeque<(u64, Arc<Kept>)>,
    _turn: OwnedMutexGuard<()>,
}

/// Waits until nobody else looks; none when there is no such queue.
pub(super) async fn begin(
    shared: &Arc<Shared>,
    queue: &str,
    limit: usize,
) -> Result<Option<Box<dyn Look>>, PortError> {
    let turn = {
        let mut looks = shared.looks.lock().unwrap_or_else(PoisonError::into_inner);
        looks.retain(|_, turn| Arc::strong_count(turn) > 1);
        looks.entry(queue.to_owned()).or_default().clone()
    };
    let Ok(turn) = timeout(PATIENCE, turn.lock_owned()).await else {
        return Err(PortError::transient(format!(
            "look through the queue {queue:?}: another look goes on; try again later"
        )));
    };
    let mut state = shared.state();
    shared.mature(&mut state, queue);
    let Some(found) = state.queues.get(queue) else {
        return Ok(None);
    };
    let first = found.ready.iter().take(limit);
    Ok(Some(Box::new(Looking {
        shared: shared.clone(),
        queue: queue.to_owned(),
        ready: super::number(found.ready.len()),
        left: first
            .map(|(position, waiting)| (*position, waiting.kept.clone()))
            .collect(),
        _turn: turn,
    })))
}

#[async_trait]
impl Look for Looking {
    fn ready(&self) -> u64 {
        self.ready
    }

    async fn next(&mut self) -> Result<Option<Seen>, PortError> {
        Ok(self.left.pop_front().map(|(position, kept)| Seen {
            spot: Spot(position),
            message: kept.message.clone(),
            own: kept.own.clone(),
        }))
    }

    async fn remove(&mut self, seen: Spot) -> Result<(), PortError> {
        let mut state = self.shared.state();
        if state.take_out(&self.queue, seen.0)
            && let Some(engine) = &self.shared.disk
        {
            disk::remove(engine, &self.queue, seen.0);
        }
        Ok(())
    }

    async fn leave(self: Box<Self>) -> Result<(), PortError> {
        self.shared.flushed().await
    }
}
