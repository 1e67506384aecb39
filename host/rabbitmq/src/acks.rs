//! Settling the deliveries of one channel: callers mark them, a task sends what
//! they add up to. Nothing waits for the broker while it delivers, and nothing
//! is concluded from what was sent.
//!
//! Each frame is a command to the queue, which writes it to disk. So while a good
//! part of the prefetch is open and settlements follow each other closely, they
//! wait for others, at most [`SHARE`] and until there are many; what lies beyond
//! an open delivery waits once more, for it is one frame with those before it if
//! they follow. On a channel with less to do nothing waits.
//!
//! # The end of a channel
//!
//! A quorum queue's client inside the broker lets 32 commands be on their way to
//! the queue; each frame is one, and each delivery that was under way when the
//! consumer was cancelled. What comes on top it keeps aside until the queue has
//! applied those, and forgets it when the channel closes: messages come again
//! although they were acknowledged, and although the broker answered a later
//! call (seen with RabbitMQ 3.10).
//!
//! No length of time is enough for that on a busy machine. But a consumer begins
//! and ends with a command of its own, and the broker answers when the queue has
//! applied it, hence all before it. So before a channel closes another consumer
//! begins, by which everything that was on its way is applied; and a second one,
//! or the end of the first, by which the broker's client has learned that and has
//! sent what it kept aside. They begin without credit, which keeps RabbitMQ 3 from
//! sending them anything (seen with 3.10). Should a broker not know that argument,
//! each takes one message at most, which nobody looks at and which goes back when
//! the channel closes. The end of the first is for a channel that may stay for a
//! while, so that nothing more is delivered to it; the second one for those whose
//! order counts, since what is under way at a cancel loses its place. Where a
//! consumer asked to be the only one, none can begin; there settlements come in
//! order and share few frames, and a pause does.

use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError, Weak};
use std::time::Duration;

use async_trait::async_trait;
use futures_util::FutureExt as _;
use holdfast_core::settle::Settlement;
use holdfast_ports::broker::{Settler, Ticket};
use lapin::options::{
    BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicNackOptions, BasicQosOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::sync::Notify;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::coalesce::{Beyond, Frame, How};
use crate::convert;
use crate::pending::{Pace, Pending, SHARE};

/// How long settlements may wait for others to share frames with, when messages
/// go back or no more come.
const GATHER: Duration = Duration::from_millis(5);

/// The part of the prefetch that has to be open for settlements to wait, and that
/// they may add up to while they do.
const PART: usize = 4;

/// How often a channel is looked at while an answer is awaited.
const LOOK: Duration = Duration::from_millis(100);

/// How long a queue may take to apply what is on its way, where it cannot be asked.
const APPLIED: Duration = Duration::from_millis(20);

/// The settlements of one channel.
pub(crate) struct Acks {
    generation: u64,
    channel: Channel,
    of: Consumed,
    pending: Mutex<Pending>,
    /// The connection is gone, whatever the channel says.
    lost: AtomicBool,
    /// Held while frames are sent and the broker's answer is awaited.
    turn: tokio::sync::Mutex<()>,
    work: Arc<Notify>,
    task: JoinHandle<()>,
    /// Consumers that live until the channel ends: what keeps others away, and
    /// those that began so that settlements were applied.
    others: Mutex<Vec<Consumer>>,
}

/// What a channel is for.
pub(crate) struct Consumed {
    pub(crate) queue: ShortString,
    /// The consumer's tag.
    pub(crate) consumer: ShortString,
    pub(crate) prefetch: u16,
    /// It asked to be the only one.
    pub(crate) exclusive: bool,
    /// How long the broker may take to answer.
    pub(crate) deadline: Duration,
}

impl Acks {
    pub(crate) fn new(
        generation: u64,
        channel: Channel,
        of: Consumed,
        alone: Option<Consumer>,
    ) -> Arc<Self> {
        Arc::new_cyclic(|acks| {
            let work = Arc::new(Notify::new());
            Self {
                generation,
                channel,
                of,
                pending: Mutex::default(),
                lost: AtomicBool::new(false),
                turn: tokio::sync::Mutex::default(),
                work: work.clone(),
                task: tokio::spawn(send_when_told(acks.clone(), work)),
                others: Mutex::new(alone.into_iter().collect()),
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
    pub(crate) async fn cancel(&self) {
        let _turn = self.turn.lock().await;
        self.pending().cancelled = true;
        self.cancel_consumer(self.of.consumer.clone()).await;
        // What was under way is given back.
        self.pending().unsure = true;
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

    fn others(&self) -> MutexGuard<'_, Vec<Consumer>> {
        self.others.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn part(&self) -> usize {
        (usize::from(self.of.prefetch) / PART).max(1)
    }

    fn tell(&self, mut pending: MutexGuard<'_, Pending>) {
        let tell = !std::mem::replace(&mut pending.told, true);
        drop(pending);
        if tell {
            self.work.notify_one();
        }
    }

    /// Sends what was settled, and returns when the queue is sure to apply it even
    /// if the channel closes.
    async fn send_with_care(&self) {
        if !self.is_open() {
            return;
        }
        let _turn = self.turn.lock().await;
        let cancelled = {
            let mut pending = self.pending();
            self.send(&mut pending, Beyond::All);
            if !pending.unsure {
                return;
            }
            pending.cancelled
        };
        if self.of.exclusive && !cancelled {
            self.set_prefetch(self.of.prefetch).await;
            sleep(APPLIED).await;
        } else {
            self.set_prefetch(1).await;
            let another = self.begin_another().await;
            match another {
                Some(another) if cancelled => self.cancel_consumer(another).await,
                _ => drop(self.begin_another().await),
            }
        }
        self.set_prefetch(self.of.prefetch).await;
        self.pending().unsure = false;
    }

    /// Sends what was settled but for what may share a frame with others later.
    fn send_shared(&self) {
        let mut pending = self.pending();
        if pending.shares(self.part()) {
            self.send(&mut pending, Beyond::Held);
            if pending.coalescer.holds() {
                self.tell(pending);
            }
        } else {
            self.send(&mut pending, Beyond::All);
        }
    }

    async fn cancel_consumer(&self, name: ShortString) {
        let options = BasicCancelOptions::default();
        let cancel = self.channel.basic_cancel(name.clone(), options);
        let cancelled = self.while_open(cancel).await;
        tracing::debug!(consumer = %name, ?cancelled, "stopped consuming");
    }

    /// Begins a consumer, which the broker answers when the queue has applied
    /// everything before, and gives its name. What a channel had goes back
    /// consumer by consumer: the names are such that what this one takes goes
    /// back behind the rest.
    async fn begin_another(&self) -> Option<ShortString> {
        let name = format!("{}~{}", self.of.consumer, self.others().len());
        let name = convert::short("consumer name", name).ok()?;
        let (queue, manual) = (self.of.queue.clone(), BasicConsumeOptions::default());
        let consume = self
            .channel
            .basic_consume(queue, name, manual, without_credit());
        let begun = self.while_open(consume).await;
        tracing::trace!(?begun, "the queue applied what was settled");
        let another = begun?.ok()?;
        let name = another.tag();
        self.others().push(another);
        Some(name)
    }

    /// For consumers that begin from now on. The broker answers in order, so that
    /// it has read everything before.
    async fn set_prefetch(&self, count: u16) {
        let options = BasicQosOptions { global: false };
        let qos = self.channel.basic_qos(count, options);
        let answer = self.while_open(qos).await;
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
            answer = timeout(self.of.deadline, call) => answer.ok(),
            () = gone => None,
        }
    }

    /// Sends frames. They leave under the lock, so that they arrive in the order in
    /// which they were decided. The library queues a frame when its future is
    /// first polled; the rest of the future is a wait that nobody needs.
    fn send(&self, pending: &mut Pending, beyond: Beyond) {
        pending.sending(Instant::now());
        let Pending {
            coalescer,
            frames,
            unsure,
            ..
        } = pending;
        coalescer.take(frames, beyond);
        *unsure |= !frames.is_empty();
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
    }
}

impl Drop for Acks {
    fn drop(&mut self) {
        self.task.abort();
        let mut pending = std::mem::take(&mut *self.pending());
        self.send(&mut pending, Beyond::All);
    }
}

/// The argument of a consumer that is given nothing until it asks, by which the
/// broker's other protocols tell a queue how much they take.
pub(crate) fn without_credit() -> FieldTable {
    let mut credit = FieldTable::default();
    credit.insert("credit".into(), AMQPValue::LongLongInt(0));
    credit.insert("drain".into(), AMQPValue::Boolean(false));
    let mut arguments = FieldTable::default();
    arguments.insert("x-credit".into(), AMQPValue::FieldTable(credit));
    arguments
}

async fn send_when_told(acks: Weak<Acks>, work: Arc<Notify>) {
    loop {
        work.notified().await;
        match acks.upgrade().map(|acks| acks.pending().pace(acks.part())) {
            Some(Pace::Gather) => sleep(GATHER).await,
            // Told again when it is worth it.
            Some(Pace::Share) => drop(timeout(SHARE, work.notified()).await),
            // Others that are ready to settle do so first and share the frames.
            Some(Pace::Now) => tokio::task::yield_now().await,
            None => return,
        }
        let Some(acks) = acks.upgrade() else { return };
        let _turn = acks.turn.lock().await;
        acks.send_shared();
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
        let part = self.part();
        let many = pending.coalescer.fresh() == part;
        let last = pending.coalescer.open() + 1 == part;
        if many || last {
            // There is a reason to wait no longer.
            pending.told = false;
        }
        self.tell(pending);
        Ok(())
    }

    async fn flush(&self) {
        self.send_with_care().await;
    }
}
