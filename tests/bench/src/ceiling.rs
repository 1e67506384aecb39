//! The reference made as fast as it goes: the scripts of up to 128 messages in
//! one pipeline, two such batches under way, one acknowledgement for each.

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, TryStreamExt};
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use redis::aio::MultiplexedConnection;
use redis::{Pipeline, Script};
use serde_json::Value;

use crate::claims::{self, Claims, KEEP_MS, LOCK_MS};
use crate::cpu::Stopwatch;
use crate::{Claiming, broker, order};

const BATCH: usize = 128;
const UNDER_WAY: usize = 2;

pub(crate) async fn consume(claiming: &Claiming) -> Result<Value> {
    let source = &claiming.source;
    let (connection, channel) = broker::connect(&source.amqp).await?;
    let mut store = claims::connect(&claiming.redis).await?;
    let claims = Claims::new();
    claims.load(&mut store).await?;

    let stopwatch = Stopwatch::start()?;
    broker::subscribe(&channel, &source.queue)
        .await?
        .take(source.messages)
        .ready_chunks(BATCH)
        .map(|batch| process(batch, &claims, store.clone()))
        // In order: an acknowledgement covers every tag below it.
        .buffered(UNDER_WAY)
        .try_for_each(|last| {
            let acknowledged = channel.basic_ack(last, BasicAckOptions { multiple: true });
            async { acknowledged.await.context("failed to acknowledge") }
        })
        .await?;
    broker::settle(&channel, &source.queue).await?;
    let report = stopwatch.report(source.messages)?;
    broker::finish(connection, &source.amqp, &source.queue).await?;
    Ok(report)
}

/// Returns the tag of the batch's last message.
async fn process(
    batch: Vec<lapin::Result<Delivery>>,
    claims: &Claims,
    mut store: MultiplexedConnection,
) -> Result<u64> {
    let batch: Vec<Delivery> = batch.into_iter().collect::<lapin::Result<_>>()?;
    let begun = pipeline(&claims.begin, &batch, LOCK_MS)?;
    let begun: Vec<redis::Value> = begun.query_async(&mut store).await?;
    let ours = begun.iter().all(|answer| *answer == redis::Value::Int(1));
    ensure!(ours, "a message was claimed before");
    for delivery in &batch {
        order::handle(&delivery.data)?;
    }
    let committed = pipeline(&claims.commit, &batch, KEEP_MS)?;
    let committed: Vec<bool> = committed.query_async(&mut store).await?;
    ensure!(committed.iter().all(|ours| *ours), "a claim was lost");
    let last = batch.last().context("an empty batch")?;
    Ok(last.delivery_tag)
}

fn pipeline(script: &Script, batch: &[Delivery], time: u64) -> Result<Pipeline> {
    let mut pipeline = Pipeline::with_capacity(batch.len());
    for delivery in batch {
        pipeline
            .cmd("EVALSHA")
            .arg(script.get_hash())
            .arg(1)
            .arg(claims::key(delivery)?)
            .arg(claims::token(delivery))
            .arg(time);
    }
    Ok(pipeline)
}
