//! The settings that are run: consumers of every kind of order, one side or two.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use holdfast_core::claim::OnForeign;
use holdfast_core::cutover::{Percent, Rule};
use holdfast_core::lease::Terms;
use holdfast_core::name::{Consumer, Group, Side};
use holdfast_core::retry::Backoff;
use holdfast_ports::store::Slot;
use holdfast_runtime::spec::{Batch, ConsumerSpec, Mode, OnPoison, Order, Source};

/// The work queue, on every broker.
pub(crate) const QUEUE: &str = "work";
/// Where handlers publish to.
pub(crate) const EFFECTS: &str = "effects";
/// The group of all claims.
pub(crate) const GROUP: &str = "g";

/// One kind of consumer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Setup {
    /// Its name, for tables.
    pub name: &'static str,
    pub(crate) mode: Mode,
    /// Messages name a lane.
    pub(crate) lanes: bool,
    pub(crate) lease: bool,
    pub(crate) sequence: bool,
    pub(crate) halts: bool,
    pub(crate) two_sides: bool,
    pub(crate) slot_key: bool,
    /// Hosts of each side.
    pub(crate) hosts: usize,
}

const PLAIN: Setup = Setup {
    name: "unordered",
    mode: Mode::None,
    lanes: false,
    lease: false,
    sequence: false,
    halts: false,
    two_sides: false,
    slot_key: false,
    hosts: 2,
};

/// All of them. A seed's remainder picks one.
pub const SETUPS: [Setup; 10] = [
    PLAIN,
    Setup {
        name: "unordered, shared state",
        lanes: true,
        ..PLAIN
    },
    Setup {
        name: "lanes, one host",
        mode: Mode::Lanes,
        lanes: true,
        hosts: 1,
        ..PLAIN
    },
    Setup {
        name: "lanes, lease",
        mode: Mode::Lanes,
        lanes: true,
        lease: true,
        hosts: 3,
        ..PLAIN
    },
    Setup {
        name: "strict, lease",
        mode: Mode::Strict,
        lease: true,
        ..PLAIN
    },
    Setup {
        name: "lanes, lease, sequence",
        mode: Mode::Lanes,
        lanes: true,
        lease: true,
        sequence: true,
        ..PLAIN
    },
    Setup {
        name: "lanes, lease, halt",
        mode: Mode::Lanes,
        lanes: true,
        lease: true,
        halts: true,
        ..PLAIN
    },
    Setup {
        name: "two sides, unordered",
        two_sides: true,
        ..PLAIN
    },
    Setup {
        name: "two sides, lanes, lease",
        mode: Mode::Lanes,
        lanes: true,
        lease: true,
        two_sides: true,
        ..PLAIN
    },
    Setup {
        name: "two sides, slot by key",
        two_sides: true,
        slot_key: true,
        hosts: 1,
        ..PLAIN
    },
];

/// The longest a call may take.
pub(crate) const DEADLINE: Duration = Duration::from_millis(400);

impl Setup {
    /// The setup of a seed.
    #[must_use]
    pub fn of(seed: u64) -> Self {
        let at = usize::try_from(seed % SETUPS.len() as u64).unwrap_or(0);
        SETUPS[at]
    }

    pub(crate) fn ordered(&self) -> bool {
        self.mode != Mode::None
    }

    pub(crate) fn sides(&self) -> &'static [&'static str] {
        if self.two_sides {
            &["old", "new"]
        } else {
            &["old"]
        }
    }

    /// The consumer of a side. Each side has a broker of its own name.
    pub(crate) fn spec(&self, side: &str) -> ConsumerSpec {
        let header = |name: &str| Source::Header(name.to_owned());
        ConsumerSpec {
            name: Consumer::new(&format!("c-{side}")).expect("a name"),
            broker: side.to_owned(),
            queue: QUEUE.to_owned(),
            plugin: "p".to_owned(),
            concurrency: 3,
            prefetch: 8,
            declare: true,
            batch: Batch {
                max: 4,
                wait: Duration::from_millis(5),
            },
            max_body: 1 << 20,
            group: group(),
            side: Side::new(side).expect("a name"),
            key: Source::MessageId,
            keep: Duration::from_hours(24),
            slot: if self.slot_key {
                Slot::Key
            } else {
                Slot::Group
            },
            fingerprint: true,
            on_foreign: OnForeign::Hold,
            backoff: Backoff {
                attempts: 4,
                initial: Duration::from_millis(200),
                factor: 3.0,
                max: Duration::from_secs(4),
                jitter: 0.1,
                hold_below: Duration::from_secs(1),
            },
            order: Order {
                mode: self.mode,
                lane: self.lanes.then(|| header("lane")),
                sequence: self.sequence.then(|| header("seq")),
                on_poison: if self.halts {
                    OnPoison::Halt
                } else {
                    OnPoison::Park
                },
            },
            lease: self.lease.then_some(Terms {
                ttl: Duration::from_secs(3),
                renew: Duration::from_secs(1),
                retry: Duration::from_millis(300),
            }),
            row: None,
            deadline: DEADLINE,
        }
    }

    pub(crate) fn rules(&self, hundredths: u16) -> BTreeMap<Group, Rule> {
        if !self.two_sides {
            return BTreeMap::new();
        }
        let rule = Rule {
            from: Side::new("old").expect("a name"),
            to: Side::new("new").expect("a name"),
            enabled: true,
            percent: Percent::from_hundredths(hundredths).unwrap_or_default(),
            allow: BTreeSet::new(),
            assign_timeout: Duration::from_secs(20),
            revision: 0,
        };
        BTreeMap::from([(group(), rule)])
    }
}

pub(crate) fn group() -> Group {
    Group::new(GROUP).expect("a name")
}
