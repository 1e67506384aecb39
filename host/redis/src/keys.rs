//! The names of everything that is kept in Redis.
//!
//! Every name begins with the service. What stands in braces decides the hash
//! slot of a cluster: all keys that one script touches have the same braces.
//! `<key>`, `<lane>` are percent-encoded, so they hold no colon and no brace.
//!
//! | key | type | holds | expires |
//! |---|---|---|---|
//! | `<service>:{<group>}:c:<key>` | string | a claim (see `lua/record.lua`) | `keep` after its last step |
//! | `…:h` behind the name of a claim | string | what led to an eventful end | 1 h |
//! | `<service>:{<group>}:s:<lane>` | hash | state of a lane: `v` its version, `.name` the values | never |
//! | `<service>:{<group>}:s:k:<key>` | hash | state of a key | `keep` after its last change |
//! | `<service>:{<group>}:q:<lane>` | string | last applied sequence, 20 digits | `keep` after its last use |
//! | `<service>:{<group>}:o:<lane>` | string | last sequence given to a published message | never |
//! | `<service>:{<group>}:l:<consumer>` | string | lease: 16 hex digits of the owner, epoch in decimals | its time to live |
//! | `<service>:{<group>}:e:<consumer>` | string | the last epoch | never |
//! | `<service>:{<group>}:rule` | hash | the cut-over rule | never |
//! | `<service>:{<group>}:rules` | hash | what all sides of the group have in common | never |
//! | `<service>:incarnation` | string | which store this is: id, a colon, the pulse in 20 digits | never |
//! | `<service>:replaced` | set | ids in whose place an operator accepted it | never |
//! | `<service>:{<text>}:incarnation`, `…:replaced` | as above | the same in a cluster, one for each primary | never |
//! | `<service>:flags` | hash | flags by name | never |
//! | `<service>:t:<name>` | hash | totals, and `.<run>` with the number of its last addition | never |
//! | `<service>:w:<name>` | sorted set | instances that are there, by the time until which | with the last of them |
//! | `<service>:changed` | channel | a word for whoever waits for a change | |
//!
//! With the slot rule `key` the braces hold `<group>:<key>`, and the claim is
//! `<service>:{<group>:<key>}:c`, its state `<service>:{<group>:<key>}:s`.

use std::sync::Arc;

use holdfast_core::key::{ClaimKey, Lane};
use holdfast_core::name::{Consumer, Group};
use holdfast_ports::store::{LeaseName, Place, Slot};
use percent_encoding::percent_decode_str;

use crate::cluster::slots::text_in;

/// Makes names for one service.
#[derive(Debug)]
pub(crate) struct Keys {
    service: Box<str>,
    /// The key of the incarnation, sent with every call.
    /// None in a cluster, where each primary has one ([`Keys::part`]).
    pub(crate) incarnation: Option<Arc<str>>,
    pub(crate) flags: String,
    pub(crate) changed: String,
}

impl Keys {
    pub(crate) fn new(service: &str, cluster: bool) -> Self {
        let incarnation = || format!("{service}:incarnation").into();
        Self {
            service: service.into(),
            incarnation: (!cluster).then(incarnation),
            flags: format!("{service}:flags"),
            changed: format!("{service}:changed"),
        }
    }

    /// The key of the incarnation for a call about this key. In a cluster another
    /// slot cannot be looked at in the same call: the key itself, which stands
    /// for none.
    pub(crate) fn beside<'a>(&'a self, key: &'a str) -> &'a str {
        self.incarnation.as_deref().unwrap_or(key)
    }

    /// The incarnation of one server, and the ids that it stands for. One in a
    /// cluster is named after the lowest slot of its primary.
    pub(crate) fn part(&self, slot: Option<u16>) -> [String; 2] {
        let service = &self.service;
        let braces = slot.map_or_else(String::new, |slot| format!("{{{}}}:", text_in(slot)));
        ["incarnation", "replaced"].map(|name| format!("{service}:{braces}{name}"))
    }

    fn of_group(&self, group: &Group, rest: &[&str]) -> String {
        let group = group.as_str();
        let length: usize = rest.iter().map(|part| part.len()).sum();
        let mut name = String::with_capacity(self.service.len() + group.len() + length + 4);
        name.push_str(&self.service);
        name.push_str(":{");
        name.push_str(group);
        name.push_str("}:");
        for part in rest {
            name.push_str(part);
        }
        name
    }

    fn of_key(&self, at: &Place, rest: &str) -> String {
        let (service, group, key) = (&self.service, &at.group, at.key.encoded());
        format!("{service}:{{{group}:{key}}}:{rest}")
    }

    pub(crate) fn claim(&self, at: &Place) -> String {
        match at.slot {
            Slot::Group if is_plain(at.key.as_str()) => {
                self.of_group(&at.group, &["c:", at.key.as_str()])
            }
            Slot::Group => self.of_group(&at.group, &["c:", &at.key.encoded()]),
            Slot::Key => self.of_key(at, "c"),
        }
    }

    /// The state of the lane, or of the key without a lane.
    pub(crate) fn state(&self, at: &Place, lane: Option<&Lane>) -> String {
        match (at.slot, lane) {
            (Slot::Key, _) => self.of_key(at, "s"),
            (Slot::Group, Some(lane)) => self.of_group(&at.group, &["s:", &lane.encoded()]),
            (Slot::Group, None) => self.of_group(&at.group, &["s:k:", &at.key.encoded()]),
        }
    }

    /// The last applied sequence; a message without a lane is in the one lane
    /// without a name.
    pub(crate) fn sequence(&self, at: &Place, lane: Option<&Lane>) -> String {
        let lane = lane.map(Lane::encoded).unwrap_or_default();
        match at.slot {
            Slot::Group => self.of_group(&at.group, &["q:", &lane]),
            Slot::Key => self.of_key(at, &format!("q:{lane}")),
        }
    }

    /// The counter for messages published in a lane.
    pub(crate) fn counter(&self, group: &Group, lane: &Lane) -> String {
        self.of_group(group, &["o:", &lane.encoded()])
    }

    pub(crate) fn lease(&self, group: &Group, consumer: &Consumer) -> String {
        self.of_group(group, &["l:", consumer.as_str()])
    }

    pub(crate) fn epoch(&self, of: &LeaseName) -> String {
        self.of_group(&of.group, &["e:", of.consumer.as_str()])
    }

    pub(crate) fn rule(&self, group: &Group) -> String {
        self.of_group(group, &["rule"])
    }

    pub(crate) fn rules(&self, group: &Group) -> String {
        self.of_group(group, &["rules"])
    }

    pub(crate) fn totals(&self, name: &str) -> String {
        format!("{}:t:{name}", self.service)
    }

    pub(crate) fn roster(&self, name: &str) -> String {
        format!("{}:w:{name}", self.service)
    }

    /// A pattern that matches every claim of a group, and more; names hold
    /// nothing that is special in a pattern.
    pub(crate) fn claims_pattern(&self, group: &Group) -> String {
        format!("{}:{{{group}[:}}]*", self.service)
    }

    /// The claim key in the name of a claim of this group; none for other names.
    pub(crate) fn claim_key(&self, group: &Group, name: &str) -> Option<ClaimKey> {
        let rest = name.strip_prefix(&*self.service)?;
        let rest = rest.strip_prefix(":{")?.strip_prefix(group.as_str())?;
        let encoded = match rest.strip_prefix("}:c:") {
            Some(key) => key,
            None => rest.strip_prefix(':')?.strip_suffix("}:c")?,
        };
        if encoded.is_empty() || encoded.contains([':', '{', '}']) {
            // A history, or a key of a digest: that colon is encoded.
            return None;
        }
        let text = percent_decode_str(encoded).decode_utf8().ok()?;
        Some(ClaimKey::from_known(&text))
    }
}

/// Is its encoded form the same?
fn is_plain(key: &str) -> bool {
    key.bytes()
        .all(|b| b.is_ascii_alphanumeric() || matches!(b, b'-' | b'.' | b'_' | b'~'))
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn place(key: &str, slot: Slot) -> Place {
        Place {
            group: Group::new("pay").unwrap(),
            key: ClaimKey::from_known(key),
            slot,
            lease: None,
            keep: Duration::from_secs(60),
        }
    }

    #[test]
    fn names_follow_the_documented_layout() {
        let keys = Keys::new("shop", false);
        let (group, key) = (place("a b", Slot::Group), place("a b", Slot::Key));
        let lane = Lane::from_known("l:1");
        assert_eq!(keys.claim(&group), "shop:{pay}:c:a%20b");
        assert_eq!(keys.claim(&key), "shop:{pay:a%20b}:c");
        assert_eq!(keys.state(&group, Some(&lane)), "shop:{pay}:s:l%3A1");
        assert_eq!(keys.state(&group, None), "shop:{pay}:s:k:a%20b");
        assert_eq!(keys.state(&key, Some(&lane)), "shop:{pay:a%20b}:s");
        assert_eq!(keys.sequence(&group, Some(&lane)), "shop:{pay}:q:l%3A1");
        assert_eq!(keys.counter(&group.group, &lane), "shop:{pay}:o:l%3A1");
    }

    #[test]
    fn a_claim_is_found_again_by_its_name_and_nothing_else_is() {
        let keys = Keys::new("shop", false);
        let group = Group::new("pay").unwrap();
        for slot in [Slot::Group, Slot::Key] {
            for key in ["a b", "plain-1", "é{}:", &"x".repeat(300)] {
                let at = place(key, slot);
                let name = keys.claim(&at);
                assert_eq!(keys.claim_key(&group, &name), Some(at.key));
                assert_eq!(keys.claim_key(&group, &format!("{name}:h")), None);
            }
        }
        for other in ["shop:{pay}:s:c", "shop:{pay2}:c:a", "shop:{pay}:c:", "x"] {
            assert_eq!(keys.claim_key(&group, other), None, "{other}");
        }
    }
}
