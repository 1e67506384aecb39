//! What a letter says: the other half of [`crate::letter::dead_letter`].

use std::fmt;
use std::sync::Arc;

use holdfast_core::claim::ParkReason;
use holdfast_core::key::ClaimKey;
use holdfast_ports::look::{Seen, Spot};
use holdfast_ports::message::{Header, Incoming, OWN_PREFIX};

/// What was kept aside has this in front of its name.
const ASIDE: &str = "aside-";

/// A message in a dead-letter queue.
#[derive(Clone, Debug)]
pub struct Letter {
    /// Its place in the look that found it.
    pub spot: Spot,
    /// The message that was given up. A list has it without its body.
    pub message: Arc<Incoming>,
    /// The body's size in bytes.
    pub size: u64,
    /// What the host said about it; none when no host wrote it.
    pub told: Option<Told>,
}

/// What the host says about a message that it gave up.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Told {
    /// Why it was given up.
    pub reason: ParkReason,
    /// The last error.
    pub error: String,
    /// Calls of the handler.
    pub attempts: u32,
    /// When its key was first seen, and when it was given up, in UTC.
    pub first_seen: String,
    /// See `first_seen`.
    pub dead_at: String,
    /// Its claim key, if it had one.
    pub key: Option<ClaimKey>,
    /// Who gave it up.
    pub consumer: String,
    /// The consumer's side.
    pub side: String,
    /// With which plugin.
    pub plugin: String,
    /// The plugin's digest.
    pub digest: String,
    /// Where the message came from.
    pub exchange: String,
    /// See `exchange`.
    pub routing_key: String,
    /// See `exchange`.
    pub queue: String,
    /// What could not be sent, for `outbox-undeliverable`.
    pub unsent: Vec<String>,
    /// What the message carried that would misfire if it were published again.
    pub aside: Vec<Header>,
}

impl Letter {
    pub(crate) fn read(seen: Seen) -> Self {
        Self {
            spot: seen.spot,
            size: u64::try_from(seen.message.body.len()).unwrap_or(u64::MAX),
            told: told(&seen.own),
            message: seen.message,
        }
    }

    /// The same without its body.
    pub(super) fn without_body(self) -> Self {
        let message = Incoming {
            body: Default::default(),
            ..(*self.message).clone()
        };
        Self {
            message: Arc::new(message),
            ..self
        }
    }

    /// Why it is there.
    #[must_use]
    pub fn reason(&self) -> Reason {
        let told = self.told.as_ref();
        told.map_or(Reason::Foreign, |told| Reason::Given(told.reason))
    }

    /// What it is called by: its claim key, else its message id.
    #[must_use]
    pub fn name(&self) -> Option<&str> {
        let key = self.told.as_ref().and_then(|told| told.key.as_ref());
        key.map(ClaimKey::as_str).or(self.message.id.as_deref())
    }
}

fn told(own: &[Header]) -> Option<Told> {
    let find = |name: &str| {
        let named = |header: &&Header| header.name.strip_prefix(OWN_PREFIX) == Some(name);
        let header = own.iter().find(named)?;
        Some(String::from_utf8_lossy(&header.value).into_owned())
    };
    let text = |name: &str| find(name).unwrap_or_default();
    let aside = own.iter().filter_map(|header| {
        let name = header.name.strip_prefix(OWN_PREFIX)?.strip_prefix(ASIDE)?;
        Some(Header {
            name: name.to_owned(),
            value: header.value.clone(),
        })
    });
    Some(Told {
        reason: ParkReason::parse(&find("reason")?)?,
        error: text("error"),
        attempts: text("attempts").parse().unwrap_or(0),
        first_seen: text("first-seen"),
        dead_at: text("dead-at"),
        key: find("key")
            .filter(|key| !key.is_empty())
            .map(|key| ClaimKey::from_known(&key)),
        consumer: text("consumer"),
        side: text("side"),
        plugin: text("plugin"),
        digest: text("digest"),
        exchange: text("exchange"),
        routing_key: text("routing-key"),
        queue: text("queue"),
        unsent: text("unsent").lines().map(str::to_owned).collect(),
        aside: aside.collect(),
    })
}

/// Why a message is in a dead-letter queue.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reason {
    /// A host put it there.
    Given(ParkReason),
    /// Somebody else did.
    Foreign,
}

impl Reason {
    /// The word for letters that no host wrote.
    pub const FOREIGN: &str = "foreign";

    /// Every reason, as text.
    #[must_use]
    pub fn all() -> Vec<&'static str> {
        let given = ParkReason::ALL.into_iter().map(ParkReason::as_str);
        given.chain([Self::FOREIGN]).collect()
    }

    /// The reason with this text, if there is one.
    #[must_use]
    pub fn parse(text: &str) -> Option<Self> {
        match text {
            Self::FOREIGN => Some(Self::Foreign),
            text => ParkReason::parse(text).map(Self::Given),
        }
    }

    /// The reason as text.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Given(reason) => reason.as_str(),
            Self::Foreign => Self::FOREIGN,
        }
    }
}

impl fmt::Display for Reason {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which letters are meant; all of them by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Which {
    /// Those with this reason.
    pub reason: Option<Reason>,
    /// The one with this claim key, or with this message id if it has no key.
    pub key: Option<String>,
}

impl Which {
    /// Is this letter meant?
    #[must_use]
    pub fn matches(&self, letter: &Letter) -> bool {
        let known = |key: &String| letter.name() == Some(ClaimKey::from_known(key).as_str());
        let by_id = |key: &String| letter.name() == Some(key);
        self.reason.is_none_or(|reason| reason == letter.reason())
            && self.key.as_ref().is_none_or(|key| known(key) || by_id(key))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::letter::{Facts, dead_letter};
    use crate::testing::spec;
    use holdfast_core::key::KeyValue;
    use holdfast_ports::message::{Outbox, Staged, Target};

    fn key(text: &str) -> ClaimKey {
        ClaimKey::from_value(KeyValue::Text(text.into())).unwrap()
    }

    /// A letter as it was written, seen by a look.
    fn written(message: &Incoming, facts: &Facts<'_>) -> Letter {
        let letter = dead_letter(&spec(), message, facts);
        let (own, headers) = letter
            .headers
            .into_iter()
            .partition(|h| holdfast_ports::message::is_own(&h.name));
        let message = Incoming {
            id: letter.id,
            body: letter.body,
            headers,
            ..Incoming::default()
        };
        Letter::read(Seen {
            spot: Spot(1),
            message: Arc::new(message),
            own,
        })
    }

    fn message() -> Incoming {
        Incoming {
            id: Some("m-1".into()),
            body: "body".into(),
            headers: vec![Header::text("colour", "green")],
            exchange: "shop".into(),
            routing_key: "orders.new".into(),
            aside: vec![Header::text("expiration", "5000")],
            ..Incoming::default()
        }
    }

    fn facts<'a>(key: Option<&'a ClaimKey>, unsent: &'a Outbox) -> Facts<'a> {
        Facts {
            reason: ParkReason::OutboxUndeliverable,
            error: "no\nway",
            attempts: 3,
            first_seen_ms: 0,
            dead_at_ms: 1000,
            key,
            digest: "d1",
            unsent,
        }
    }

    #[test]
    fn everything_that_a_letter_was_given_is_read_back() {
        let staged = |queue: &str| Staged {
            broker: None,
            to: Target::Queue(queue.into()),
            body: vec![],
            content_type: None,
            headers: vec![],
            lane: None,
        };
        let unsent = Outbox {
            messages: vec![staged("a"), staged("b")],
            minted: vec![],
        };
        let key = key("k/1");
        let letter = written(&message(), &facts(Some(&key), &unsent));
        let told = letter.told.clone().expect("a host wrote it");
        assert_eq!(told.reason, ParkReason::OutboxUndeliverable);
        assert_eq!((told.error.as_str(), told.attempts), ("no\nway", 3));
        assert_eq!(told.first_seen, "1970-01-01T00:00:00.000Z");
        assert_eq!(told.dead_at, "1970-01-01T00:00:01.000Z");
        assert_eq!(told.key, Some(key));
        let who = [&told.consumer, &told.side, &told.plugin, &told.digest];
        assert_eq!(who, ["orders", "rabbit", "orders", "d1"]);
        let from = [&told.exchange, &told.routing_key, &told.queue];
        assert_eq!(from, ["shop", "orders.new", "orders"]);
        assert_eq!(told.unsent, ["queue \"a\"", "queue \"b\""]);
        assert_eq!(told.aside, [Header::text("expiration", "5000")]);
        assert_eq!(letter.message.headers, [Header::text("colour", "green")]);
        assert_eq!(letter.size, 4);
        assert!(letter.without_body().message.body.is_empty());
    }

    #[test]
    fn what_no_host_wrote_is_foreign() {
        for own in [
            vec![],
            vec![Header::text("x-holdfast-reason", "bored")],
            vec![Header::text("x-holdfast-error", "x")],
        ] {
            let letter = Letter::read(Seen {
                spot: Spot(1),
                message: Arc::new(message()),
                own,
            });
            assert_eq!(letter.reason(), Reason::Foreign);
            assert_eq!(letter.name(), Some("m-1"));
        }
        for reason in Reason::all() {
            assert_eq!(Reason::parse(reason).map(Reason::as_str), Some(reason));
        }
    }

    #[test]
    fn letters_are_meant_by_reason_and_by_key_else_by_their_id() {
        let none = Outbox::default();
        let long = key(&"x".repeat(300));
        let with_key = written(&message(), &facts(Some(&long), &none));
        let without = written(&message(), &facts(None, &none));
        let by = |reason: Option<&str>, key: Option<&str>| Which {
            reason: reason.and_then(Reason::parse),
            key: key.map(str::to_owned),
        };
        assert!(by(None, None).matches(&with_key));
        assert!(by(Some("outbox-undeliverable"), None).matches(&with_key));
        assert!(!by(Some("rejected"), None).matches(&with_key));
        assert!(!by(Some("foreign"), None).matches(&with_key));
        assert!(by(None, Some(long.as_str())).matches(&with_key));
        assert!(by(None, Some(&"x".repeat(300))).matches(&with_key));
        assert!(!by(None, Some("m-1")).matches(&with_key), "it has a key");
        assert!(by(None, Some("m-1")).matches(&without));
        assert!(!by(None, Some("m-2")).matches(&without));
    }
}
