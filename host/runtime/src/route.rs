//! What a message says about itself: key, lane, sequence and fingerprint.
//!
//! A message that cannot be routed is dead-lettered without a claim.

use holdfast_core::claim::{Fingerprint, ParkReason};
use holdfast_core::key::{ClaimKey, KeyValue, Lane};
use holdfast_ports::message::Incoming;
use serde_json::Value;

use crate::spec::{ConsumerSpec, Mode, Source};

/// Where a message belongs.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Route {
    /// Its claim key.
    pub key: ClaimKey,
    /// Its lane, where the consumer has one.
    pub lane: Option<Lane>,
    /// Its sequence, where the consumer has one.
    pub sequence: Option<u64>,
    /// Its body's fingerprint, where the group compares bodies.
    pub fingerprint: Option<Fingerprint>,
}

/// Why a message has no place. Key and lane are given where they were found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// The dead-letter reason.
    pub reason: ParkReason,
    /// What exactly is wrong.
    pub error: String,
    /// The key, if it has one.
    pub key: Option<ClaimKey>,
}

/// Reads key, lane and sequence as the consumer's rules say.
///
/// # Errors
/// [`Refusal`] with one of too-large, no-key, no-lane, bad-sequence.
pub fn route(spec: &ConsumerSpec, message: &Incoming) -> Result<Route, Refusal> {
    let size = message.body.len() as u64;
    if size > spec.max_body {
        let error = format!(
            "the body has {size} bytes, at most {} are allowed",
            spec.max_body
        );
        return Err(Refusal {
            reason: ParkReason::TooLarge,
            error,
            key: None,
        });
    }
    let mut body = Body {
        message,
        json: None,
    };
    let key = ClaimKey::from_value(body.value(&spec.key)).map_err(|why| Refusal {
        reason: ParkReason::NoKey,
        error: body.missing("claim key", &spec.key, &why.to_string()),
        key: None,
    })?;
    let lane = match &spec.order.lane {
        None => None,
        Some(source) => match Lane::from_value(body.value(source)) {
            Ok(lane) => Some(lane),
            Err(_) if spec.order.mode != Mode::Lanes => None,
            Err(why) => {
                let error = body.missing("lane", source, &why.to_string());
                return Err(Refusal {
                    reason: ParkReason::NoLane,
                    error,
                    key: Some(key),
                });
            }
        },
    };
    let sequence = match &spec.order.sequence {
        None => None,
        Some(source) => match sequence(&body.value(source)) {
            Some(sequence) => Some(sequence),
            None => {
                let error = body.missing("sequence", source, "it is not an unsigned 64-bit number");
                return Err(Refusal {
                    reason: ParkReason::BadSequence,
                    error,
                    key: Some(key),
                });
            }
        },
    };
    let fingerprint = spec.fingerprint.then(|| Fingerprint::of(&message.body));
    Ok(Route {
        key,
        lane,
        sequence,
        fingerprint,
    })
}

fn sequence(value: &KeyValue) -> Option<u64> {
    match value {
        KeyValue::Integer(digits) | KeyValue::Text(digits) => {
            let plain = !digits.is_empty() && digits.bytes().all(|b| b.is_ascii_digit());
            if plain { digits.parse().ok() } else { None }
        }
        KeyValue::Other | KeyValue::Absent => None,
    }
}

struct Body<'a> {
    message: &'a Incoming,
    json: Option<Result<Value, String>>,
}

impl Body<'_> {
    fn value(&mut self, source: &Source) -> KeyValue {
        match source {
            Source::MessageId => match &self.message.id {
                Some(id) => KeyValue::Text(id.clone()),
                None => KeyValue::Absent,
            },
            Source::Header(name) => match self.message.header(name) {
                None => KeyValue::Absent,
                Some(value) => match std::str::from_utf8(value) {
                    Ok(text) => KeyValue::Text(text.to_owned()),
                    Err(_) => KeyValue::Other,
                },
            },
            Source::Json(pointer) => {
                let body = &self.message.body;
                // Nesting is bounded by the parser (128 levels), so a deep body
                // is an error and not a stack overflow.
                let json = self.json.get_or_insert_with(|| {
                    serde_json::from_slice(body).map_err(|error| error.to_string())
                });
                match json.as_ref().ok().and_then(|json| json.pointer(pointer)) {
                    None => KeyValue::Absent,
                    Some(Value::String(text)) => KeyValue::Text(text.clone()),
                    Some(Value::Number(number)) if number.is_i64() || number.is_u64() => {
                        KeyValue::Integer(number.to_string())
                    }
                    Some(_) => KeyValue::Other,
                }
            }
        }
    }

    fn missing(&self, what: &str, source: &Source, why: &str) -> String {
        match (&self.json, source) {
            (Some(Err(error)), Source::Json(_)) => {
                format!("no {what} at {source}: the body is not JSON: {error}")
            }
            _ => format!("no {what} at {source}: {why}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::spec;

    fn message(body: &str) -> Incoming {
        Incoming {
            id: Some("m-1".into()),
            body: body.to_owned().into(),
            ..Incoming::default()
        }
    }

    fn refused(spec: &ConsumerSpec, body: &str) -> ParkReason {
        route(spec, &message(body)).expect_err("is refused").reason
    }

    #[test]
    fn the_key_comes_from_the_message_id_a_header_or_the_body() {
        let mut spec = spec();
        assert_eq!(route(&spec, &message("x")).unwrap().key.as_str(), "m-1");
        spec.key = Source::Json("/order/id".into());
        assert_eq!(
            route(&spec, &message(r#"{"order":{"id":7}}"#))
                .unwrap()
                .key
                .as_str(),
            "7"
        );
        assert_eq!(
            route(&spec, &message(r#"{"order":{"id":"7"}}"#))
                .unwrap()
                .key
                .as_str(),
            "7"
        );
        spec.key = Source::Header("k".into());
        let mut with_header = message("");
        with_header
            .headers
            .push(holdfast_ports::message::Header::text("k", "from-header"));
        assert_eq!(
            route(&spec, &with_header).unwrap().key.as_str(),
            "from-header"
        );
    }

    /// Bad input: Messages | no key, or invalid JSON where the key is a JSON pointer | dead-lettered
    /// Bad input: Messages | JSON nested 100 000 deep | dead-lettered, no crash
    #[test]
    fn a_body_without_a_usable_key_is_refused() {
        let spec = ConsumerSpec {
            key: Source::Json("/id".into()),
            ..spec()
        };
        let deep = "[".repeat(100_000);
        for body in [
            "",
            "{",
            "not json",
            "{}",
            r#"{"id":""}"#,
            r#"{"id":1.5}"#,
            r#"{"id":true}"#,
            r#"{"id":null}"#,
            &deep,
        ] {
            assert_eq!(refused(&spec, body), ParkReason::NoKey, "{:.20}", body);
        }
    }

    /// Bad input: Messages | an empty body | delivered
    /// Bad input: Messages | a body over the limit | dead-lettered as too large
    #[test]
    fn an_empty_body_is_a_message_and_a_large_one_is_refused() {
        let spec = ConsumerSpec {
            max_body: 4,
            ..spec()
        };
        assert!(route(&spec, &message("")).is_ok());
        assert!(route(&spec, &message("1234")).is_ok());
        assert_eq!(refused(&spec, "12345"), ParkReason::TooLarge);
    }

    #[test]
    fn lanes_need_a_lane_and_a_sequence_is_a_plain_number() {
        let mut spec = spec();
        spec.order.mode = Mode::Lanes;
        spec.order.lane = Some(Source::Json("/user".into()));
        assert_eq!(refused(&spec, "{}"), ParkReason::NoLane);
        spec.order.sequence = Some(Source::Json("/seq".into()));
        let max = u64::MAX;
        for good in [
            format!(r#"{{"user":"u","seq":{max}}}"#),
            format!(r#"{{"user":"u","seq":"{max}"}}"#),
        ] {
            assert_eq!(route(&spec, &message(&good)).unwrap().sequence, Some(max));
        }
        for bad in [
            r#"{"user":"u"}"#,
            r#"{"user":"u","seq":-1}"#,
            r#"{"user":"u","seq":"+1"}"#,
            r#"{"user":"u","seq":1.0}"#,
        ] {
            assert_eq!(refused(&spec, bad), ParkReason::BadSequence, "{bad}");
        }
    }

    #[test]
    fn the_same_body_has_the_same_fingerprint() {
        let one = route(&spec(), &message("a")).unwrap().fingerprint;
        assert_eq!(one, route(&spec(), &message("a")).unwrap().fingerprint);
        assert_ne!(one, route(&spec(), &message("b")).unwrap().fingerprint);
    }
}
