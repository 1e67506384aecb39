//! Looking through a queue.
//!
//! Messages are taken by consumers and not acknowledged, which is the only way
//! to see them in this protocol. They go back when the channel ends, and only
//! so: what a dead channel had, a quorum queue puts back at its head and in its
//! order; what is handed back by a nack, or arrives for a consumer that was
//! cancelled, it puts at its *end* (seen with RabbitMQ 3.10, for queues without
//! a delivery limit). Single gets would come back in any order, and each waits
//! for the queue's disk.
//!
//! Each consumer takes a *window* of messages. It is cancelled once it has all
//! of them, or an acknowledgement would let it take more than was asked for; the
//! next one begins where it ended. Windows grow while messages are small, so
//! that neither memory nor time is spent without bound.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{FutureExt as _, StreamExt as _};
use holdfast_ports::error::{Kind, PortError};
use holdfast_ports::look::{Counts, Look, Seen, Spot};
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicCancelOptions, BasicConsumeOptions, BasicQosOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::runtime::Handle;
use tokio::task::JoinHandle;
use tokio::time::{Instant, sleep, timeout};

use crate::acks::without_credit;
use crate::alone::alone;
use crate::link::Link;
use crate::version::Version;
use crate::{convert, error, topology};

/// Between two tries to be the only one who looks.
const PAUSE: Duration = Duration::from_millis(50);

/// Messages in the first window, and at most in any.
const FIRST_WINDOW: u64 = 8;
const LARGEST_WINDOW: u64 = 1000;

/// Bytes that a window should have at most.
const WINDOW_BYTES: u64 = 16 << 20;

/// What a message costs besides its body.
const OVERHEAD: u64 = 512;

/// A silence of the broker after which nothing more is expected, although more
/// was there at the beginning: another consumer has it.
const SILENCE: Duration = Duration::from_secs(5);

/// A message that was delivered so often is not looked at where the broker may
/// drop it, by default after twenty times.
const LAST_DELIVERY: u64 = 10;

/// How long messages may be on their way back.
const LONGEST_RETURN: Duration = Duration::from_secs(5);

/// The consumers that begin when messages were removed. Their names come after
/// those of all windows, so that what they take goes back behind theirs.
const LAST: [&str; 2] = ["look-last", "look-last~1"];

/// A look that goes on.
pub(crate) struct Looking {
    link: Arc<Link>,
    channel: Channel,
    queue: String,
    ready: u64,
    /// Messages that are still to be seen.
    left: u64,
    window: Option<Window>,
    /// Windows so far, messages seen, and what they weighed.
    windows: u32,
    seen: u64,
    bytes: u64,
    removed: u64,
    /// The broker may drop a message after some deliveries, and a look is one.
    may_drop: bool,
    lost: Lost,
    /// The consumers that began when messages were removed.
    last: Vec<Consumer>,
    /// Keeps others out until everything is back.
    turn: Option<Turn>,
}

/// Being the only one who looks at a queue, until this is dropped.
struct Turn {
    /// Its own, so that it outlives the one of the messages.
    _channel: Channel,
    _alone: Consumer,
}

/// Ends with the connection.
type Lost = Pin<Box<dyn Future<Output = ()> + Send>>;

struct Window {
    tag: ShortString,
    consumer: Consumer,
    /// Messages that it was asked for and has not given yet.
    owes: u64,
    /// What it had given when it was cancelled, once it is.
    rest: Option<VecDeque<Delivery>>,
}

impl Looking {
    /// Waits until nobody else looks; none when there is no such queue.
    pub(crate) async fn begin(
        link: Arc<Link>,
        version: Option<Version>,
        queue: &str,
        limit: usize,
    ) -> Result<Option<Self>, PortError> {
        let (turn, lost) = enter(&link, queue).await?;
        let channel = link.channel().await?;
        let Some(counts) = topology::counts(&link, queue).await? else {
            return Ok(None);
        };
        Ok(Some(Self {
            lost,
            may_drop: topology::may_limit(&link, version, queue).await?,
            link,
            channel,
            queue: queue.to_owned(),
            ready: counts.ready,
            left: counts.ready.min(u64::try_from(limit).unwrap_or(u64::MAX)),
            window: None,
            windows: 0,
            seen: 0,
            bytes: 0,
            removed: 0,
            last: Vec::new(),
            turn: Some(turn),
        }))
    }

    fn what(&self) -> String {
        format!("look through queue {:?}", self.queue)
    }

    /// As many as fit, by the size of those seen so far.
    fn window_size(&self) -> u64 {
        let size = match self.windows {
            0 => FIRST_WINDOW,
            windows => {
                let average = (self.bytes + self.seen * OVERHEAD) / self.seen.max(1);
                let fits = WINDOW_BYTES / average.max(1);
                let growth = FIRST_WINDOW << (2 * windows).min(20);
                fits.min(growth)
            }
        };
        size.clamp(1, LARGEST_WINDOW).min(self.left)
    }

    async fn open(&mut self) -> Result<Window, PortError> {
        let size = self.window_size();
        let prefetch = u16::try_from(size).unwrap_or(u16::MAX);
        let qos = self
            .channel
            .basic_qos(prefetch, BasicQosOptions { global: false });
        self.link.within(self.what(), qos).await?;
        // In the order of their names, which is the order in which a queue gives
        // back what they had.
        let tag = ShortString::from(format!("look-{:06}", self.windows));
        let queue = ShortString::from(self.queue.as_str());
        let manual = BasicConsumeOptions::default();
        let consume = self
            .channel
            .basic_consume(queue, tag.clone(), manual, FieldTable::default());
        let consumer = self.link.within(self.what(), consume).await?;
        self.windows += 1;
        Ok(Window {
            tag,
            consumer,
            owes: size,
            rest: None,
        })
    }

    /// Waits for what the window still owes, then cancels it.
    async fn close(&mut self, window: &mut Window) -> Result<(), PortError> {
        if window.rest.is_some() {
            return Ok(());
        }
        let mut rest = VecDeque::new();
        while let Some(delivery) = self.wait(window).await? {
            rest.push_back(delivery);
        }
        let cancel = self
            .channel
            .basic_cancel(window.tag.clone(), BasicCancelOptions::default());
        self.link.within(self.what(), cancel).await?;
        // It had all of its messages, unless it was silent for long.
        while let Some(Some(Ok(delivery))) = window.consumer.next().now_or_never() {
            rest.push_back(delivery);
        }
        window.rest = Some(rest);
        Ok(())
    }

    /// The next message of a window; none when it has no more.
    async fn give(&mut self, window: &mut Window) -> Result<Option<Delivery>, PortError> {
        match &mut window.rest {
            Some(rest) => Ok(rest.pop_front()),
            None => self.wait(window).await,
        }
    }

    /// The next message that a window owes.
    async fn wait(&mut self, window: &mut Window) -> Result<Option<Delivery>, PortError> {
        if window.owes == 0 {
            return Ok(None);
        }
        let next = tokio::select! {
            biased;
            next = timeout(SILENCE, window.consumer.next()) => Some(next),
            () = &mut self.lost => None,
        };
        match next {
            None => Err(self.gone("the connection was lost")),
            Some(Ok(Some(Ok(delivery)))) => {
                window.owes -= 1;
                Ok(Some(delivery))
            }
            Some(Ok(Some(Err(error)))) => Err(error::port(self.what(), &error)),
            Some(Ok(None)) => Err(self.gone("the broker ended it; was the queue deleted?")),
            Some(Err(_)) => {
                window.owes = 0;
                self.left = 0;
                Ok(None)
            }
        }
    }

    fn gone(&self, why: &str) -> PortError {
        PortError::transient(self.what()).because(why)
    }

    /// Returns when the queue is sure to apply what was removed: two consumers
    /// begin (why is told in `acks`), and the broker gives another answer.
    async fn applied(&mut self) -> Result<(), PortError> {
        if self.removed > 0 {
            self.answered().await?;
            for name in LAST {
                let queue = ShortString::from(self.queue.as_str());
                let (manual, nothing) = (BasicConsumeOptions::default(), without_credit());
                let consume = self
                    .channel
                    .basic_consume(queue, name.into(), manual, nothing);
                self.last
                    .push(self.link.within(self.what(), consume).await?);
            }
            self.answered().await?;
        }
        Ok(())
    }

    /// The broker has read everything that was sent, and lets the next consumer
    /// have one message.
    async fn answered(&mut self) -> Result<(), PortError> {
        let qos = self.channel.basic_qos(1, BasicQosOptions { global: false });
        self.link.within(self.what(), qos).await
    }

    /// Ends the channel, waits until what was not removed is back, and lets the
    /// next one look: on a task of its own, which goes on if nobody waits.
    fn end(&mut self) -> Option<JoinHandle<()>> {
        let turn = self.turn.take()?;
        // They end with the channel: by a cancel, what they took would go back behind
        // everything else.
        let last = std::mem::take(&mut self.last);
        let (link, channel) = (self.link.clone(), self.channel.clone());
        let (queue, what) = (self.queue.clone(), self.what());
        let expected = self.ready.saturating_sub(self.removed);
        let end = async move {
            let closed = link.within(what, channel.close(200, "OK".into())).await;
            drop(last);
            let returned = back(&link, &queue, expected).await;
            tracing::trace!(?closed, ?returned, queue, "looked through");
            drop(turn);
        };
        Some(Handle::try_current().ok()?.spawn(end))
    }
}

/// Waits until nobody else looks at a queue.
async fn enter(link: &Arc<Link>, queue: &str) -> Result<(Turn, Lost), PortError> {
    let what = || format!("be the only one who looks through queue {queue:?}");
    let start = Instant::now();
    loop {
        link.connection().await?;
        let lost: Lost = Box::pin(link.lost());
        let channel = link.channel().await?;
        match alone(link, &channel, what(), format!("{queue}.look")).await {
            Ok(alone) => {
                let turn = Turn {
                    _channel: channel,
                    _alone: alone,
                };
                return Ok((turn, lost));
            }
            // Someone else is in, or just left.
            Err(refused) if refused.kind == Kind::Permanent => {
                if start.elapsed() > link.call_deadline() {
                    let why = format!("another look goes on ({refused}); try again later");
                    return Err(PortError::transient(what()).because(why));
                }
                sleep(PAUSE).await;
            }
            Err(error) => return Err(error),
        }
    }
}

#[async_trait]
impl Look for Looking {
    fn ready(&self) -> u64 {
        self.ready
    }

    async fn next(&mut self) -> Result<Option<Seen>, PortError> {
        while self.left > 0 {
            let mut window = match self.window.take() {
                Some(window) => window,
                None => self.open().await?,
            };
            let Some(delivery) = self.give(&mut window).await? else {
                self.close(&mut window).await?;
                if window.rest.as_ref().is_some_and(|rest| !rest.is_empty()) {
                    self.window = Some(window);
                }
                continue;
            };
            self.window = Some(window);
            let times = convert::deliveries(&delivery.properties);
            if self.may_drop && times >= LAST_DELIVERY {
                let why = format!(
                    "a message in it was delivered {times} times, and this broker may drop it \
                     after some more; declare the queue with x-delivery-limit = -1, or set that \
                     by a policy"
                );
                return Err(PortError::permanent(self.what()).because(why));
            }
            self.left -= 1;
            self.seen += 1;
            self.bytes += delivery.data.len() as u64;
            let (spot, own) = (
                Spot(delivery.delivery_tag),
                convert::own(&delivery.properties),
            );
            let message = Arc::new(convert::incoming(delivery, &self.queue));
            return Ok(Some(Seen { spot, message, own }));
        }
        Ok(None)
    }

    async fn remove(&mut self, seen: Spot) -> Result<(), PortError> {
        if let Some(mut window) = self.window.take() {
            self.close(&mut window).await?;
            self.window = Some(window);
        }
        let ack = self
            .channel
            .basic_ack(seen.0, BasicAckOptions { multiple: false });
        let what = format!("remove a message from queue {:?}", self.queue);
        self.link.within(what, ack).await?;
        self.removed += 1;
        Ok(())
    }

    async fn leave(mut self: Box<Self>) -> Result<(), PortError> {
        if let Some(mut window) = self.window.take() {
            self.close(&mut window).await?;
        }
        self.applied().await?;
        if let Some(end) = self.end() {
            let _ = end.await;
        }
        Ok(())
    }
}

impl Drop for Looking {
    fn drop(&mut self) {
        self.end();
    }
}

/// Waits until what was not removed is back, unless consumers take it at once.
async fn back(link: &Link, queue: &str, expected: u64) -> Result<(), PortError> {
    let start = Instant::now();
    while start.elapsed() < LONGEST_RETURN {
        let counts = topology::counts(link, queue).await?;
        let waits = |counts: &Counts| counts.consumers == 0 && counts.ready < expected;
        if !counts.as_ref().is_some_and(waits) {
            break;
        }
        sleep(PAUSE / 5).await;
    }
    Ok(())
}
