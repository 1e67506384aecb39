//! What every call about a claim is made of: its keys, and the arguments that
//! come first.

use holdfast_core::claim::BeginFacts;
use holdfast_core::claim::steps::Shown;
use holdfast_ports::store::Place;

use crate::call::Call;
use crate::keys::Keys;
use crate::script::Which;
use crate::store::RedisStore;

/// The keys of one call. Those not needed are left out at the end, and stand
/// for the claim in between, so that all are in one slot.
pub(crate) struct Names<'a> {
    claim: String,
    keys: &'a Keys,
    lease: Option<String>,
    /// The state, where it is needed.
    pub(crate) state: Option<String>,
    /// The lane's last sequence, where it is needed.
    pub(crate) sequence: Option<String>,
}

impl<'a> Names<'a> {
    pub(crate) fn new(store: &'a RedisStore, at: &Place, epoch: Option<u64>) -> Self {
        let lease = epoch.and(at.lease.as_ref());
        Self {
            claim: store.keys.claim(at),
            keys: &store.keys,
            lease: lease.map(|consumer| store.keys.lease(&at.group, consumer)),
            state: None,
            sequence: None,
        }
    }

    /// The epoch to show. Without a lease to compare it with there is no leader
    /// and no epoch is current; zero never is.
    pub(crate) fn epoch(&self, shown: Option<u64>) -> Option<u64> {
        shown.map(|epoch| if self.lease.is_some() { epoch } else { 0 })
    }

    pub(crate) fn call(&self, which: Which, more: &[String]) -> Call {
        let all = [&self.lease, &self.state, &self.sequence];
        let needed = if more.is_empty() {
            all.iter()
                .rposition(|name| name.is_some())
                .map_or(0, |at| at + 1)
        } else {
            all.len()
        };
        let claim = self.claim.as_str();
        let mut keys = Vec::with_capacity(2 + needed + more.len());
        keys.extend([claim, self.keys.beside(claim)]);
        keys.extend(
            all[..needed]
                .iter()
                .map(|name| name.as_deref().unwrap_or(claim)),
        );
        keys.extend(more.iter().map(String::as_str));
        Call::new(which, &keys)
    }

    /// A step of an attempt: store expected, token, keep, epoch.
    pub(crate) fn step(&self, which: Which, store: &RedisStore, at: &Place, shown: Shown) -> Call {
        self.call(which, &[])
            .arg(&*store.expected())
            .arg(&shown.token.0.to_be_bytes())
            .millis(at.keep)
            .optional(self.epoch(shown.epoch))
    }
}

/// How the record of a new, running claim begins (see `lua/record.lua`): it is
/// cheaper made here than there.
pub(crate) fn head(facts: &BeginFacts) -> Vec<u8> {
    let side = facts.side.as_str().as_bytes();
    let mut flags = HAS_TOKEN;
    if facts.fingerprint.is_some() {
        flags |= HAS_FINGERPRINT;
    }
    if facts.epoch.is_some() {
        flags |= HAS_EPOCH;
    }
    let mut head = Vec::with_capacity(19 + side.len());
    // A name has at most 64 bytes.
    head.extend([b'R', flags, u8::try_from(side.len()).unwrap_or(u8::MAX)]);
    head.extend(facts.token.0.to_be_bytes());
    head.extend(
        facts
            .fingerprint
            .map_or([0; 8], |fingerprint| fingerprint.0),
    );
    head.extend(side);
    head
}

const HAS_TOKEN: u8 = 1;
const HAS_FINGERPRINT: u8 = 2;
const HAS_EPOCH: u8 = 16;
