//! Settling the deliveries of one channel: callers mark them, a task sends what
//! they add up to. Nothing waits for the broker while it delivers, and nothing
//! is concluded from what was sent.
//!
//! # The end of a channel
//!
//! A quorum queue's client inside the broker lets 32 commands be on their way to
//! the queue; each frame is one. What comes on top it keeps aside until those
//! are applied, and forgets it when the channel closes: messages come again
//! although they were acknowledged, and although the broker answered a later
//! call (seen with RabbitMQ 3.10). A cancel makes it worse: each delivery that
//! was under way is given back by a command of its own.
//!
//! So from a cancel on frames are few, each for a run of deliveries, and they
//! are counted. The first wait until the queue had time to apply what was before
//! them; up to [`AT_ONCE`] then need nothing but an answer of the broker, and
//! more of them wait again. How long is measured: the broker answers a cancel
//! only when the queue has applied it.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use holdfast_core::settle::Settlement;
use holdfast_ports::broker::{Settler, Ticket};
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicNackOptions, BasicQosOptions};
use lapin::types::ShortString;
use lapin::{Channel, Consumer};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::coalesce::{Coalescer, Frame, How};

/// Frames that the broker passes on at once when nothing else is on its way:
/// below its 32, since what it had kept aside becomes a few commands more.
const AT_ONCE: usize = 24;

/// How long settlements may wait for others to share frames with.
const GATHER: Duration = Duration::from_millis(5);

/// How often a channel is looked at while an answer is awaited.
const LOOK: Duration = Duration::from_millis(100);

/// How long a queue may take to apply what is on its way, as long as no cancel
/// was measured; and the bounds of what is concluded from one.
const APPLIED: Duration = Duration::from_millis(20);
const SHORTEST_APPLIED: Duration = Duration::from_millis(10);
const LONGEST_APPLIED: Duration = Duration::from_millis(500);

/// The settlements of one channel.
pub(crate) struct Acks {
    generation: u64,
    channel: Channel,
    prefetch: u16,
    deadline: Duration,
    pending: Mutex<Pending>,
    /// The connection is gone, whatever the channel says.
    lost: AtomicBool,
    /// Held while frames are sent and the broker's answer is awaited.
    turn: tokio::sync::Mutex<()>,
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
    /// Some of what was settled goes back.
    goes_back: bool,
    /// Nothing more is delivered.
    cancelled: Option<Cancelled>,
}

/// Since a cancel.
#[derive(Clone, Copy)]
struct Cancelled {
    /// Frames that the queue may not have applied yet; at first unknown, thus
    /// as many as there may be.
    on_their_way: usize,
    /// How long to wait until they are.
    applied_after: Duration,
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
                lost: AtomicBool::new(false),
                turn: tokio::sync::Mutex::default(),
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
        self.tell(pending);
    }

    /// Ends deliveries.
    pub(crate) async fn cancel(&self, consumer: ShortString) {
        let _turn = self.turn.lock().await;
        self.pending().cancelled = Some(Cancelled {
            on_their_way: AT_ONCE,
            applied_after: APPLIED,
        });
        let asked = Instant::now();
        let cancel = self
            .channel
            .basic_cancel(consumer, BasicCancelOptions::default());
        let cancelled = self.while_open(cancel).await;
        let took = asked.elapsed();
        if let Some(cancelled) = &mut self.pending().cancelled {
            cancelled.applied_after = (2 * took).clamp(SHORTEST_APPLIED, LONGEST_APPLIED);
        }
        self.answered().await;
        tracing::debug!(?cancelled, ?took, "stopped consuming");
    }

    /// Sends what was settled and closes the channel.
    pub(crate) async fn end(&self) {
        self.send_with_care().await;
        let close = self.channel.close(200, ShortString::default());
        let closed = self.while_open(close).await;
        tracing::trace!(?closed, "channel closed");
    }

    /// Can anything still be settled?
    pub(crate) fn is_open(&self) -> bool {
        !self.lost.load(Ordering::Acquire) && self.channel.status().connected()
    }

    pub(crate) fn lost(&self) {
        self.lost.store(true, Ordering::Release);
    }

    fn pending(&self) -> MutexGuard<'_, Pending> {
        self.pending.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Is it better to wait for more? After a cancel, and when messages go back,
    /// as they do just before a cancel: sooner, they would be delivered to this
    /// consumer again.
    fn gathers(&self) -> bool {
        let pending = self.pending();
        pending.goes_back || pending.cancelled.is_some()
    }

    fn tell(&self, mut pending: MutexGuard<'_, Pending>) {
        let tell = !std::mem::replace(&mut pending.told, true);
        drop(pending);
        if tell {
            self.work.notify_one();
        }
    }

    /// Sends what was settled, and returns when the broker is sure to pass it on
    /// even if the channel closes.
    async fn send_with_care(&self) {
        if !self.is_open() {
            return;
        }
        let _turn = self.turn.lock().await;
        self.send_all().await;
        self.answered().await;
        let unsure = |cancelled: Cancelled| cancelled.on_their_way == AT_ONCE;
        if self.pending().cancelled.is_none_or(unsure) {
            self.applied().await;
        }
    }

    /// Sends what was settled, with pauses. To be called in turn.
    async fn send_all(&self) {
        while self.send(&mut self.pending()) {
            self.answered().await;
            self.applied().await;
        }
    }

    /// Waits until the queue has applied what is on its way.
    async fn applied(&self) {
        let cancelled = self.pending().cancelled;
        sleep(cancelled.map_or(APPLIED, |cancelled| cancelled.applied_after)).await;
        self.answered().await;
        if let Some(cancelled) = &mut self.pending().cancelled {
            cancelled.on_their_way = 0;
        }
    }

    /// Waits for an answer of the broker: it answers in order, so that it has
    /// read everything before. Any call will do.
    async fn answered(&self) {
        let options = BasicQosOptions { global: false };
        let call = self.channel.basic_qos(self.prefetch, options);
        let answer = self.while_open(call).await;
        tracing::trace!(?answer, "settlements were read");
    }

    /// The answer to a call; none when it is late, or the channel is gone: the
    /// library forgets some calls that are made while the connection dies.
    async fn while_open<T>(&self, call: impl Future<Output = T>) -> Option<T> {
        let gone = async {
            while self.is_open() {
                sleep(LOOK).await;
            }
        };
        tokio::select! {
            biased;
            answer = timeout(self.deadline, call) => answer.ok(),
            () = gone => None,
        }
    }

    /// Sends frames; true when some had to be held back. They leave under the
    /// lock, so that they arrive in the order in which they were decided. The
    /// library queues a frame when its future is first polled; the rest of the
    /// future is a wait that nobody needs.
    fn send(&self, pending: &mut Pending) -> bool {
        let Pending {
            coalescer,
            frames,
            told,
            goes_back,
            cancelled,
        } = pending;
        (*told, *goes_back) = (false, false);
        let most = match cancelled {
            Some(cancelled) => AT_ONCE - cancelled.on_their_way,
            None => usize::MAX,
        };
        let more = coalescer.take(frames, most);
        if let Some(cancelled) = cancelled {
            cancelled.on_their_way += frames.len();
        }
        for frame in frames.drain(..) {
            let sent = match frame {
                Frame::Ack { tag, multiple } => {
                    let options = BasicAckOptions { multiple };
                    self.channel.basic_ack(tag, options).now_or_never()
                }
                Frame::Back { tag, multiple } => {
                    let requeue = true;
                    let options = BasicNackOptions { multiple, requeue };
                    self.channel.basic_nack(tag, options).now_or_never()
                }
            };
            if let Some(Err(error)) = sent {
                tracing::debug!(%error, "a settlement on a dead channel is void");
            }
        }
        more
    }
}

impl Drop for Acks {
    fn drop(&mut self) {
        self.task.abort();
        let mut pending = std::mem::take(&mut *self.pending());
        pending.cancelled = None;
        self.send(&mut pending);
    }
}

async fn send_when_told(acks: Weak<Acks>, work: Arc<Notify>) {
    loop {
        work.notified().await;
        match acks.upgrade().map(|acks| acks.gathers()) {
            Some(true) => sleep(GATHER).await,
            // Others that are ready to settle do so first and share the frames.
            Some(false) => tokio::task::yield_now().await,
            None => return,
        }
        let Some(acks) = acks.upgrade() else { return };
        let _turn = acks.turn.lock().await;
        acks.send_all().await;
    }
}

#[async_trait]
impl Settler for Acks {
    fn settle(&self, ticket: Ticket, settlement: Settlement) -> Result<(), Ticket> {
        if ticket.generation != self.generation || !self.is_open() {
            return Err(ticket);
        }
        let how = match settlement {
            Settlement::Ack(_) => How::Ack,
            Settlement::Abandon => How::Back,
        };
        let mut pending = self.pending();
        pending.coalescer.settle(ticket.tag, how);
        pending.goes_back |= how != How::Ack;
        self.tell(pending);
        Ok(())
    }

    async fn flush(&self) {
        self.send_with_care().await;
    }
}
