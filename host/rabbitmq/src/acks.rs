//! Settling the deliveries of one channel: callers mark them, a task sends what
//! they add up to. Nothing waits for the broker, and nothing is concluded from
//! what was sent.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use holdfast_core::settle::Settlement;
use holdfast_ports::broker::{Settler, Ticket};
use lapin::options::{BasicAckOptions, BasicNackOptions, BasicQosOptions};
use lapin::{Channel, Consumer};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::timeout;

use crate::coalesce::{Coalescer, Frame, How};

/// The settlements of one channel.
pub(crate) struct Acks {
    generation: u64,
    channel: Channel,
    prefetch: u16,
    deadline: Duration,
    pending: Mutex<Pending>,
    work: Arc<Notify>,
    task: JoinHandle<()>,
    /// What keeps other consumers away until the channel ends.
    _alone: Option<Consumer>,
}

#[derive(Default)]
struct Pending {
    coalescer: Coalescer,
    frames: Vec<Frame>,
    /// The task was told.
    told: bool,
}

impl Acks {
    pub(crate) fn new(
        generation: u64,
        channel: Channel,
        prefetch: u16,
        deadline: Duration,
        alone: Option<Consumer>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|acks| {
            let work = Arc::new(Notify::new());
            Self {
                generation,
                channel,
                prefetch,
                deadline,
                pending: Mutex::default(),
                work: work.clone(),
                task: tokio::spawn(send_when_told(acks.clone(), work)),
                _alone: alone,
            }
        })
    }

    /// The ticket for a delivery that arrived.
    pub(crate) fn delivered(&self, tag: u64) -> Ticket {
        self.pending().coalescer.delivered(tag);
        let generation = self.generation;
        Ticket { generation, tag }
    }

    /// Hands back what nobody saw, behind everything that was delivered.
    pub(crate) fn hand_back(&self, tags: impl Iterator<Item = u64>) {
        let mut pending = self.pending();
        for tag in tags {
            pending.coalescer.delivered(tag);
            pending.coalescer.settle(tag, How::BackInOrder);
        }
        self.send(&mut pending);
    }

    pub(crate) fn channel(&self) -> &Channel {
        &self.channel
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Frames leave under the lock, so that they arrive in the order in which
    /// they were decided. The library queues a frame when its future is first
    /// polled; the rest of the future is a wait that nobody needs.
    fn send(&self, pending: &mut Pending) {
        let Pending {
            coalescer,
            frames,
            told,
        } = pending;
        *told = false;
        coalescer.take(frames);
        for frame in frames.drain(..) {
            let sent = match frame {
                Frame::Ack { tag, multiple } => {
                    let options = BasicAckOptions { multiple };
                    self.channel.basic_ack(tag, options).now_or_never()
                }
                Frame::Back { tag } => {
                    let options = BasicNackOptions {
                        multiple: false,
                        requeue: true,
                    };
                    self.channel.basic_nack(tag, options).now_or_never()
                }
            };
            if let Some(Err(error)) = sent {
                tracing::debug!(%error, "a settlement on a dead channel is void");
            }
        }
    }
}

impl Drop for Acks {
    fn drop(&mut self) {
        self.task.abort();
        let mut pending = std::mem::take(&mut *self.pending());
        self.send(&mut pending);
    }
}

async fn send_when_told(acks: Weak<Acks>, work: Arc<Notify>) {
    loop {
        work.notified().await;
        // Others that are ready to settle do so first and share the frames.
        tokio::task::yield_now().await;
        let Some(acks) = acks.upgrade() else { return };
        acks.send(&mut acks.pending());
    }
}

#[async_trait]
impl Settler for Acks {
    fn settle(&self, ticket: Ticket, settlement: Settlement) -> Result<(), Ticket> {
        if ticket.generation != self.generation || !self.channel.status().connected() {
            return Err(ticket);
        }
        let how = match settlement {
            Settlement::Ack(_) => How::Ack,
            Settlement::Abandon => How::Back,
        };
        let mut pending = self.pending();
        pending.coalescer.settle(ticket.tag, how);
        let tell = !std::mem::replace(&mut pending.told, true);
        drop(pending);
        if tell {
            self.work.notify_one();
        }
        Ok(())
    }

    async fn flush(&self) {
        self.send(&mut self.pending());
        // Any call that is answered will do: the broker answers in order.
        let options = BasicQosOptions { global: false };
        let seen = timeout(
            self.deadline,
            self.channel.basic_qos(self.prefetch, options),
        )
        .await;
        tracing::trace!(?seen, "settlements flushed");
    }
}
