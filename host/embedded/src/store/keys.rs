//! Which rows there are. Parts never contain a NUL, but for a flag's name and
//! the name of totals, which come last or alone.

use holdfast_core::key::Lane;
use holdfast_core::name::Group;
use holdfast_ports::store::{LeaseName, Place, Slot};

use crate::rows::Key;

/// A claim.
const CLAIM: u8 = b'c';
/// An entry in the list of unfinished claims.
const UNFINISHED: u8 = b'o';
/// The history of a finished claim.
const HISTORY: u8 = b'h';

pub(super) fn claim(at: &Place) -> Key {
    Key::new(CLAIM, &[at.group.as_str(), at.key.as_str()])
}

pub(super) fn unfinished(at: &Place) -> Key {
    Key::new(UNFINISHED, &[at.group.as_str(), at.key.as_str()])
}

pub(super) fn history(at: &Place) -> Key {
    Key::new(HISTORY, &[at.group.as_str(), at.key.as_str()])
}

/// The beginning of the keys of all claims of a group, or of all unfinished
/// ones. What follows is the claim key.
pub(super) fn claims_of(group: &Group, finished: bool) -> Key {
    let kind = if finished { CLAIM } else { UNFINISHED };
    Key::new(kind, &[group.as_str(), ""])
}

/// When a claim's time has passed, its entry in the list goes with it.
pub(super) fn companion(kind: u8) -> Option<u8> {
    (kind == CLAIM).then_some(UNFINISHED)
}

/// State belongs to the lane; to the key where there is no lane or where each
/// key has a hash slot of its own.
pub(super) fn state(at: &Place, lane: Option<&Lane>) -> Key {
    match lane {
        Some(lane) if at.slot == Slot::Group => {
            Key::new(b's', &[at.group.as_str(), "lane", lane.as_str()])
        }
        _ => Key::new(b's', &[at.group.as_str(), "key", at.key.as_str()]),
    }
}

/// The last applied sequence of a lane.
pub(super) fn last_sequence(at: &Place, lane: Option<&Lane>) -> Key {
    let lane = lane.map_or("", Lane::as_str);
    Key::new(b'l', &[at.group.as_str(), lane])
}

/// The last number minted in a lane of outgoing messages.
pub(super) fn last_minted(at: &Place, lane: &Lane) -> Key {
    Key::new(b'm', &[at.group.as_str(), lane.as_str()])
}

pub(super) fn lease(of: &LeaseName) -> Key {
    Key::new(b'e', &[of.group.as_str(), of.consumer.as_str()])
}

/// The beginning of the keys of all instances of a roster.
pub(super) fn present(roster: &str) -> Key {
    Key::new(b'w', &[roster])
}

pub(super) fn rule(group: &Group) -> Key {
    Key::new(b'r', &[group.as_str()])
}

pub(super) fn group_rules(group: &Group) -> Key {
    Key::new(b'g', &[group.as_str()])
}

pub(super) fn flag(name: &str) -> Key {
    Key::new(b'f', &[name])
}

/// One total, or with an empty counter the beginning of all under a name.
pub(super) fn total(name: &str, counter: &str) -> Key {
    Key::new(b't', &[name, counter])
}

pub(super) fn incarnation() -> Key {
    Key::new(b'i', &["id"])
}

pub(super) fn replaced() -> Key {
    Key::new(b'i', &["replaced"])
}

pub(super) fn pulse() -> Key {
    Key::new(b'i', &["pulse"])
}
