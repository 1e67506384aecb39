//! Filling a queue.

use std::collections::VecDeque;

use anyhow::{Context, Result, ensure};
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions, QueueDeclareOptions};
use lapin::types::{AMQPValue, FieldTable};
use lapin::{BasicProperties, Channel, PublisherConfirm};
use serde_json::Value;

use crate::cpu::Stopwatch;
use crate::{Source, broker, order};

/// Publishes without a confirm seen yet; more would only fill buffers.
const UNCONFIRMED: usize = 2000;

/// Declares the queue unless it exists, and fills it.
pub(crate) async fn publish(source: &Source, run: &str) -> Result<Value> {
    let (connection, channel) = broker::connect(&source.amqp).await?;
    declare(&connection, &source.queue).await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let stopwatch = Stopwatch::start()?;
    let mut waiting = VecDeque::with_capacity(UNCONFIRMED);
    for number in 0..source.messages {
        if waiting.len() == UNCONFIRMED {
            confirm(waiting.pop_front()).await?;
        }
        waiting.push_back(send(&channel, &source.queue, run, number).await?);
    }
    while !waiting.is_empty() {
        confirm(waiting.pop_front()).await?;
    }
    stopwatch.report(source.messages)
}

/// One persistent message; the confirm is still to come.
pub(crate) async fn send(
    channel: &Channel,
    queue: &str,
    run: &str,
    number: usize,
) -> Result<PublisherConfirm> {
    let properties = BasicProperties::default()
        .with_content_type("application/json".into())
        .with_delivery_mode(2)
        .with_message_id(format!("{run}-{number:08}").into());
    let options = BasicPublishOptions::default();
    channel
        .basic_publish(
            "".into(),
            queue.into(),
            options,
            &order::body(number),
            properties,
        )
        .await
        .context("failed to publish")
}

/// Waits until the broker has taken the message.
pub(crate) async fn confirm(publish: Option<PublisherConfirm>) -> Result<()> {
    if let Some(publish) = publish {
        let confirmation = publish.await.context("failed to see a confirm")?;
        ensure!(confirmation.is_ack(), "the broker refused a message");
    }
    Ok(())
}

/// A queue that exists is left as it is: Holdfast declares its own.
async fn declare(connection: &lapin::Connection, queue: &str) -> Result<()> {
    // Asking for a queue that does not exist costs the channel.
    let probe = connection.create_channel().await?;
    if broker::ready(&probe, queue).await.is_ok() {
        return Ok(());
    }
    let mut arguments = FieldTable::default();
    arguments.insert(
        "x-queue-type".into(),
        AMQPValue::LongString("quorum".into()),
    );
    let options = QueueDeclareOptions {
        durable: true,
        ..QueueDeclareOptions::default()
    };
    let channel = connection.create_channel().await?;
    channel
        .queue_declare(queue.into(), options, arguments)
        .await
        .with_context(|| format!("failed to declare {queue}"))?;
    Ok(())
}
