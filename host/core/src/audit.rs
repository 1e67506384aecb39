//! Does every unfinished claim have its message somewhere?
//!
//! A message moves while it is looked for: from a queue to a host, from a host
//! to a delay queue and back. One look that does not find it proves nothing, so
//! a claim is called without a message only when it was found nowhere in every
//! look over a while, and did not move in that time: a message that is at work
//! changes its claim.
//!
//! ```text
//!   nowhere ──seen again, or the claim moved──► forgotten
//!      └─────still nowhere after `settle`─────► lost
//! ```

use std::collections::BTreeMap;
use std::time::Duration;

use crate::claim::StateName;
use crate::lease::Monotonic;
use crate::name::Side;

/// Where a message was seen.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Spot {
    /// In flight in this host.
    Here,
    /// In flight in another host.
    OtherHost,
    /// In the work queue.
    Work,
    /// In a delay queue.
    Delay,
    /// In the dead-letter queue.
    Dead,
}

impl Spot {
    /// Every spot, in the order in which they are told.
    pub const ALL: [Self; 5] = [
        Self::Here,
        Self::OtherHost,
        Self::Work,
        Self::Delay,
        Self::Dead,
    ];

    /// In the words of people.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::Here => "in flight here",
            Self::OtherHost => "in flight at another host",
            Self::Work => "in the work queue",
            Self::Delay => "in a delay queue",
            Self::Dead => "in the dead letters",
        }
    }
}

/// How far the places of a side could be looked at.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Sight {
    /// All of them.
    Whole,
    /// Not all of them.
    Partial,
    /// No consumer of this host has the side.
    Absent,
}

/// Where the message of a claim is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Whereabouts {
    /// Its owner has it.
    At(Spot),
    /// Only the other side has it.
    OtherSide(Spot),
    /// Its owner is consumed by no consumer of this host, and nobody else has it.
    NotLookedAt,
    /// It was not found, but not everything could be looked at.
    Unknown,
    /// It is nowhere.
    Nowhere,
}

/// Where the message of a claim is, from where its key was seen, and of which
/// side.
#[must_use]
pub fn whereabouts(owner: &Side, seen: &[(Side, Spot)], sight: Sight) -> Whereabouts {
    let spot = |ours: bool| {
        let of = seen.iter().filter(|(side, _)| (side == owner) == ours);
        of.map(|(_, spot)| *spot).min()
    };
    match (spot(true), spot(false), sight) {
        (Some(spot), _, _) => Whereabouts::At(spot),
        (None, Some(spot), _) => Whereabouts::OtherSide(spot),
        (None, None, Sight::Absent) => Whereabouts::NotLookedAt,
        (None, None, Sight::Partial) => Whereabouts::Unknown,
        (None, None, Sight::Whole) => Whereabouts::Nowhere,
    }
}

/// What changes in a claim whenever something is done about its message.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Mark {
    /// Where it stands.
    pub state: StateName,
    /// Calls of the handler so far.
    pub attempt: u32,
    /// The last fence.
    pub fence: u64,
}

/// Claims whose message was found nowhere.
#[derive(Debug)]
pub struct Suspects<K> {
    settle: Duration,
    since: BTreeMap<K, (Mark, Monotonic)>,
}

impl<K: Ord + Clone> Suspects<K> {
    /// `settle` is how long a message may be on its way between two places.
    #[must_use]
    pub fn new(settle: Duration) -> Self {
        Self {
            settle,
            since: BTreeMap::new(),
        }
    }

    /// Takes what one look found nowhere, and gives the claims that have no
    /// message.
    pub fn look(&mut self, now: Monotonic, nowhere: Vec<(K, Mark)>) -> Vec<K> {
        let before = std::mem::take(&mut self.since);
        for (key, mark) in nowhere {
            let since = match before.get(&key) {
                Some((known, since)) if *known == mark => *since,
                _ => now,
            };
            self.since.insert(key, (mark, since));
        }
        let lost = self.since.iter().filter(|(_, (_, since))| {
            let known_for = now.saturating_sub(*since);
            known_for >= self.settle
        });
        lost.map(|(key, _)| key.clone()).collect()
    }

    /// Claims that may turn out to have no message.
    pub fn suspected(&self) -> impl Iterator<Item = &K> {
        self.since.keys()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const SETTLE: Duration = Duration::from_secs(5);

    fn side(name: &str) -> Side {
        Side::new(name).unwrap()
    }

    fn mark(attempt: u32) -> Mark {
        Mark {
            state: StateName::Failed,
            attempt,
            fence: 7,
        }
    }

    fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn a_message_of_the_owner_counts_before_one_of_the_other_side() {
        let (old, new) = (side("old"), side("new"));
        for sight in [Sight::Whole, Sight::Partial, Sight::Absent] {
            let seen = [(new.clone(), Spot::Here), (old.clone(), Spot::Dead)];
            assert_eq!(whereabouts(&old, &seen, sight), Whereabouts::At(Spot::Dead));
            let seen = [(new.clone(), Spot::Work), (new.clone(), Spot::Here)];
            assert_eq!(
                whereabouts(&old, &seen, sight),
                Whereabouts::OtherSide(Spot::Here)
            );
        }
    }

    #[test]
    fn what_was_not_found_is_nowhere_only_when_everything_was_looked_at() {
        let old = side("old");
        let of = |sight| whereabouts(&old, &[], sight);
        assert_eq!(of(Sight::Whole), Whereabouts::Nowhere);
        assert_eq!(of(Sight::Partial), Whereabouts::Unknown);
        assert_eq!(of(Sight::Absent), Whereabouts::NotLookedAt);
    }

    #[test]
    fn a_claim_has_no_message_only_after_it_was_nowhere_for_a_while() {
        let mut suspects = Suspects::new(SETTLE);
        assert_eq!(suspects.look(secs(0), vec![("a", mark(1))]), [""; 0]);
        assert_eq!(suspects.look(secs(4), vec![("a", mark(1))]), [""; 0]);
        assert_eq!(suspects.suspected().collect::<Vec<_>>(), [&"a"]);
        assert_eq!(suspects.look(secs(5), vec![("a", mark(1))]), ["a"]);
    }

    #[test]
    fn a_claim_that_moved_or_was_seen_is_looked_at_from_the_beginning() {
        let mut suspects = Suspects::new(SETTLE);
        suspects.look(secs(0), vec![("moved", mark(1)), ("seen", mark(1))]);
        suspects.look(secs(3), vec![("moved", mark(2))]);
        let both = vec![("moved", mark(2)), ("seen", mark(1))];
        assert_eq!(suspects.look(secs(6), both.clone()), [""; 0]);
        assert_eq!(suspects.look(secs(8), both.clone()), ["moved"]);
        assert_eq!(suspects.look(secs(11), both), ["moved", "seen"]);
    }

    #[test]
    fn other_changes_of_a_claim_count_too() {
        for other in [
            Mark {
                state: StateName::Running,
                ..mark(1)
            },
            Mark {
                fence: 8,
                ..mark(1)
            },
        ] {
            let mut suspects = Suspects::new(SETTLE);
            suspects.look(secs(0), vec![("a", mark(1))]);
            assert_eq!(suspects.look(secs(9), vec![("a", other)]), [""; 0]);
        }
    }
}
