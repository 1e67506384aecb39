//! One setup with everything that its steps need at hand.

use std::collections::{BTreeSet, HashSet};
use std::sync::Mutex;

use holdfast_core::cutover;
use holdfast_core::key::ClaimKey;
use holdfast_core::name::{Group, Side};
use holdfast_core::retry::Backoff;

use crate::met::Seen;
use crate::setup::{ASSIGN_TIMEOUT, Message, Setup};

/// A setup that the checker explores.
pub(crate) struct Checked {
    pub(crate) setup: Setup,
    sides: [Side; 2],
    pub(crate) group: Group,
    pub(crate) backoff: Backoff,
    keys: Vec<ClaimKey>,
    lanes: Vec<String>,
    /// One rule for each share.
    rules: Vec<cutover::Rule>,
    /// States that are known to drain, by fingerprint.
    pub(crate) drained: Mutex<HashSet<u64>>,
    /// What was met.
    pub(crate) seen: Seen,
}

impl Checked {
    /// Prepares a setup.
    ///
    /// # Panics
    /// When a share of the setup is above a hundred percent.
    #[must_use]
    pub(crate) fn new(setup: Setup) -> Self {
        let name = |text| Side::new(text).expect("a plain name");
        let sides = [name("old"), name("new")];
        let rule = |share: &u16| cutover::Rule {
            from: sides[0].clone(),
            to: sides[1].clone(),
            enabled: true,
            percent: cutover::Percent::from_hundredths(*share).expect("a share of the whole"),
            allow: BTreeSet::new(),
            assign_timeout: ASSIGN_TIMEOUT,
            revision: 1,
        };
        Self {
            rules: setup.shares.iter().map(rule).collect(),
            sides: sides.clone(),
            group: Group::new("orders").expect("a plain name"),
            backoff: setup.backoff(),
            keys: (0..setup.keys())
                .map(|key| ClaimKey::from_known(&format!("key-{key}")))
                .collect(),
            lanes: (0..setup.lanes())
                .map(|lane| format!("lane-{lane}"))
                .collect(),
            drained: Mutex::default(),
            seen: Seen::default(),
            setup,
        }
    }

    pub(crate) fn message(&self, number: u8) -> &Message {
        &self.setup.messages[usize::from(number)]
    }

    pub(crate) fn key(&self, message: u8) -> ClaimKey {
        self.keys[usize::from(self.message(message).key)].clone()
    }

    pub(crate) fn side(&self, number: u8) -> Side {
        self.sides[usize::from(number)].clone()
    }

    pub(crate) fn number_of(&self, side: &Side) -> u8 {
        u8::from(*side == self.sides[1])
    }

    /// The side that a new key goes to, by the rule with this share.
    pub(crate) fn owner(&self, share: u8, message: u8) -> u8 {
        let message = self.message(message);
        let hashed = if self.setup.ordered {
            &self.lanes[usize::from(message.lane)]
        } else {
            self.keys[usize::from(message.key)].as_str()
        };
        self.number_of(self.rules[usize::from(share)].owner(hashed))
    }
}
