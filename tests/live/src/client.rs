//! A client of the broker that shares nothing with the host.

use anyhow::{Context as _, Result, bail, ensure};
use futures_util::stream::{FuturesUnordered, StreamExt as _};
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicPublishOptions, ConfirmSelectOptions,
    QueueDeclareOptions,
};
use lapin::types::{AMQPValue, FieldTable, ShortString};
use lapin::{BasicProperties, Channel, Connection, ConnectionProperties};

/// Publishes waiting for their confirmation at once.
const WINDOW: usize = 256;

/// A connection with one confirming channel.
pub struct Client {
    pub(crate) channel: Channel,
    pub(crate) connection: Connection,
}

/// A message taken from a queue.
#[derive(Clone, Debug)]
pub struct Got {
    /// Its id.
    pub id: String,
    /// Its content.
    pub body: Vec<u8>,
    /// Its headers with text values.
    pub headers: Vec<(String, String)>,
}

impl Got {
    /// A header's text.
    pub fn header(&self, name: &str) -> Option<&str> {
        self.headers
            .iter()
            .find(|(n, _)| n == name)
            .map(|(_, value)| value.as_str())
    }
}

impl Client {
    /// Connects.
    ///
    /// # Errors
    /// When the broker does not answer.
    pub async fn connect(url: &str) -> Result<Self> {
        let connection = Connection::connect(url, ConnectionProperties::default()).await?;
        let channel = connection.create_channel().await?;
        channel
            .confirm_select(ConfirmSelectOptions::default())
            .await?;
        Ok(Self {
            channel,
            connection,
        })
    }

    /// Declares a durable quorum queue.
    ///
    /// # Errors
    /// When the broker refuses.
    pub async fn declare(&self, queue: &str) -> Result<()> {
        let mut arguments = FieldTable::default();
        arguments.insert(
            "x-queue-type".into(),
            AMQPValue::LongString("quorum".into()),
        );
        let options = QueueDeclareOptions {
            durable: true,
            ..QueueDeclareOptions::default()
        };
        self.channel
            .queue_declare(queue.into(), options, arguments)
            .await?;
        Ok(())
    }

    /// Publishes messages (id and body) persistently, each confirmed and taken
    /// by the queue.
    ///
    /// # Errors
    /// When one is not confirmed, or there is no such queue.
    pub async fn publish<I>(&self, queue: &str, messages: I) -> Result<usize>
    where
        I: IntoIterator<Item = (String, Vec<u8>)>,
    {
        let mut waiting = FuturesUnordered::new();
        let mut count = 0;
        for (id, body) in messages {
            let properties = BasicProperties::default()
                .with_delivery_mode(2)
                .with_message_id(ShortString::from(id))
                .with_content_type("application/json".into());
            // A broker confirms what it throws away for want of a queue.
            let options = BasicPublishOptions {
                mandatory: true,
                ..BasicPublishOptions::default()
            };
            waiting.push(
                self.channel
                    .basic_publish("".into(), queue.into(), options, &body, properties)
                    .await?,
            );
            count += 1;
            if waiting.len() >= WINDOW {
                confirmed(waiting.next().await)?;
            }
        }
        while let Some(next) = waiting.next().await {
            confirmed(Some(next))?;
        }
        Ok(count)
    }

    /// Messages ready in a queue.
    ///
    /// # Errors
    /// When there is no such queue.
    pub async fn depth(&self, queue: &str) -> Result<u32> {
        let options = QueueDeclareOptions {
            passive: true,
            ..QueueDeclareOptions::default()
        };
        let queue = self
            .channel
            .queue_declare(queue.into(), options, FieldTable::default())
            .await?;
        Ok(queue.message_count())
    }

    /// The delay queues of a work queue that exist, with steps up to 512 s.
    ///
    /// # Errors
    /// When the connection is gone.
    pub async fn delays(&self, queue: &str) -> Result<Vec<String>> {
        let mut there = Vec::new();
        for power in 0..10 {
            let name = format!("{queue}.delay.{}", 1000 << power);
            // Asking for a queue that is not there closes the channel.
            let channel = self.connection.create_channel().await?;
            let options = QueueDeclareOptions {
                passive: true,
                ..QueueDeclareOptions::default()
            };
            match channel
                .queue_declare(name.as_str().into(), options, FieldTable::default())
                .await
            {
                Ok(_) => there.push(name),
                Err(_) => break,
            }
            channel.close(200, "looked".into()).await?;
        }
        Ok(there)
    }

    /// Takes everything that is ready in a queue.
    ///
    /// # Errors
    /// When there is no such queue.
    pub async fn take_all(&self, queue: &str) -> Result<Vec<Got>> {
        let mut all = Vec::new();
        while let Some(got) = self.take(queue).await? {
            all.push(got);
        }
        Ok(all)
    }

    /// Takes the first message that is ready in a queue.
    ///
    /// # Errors
    /// When there is no such queue.
    pub async fn take(&self, queue: &str) -> Result<Option<Got>> {
        let got = self
            .channel
            .basic_get(queue.into(), BasicGetOptions::default());
        let Some(message) = got.await? else {
            return Ok(None);
        };
        let headers = message.properties.headers().as_ref();
        let headers = headers.map(texts).unwrap_or_default();
        let id = message.properties.message_id().as_ref();
        let id = id.map(ToString::to_string).unwrap_or_default();
        message.acker.ack(BasicAckOptions::default()).await?;
        Ok(Some(Got {
            id,
            body: message.delivery.data,
            headers,
        }))
    }
}

pub(crate) fn texts(headers: &FieldTable) -> Vec<(String, String)> {
    let text = |value: &AMQPValue| match value {
        AMQPValue::LongString(text) => Some(String::from_utf8_lossy(text.as_bytes()).into_owned()),
        AMQPValue::ShortString(text) => Some(text.to_string()),
        _ => None,
    };
    headers
        .inner()
        .iter()
        .filter_map(|(name, value)| Some((name.to_string(), text(value)?)))
        .collect()
}

fn confirmed(next: Option<lapin::Result<lapin::Confirmation>>) -> Result<()> {
    let confirmation = next.context("nothing waits")??;
    ensure!(confirmation.is_ack(), "the broker refused a message");
    if let Some(returned) = confirmation.take_message() {
        let (queue, why) = (&returned.delivery.routing_key, &returned.reply_text);
        bail!("the broker has no queue {queue} for a message: {why}");
    }
    Ok(())
}
