//! Taking thousands of messages at once.

use anyhow::{Context as _, Result};
use futures_util::stream::StreamExt as _;
use holdfast_servers::PATIENCE;
use lapin::message::Delivery;
use lapin::options::{BasicAckOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::FieldTable;

use crate::client::{Client, Got, texts};

/// Messages that one acknowledgement is for.
const SETTLED_AT_ONCE: u32 = 500;
/// Messages on their way to a client that takes them as they come.
const AHEAD: u16 = 500;

impl Client {
    /// Takes messages as they come, until the connection ends or the broker ends
    /// the consumer. One that was not acknowledged by then comes again.
    ///
    /// # Errors
    /// When there is no such queue, and when the connection breaks.
    pub async fn take_on(&self, queue: &str, mut each: impl FnMut(Got)) -> Result<()> {
        let channel = self.connection.create_channel().await?;
        channel.basic_qos(AHEAD, BasicQosOptions::default()).await?;
        let mut consumer = channel
            .basic_consume(
                queue.into(),
                "".into(),
                BasicConsumeOptions::default(),
                FieldTable::default(),
            )
            .await?;
        while let Some(delivery) = consumer.next().await {
            let delivery = delivery?;
            let acker = delivery.acker.clone();
            each(got(delivery));
            acker.ack(BasicAckOptions::default()).await?;
        }
        Ok(())
    }

    /// Takes everything that is ready in a queue, by consuming it.
    ///
    /// # Errors
    /// When there is no such queue, or the broker does not deliver.
    pub async fn take_many(&self, queue: &str) -> Result<Vec<Got>> {
        let mut all = Vec::new();
        loop {
            let ready = self.depth(queue).await?;
            if ready == 0 {
                return Ok(all);
            }
            let channel = self.connection.create_channel().await?;
            let mut consumer = channel
                .basic_consume(
                    queue.into(),
                    "".into(),
                    BasicConsumeOptions::default(),
                    FieldTable::default(),
                )
                .await?;
            for left in (0..ready).rev() {
                let next = tokio::time::timeout(PATIENCE, consumer.next()).await;
                let delivery = next
                    .with_context(|| format!("{queue}: no delivery, {left} are missing"))?
                    .context("the consumer ended")??;
                // A quorum queue hands over 2000 before the first of them is
                // settled. Few commands, since of many it forgets the last ones
                // when the channel ends.
                if left.is_multiple_of(SETTLED_AT_ONCE) {
                    let options = BasicAckOptions { multiple: true };
                    delivery.acker.ack(options).await?;
                }
                all.push(got(delivery));
            }
            // An acknowledgement that is followed at once by the end of its
            // channel may not count; this waits until the broker has seen it.
            let options = QueueDeclareOptions {
                passive: true,
                ..QueueDeclareOptions::default()
            };
            channel
                .queue_declare(queue.into(), options, FieldTable::default())
                .await?;
            channel.close(200, "taken".into()).await?;
        }
    }
}

fn got(delivery: Delivery) -> Got {
    let headers = delivery.properties.headers().as_ref();
    let id = delivery.properties.message_id().as_ref();
    Got {
        headers: headers.map(texts).unwrap_or_default(),
        id: id.map(ToString::to_string).unwrap_or_default(),
        body: delivery.data,
    }
}
