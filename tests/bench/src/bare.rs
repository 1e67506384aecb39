//! The loop of every tutorial: take a message, acknowledge it.

use anyhow::{Context, Result};
use futures_util::StreamExt;
use lapin::options::BasicAckOptions;
use serde_json::Value;

use crate::cpu::Stopwatch;
use crate::{Source, broker};

pub(crate) async fn consume(source: &Source) -> Result<Value> {
    let (connection, channel) = broker::connect(&source.amqp).await?;
    let stopwatch = Stopwatch::start()?;
    let mut deliveries = broker::subscribe(&channel, &source.queue).await?;
    for _ in 0..source.messages {
        let delivery = deliveries.next().await.context("the deliveries ended")??;
        delivery.ack(BasicAckOptions::default()).await?;
    }
    broker::settle(&channel, &source.queue).await?;
    let report = stopwatch.report(source.messages)?;
    broker::finish(connection, &source.amqp, &source.queue).await?;
    Ok(report)
}
