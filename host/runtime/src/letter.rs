//! Dead letters, and the messages of an outbox as they go out.

use holdfast_core::claim::{ParkReason, bounded};
use holdfast_core::key::ClaimKey;
use holdfast_core::name::Group;
use holdfast_ports::broker::dead_queue;
use holdfast_ports::message::{Header, Incoming, OWN_PREFIX, Outbox, Outgoing, Target, is_own};

use crate::spec::ConsumerSpec;

/// What a dead letter says beside the message itself.
#[derive(Clone, Debug)]
pub struct Facts<'a> {
    /// Why it was given up.
    pub reason: ParkReason,
    /// The last error.
    pub error: &'a str,
    /// Calls of the handler in all.
    pub attempts: u32,
    /// When the key was first seen, in milliseconds since 1970.
    pub first_seen_ms: u64,
    /// Now, in milliseconds since 1970.
    pub dead_at_ms: u64,
    /// The claim key, if it has one.
    pub key: Option<&'a ClaimKey>,
    /// The plugin's digest, if one was there.
    pub digest: &'a str,
    /// What could not be sent, for `outbox-undeliverable`.
    pub unsent: &'a Outbox,
}

/// Makes the dead letter of a message: its body and headers as they were, and
/// `x-holdfast-…` headers that say what happened.
#[must_use]
pub fn dead_letter(spec: &ConsumerSpec, message: &Incoming, facts: &Facts<'_>) -> Outgoing {
    let mut headers: Vec<Header> = message
        .headers
        .iter()
        .filter(|h| !is_own(&h.name))
        .cloned()
        .collect();
    let mut own = |name: &str, value: String| {
        headers.push(Header::text(format!("{OWN_PREFIX}{name}"), value));
    };
    own("reason", facts.reason.to_string());
    own("error", bounded(facts.error));
    own("attempts", facts.attempts.to_string());
    own("first-seen", time(facts.first_seen_ms));
    own("dead-at", time(facts.dead_at_ms));
    if let Some(key) = facts.key {
        own("key", key.to_string());
    }
    own("consumer", spec.name.to_string());
    own("side", spec.side.to_string());
    own("plugin", spec.plugin.clone());
    own("digest", facts.digest.to_owned());
    own("exchange", message.exchange.clone());
    own("routing-key", message.routing_key.clone());
    own("queue", spec.queue.clone());
    let unsent = facts.unsent.messages.iter().take(16);
    let unsent: Vec<String> = unsent.map(|staged| staged.to.to_string()).collect();
    if !unsent.is_empty() {
        // One header: a message can have a name only once.
        own("unsent", unsent.join("\n"));
    }
    headers.extend(message.aside.iter().map(|aside| Header {
        name: format!("{OWN_PREFIX}aside-{}", aside.name),
        value: aside.value.clone(),
    }));
    Outgoing {
        to: Target::Queue(dead_queue(&spec.queue)),
        body: message.body.clone(),
        id: message.id.clone(),
        content_type: message.content_type.clone(),
        headers,
        timestamp_ms: message.timestamp_ms,
    }
}

/// The messages of a committed outbox, in order, under ids that are the same
/// however often they are sent: `<group>/<key>/<n>`, n from 1. With each comes
/// the configured broker it goes to, none for the consumer's own.
#[must_use]
pub fn outbox(
    group: &Group,
    key: &ClaimKey,
    cause: &Incoming,
    outbox: &Outbox,
) -> Vec<(Option<String>, Outgoing)> {
    let encoded = key.encoded();
    let trace = cause.headers.iter().find(|h| h.name == "traceparent");
    let numbered = outbox.messages.iter().enumerate();
    numbered
        .map(|(at, staged)| {
            let mut headers = staged.headers.clone();
            if let Some(trace) = trace
                && !headers.iter().any(|h| h.name == "traceparent")
            {
                headers.push(trace.clone());
            }
            if let Some(Some(number)) = outbox.minted.get(at) {
                headers.push(Header::text(
                    format!("{OWN_PREFIX}sequence"),
                    number.to_string(),
                ));
            }
            if let Some(lane) = &staged.lane {
                headers.push(Header::text(format!("{OWN_PREFIX}lane"), lane.clone()));
            }
            let message = Outgoing {
                to: staged.to.clone(),
                body: staged.body.clone().into(),
                id: Some(format!("{group}/{encoded}/{}", at + 1)),
                content_type: staged.content_type.clone(),
                headers,
                timestamp_ms: None,
            };
            (staged.broker.clone(), message)
        })
        .collect()
}

fn time(ms: u64) -> String {
    let at = std::time::UNIX_EPOCH + std::time::Duration::from_millis(ms);
    humantime::format_rfc3339_millis(at).to_string()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::testing::spec;
    use holdfast_core::key::KeyValue;
    use holdfast_ports::message::Staged;

    fn text<'a>(letter: &'a Outgoing, name: &str) -> Option<&'a str> {
        let header = letter.headers.iter().find(|h| h.name == name)?;
        std::str::from_utf8(&header.value).ok()
    }

    #[test]
    fn a_dead_letter_keeps_the_message_and_says_what_happened() {
        let message = Incoming {
            id: Some("m".into()),
            body: "b".into(),
            headers: vec![
                Header::text("a", "1"),
                Header::text("x-holdfast-reason", "forged"),
            ],
            exchange: "ex".into(),
            routing_key: "rk".into(),
            aside: vec![Header::text("expiration", "5000")],
            ..Incoming::default()
        };
        let facts = Facts {
            reason: ParkReason::Rejected,
            error: &"e".repeat(5000),
            attempts: 3,
            first_seen_ms: 0,
            dead_at_ms: 1_763_769_600_123,
            key: None,
            digest: "d1",
            unsent: &Outbox::default(),
        };
        let letter = dead_letter(&spec(), &message, &facts);
        assert_eq!(letter.to, Target::Queue("orders.dead".into()));
        assert_eq!(text(&letter, "x-holdfast-reason"), Some("rejected"));
        assert_eq!(
            text(&letter, "x-holdfast-dead-at"),
            Some("2025-11-22T00:00:00.123Z")
        );
        assert_eq!(text(&letter, "x-holdfast-routing-key"), Some("rk"));
        assert_eq!(text(&letter, "a"), Some("1"));
        let aside = text(&letter, "x-holdfast-aside-expiration");
        assert_eq!(aside, Some("5000"));
        assert!(text(&letter, "x-holdfast-error").is_some_and(|e| e.len() <= 1024));
    }

    #[test]
    fn outbox_ids_are_stable_and_cannot_be_mistaken_for_each_other() {
        let key = ClaimKey::from_value(KeyValue::Text("a/b".into())).unwrap();
        let staged = |lane: Option<&str>| Staged {
            broker: None,
            to: Target::Queue("q".into()),
            body: vec![],
            content_type: None,
            headers: vec![],
            lane: lane.map(Into::into),
        };
        let cause = Incoming {
            headers: vec![Header::text("traceparent", "00-t")],
            ..Incoming::default()
        };
        let kept = Outbox {
            messages: vec![staged(None), staged(Some("l"))],
            minted: vec![None, Some(9)],
        };
        let sent = outbox(&spec().group, &key, &cause, &kept);
        assert_eq!(sent[0].1.id.as_deref(), Some("orders/a%2Fb/1"));
        assert_eq!(sent[1].1.id.as_deref(), Some("orders/a%2Fb/2"));
        assert_eq!(text(&sent[1].1, "x-holdfast-sequence"), Some("9"));
        assert_eq!(text(&sent[0].1, "traceparent"), Some("00-t"));
    }
}
