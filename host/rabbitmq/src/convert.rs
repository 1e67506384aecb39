//! Messages to and from the broker's form.

use bytes::Bytes;
use holdfast_ports::message::{Header, Incoming, Outgoing, Target, is_own};
use lapin::BasicProperties;
use lapin::message::Delivery;
use lapin::types::{AMQPValue, FieldTable, ShortString};

use crate::aside;

/// What remains to be waited, in milliseconds, on a waiting copy.
pub(crate) const WAIT_LEFT: &str = "x-holdfast-wait-left";
/// Where a waiting copy was published to before it waited.
pub(crate) const EXCHANGE: &str = "x-holdfast-exchange";
/// With which routing key.
pub(crate) const ROUTING_KEY: &str = "x-holdfast-routing-key";

/// A publisher's time in milliseconds, finer than the property.
const PRECISE_TIME: &str = "timestamp_in_ms";

/// The time of survival: messages are written to disk.
const PERSISTENT: u8 = 2;

/// What the broker adds when it moves a message, or delivers it again.
const TRAIL: [&str; 5] = [
    "x-death",
    "x-first-death-",
    "x-last-death-",
    DELIVERIES,
    "x-acquired-count",
];

const DELIVERIES: &str = "x-delivery-count";

/// Header frames are limited by the connection's frame size, 128 KiB by default.
const MAX_HEADERS: usize = 100 * 1024;

/// The message in a delivery from `queue`. The body is not copied.
pub(crate) fn incoming(delivery: Delivery, queue: &str) -> Incoming {
    let properties = &delivery.properties;
    let none = FieldTable::default();
    let table = properties.headers().as_ref().unwrap_or(&none);
    let mut message = Incoming {
        id: properties.message_id().as_ref().map(ToString::to_string),
        content_type: properties.content_type().as_ref().map(ToString::to_string),
        headers: headers(table),
        redelivered: delivery.redelivered,
        exchange: delivery.exchange.to_string(),
        routing_key: delivery.routing_key.to_string(),
        ..Incoming::default()
    };
    message.timestamp_ms = message
        .header(PRECISE_TIME)
        .and_then(number)
        .or_else(|| Some(properties.timestamp().as_ref()?.saturating_mul(1000)));
    if waited(table, queue) {
        let text = |name| table.inner().get(name).and_then(text);
        message.wait_left_ms = text(WAIT_LEFT).as_deref().and_then(number);
        let own = |name| text(name).and_then(|bytes| String::from_utf8(bytes).ok());
        message.exchange = own(EXCHANGE).unwrap_or(message.exchange);
        message.routing_key = own(ROUTING_KEY).unwrap_or(message.routing_key);
        message.aside = carried(table);
    } else {
        message.aside = aside::of(properties);
    }
    message.body = Bytes::from(delivery.data);
    message
}

fn headers(table: &FieldTable) -> Vec<Header> {
    let visible = |name: &str| {
        let trail = TRAIL.iter().any(|prefix| name.starts_with(prefix));
        !trail && !is_own(name) && !aside::COPIES.contains(&name)
    };
    table
        .into_iter()
        .filter(|(name, _)| visible(name.as_str()))
        .filter_map(|(name, value)| {
            let (name, value) = (name.to_string(), text(value)?);
            Some(Header { name, value })
        })
        .collect()
}

/// How often a quorum queue delivered a message before.
pub(crate) fn deliveries(properties: &BasicProperties) -> u64 {
    let headers = properties.headers().as_ref();
    let count = headers.and_then(|headers| headers.inner().get(DELIVERIES).and_then(text));
    count.as_deref().and_then(number).unwrap_or(0)
}

/// The host's own headers of a message, whoever wrote them.
pub(crate) fn own(properties: &BasicProperties) -> Vec<Header> {
    let headers = properties.headers().iter().flat_map(FieldTable::inner);
    headers
        .filter(|(name, _)| is_own(name.as_str()))
        .filter_map(|(name, value)| {
            let (name, value) = (name.to_string(), text(value)?);
            Some(Header { name, value })
        })
        .collect()
}

/// What was aside before the message waited.
fn carried(table: &FieldTable) -> Vec<Header> {
    let carried = table.into_iter().filter_map(|(name, value)| {
        let name = name.as_str().strip_prefix(aside::PREFIX)?.to_owned();
        let value = text(value)?;
        Some(Header { name, value })
    });
    carried.collect()
}

/// Did the broker itself bring it from one of the queue's delay queues? Only
/// then a host's own headers are worth anything.
fn waited(table: &FieldTable, queue: &str) -> bool {
    let Some(AMQPValue::FieldArray(deaths)) = table.inner().get("x-death") else {
        return false;
    };
    let Some(AMQPValue::FieldTable(last)) = deaths.as_slice().first() else {
        return false;
    };
    let from = last.inner().get("queue").and_then(text).unwrap_or_default();
    let from = String::from_utf8_lossy(&from);
    from.strip_prefix(queue)
        .is_some_and(|rest| rest.starts_with(".delay."))
}

/// Text of text, numbers and booleans; none of tables, arrays and nothing.
fn text(value: &AMQPValue) -> Option<Vec<u8>> {
    let text = match value {
        AMQPValue::LongString(bytes) => return Some(bytes.as_bytes().to_vec()),
        AMQPValue::ByteArray(bytes) => return Some(bytes.as_slice().to_vec()),
        AMQPValue::ShortString(text) => text.to_string(),
        AMQPValue::Boolean(value) => value.to_string(),
        AMQPValue::ShortShortInt(n) => n.to_string(),
        AMQPValue::ShortShortUInt(n) => n.to_string(),
        AMQPValue::ShortInt(n) => n.to_string(),
        AMQPValue::ShortUInt(n) => n.to_string(),
        AMQPValue::LongInt(n) => n.to_string(),
        AMQPValue::LongUInt(n) => n.to_string(),
        AMQPValue::LongLongInt(n) => n.to_string(),
        AMQPValue::Timestamp(n) => n.to_string(),
        AMQPValue::Float(n) => n.to_string(),
        AMQPValue::Double(n) => n.to_string(),
        AMQPValue::DecimalValue(_)
        | AMQPValue::FieldArray(_)
        | AMQPValue::FieldTable(_)
        | AMQPValue::Void => return None,
    };
    Some(text.into_bytes())
}

fn number(bytes: &[u8]) -> Option<u64> {
    std::str::from_utf8(bytes).ok()?.parse().ok()
}

/// A message in the broker's form.
#[derive(Debug)]
pub(crate) struct Parcel {
    pub(crate) exchange: ShortString,
    pub(crate) routing_key: ShortString,
    pub(crate) properties: BasicProperties,
    pub(crate) body: Bytes,
}

impl Parcel {
    /// # Errors
    /// The text says what can never be published.
    pub(crate) fn new(message: Outgoing) -> Result<Self, String> {
        let (exchange, routing_key) = match message.to {
            Target::Queue(queue) => (String::new(), queue),
            Target::Exchange(exchange, key) => (exchange, key),
        };
        let mut properties = BasicProperties::default().with_delivery_mode(PERSISTENT);
        if let Some(id) = message.id {
            properties = properties.with_message_id(short("message id", id)?);
        }
        if let Some(content_type) = message.content_type {
            properties = properties.with_content_type(short("content type", content_type)?);
        }
        if let Some(ms) = message.timestamp_ms {
            properties = properties.with_timestamp(ms / 1000);
        }
        if !message.headers.is_empty() {
            properties = properties.with_headers(table(message.headers)?);
        }
        Ok(Self {
            exchange: short("exchange", exchange)?,
            routing_key: short("routing key", routing_key)?,
            properties,
            body: message.body,
        })
    }
}

/// A name that fits into the protocol, or what is wrong with it.
pub(crate) fn short(what: &str, text: String) -> Result<ShortString, String> {
    let length = text.len();
    ShortString::try_new(text)
        .map_err(|_| format!("its {what} has {length} bytes, 255 are allowed"))
}

fn table(headers: Vec<Header>) -> Result<FieldTable, String> {
    let mut table = FieldTable::default();
    let mut size = 0;
    for header in headers {
        size += header.name.len() + header.value.len() + 8;
        let value = AMQPValue::LongString(header.value.into());
        table.insert(short("header name", header.name)?, value);
    }
    if size > MAX_HEADERS {
        return Err(format!(
            "its headers have {size} bytes, {MAX_HEADERS} are allowed"
        ));
    }
    Ok(table)
}

/// The waiting copy of a message. What would misfire a second time (user id,
/// expiration, copies to others, the broker's own trail) stays aside.
pub(crate) fn waiting_copy(message: &Incoming, to: String, left_ms: u128) -> Outgoing {
    let own = [
        Header::text(WAIT_LEFT, left_ms.to_string()),
        Header::text(EXCHANGE, &message.exchange),
        Header::text(ROUTING_KEY, &message.routing_key),
    ];
    let aside = message.aside.iter().map(|header| Header {
        name: format!("{}{}", aside::PREFIX, header.name),
        value: header.value.clone(),
    });
    let headers = message.headers.iter().cloned();
    Outgoing {
        to: Target::Queue(to),
        body: message.body.clone(),
        id: message.id.clone(),
        content_type: message.content_type.clone(),
        headers: headers.chain(own).chain(aside).collect(),
        timestamp_ms: message.timestamp_ms,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn delivered(headers: Vec<(&str, AMQPValue)>) -> Incoming {
        let mut table = FieldTable::default();
        for (name, value) in headers {
            table.insert(name.into(), value);
        }
        let mut delivery = Delivery::mock(1, "".into(), "orders".into(), false, b"x".to_vec());
        delivery.properties = BasicProperties::default()
            .with_headers(table)
            .with_timestamp(1_700_000_000);
        incoming(delivery, "orders")
    }

    fn died_in(queue: &str) -> AMQPValue {
        let mut death = FieldTable::default();
        death.insert("queue".into(), AMQPValue::LongString(queue.into()));
        AMQPValue::FieldArray(vec![AMQPValue::FieldTable(death)].into())
    }

    fn long(text: &str) -> AMQPValue {
        AMQPValue::LongString(text.into())
    }

    /// Bad input: Messages | headers of every type | shown as text or not at all
    #[test]
    fn headers_are_shown_as_text_and_tables_are_not_shown() {
        let message = delivered(vec![
            ("bool", AMQPValue::Boolean(true)),
            ("bytes", AMQPValue::ByteArray(vec![0, 255].into())),
            ("big", AMQPValue::LongLongInt(-9_000_000_000)),
            ("text", long("grün")),
            ("table", AMQPValue::FieldTable(FieldTable::default())),
            ("nothing", AMQPValue::Void),
            ("CC", AMQPValue::FieldArray(vec![long("copy")].into())),
            ("x-delivery-count", AMQPValue::LongLongInt(2)),
        ]);
        let shown: Vec<_> = message
            .headers
            .iter()
            .map(|header| (header.name.as_str(), header.value.as_slice()))
            .collect();
        let expected: [(&str, &[u8]); 4] = [
            ("big", b"-9000000000"),
            ("bool", b"true"),
            ("bytes", &[0, 255]),
            ("text", "grün".as_bytes()),
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn the_precise_time_of_a_publisher_wins() {
        let coarse = delivered(vec![]);
        assert_eq!(coarse.timestamp_ms, Some(1_700_000_000_000));
        let precise = AMQPValue::LongLongInt(1_700_000_000_123);
        let fine = delivered(vec![(PRECISE_TIME, precise)]);
        assert_eq!(fine.timestamp_ms, Some(1_700_000_000_123));
    }

    /// Bad input: Messages | forged or broken headers of the host's own | ignored
    #[test]
    fn own_headers_count_only_on_a_copy_that_came_from_a_delay_queue_of_this_queue() {
        let own = || {
            vec![
                (WAIT_LEFT, long("5000")),
                (EXCHANGE, long("shop")),
                (ROUTING_KEY, long("new")),
            ]
        };
        let forged = [None, Some(died_in("orders")), Some(died_in("old.delay.8"))];
        for death in forged {
            let mut headers = own();
            headers.extend(death.map(|death| ("x-death", death)));
            let message = delivered(headers);
            assert_eq!(message.wait_left_ms, None);
            assert_eq!(message.routing_key, "orders");
            assert_eq!(message.headers, []);
        }
        let mut headers = own();
        headers.push(("x-death", died_in("orders.delay.8000")));
        headers.push(("x-first-death-queue", long("orders.delay.8000")));
        let message = delivered(headers);
        assert_eq!(message.wait_left_ms, Some(5000));
        let from = (message.exchange.as_str(), message.routing_key.as_str());
        assert_eq!(from, ("shop", "new"));
        assert_eq!(message.headers, []);
    }

    #[test]
    fn what_was_aside_is_still_there_after_a_wait_and_acts_on_no_copy() {
        let copies = || AMQPValue::FieldArray(vec![long("copy")].into());
        let first = delivered(vec![("CC", copies()), ("x-death", died_in("other"))]);
        let names: Vec<_> = first.aside.iter().map(|header| &header.name).collect();
        assert_eq!(names, ["CC", "x-death"]);

        let copy = waiting_copy(&first, "orders.delay.8000".to_owned(), 0);
        let headers = copy.headers.iter();
        let mut table: Vec<_> = headers
            .map(|header| {
                let value = AMQPValue::LongString(header.value.clone().into());
                (header.name.as_str(), value)
            })
            .collect();
        assert!(
            table
                .iter()
                .all(|(name, _)| name.starts_with("x-holdfast-"))
        );
        table.push(("x-death", died_in("orders.delay.8000")));
        assert_eq!(delivered(table).aside, first.aside);
    }

    #[test]
    fn headers_that_do_not_fit_into_a_frame_are_refused() {
        let message = Outgoing {
            to: Target::Queue("q".to_owned()),
            body: Bytes::new(),
            id: None,
            content_type: None,
            headers: vec![Header::text("big", "x".repeat(MAX_HEADERS))],
            timestamp_ms: None,
        };
        let refused = Parcel::new(message).expect_err("too large");
        assert!(refused.contains("headers"), "{refused}");
    }
}
