//! One consumer on one channel.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use futures_util::{FutureExt as _, StreamExt as _};
use holdfast_ports::broker::{Delivery, Ended, Settler, Subscribe, Subscription};
use holdfast_ports::error::PortError;
use lapin::Consumer;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;
use tokio::time::{Instant, sleep};

use crate::acks::{Acks, Consumed};
use crate::alone::alone;
use crate::link::Link;
use crate::options::Options;
use crate::{convert, error, topology};

/// Between two looks at a queue.
const PAUSE: Duration = Duration::from_millis(20);

/// How long the broker may take to take back what a consumer had that is gone:
/// where nobody else may consume, and where others may.
const TAKEN_BACK: Duration = Duration::from_secs(2);
const TAKEN_BACK_BY_ALL: Duration = Duration::from_millis(300);

/// A running consumer.
pub(crate) struct Consuming {
    queue: String,
    link: Arc<Link>,
    /// The broker lets one consumer at a time have messages.
    single_active: bool,
    /// Others are kept away.
    exclusive: bool,
    closed: bool,
    consumer: Consumer,
    acks: Arc<Acks>,
    /// Ends with the connection.
    lost: Pin<Box<dyn Future<Output = ()> + Send>>,
    ended: Option<Ended>,
}

/// Starts consuming on a channel of its own. The prefetch is set first: without
/// it the client's buffer has no bound.
pub(crate) async fn subscribe(
    link: &Arc<Link>,
    options: Arc<Options>,
    request: &Subscribe,
    single_active: bool,
    generation: u64,
) -> Result<Consuming, PortError> {
    let queue = &request.queue;
    // A queue for a single active consumer takes no exclusive ones, and needs
    // none.
    let exclusive = request.exclusive && !single_active;
    let refused = |reason: String| {
        let what = format!("consume from queue {queue:?}");
        PortError::permanent(what).because(reason)
    };
    let name = convert::short("queue name", queue.clone()).map_err(refused)?;
    let tag = format!("{}-{generation}", request.consumer);
    let tag = convert::short("consumer name", tag).map_err(refused)?;
    let prefetch = request.prefetch.max(1);

    link.connection().await?;
    let lost = Box::pin(link.lost());
    let channel = link.channel().await?;
    let alone = if exclusive {
        let what = format!("be the only consumer of queue {queue:?}");
        let name = format!("{queue}.exclusive");
        let alone = alone(link, &channel, what, name).await?;
        taken_back(link, queue, TAKEN_BACK).await;
        Some(alone)
    } else {
        None
    };
    let qos = channel.basic_qos(prefetch, BasicQosOptions { global: false });
    link.within(format!("set the prefetch to {prefetch}"), qos)
        .await?;
    let manual = BasicConsumeOptions {
        exclusive,
        ..BasicConsumeOptions::default()
    };
    let consume = channel.basic_consume(name, tag, manual, FieldTable::default());
    let consumer = link
        .within(format!("consume from queue {queue:?}"), consume)
        .await?;
    let of = Consumed {
        queue: consumer.queue(),
        consumer: consumer.tag(),
        prefetch,
        exclusive,
        deadline: options.call_deadline,
    };
    Ok(Consuming {
        queue: queue.clone(),
        link: Arc::clone(link),
        single_active,
        exclusive,
        closed: false,
        consumer,
        acks: Acks::new(generation, channel, of, alone),
        lost,
        ended: None,
    })
}

impl Consuming {
    pub(crate) fn acks(&self) -> &Arc<Acks> {
        &self.acks
    }

    fn end(&mut self, error: Option<&lapin::Error>) -> Ended {
        let ended = match error {
            Some(error) => Ended::Closed(error::text(error)),
            None if self.acks.is_open() => Ended::Cancelled,
            None => Ended::Closed("the channel is gone".to_owned()),
        };
        self.ended = Some(ended.clone());
        ended
    }
}

#[async_trait]
impl Subscription for Consuming {
    async fn next(&mut self) -> Result<Delivery, Ended> {
        if let Some(ended) = &self.ended {
            return Err(ended.clone());
        }
        let next = tokio::select! {
            biased;
            next = self.consumer.next() => next,
            () = &mut self.lost => {
                self.acks.lost();
                None
            }
        };
        match next {
            Some(Ok(delivery)) => {
                let ticket = self.acks.delivered(delivery.delivery_tag);
                let message = Arc::new(convert::incoming(delivery, &self.queue));
                Ok(Delivery { message, ticket })
            }
            Some(Err(error)) => Err(self.end(Some(&error))),
            None => Err(self.end(None)),
        }
    }

    fn settler(&self) -> Arc<dyn Settler> {
        self.acks.clone()
    }

    async fn cancel(&mut self) {
        if self.ended.is_some() {
            return;
        }
        self.ended = Some(Ended::Closed("the host stopped consuming".to_owned()));
        self.acks.cancel().await;
        self.hand_back_buffered();
    }

    async fn close(&mut self) {
        if self.closed {
            return;
        }
        self.closed = true;
        self.ended = Some(Ended::Closed("the host stopped consuming".to_owned()));
        // What is given back singly goes behind everything else in a quorum
        // queue without a delivery limit; what a channel had when it ended keeps
        // its place (seen with RabbitMQ 3.10). So nothing is cancelled or given
        // back here.
        let open = self.acks.is_open();
        self.acks.end().await;
        if open && !self.exclusive && !self.single_active {
            let (queue, within) = (&self.queue, TAKEN_BACK_BY_ALL);
            taken_back(&self.link, queue, within).await;
        }
    }
}

/// Waits until the broker has taken back what consumers that are gone had in
/// hand: their channels end first, and for a moment a new consumer would get
/// what lies behind. Queue and consumers are counted at one time, so that
/// without a consumer everything is there.
async fn taken_back(link: &Link, queue: &str, within: Duration) {
    let asked = Instant::now();
    while asked.elapsed() < within {
        match topology::counts(link, queue).await {
            Ok(Some(counts)) if counts.consumers > 0 => sleep(PAUSE).await,
            _ => return,
        }
    }
    tracing::debug!(queue, "somebody else consumes from this queue");
}

impl Consuming {
    /// The broker sends nothing after its answer to a cancel: what is left is
    /// here.
    fn hand_back_buffered(&mut self) {
        let mut buffered = VecDeque::new();
        while let Some(Some(Ok(delivery))) = self.consumer.next().now_or_never() {
            buffered.push_back(delivery.delivery_tag);
        }
        self.acks.hand_back(buffered.into_iter());
    }
}
