//! One consumer of an embedded queue.

use std::sync::Arc;

use async_trait::async_trait;
use holdfast_core::settle::Settlement;
use holdfast_ports::broker::{Delivery, Ended, Settler, Subscription, Ticket};
use tokio::time::Instant;

use super::disk;
use super::shared::Shared;
use super::state::Next;

/// Takes messages one by one; nothing is buffered on this side.
pub(super) struct Consuming {
    pub(super) shared: Arc<Shared>,
    pub(super) queue: String,
    pub(super) generation: u64,
}

struct Settling {
    shared: Arc<Shared>,
    generation: u64,
}

impl Consuming {
    /// One look at the queue. The notification is armed before anything can
    /// change after the look.
    fn look(&self) -> Next {
        let mut state = self.shared.state();
        let moves = state.mature(&self.queue, Instant::now());
        let next = state.next(self.generation);
        if let Some(engine) = &self.shared.disk {
            disk::carry_over(engine, moves);
            if let Next::Deliver(_, true) = next
                && let Some(queue) = state.queues.get_mut(&self.queue)
                && !std::mem::replace(&mut queue.noting, true)
            {
                disk::note_delivered(engine, &self.shared.memory, &self.queue);
            }
        }
        next
    }
}

#[async_trait]
impl Subscription for Consuming {
    async fn next(&mut self) -> Result<Delivery, Ended> {
        loop {
            let changed = self.shared.changed(&self.queue);
            let notified = changed.notified();
            match self.look() {
                Next::Deliver(delivery, _) => return Ok(delivery),
                Next::End(ended) => return Err(ended),
                Next::Wait(Some(due)) => {
                    // Either way there is something to look at.
                    let _ = tokio::time::timeout_at(due, notified).await;
                }
                Next::Wait(None) => notified.await,
            }
        }
    }

    fn settler(&self) -> Arc<dyn Settler> {
        Arc::new(Settling {
            shared: self.shared.clone(),
            generation: self.generation,
        })
    }

    async fn cancel(&mut self) {
        self.shared.state().cancel(self.generation);
    }

    async fn close(&mut self) {
        self.shared.state().leave(self.generation);
        self.shared.flush().await;
    }
}

impl Drop for Consuming {
    fn drop(&mut self) {
        self.shared.state().leave(self.generation);
    }
}

#[async_trait]
impl Settler for Settling {
    fn settle(&self, ticket: Ticket, settlement: Settlement) -> Result<(), Ticket> {
        let acknowledged = matches!(settlement, Settlement::Ack(_));
        let mut state = self.shared.state();
        let gone = state.settle(self.generation, ticket, acknowledged)?;
        if let (Some((queue, position)), Some(engine)) = (gone, &self.shared.disk) {
            disk::remove(engine, &queue, position);
        }
        Ok(())
    }

    async fn flush(&self) {
        self.shared.flush().await;
    }
}
