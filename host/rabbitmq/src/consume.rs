//! One consumer on one channel.

use std::collections::VecDeque;
use std::pin::Pin;
use std::sync::Arc;

use async_trait::async_trait;
use futures_util::{FutureExt as _, StreamExt as _};
use holdfast_ports::broker::{Delivery, Ended, Settler, Subscribe, Subscription};
use holdfast_ports::error::PortError;
use lapin::Consumer;
use lapin::options::{BasicConsumeOptions, BasicQosOptions};
use lapin::types::FieldTable;

use crate::acks::Acks;
use crate::alone::alone;
use crate::link::Link;
use crate::options::Options;
use crate::{convert, error};

/// A running consumer.
pub(crate) struct Consuming {
    queue: String,
    consumer: Consumer,
    acks: Arc<Acks>,
    /// Ends with the connection.
    lost: Pin<Box<dyn Future<Output = ()> + Send>>,
    ended: Option<Ended>,
}

/// Starts consuming on a channel of its own. The prefetch is set first: without
/// it the client's buffer has no bound.
pub(crate) async fn subscribe(
    link: &Link,
    options: Arc<Options>,
    request: &Subscribe,
    generation: u64,
) -> Result<Consuming, PortError> {
    let queue = &request.queue;
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
    let alone = if request.exclusive {
        let what = format!("be the only consumer of queue {queue:?}");
        let name = format!("{queue}.exclusive");
        Some(alone(link, &channel, what, name).await?)
    } else {
        None
    };
    let qos = channel.basic_qos(prefetch, BasicQosOptions { global: false });
    link.within(format!("set the prefetch to {prefetch}"), qos)
        .await?;
    let manual = BasicConsumeOptions {
        exclusive: request.exclusive,
        ..BasicConsumeOptions::default()
    };
    let consume = channel.basic_consume(name, tag, manual, FieldTable::default());
    let consumer = link
        .within(format!("consume from queue {queue:?}"), consume)
        .await?;
    let deadline = options.call_deadline;
    Ok(Consuming {
        queue: queue.clone(),
        consumer,
        acks: Acks::new(generation, channel, prefetch, deadline, alone),
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
        self.acks.cancel(self.consumer.tag()).await;
        // The broker sends nothing after its answer: what is left is here.
        let mut buffered = VecDeque::new();
        while let Some(Some(Ok(delivery))) = self.consumer.next().now_or_never() {
            buffered.push_back(delivery.delivery_tag);
        }
        self.acks.hand_back(buffered.into_iter());
    }
}
