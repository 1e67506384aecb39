//! Being the only one.

use holdfast_ports::error::PortError;
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::FieldTable;
use lapin::{Channel, Consumer};

use crate::convert;
use crate::link::Link;

/// Keeps everybody else out for as long as the channel lives, by a queue of this
/// name.
///
/// A quorum queue lets a second consumer in although the first asked to be
/// exclusive (seen with RabbitMQ 3.10), so this host holds a queue of its own
/// beside it, which no other connection can declare and no second consumer can
/// read. It is gone with the channel.
pub(crate) async fn alone(
    link: &Link,
    channel: &Channel,
    what: String,
    name: String,
) -> Result<Consumer, PortError> {
    let name = convert::short("queue name", name)
        .map_err(|reason| PortError::permanent(what.clone()).because(reason))?;
    let own = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    let declare = channel.queue_declare(name.clone(), own, FieldTable::default());
    link.within(what.clone(), declare).await?;
    let only = BasicConsumeOptions {
        exclusive: true,
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let consume = channel.basic_consume(name, "exclusive".into(), only, FieldTable::default());
    link.within(what, consume).await
}
