//! What flows while things go wrong: five streams of messages, each of its own
//! kind.

use crate::dice::Dice;

/// Calls of a handler before a message is given up. High, since an attempt that
/// dies with its host counts.
pub(crate) const ATTEMPTS: u32 = 12;

/// A stream of numbered messages that all ends of a group receive.
#[derive(Debug)]
pub struct Load {
    /// The group in which its keys are claimed.
    pub group: &'static str,
    /// What it is, in a few words.
    pub what: &'static str,
    /// Where it arrives: one side, or two.
    pub ends: &'static [End],
    /// How many lanes take turns; 1 is strict order, 0 is none.
    pub lanes: u64,
    /// Its share of all messages, in percent.
    pub share: u64,
    /// What its consumers add to their configuration.
    pub(crate) settings: &'static str,
}

/// One consumer with its queue.
#[derive(Debug)]
pub struct End {
    /// The consumer, and its queue.
    pub name: &'static str,
    /// The side.
    pub side: &'static str,
    /// The broker's place.
    pub broker: usize,
}

const LEASE: &str = "lease = { ttl = \"3s\", renew = \"500ms\", retry = \"250ms\" }\n";

/// The streams, as they are configured: with and without order, with and without
/// a second side.
pub static LOADS: [Load; 5] = [
    Load {
        group: "plain",
        what: "no order; longer waits in delay queues",
        ends: &[End {
            name: "plain",
            side: "plain",
            broker: 0,
        }],
        lanes: 0,
        share: 35,
        // The fourth call and later ones wait in a delay queue.
        settings: "retry = { attempts = 12, initial = \"100ms\", factor = 4.0, max = \"1s\", hold-below = \"1s\" }\n",
    },
    Load {
        group: "lanes",
        what: "twenty lanes in order, with a lease",
        ends: &[End {
            name: "lanes",
            side: "lanes",
            broker: 0,
        }],
        lanes: 20,
        share: 25,
        settings: "order = { mode = \"lanes\", key = \"json:/lane\", sequence = \"json:/number\" }\n\
                   retry = { attempts = 12, initial = \"50ms\", max = \"200ms\", hold-below = \"200ms\" }\n",
    },
    Load {
        group: "strict",
        what: "one after another, with a lease",
        ends: &[End {
            name: "strict",
            side: "strict",
            broker: 1,
        }],
        lanes: 1,
        share: 5,
        settings: "order = { mode = \"strict\" }\n\
                   retry = { attempts = 12, initial = \"50ms\", max = \"200ms\", hold-below = \"200ms\" }\n",
    },
    Load {
        group: "moved",
        what: "two sides on two brokers",
        ends: &[
            End {
                name: "moved-old",
                side: "old",
                broker: 0,
            },
            End {
                name: "moved-new",
                side: "new",
                broker: 1,
            },
        ],
        lanes: 0,
        share: 25,
        settings: "retry = { attempts = 12, initial = \"50ms\", factor = 4.0, max = \"1s\" , hold-below = \"1s\" }\n",
    },
    Load {
        group: "pairs",
        what: "ten lanes in order on two sides and two brokers, with leases",
        ends: &[
            End {
                name: "pairs-old",
                side: "old",
                broker: 0,
            },
            End {
                name: "pairs-new",
                side: "new",
                broker: 1,
            },
        ],
        lanes: 10,
        share: 10,
        settings: "order = { mode = \"lanes\", key = \"json:/lane\" }\n\
                   retry = { attempts = 12, initial = \"50ms\", max = \"200ms\", hold-below = \"200ms\" }\n",
    },
];

impl Load {
    /// The one with this group.
    pub(crate) fn of(group: &str) -> Option<&'static Self> {
        LOADS.iter().find(|load| load.group == group)
    }

    /// Whether a cut-over rule divides it between two sides.
    pub(crate) fn has_sides(&self) -> bool {
        self.ends.len() > 1
    }

    /// The lane of a message.
    pub fn lane(&self, number: u64) -> Option<u64> {
        number.checked_rem(self.lanes)
    }

    /// The tables of its consumers.
    pub(crate) fn tables(&self, concurrency: u64) -> String {
        let lease = if self.lanes > 0 { LEASE } else { "" };
        // The two ends get bodies that differ in an address.
        let fingerprint = if self.has_sides() {
            ", fingerprint = false"
        } else {
            ""
        };
        let mut tables = String::new();
        for End { name, side, broker } in self.ends {
            tables += &format!(
                "[consumers.{name}]\nbroker = \"b{broker}\"\nqueue = \"{name}\"\nplugin = \"probe\"\n\
                 concurrency = {concurrency}\nprefetch = 64\n\
                 claim = {{ group = \"{group}\", side = \"{side}\"{fingerprint} }}\n{settings}{lease}",
                group = self.group,
                settings = self.settings,
            );
        }
        if self.has_sides() {
            tables += &format!(
                "[cutover.{}]\nfrom = \"old\"\nto = \"new\"\nenabled = true\npercent = 50.0\n\
                 assign-timeout = \"30m\"\n",
                self.group
            );
        }
        tables
    }
}

/// How a message is to end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// Takes effect, after this many attempts that fail.
    Good(u32),
    /// Rejected at the first attempt.
    Rejected,
    /// Fails at every attempt.
    Fails,
    /// Traps at every attempt.
    Traps,
}

impl Fate {
    /// The fate of a message, which depends on nothing but seed, load and number.
    #[must_use]
    pub fn of(seed: u64, load: &Load, number: u64) -> Self {
        let place = LOADS.iter().position(|l| l.group == load.group);
        let salt = place.unwrap_or_default() as u64;
        let mut dice = Dice::new(seed ^ (number.wrapping_mul(8).wrapping_add(salt) << 20));
        match dice.below(1000) {
            0..4 => Self::Rejected,
            // What is tried twelve times holds up a whole strict queue.
            4..6 if load.lanes != 1 => Self::Fails,
            6..8 if load.lanes != 1 => Self::Traps,
            8..48 => Self::Good(1),
            48..53 if load.lanes != 1 => Self::Good(4),
            _ => Self::Good(0),
        }
    }

    /// Whether it is to take effect; else a letter is written.
    #[must_use]
    pub fn is_good(self) -> bool {
        matches!(self, Self::Good(_))
    }

    /// Calls of the handler when nothing else goes wrong.
    #[must_use]
    pub fn calls(self) -> u32 {
        match self {
            Self::Good(failures) => failures + 1,
            Self::Rejected => 1,
            Self::Fails | Self::Traps => ATTEMPTS,
        }
    }

    /// The reason that its letter has to give.
    #[must_use]
    pub fn reason(self) -> Option<&'static str> {
        match self {
            Self::Good(_) => None,
            Self::Rejected => Some("rejected"),
            Self::Fails | Self::Traps => Some("attempts-spent"),
        }
    }
}

/// Whether the message is published twice.
pub(crate) fn is_twice(number: u64) -> bool {
    number % 50 == 7
}

/// The body for one end: what the probe is to do. Every call is told to the
/// recorder at this address first.
pub(crate) fn body(load: &Load, end: &End, number: u64, fate: Fate, recorder: &str) -> Vec<u8> {
    let mut body = serde_json::json!({
        "number": number,
        "http_get": format!("{recorder}/{}/{}/{number}", load.group, end.side),
        "state_incr": "n",
        "publish_to": "out",
    });
    if let Some(lane) = load.lane(number) {
        body["lane"] = format!("{lane}").into();
    }
    match fate {
        Fate::Good(0) => {}
        Fate::Good(failures) => body["fail_times"] = failures.into(),
        Fate::Rejected => body["reject"] = "poison".into(),
        Fate::Fails => body["fail_times"] = 1000.into(),
        Fate::Traps => body["trap"] = true.into(),
    }
    body.to_string().into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_shares_are_the_whole() {
        assert_eq!(LOADS.iter().map(|load| load.share).sum::<u64>(), 100);
    }

    #[test]
    fn every_fate_occurs_and_most_are_good() {
        let fates: Vec<Fate> = (0..10_000).map(|n| Fate::of(1, &LOADS[0], n)).collect();
        for fate in [
            Fate::Rejected,
            Fate::Fails,
            Fate::Traps,
            Fate::Good(1),
            Fate::Good(4),
        ] {
            let count = fates.iter().filter(|f| **f == fate).count();
            assert!((5..600).contains(&count), "{fate:?}: {count}");
        }
        assert_ne!(
            fates,
            (0..10_000)
                .map(|n| Fate::of(1, &LOADS[1], n))
                .collect::<Vec<_>>()
        );
    }
}
