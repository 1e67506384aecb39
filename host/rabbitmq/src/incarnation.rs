//! The identity of the claim store, kept in a queue of one message.
//!
//! A reader has to take the message out to see it, so readers and writers take
//! turns: whoever holds the exclusive queue `<queue>.lock` may look. A writer
//! publishes the new message before it acknowledges the old one; after a crash
//! in between there are two, and the higher revision counts.

use std::time::Duration;

use holdfast_ports::broker::{Incarnation, Keep};
use holdfast_ports::error::PortError;
use lapin::options::{
    BasicAckOptions, BasicGetOptions, BasicNackOptions, BasicPublishOptions, BasicQosOptions,
    ConfirmSelectOptions, QueueDeclareOptions, QueueDeleteOptions,
};
use lapin::types::{FieldTable, ShortString};
use lapin::{BasicProperties, Channel};
use serde::{Deserialize, Serialize};
use tokio::time::{Instant, sleep};

use crate::convert;
use crate::error::{self, RESOURCE_LOCKED};
use crate::link::Link;
use crate::topology::{self, Wanted};
use crate::version::Version;

/// Between two looks at what another host holds.
const PAUSE: Duration = Duration::from_millis(50);

/// An empty queue that was there before is looked at again: a host that died
/// may have had the message in its hands.
const LOOKS: u32 = 4;

#[derive(Clone, Debug, Serialize, Deserialize)]
struct Stored {
    id: String,
    pulse: u64,
    revision: u64,
}

/// Reads what is kept, and writes what `keep` decides on.
pub(crate) async fn keep(
    link: &Link,
    version: Option<Version>,
    service: &str,
    keep: &Keep,
) -> Result<Option<Incarnation>, PortError> {
    let name = format!("{service}.holdfast");
    let turn = Turn::take(link, &name).await?;
    let existed = topology::counts(link, &name).await?.is_some();
    topology::declare(link, version, &Wanted::quorum(name.clone())).await?;
    let queue = Queue::open(link, name).await?;
    let answer = queue.keep(existed, keep).await;
    queue.leave().await;
    turn.give_back().await;
    answer
}

/// The right to look, ours until it is given back or the connection ends.
struct Turn<'a> {
    link: &'a Link,
    channel: Channel,
    name: ShortString,
}

impl<'a> Turn<'a> {
    async fn take(link: &'a Link, queue: &str) -> Result<Self, PortError> {
        let what = format!("take a turn at queue {queue:?}");
        let name = convert::short("queue name", format!("{queue}.lock"))
            .map_err(|reason| PortError::permanent(what.clone()).because(reason))?;
        let start = Instant::now();
        loop {
            let channel = link.channel().await?;
            let mine = QueueDeclareOptions {
                exclusive: true,
                auto_delete: true,
                ..QueueDeclareOptions::default()
            };
            let declare = channel.queue_declare(name.clone(), mine, FieldTable::default());
            match link.answer(&what, declare).await? {
                Ok(_) => {
                    return Ok(Self {
                        link,
                        channel,
                        name,
                    });
                }
                Err(error) if error::code(&error) == Some(RESOURCE_LOCKED) => {
                    if start.elapsed() > link.call_deadline() {
                        return Err(error::late(what));
                    }
                    sleep(PAUSE).await;
                }
                Err(error) => return Err(error::port(what, &error)),
            }
        }
    }

    async fn give_back(self) {
        let delete = self
            .channel
            .queue_delete(self.name, QueueDeleteOptions::default());
        let deleted = self.link.within("end a turn".to_owned(), delete).await;
        tracing::trace!(?deleted, "turn ended");
    }
}

struct Queue<'a> {
    link: &'a Link,
    channel: Channel,
    name: String,
}

impl<'a> Queue<'a> {
    async fn open(link: &'a Link, name: String) -> Result<Self, PortError> {
        let channel = link.channel().await?;
        let confirm = channel.confirm_select(ConfirmSelectOptions::default());
        link.within("ask for confirmations".to_owned(), confirm)
            .await?;
        Ok(Self {
            link,
            channel,
            name,
        })
    }

    async fn keep(&self, existed: bool, keep: &Keep) -> Result<Option<Incarnation>, PortError> {
        let mut found = self.take_all().await?;
        let mut looks = if existed { LOOKS } else { 1 };
        while found.is_empty() && looks > 1 {
            sleep(PAUSE).await;
            found = self.take_all().await?;
            looks -= 1;
        }
        found.sort_by_key(|(_, stored)| stored.revision);
        let newest = found.last().map(|(_, stored)| Incarnation {
            id: stored.id.clone(),
            pulse: stored.pulse,
        });
        match keep.decide(newest.as_ref()) {
            Some(put) => {
                let last = found.last().map_or(0, |(_, stored)| stored.revision);
                self.publish(&Stored {
                    id: put.id.clone(),
                    pulse: put.pulse,
                    revision: last + 1,
                })
                .await?;
                for (tag, _) in found {
                    self.remove(tag).await?;
                }
                Ok(Some(put))
            }
            None => {
                let Some((tag, _)) = found.pop() else {
                    return Ok(None);
                };
                for (older, _) in found {
                    self.remove(older).await?;
                }
                let requeue = BasicNackOptions {
                    requeue: true,
                    ..BasicNackOptions::default()
                };
                let back = self.channel.basic_nack(tag, requeue);
                self.link.within(self.what("hand back to"), back).await?;
                Ok(newest)
            }
        }
    }

    async fn take_all(&self) -> Result<Vec<(u64, Stored)>, PortError> {
        let name = ShortString::from(self.name.as_str());
        let mut found = Vec::new();
        loop {
            let get = self
                .channel
                .basic_get(name.clone(), BasicGetOptions::default());
            let Some(message) = self.link.within(self.what("read"), get).await? else {
                return Ok(found);
            };
            let stored = serde_json::from_slice(&message.data).map_err(|error| {
                PortError::permanent(self.what("understand a message in")).because(error)
            })?;
            found.push((message.delivery_tag, stored));
        }
    }

    async fn publish(&self, stored: &Stored) -> Result<(), PortError> {
        let body = serde_json::to_vec(stored)
            .map_err(|error| PortError::permanent(self.what("write to")).because(error))?;
        let mandatory = BasicPublishOptions {
            mandatory: true,
            immediate: false,
        };
        let properties = BasicProperties::default()
            .with_delivery_mode(2)
            .with_content_type("application/json".into());
        let published = async {
            let to = ShortString::from(self.name.as_str());
            let exchange = ShortString::default();
            self.channel
                .basic_publish(exchange, to, mandatory, &body, properties)
                .await?
                .await
        };
        let confirmation = self.link.within(self.what("write to"), published).await?;
        let taken = confirmation.is_ack() && confirmation.take_message().is_none();
        if !taken {
            return Err(PortError::transient(self.what("write to")).because("it was not taken"));
        }
        Ok(())
    }

    async fn remove(&self, tag: u64) -> Result<(), PortError> {
        let ack = self.channel.basic_ack(tag, BasicAckOptions::default());
        self.link
            .within(self.what("remove the old message of"), ack)
            .await
    }

    /// Lets the broker see everything, then closes the channel.
    async fn leave(self) {
        let qos = self.channel.basic_qos(1, BasicQosOptions { global: false });
        let seen = self.link.within(self.what("leave"), qos).await;
        tracing::trace!(?seen, queue = self.name, "incarnation settled");
        let close = self.channel.close(200, ShortString::default());
        let closed = self.link.within(self.what("leave"), close).await;
        tracing::trace!(?closed, queue = self.name, "incarnation channel closed");
    }

    fn what(&self, verb: &str) -> String {
        format!("{verb} queue {:?}", self.name)
    }
}
