//! One channel of a connection: deliveries on their way to the host,
//! settlements on theirs to the broker, both in order, both lost with it.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use holdfast_core::claim;
use holdfast_core::settle::{Confirmed, Ending, Settlement};
use holdfast_embedded::EmbeddedBroker;
use holdfast_history::{How, What};
use holdfast_ports::broker::{Broker as _, Delivery, Ended, Settler, Subscription, Ticket};
use holdfast_ports::message::{Incoming, Outgoing, Target};
use tokio::sync::{mpsc, oneshot};
use tokio::time::{Instant, sleep_until, timeout};

use crate::life::Life;
use crate::net::{Connection, Link, latency, pass};
use crate::setup::QUEUE;
use crate::world::World;

/// How long a client waits for the broker when it closes.
const CLOSING: Duration = Duration::from_secs(2);

/// What both ends of a channel know.
#[derive(Clone)]
pub(crate) struct Ends {
    pub(crate) world: Arc<World>,
    pub(crate) life: Arc<Life>,
    pub(crate) link: Arc<Link>,
    pub(crate) connection: Connection,
    pub(crate) side: &'static str,
}

impl Ends {
    fn due(&self) -> Instant {
        Instant::now() + latency(&mut self.world.dice())
    }
}

enum Op {
    Settle(Ticket, Settlement),
    Flush(oneshot::Sender<()>),
    Cancel(oneshot::Sender<()>),
    Close(Option<oneshot::Sender<()>>),
}

/// The host's end.
pub(crate) struct Channel {
    ends: Ends,
    deliveries: mpsc::UnboundedReceiver<(Instant, Delivery)>,
    /// Received, and not due yet.
    coming: Option<(Instant, Delivery)>,
    settling: Arc<Settling>,
}

struct Settling {
    ends: Ends,
    ops: mpsc::UnboundedSender<(Instant, Op)>,
    keys: Mutex<BTreeMap<u64, Option<String>>>,
}

impl Channel {
    pub(crate) fn open(ends: Ends, inner: Box<dyn Subscription>) -> Self {
        let (to_host, deliveries) = mpsc::unbounded_channel();
        let (ops, to_broker) = mpsc::unbounded_channel();
        let server = Server {
            ends: ends.clone(),
            broker: ends.world.brokers[ends.side].client(),
            settler: inner.settler(),
            inner,
            in_hand: BTreeMap::new(),
        };
        tokio::spawn(server.run(to_broker, to_host));
        let settling = Settling {
            ends: ends.clone(),
            ops,
            keys: Mutex::default(),
        };
        Self {
            ends,
            deliveries,
            coming: None,
            settling: Arc::new(settling),
        }
    }

    async fn arrival(&mut self) -> Option<Delivery> {
        if self.coming.is_none() {
            self.coming = Some(self.deliveries.recv().await?);
        }
        let due = self.coming.as_ref().map(|(due, _)| *due)?;
        sleep_until(due).await;
        self.ends.link.open().await;
        self.coming.take().map(|(_, delivery)| delivery)
    }

    /// Sends and waits for the answer, for a bounded time.
    async fn ask(&self, op: impl FnOnce(oneshot::Sender<()>) -> Op) {
        let (sender, answered) = oneshot::channel();
        self.settling.send(op(sender));
        tokio::select! {
            biased;
            () = self.ends.connection.at_host.cancelled() => {}
            _ = timeout(CLOSING, answered) => {}
        }
        self.ends.life.point().await;
    }
}

#[async_trait]
impl Subscription for Channel {
    async fn next(&mut self) -> Result<Delivery, Ended> {
        self.ends.life.point().await;
        let gone = self.ends.connection.at_host.clone();
        let next = if self.ends.connection.reads_to_the_end {
            tokio::select! {
                biased;
                next = self.arrival() => next,
                () = gone.cancelled() => None,
            }
        } else {
            tokio::select! {
                biased;
                () = gone.cancelled() => None,
                next = self.arrival() => next,
            }
        };
        let who = &self.ends.life.name;
        let Some(delivery) = next else {
            self.ends.world.note(who, format_args!("channel ended"));
            return Err(Ended::Closed("the connection is gone".to_owned()));
        };
        let (tag, key) = (delivery.ticket.tag, delivery.message.id.clone());
        let shown = key.as_deref().unwrap_or("-");
        self.ends
            .world
            .note(who, format_args!("delivered {shown} (#{tag})"));
        self.settling.keys().insert(tag, key);
        Ok(delivery)
    }

    fn settler(&self) -> Arc<dyn Settler> {
        Arc::clone(&self.settling) as Arc<dyn Settler>
    }

    async fn cancel(&mut self) {
        self.ask(Op::Cancel).await;
        let buffered = self.coming.take().map(|(_, delivery)| delivery);
        let mut back: Vec<Delivery> = buffered.into_iter().collect();
        while let Ok((_, delivery)) = self.deliveries.try_recv() {
            back.push(delivery);
        }
        for delivery in back {
            self.settling
                .send(Op::Settle(delivery.ticket, Settlement::Abandon));
        }
    }

    async fn close(&mut self) {
        self.ask(|answer| Op::Close(Some(answer))).await;
    }
}

impl Drop for Channel {
    fn drop(&mut self) {
        self.settling.send(Op::Close(None));
    }
}

impl Settling {
    fn send(&self, op: Op) {
        // The broker's end may be gone, which makes it void.
        let _ = self.ops.send((self.ends.due(), op));
    }

    fn keys(&self) -> std::sync::MutexGuard<'_, BTreeMap<u64, Option<String>>> {
        self.keys.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

#[async_trait]
impl Settler for Settling {
    fn settle(&self, ticket: Ticket, settlement: Settlement) -> Result<(), Ticket> {
        if self.ends.life.is_over() {
            return Err(ticket);
        }
        let key = self.keys().get(&ticket.tag).cloned().flatten();
        let how = match settlement.ending() {
            Ending::Completed => Some(How::Completed),
            Ending::Duplicate => Some(How::Duplicate),
            Ending::Stale => Some(How::Stale),
            Ending::DeadLettered => Some(How::DeadLettered),
            Ending::LeftToOwner => Some(How::LeftToOwner),
            Ending::Deferred => Some(How::Deferred),
            Ending::Abandoned => None,
        };
        let world = &self.ends.world;
        let gone = self.ends.connection.at_host.is_cancelled();
        world.note(
            &self.ends.life.name,
            format_args!(
                "settles {} (#{}): {:?}{}",
                key.as_deref().unwrap_or("-"),
                ticket.tag,
                settlement.ending(),
                if gone { ", void" } else { "" }
            ),
        );
        if let Some(how) = how {
            world.happened(What::Acknowledged {
                key,
                side: self.ends.side.to_owned(),
                how,
            });
        }
        if gone {
            return Err(ticket);
        }
        self.send(Op::Settle(ticket, settlement));
        Ok(())
    }

    async fn flush(&self) {
        let (sender, answered) = oneshot::channel();
        self.send(Op::Flush(sender));
        tokio::select! {
            biased;
            () = self.ends.connection.at_host.cancelled() => {}
            _ = timeout(CLOSING, answered) => {}
        }
        self.ends.life.point().await;
    }
}

/// The broker's end.
struct Server {
    ends: Ends,
    broker: EmbeddedBroker,
    settler: Arc<dyn Settler>,
    inner: Box<dyn Subscription>,
    in_hand: BTreeMap<u64, Arc<Incoming>>,
}

impl Server {
    async fn run(
        mut self,
        mut ops: mpsc::UnboundedReceiver<(Instant, Op)>,
        to_host: mpsc::UnboundedSender<(Instant, Delivery)>,
    ) {
        let gone = self.ends.connection.at_broker.clone();
        let mut consuming = true;
        loop {
            let op = tokio::select! {
                biased;
                () = gone.cancelled() => break,
                op = ops.recv() => match op {
                    Some(op) => op,
                    None => break,
                },
                next = self.inner.next(), if consuming => {
                    let Ok(delivery) = next else { break };
                    let tag = delivery.ticket.tag;
                    self.in_hand.insert(tag, Arc::clone(&delivery.message));
                    // The host may be gone; what it does not settle comes again.
                    let _ = to_host.send((self.ends.due(), delivery));
                    continue;
                }
            };
            let (due, op) = op;
            tokio::select! {
                biased;
                () = gone.cancelled() => break,
                () = async { sleep_until(due).await; self.ends.link.open().await; } => {}
            }
            match op {
                Op::Settle(ticket, settlement) => self.settle(ticket, settlement).await,
                Op::Flush(answer) => {
                    let _ = answer.send(());
                }
                Op::Cancel(answer) => {
                    self.inner.cancel().await;
                    consuming = false;
                    let _ = answer.send(());
                }
                Op::Close(answer) => {
                    self.inner.close().await;
                    if let Some(answer) = answer {
                        let _ = answer.send(());
                    }
                    break;
                }
            }
        }
        if self.ends.life.is_over() {
            // The broker learns of it a little later.
            let wait = latency(&mut self.ends.world.dice());
            pass(wait).await;
        }
        let Self { ends, inner, .. } = self;
        drop(inner);
        if gone.is_cancelled() {
            // The host is told once anything reaches it again.
            let (link, at_host) = (Arc::clone(&ends.link), ends.connection.at_host.clone());
            tokio::spawn(async move {
                link.open().await;
                at_host.cancel();
            });
        }
        ends.world.note(
            ends.side,
            format_args!("{}'s channel is closed", ends.life.name),
        );
    }

    /// A message that is handed back alone keeps its place, or goes behind all
    /// others, as quorum queues have it.
    async fn settle(&mut self, ticket: Ticket, settlement: Settlement) {
        let message = self.in_hand.remove(&ticket.tag);
        if let Settlement::Abandon = settlement
            && self.ends.world.plan.requeues_behind
            && let Some(message) = message
        {
            let taken = Settlement::Ack(claim::buried_without_claim(Confirmed::by_broker()));
            let _ = self.settler.settle(ticket, taken);
            let again = Outgoing {
                to: Target::Queue(QUEUE.to_owned()),
                body: message.body.clone(),
                id: message.id.clone(),
                content_type: message.content_type.clone(),
                headers: message.headers.clone(),
                timestamp_ms: message.timestamp_ms,
            };
            let _ = self.broker.publish(again).await;
            return;
        }
        let _ = self.settler.settle(ticket, settlement);
    }
}
