//! The reference: a consumer as a careful engineer would write it in an
//! afternoon. A task per message, the claim begun and committed by one script
//! call each on a shared connection, every message acknowledged by itself.

use std::sync::Arc;

use anyhow::{Context, Result, ensure};
use futures_util::{StreamExt, TryStreamExt};
use lapin::message::Delivery;
use lapin::options::BasicAckOptions;
use redis::aio::MultiplexedConnection;
use serde_json::Value;

use crate::claims::{self, Claims, KEEP_MS, LOCK_MS};
use crate::cpu::Stopwatch;
use crate::{Claiming, broker, order};

/// Messages handled at once.
const TASKS: usize = 256;

pub(crate) async fn consume(claiming: &Claiming) -> Result<Value> {
    let source = &claiming.source;
    let (connection, channel) = broker::connect(&source.amqp).await?;
    let mut store = claims::connect(&claiming.redis).await?;
    let claims = Arc::new(Claims::new());
    claims.load(&mut store).await?;

    let stopwatch = Stopwatch::start()?;
    broker::subscribe(&channel, &source.queue)
        .await?
        .take(source.messages)
        .map(|delivery| {
            let (claims, store) = (Arc::clone(&claims), store.clone());
            tokio::spawn(async move { process(delivery?, &claims, store).await })
        })
        .buffer_unordered(TASKS)
        .map(|ended| ended.context("a task ended early")?)
        .try_for_each(|()| async { Ok(()) })
        .await?;
    broker::settle(&channel, &source.queue).await?;
    let report = stopwatch.report(source.messages)?;
    broker::finish(connection, &source.amqp, &source.queue).await?;
    Ok(report)
}

async fn process(
    delivery: Delivery,
    claims: &Claims,
    mut store: MultiplexedConnection,
) -> Result<()> {
    let (key, token) = (claims::key(&delivery)?, claims::token(&delivery));
    let begun: redis::Value = claims
        .begin
        .key(&key)
        .arg(&token)
        .arg(LOCK_MS)
        .invoke_async(&mut store)
        .await
        .context("failed to begin a claim")?;
    ensure!(
        begun == redis::Value::Int(1),
        "{key} was claimed before: {begun:?}"
    );
    order::handle(&delivery.data)?;
    let committed: bool = claims
        .commit
        .key(&key)
        .arg(&token)
        .arg(KEEP_MS)
        .invoke_async(&mut store)
        .await
        .context("failed to commit a claim")?;
    ensure!(committed, "the claim of {key} was lost");
    delivery.ack(BasicAckOptions::default()).await?;
    Ok(())
}
