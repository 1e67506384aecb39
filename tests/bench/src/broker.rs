//! What all consumers do with the broker before and after their loop.

use anyhow::{Context, Result, ensure};
use lapin::options::{
    BasicCancelOptions, BasicConsumeOptions, BasicQosOptions, QueueDeclareOptions,
};
use lapin::types::FieldTable;
use lapin::{Channel, Connection, ConnectionProperties, Consumer};

/// Messages the broker hands out before it sees an acknowledgement.
pub(crate) const PREFETCH: u16 = 256;

const CONSUMER: &str = "bench";

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
            CONSUMER.into(),
            BasicConsumeOptions::default(),
            FieldTable::default(),
        )
        .await
        .with_context(|| format!("failed to consume {queue}"))
}

/// Returns when the broker has taken every acknowledgement sent on the channel.
///
/// A channel keeps acknowledgements of a quorum queue to itself while more
/// than a few of them are on their way to the queue, and forgets these when it
/// is closed. Cancelling the consumer is a step of the queue itself: after it
/// the earlier ones have arrived, and by the next answer on the channel it has
/// passed on the rest.
pub(crate) async fn settle(channel: &Channel, queue: &str) -> Result<()> {
    channel
        .basic_cancel(CONSUMER.into(), BasicCancelOptions::default())
        .await
        .context("failed to cancel the consumer")?;
    ready(channel, queue).await?;
    Ok(())
}

/// Checks after a run that its messages were acknowledged for good: once the
/// connection has gone, the queue is empty.
pub(crate) async fn finish(connection: Connection, url: &str, queue: &str) -> Result<()> {
    connection.close(200, "done".into()).await?;
    let (_connection, channel) = connect(url).await?;
    let left = ready(&channel, queue).await?;
    ensure!(left == 0, "{left} messages came back to {queue}");
    Ok(())
}

/// How many messages a queue has to give.
///
/// # Errors
/// Fails, and the channel is lost, when there is no such queue.
pub(crate) async fn ready(channel: &Channel, queue: &str) -> Result<u32> {
    let options = QueueDeclareOptions {
        passive: true,
        ..QueueDeclareOptions::default()
    };
    let queue = channel
        .queue_declare(queue.into(), options, FieldTable::default())
        .await
        .with_context(|| format!("failed to look at {queue}"))?;
    Ok(queue.message_count())
}
