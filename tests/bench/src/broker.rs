//! What all consumers do with the broker before and after their loop.

use anyhow::{Context, Result};
use lapin::options::{BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, Consumer};

/// Messages the broker hands out before it sees an acknowledgement.
pub(crate) const PREFETCH: u16 = 256;

/// A connection with one channel. The connection lives as long as it is held.
pub(crate) async fn connect(url: &str) -> Result<(Connection, Channel)> {
    let connection = Connection::connect(url, ConnectionProperties::default())
        .await
        .context("failed to connect to the broker")?;
    let channel = connection
        .create_channel()
        .await
        .context("failed to open a channel")?;
    Ok((connection, channel))
}

/// Starts the deliveries of a queue, [`PREFETCH`] at once.
pub(crate) async fn subscribe(channel: &Channel, queue: &str) -> Result<Consumer> {
    channel
        .basic_qos(PREFETCH, BasicQosOptions::default())
        .await
        .context("failed to set the prefetch")?;
    channel
        .basic_consume(
            queue.into(),
            "bench".into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
        .with_context(|| format!("failed to consume {queue}"))
}

/// Returns when the broker has read everything sent on the channel so far.
pub(crate) async fn settle(channel: &Channel, queue: &str) -> Result<()> {
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    channel
        .queue_declare(queue.into(), options, FieldTable::default())
        .await
        .with_context(|| format!("failed to look at {queue}"))?;
    Ok(())
}
