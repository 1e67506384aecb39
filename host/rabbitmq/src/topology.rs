//! The queues of a consumer: declared with care, or only looked at, and what is
//! odd about those that exist.
//!
//! A refused declaration closes its channel, so each has one to throw away.

use std::time::Duration;

use holdfast_ports::broker::{Finding, Topology, dead_queue, delay_queue};
use holdfast_ports::error::{Kind, PortError};
use holdfast_ports::look::Counts;
use lapin::Queue;
use lapin::options::QueueDeclareOptions;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use crate::convert;
use crate::error::{self, NOT_FOUND, PRECONDITION_FAILED, RESOURCE_LOCKED};
use crate::link::Link;
use crate::version::Version;

const LIMIT: &str = "x-delivery-limit";

/// From this version on a quorum queue drops a message after 20 deliveries.
const WITH_LIMIT: u32 = 4;

/// A queue as it should be.
#[derive(Clone)]
pub(crate) struct Wanted {
    name: String,
    arguments: Vec<(&'static str, AMQPValue)>,
    /// With other arguments it would lose messages.
    strict: bool,
}

impl Wanted {
    /// A durable quorum queue.
    pub(crate) fn quorum(name: String) -> Self {
        Self {
            name,
            arguments: vec![("x-queue-type", text("quorum"))],
            strict: false,
        }
    }

    fn work(topology: &Topology) -> Self {
        let mut queue = Self::quorum(topology.queue.clone());
        if topology.single_active {
            let yes = AMQPValue::Boolean(true);
            queue.arguments.push(("x-single-active-consumer", yes));
        }
        queue
    }

    /// Hands its messages over to the work queue only once that has them, and
    /// refuses what it cannot hold. It never expires: on demand is too late.
    fn delay(work: &str, step: Duration) -> Self {
        let ttl = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
        let mut queue = Self::quorum(delay_queue(work, step));
        queue.strict = true;
        queue.arguments.extend([
            ("x-message-ttl", AMQPValue::LongLongInt(ttl)),
            ("x-dead-letter-exchange", text("")),
            ("x-dead-letter-routing-key", text(work)),
            ("x-dead-letter-strategy", text("at-least-once")),
            ("x-overflow", text("reject-publish")),
        ]);
        queue
    }

    fn without_limit(&self) -> Self {
        let mut queue = self.clone();
        queue.arguments.push((LIMIT, AMQPValue::LongLongInt(-1)));
        queue
    }

    fn table(&self) -> FieldTable {
        let mut table = FieldTable::default();
        for (name, value) in &self.arguments {
            table.insert((*name).into(), value.clone());
        }
        table
    }

    /// What to type to get it.
    fn command(&self) -> String {
        let shown: Vec<String> = self
            .arguments
            .iter()
            .map(|(name, value)| format!("{name:?}:{}", json(value)))
            .collect();
        format!(
            "rabbitmqadmin declare queue name={} durable=true arguments='{{{}}}'",
            self.name,
            shown.join(",")
        )
    }
}

fn text(value: &str) -> AMQPValue {
    AMQPValue::LongString(value.into())
}

fn json(value: &AMQPValue) -> String {
    match value {
        AMQPValue::Boolean(value) => value.to_string(),
        AMQPValue::LongLongInt(value) => value.to_string(),
        AMQPValue::LongString(value) => format!("{:?}", value.to_string()),
        _ => "null".to_owned(),
    }
}

/// Declares or checks the queues of a consumer. Gives what is odd, and whether
/// the work queue lets one consumer at a time have messages, as it was to.
pub(crate) async fn prepare(
    link: &Link,
    version: Option<Version>,
    topology: &Topology,
) -> Result<(Vec<Finding>, bool), PortError> {
    let work = Wanted::work(topology);
    let dead = Wanted::quorum(dead_queue(&topology.queue));
    let delays = topology
        .delays
        .iter()
        .map(|step| Wanted::delay(&topology.queue, *step));
    let mut findings = Vec::new();
    let mut single_active = false;
    // Those that others lead to come first.
    for queue in [&work, &dead].into_iter().cloned().chain(delays) {
        let wants = topology.single_active && queue.name == work.name;
        let made = if topology.declare {
            make(link, version, &queue).await?
        } else {
            let finding = check(link, version, &queue).await?;
            // Its arguments are told only by declaring it, which changes
            // nothing: it is there.
            let as_wanted = wants && finding.as_ref().is_none_or(|f| !f.fatal) && {
                make(link, version, &queue).await.is_ok_and(|m| m.as_wanted)
            };
            Made { as_wanted, finding }
        };
        single_active |= wants && made.as_wanted;
        findings.extend(made.finding);
    }
    if topology.single_active && !single_active && findings.iter().all(|f| !f.fatal) {
        findings.push(shared(&work));
    }
    Ok((findings, single_active))
}

/// A declared queue.
struct Made {
    /// It has the arguments that were asked for.
    as_wanted: bool,
    finding: Option<Finding>,
}

/// Declares a queue, without a delivery limit where the broker has one.
pub(crate) async fn declare(
    link: &Link,
    version: Option<Version>,
    queue: &Wanted,
) -> Result<Option<Finding>, PortError> {
    Ok(make(link, version, queue).await?.finding)
}

async fn make(link: &Link, version: Option<Version>, queue: &Wanted) -> Result<Made, PortError> {
    let made = |as_wanted, finding| Ok(Made { as_wanted, finding });
    let may_limit = version.is_none_or(|(major, _)| major >= WITH_LIMIT) && !queue.strict;
    if may_limit {
        match one(link, &queue.without_limit(), false).await? {
            Ok(_) => return made(true, None),
            // An older broker does not know the value, or the queue is there.
            Err(refused) if refused.text.contains(LIMIT) => {}
            Err(refused) => return made(false, Some(refused.finding(queue))),
        }
    }
    match one(link, queue, false).await? {
        Ok(_) if may_limit && version.is_some() => made(true, Some(limited(queue))),
        Ok(_) => made(true, None),
        Err(refused) => made(false, Some(refused.finding(queue))),
    }
}

async fn check(
    link: &Link,
    version: Option<Version>,
    queue: &Wanted,
) -> Result<Option<Finding>, PortError> {
    match one(link, queue, true).await? {
        Ok(_) if queue.strict => Ok(None),
        Ok(_) if version.is_some_and(|(major, _)| major >= WITH_LIMIT) => Ok(Some(limited(queue))),
        Ok(_) => Ok(None),
        Err(refused) => Ok(Some(refused.finding(queue))),
    }
}

fn shared(queue: &Wanted) -> Finding {
    Finding {
        queue: queue.name.clone(),
        fatal: false,
        text: format!(
            "it has no single active consumer, so that it is consumed exclusively, and the next \
             leader waits until the broker has let go of the last one; make it anew with: {}",
            queue.command()
        ),
    }
}

fn limited(queue: &Wanted) -> Finding {
    Finding {
        queue: queue.name.clone(),
        fatal: false,
        text: format!(
            "it was not declared with {LIMIT} = -1: unless a policy says otherwise, this broker \
             drops a message of a quorum queue after 20 deliveries, or dead-letters it where the \
             queue has a dead-letter exchange"
        ),
    }
}

/// May the broker drop messages of a queue that exists, after some deliveries?
pub(crate) async fn may_limit(
    link: &Link,
    version: Option<Version>,
    queue: &str,
) -> Result<bool, PortError> {
    if version.is_some_and(|(major, _)| major < WITH_LIMIT) {
        return Ok(false);
    }
    let without = Wanted::quorum(queue.to_owned()).without_limit();
    Ok(one(link, &without, false).await?.is_err())
}

/// How many messages are ready, and how many consumers there are.
pub(crate) async fn counts(link: &Link, queue: &str) -> Result<Option<Counts>, PortError> {
    match one(link, &Wanted::quorum(queue.to_owned()), true).await? {
        Ok(found) => Ok(Some(Counts {
            ready: u64::from(found.message_count()),
            consumers: u64::from(found.consumer_count()),
        })),
        Err(refused) if refused.code == NOT_FOUND => Ok(None),
        Err(refused) => {
            let what = format!("look at queue {queue:?}");
            Err(PortError::transient(what).because(refused.text))
        }
    }
}

struct Refused {
    code: u16,
    text: String,
}

impl Refused {
    fn finding(self, queue: &Wanted) -> Finding {
        let (fatal, text) = match self.code {
            NOT_FOUND => {
                let command = queue.command();
                (true, format!("it does not exist; make it with: {command}"))
            }
            PRECONDITION_FAILED if queue.strict => (
                true,
                format!(
                    "it exists with other arguments ({}), and messages that wait in it could be \
                     lost; delete it when it is empty and start again, or make it with: {}",
                    difference(&self.text),
                    queue.command()
                ),
            ),
            PRECONDITION_FAILED => (
                false,
                format!("it exists with other arguments: {}", difference(&self.text)),
            ),
            _ => (true, self.text),
        };
        let queue = queue.name.clone();
        Finding { queue, fatal, text }
    }
}

/// `PRECONDITION_FAILED - inequivalent arg 'x' for queue 'q' in vhost '/':
/// received … but current is …`, without what the finding says anyway.
fn difference(text: &str) -> String {
    let text = text.trim_start_matches("PRECONDITION_FAILED - ");
    let text = text.trim_start_matches("inequivalent arg ");
    let Some((argument, rest)) = text.split_once(" for queue ") else {
        return text.to_owned();
    };
    let values = rest.split_once(": ").map_or(rest, |(_, values)| values);
    format!("{argument}: {values}")
}

/// One declaration on a channel of its own.
async fn one(
    link: &Link,
    queue: &Wanted,
    passive: bool,
) -> Result<Result<Queue, Refused>, PortError> {
    let what = format!("declare queue {:?}", queue.name);
    let name = convert::short("queue name", queue.name.clone())
        .map_err(|reason| PortError::permanent(what.clone()).because(reason))?;
    let channel = link.channel().await?;
    let declare = channel.queue_declare(name, durable(passive), queue.table());
    match link.answer(&what, declare).await? {
        Ok(queue) => {
            let _ = channel.close(200, ShortString::default()).await;
            Ok(Ok(queue))
        }
        Err(error) => match error::code(&error) {
            Some(code @ (NOT_FOUND | RESOURCE_LOCKED | PRECONDITION_FAILED))
                if error::kind(&error) != Kind::Transient =>
            {
                let text = error::text(&error);
                Ok(Err(Refused { code, text }))
            }
            _ => Err(error::port(what, &error)),
        },
    }
}

fn durable(passive: bool) -> QueueDeclareOptions {
    QueueDeclareOptions {
        passive,
        durable: true,
        ..QueueDeclareOptions::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hazard: lapin and RabbitMQ | a delivery limit or other arguments drop messages | differences are said at start
    #[test]
    fn a_difference_is_told_without_repeating_the_queue() {
        let text = "PRECONDITION_FAILED - inequivalent arg 'x-message-ttl' for queue 'q' in vhost \
                    '/': received '1000' but current is '2000'";
        let expected = "'x-message-ttl': received '1000' but current is '2000'";
        assert_eq!(difference(text), expected);
        assert_eq!(difference("PRECONDITION_FAILED - other"), "other");
    }

    #[test]
    fn a_missing_delay_queue_names_the_command_that_makes_it() {
        let queue = Wanted::delay("orders", Duration::from_secs(8));
        let refused = Refused {
            code: NOT_FOUND,
            text: "NOT_FOUND".to_owned(),
        };
        let finding = refused.finding(&queue);
        assert!(finding.fatal);
        assert_eq!(finding.queue, "orders.delay.8000");
        let command = "rabbitmqadmin declare queue name=orders.delay.8000 durable=true \
                       arguments='{\"x-queue-type\":\"quorum\",\"x-message-ttl\":8000,\
                       \"x-dead-letter-exchange\":\"\",\"x-dead-letter-routing-key\":\"orders\",\
                       \"x-dead-letter-strategy\":\"at-least-once\",\
                       \"x-overflow\":\"reject-publish\"}'";
        assert!(finding.text.contains(command), "{}", finding.text);
    }
}
