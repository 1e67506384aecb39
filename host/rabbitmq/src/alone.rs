//! Being the only one.

use std::sync::Arc;
use std::time::Duration;

use holdfast_ports::error::PortError;
use lapin::options::{BasicConsumeOptions, QueueDeclareOptions};
use lapin::types::{FieldTable, ShortString};
use lapin::{Channel, Consumer};
use tokio::time::{Instant, sleep};

use crate::link::Link;
use crate::{convert, error};

/// Before a queue of its own that another host holds is asked for again, and for
/// how long: the broker frees it a moment after the channel of a host that left.
const FREED: Duration = Duration::from_millis(20);
const FREED_WITHIN: Duration = Duration::from_millis(300);

/// Keeps everybody else out for as long as the channel lives, by a queue of this
/// name.
///
/// A quorum queue lets a second consumer in although the first asked to be
/// exclusive (seen with RabbitMQ 3.10), so this host holds a queue of its own
/// beside it, which no other connection can declare and no second consumer can
/// read. It is gone with the channel.
///
/// A refusal closes a channel. The library ends the whole connection when that
/// crosses the end of a channel that was dropped, so this goes on to its end, in
/// a task of its own, even if nobody waits for it any more.
pub(crate) async fn alone(
    link: &Arc<Link>,
    channel: &Channel,
    what: String,
    name: String,
) -> Result<Consumer, PortError> {
    let name = convert::short("queue name", name)
        .map_err(|reason| PortError::permanent(what.clone()).because(reason))?;
    let ended = PortError::transient(what.clone()).because("the host is ending");
    let entering = tokio::spawn(enter(link.clone(), channel.clone(), what, name));
    entering.await.unwrap_or(Err(ended))
}

async fn enter(
    link: Arc<Link>,
    channel: Channel,
    what: String,
    name: ShortString,
) -> Result<Consumer, PortError> {
    let own = QueueDeclareOptions {
        exclusive: true,
        auto_delete: true,
        ..QueueDeclareOptions::default()
    };
    let asked = Instant::now();
    loop {
        // With a channel of its own, since a refusal closes it.
        let asking = link.channel().await?;
        let declare = asking.queue_declare(name.clone(), own, FieldTable::default());
        let refused = match link.answer(&what, declare).await? {
            Ok(_) => {
                let _ = asking.close(200, ShortString::default()).await;
                break;
            }
            Err(refused) => refused,
        };
        let in_use = error::code(&refused) == Some(error::RESOURCE_LOCKED);
        if !in_use || asked.elapsed() >= FREED_WITHIN {
            return Err(error::port(what, &refused));
        }
        sleep(FREED).await;
    }
    let only = BasicConsumeOptions {
        exclusive: true,
        no_ack: true,
        ..BasicConsumeOptions::default()
    };
    let consume = channel.basic_consume(name, "exclusive".into(), only, FieldTable::default());
    link.within(what, consume).await
}
