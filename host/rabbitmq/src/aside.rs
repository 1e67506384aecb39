//! What a message carried that would misfire if it were published once more: it
//! is kept aside, as text, for its dead letter.

use holdfast_ports::message::Header;
use lapin::BasicProperties;
use lapin::types::{AMQPValue, FieldTable};
use serde_json::Value;

/// Headers of a waiting copy that bring back what was aside.
pub(crate) const PREFIX: &str = "x-holdfast-aside-";

/// Headers by which the broker sends copies to other queues.
pub(crate) const COPIES: [&str; 2] = ["CC", "BCC"];

/// The broker's trail of the queues that a message came through.
const TRAIL: &str = "x-death";

/// Text beyond this many bytes is cut, so that a dead letter can be published.
const LONGEST: usize = 4096;

/// Names and values, tables and lists as JSON.
pub(crate) fn of(properties: &BasicProperties) -> Vec<Header> {
    let mut aside = Vec::new();
    let mut keep = |name: &str, text: String| aside.push(Header::text(name, cut(text)));
    if let Some(user) = properties.user_id() {
        keep("user-id", user.to_string());
    }
    if let Some(expiration) = properties.expiration() {
        keep("expiration", expiration.to_string());
    }
    let headers = properties.headers().iter().flat_map(FieldTable::inner);
    for (name, value) in headers {
        let name = name.as_str();
        if name == TRAIL || COPIES.contains(&name) {
            keep(name, json(value).to_string());
        }
    }
    aside
}

fn cut(mut text: String) -> String {
    if text.len() > LONGEST {
        text.truncate(text.floor_char_boundary(LONGEST));
        text.push('…');
    }
    text
}

fn json(value: &AMQPValue) -> Value {
    match value {
        AMQPValue::LongString(text) => String::from_utf8_lossy(text.as_bytes()).into(),
        AMQPValue::ByteArray(bytes) => String::from_utf8_lossy(bytes.as_slice()).into(),
        AMQPValue::ShortString(text) => text.as_str().into(),
        AMQPValue::Boolean(value) => (*value).into(),
        AMQPValue::ShortShortInt(n) => (*n).into(),
        AMQPValue::ShortShortUInt(n) => (*n).into(),
        AMQPValue::ShortInt(n) => (*n).into(),
        AMQPValue::ShortUInt(n) => (*n).into(),
        AMQPValue::LongInt(n) => (*n).into(),
        AMQPValue::LongUInt(n) => (*n).into(),
        AMQPValue::LongLongInt(n) => (*n).into(),
        AMQPValue::Timestamp(n) => (*n).into(),
        AMQPValue::Float(n) => (*n).into(),
        AMQPValue::Double(n) => (*n).into(),
        AMQPValue::FieldArray(values) => values.as_slice().iter().map(json).collect(),
        AMQPValue::FieldTable(table) => table
            .into_iter()
            .map(|(name, value)| (name.to_string(), json(value)))
            .collect(),
        AMQPValue::DecimalValue(_) | AMQPValue::Void => Value::Null,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_and_lists_are_kept_as_json_and_never_too_long() {
        let mut death = FieldTable::default();
        death.insert("queue".into(), AMQPValue::LongString("old".into()));
        death.insert("count".into(), AMQPValue::LongLongInt(3));
        let mut headers = FieldTable::default();
        let trail = AMQPValue::FieldArray(vec![AMQPValue::FieldTable(death)].into());
        headers.insert(TRAIL.into(), trail);
        let copies = AMQPValue::LongString("ü".repeat(LONGEST).into());
        headers.insert("CC".into(), AMQPValue::FieldArray(vec![copies].into()));
        headers.insert("other".into(), AMQPValue::Boolean(true));
        let properties = BasicProperties::default()
            .with_headers(headers)
            .with_user_id("ann".into())
            .with_expiration("5000".into());
        let aside = of(&properties);
        let text = |name: &str| {
            let header = aside.iter().find(|header| header.name == name);
            header.map(|header| String::from_utf8_lossy(&header.value).into_owned())
        };
        assert_eq!(aside.len(), 4, "{aside:?}");
        assert_eq!(text("user-id").as_deref(), Some("ann"));
        assert_eq!(text("expiration").as_deref(), Some("5000"));
        let trail = r#"[{"count":3,"queue":"old"}]"#;
        assert_eq!(text("x-death").as_deref(), Some(trail));
        let copies = text("CC").expect("it is there");
        assert!(copies.starts_with("[\"ü") && copies.ends_with('…'));
        assert!(copies.len() <= LONGEST + '…'.len_utf8());
    }
}
