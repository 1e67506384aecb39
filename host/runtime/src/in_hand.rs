//! The keys of the deliveries that a consumer has in hand.
//!
//! An entry lives as long as its delivery, so that one that vanished without an
//! ending shows in the books: it is neither ended nor in hand.

use std::collections::BTreeSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_core::key::ClaimKey;

/// What one consumer has in hand.
#[derive(Clone, Debug, Default)]
pub struct Deliveries(Arc<Mutex<Slots>>);

#[derive(Debug, Default)]
struct Slots {
    /// A used slot has a key, or none for a message without one.
    slots: Vec<Slot>,
    free: Vec<usize>,
}

#[derive(Debug)]
enum Slot {
    Free,
    Used(Option<ClaimKey>),
}

/// One delivery in hand; it is let go when this is dropped.
#[derive(Debug)]
pub struct InHand {
    all: Deliveries,
    at: usize,
}

impl Deliveries {
    /// Takes a delivery in hand.
    #[must_use]
    pub fn take(&self, key: Option<ClaimKey>) -> InHand {
        let mut all = self.slots();
        let slot = Slot::Used(key);
        let at = match all.free.pop() {
            Some(at) => {
                all.slots[at] = slot;
                at
            }
            None => {
                all.slots.push(slot);
                all.slots.len() - 1
            }
        };
        drop(all);
        let all = self.clone();
        InHand { all, at }
    }

    /// How many deliveries are in hand.
    #[must_use]
    pub fn count(&self) -> u64 {
        let all = self.slots();
        u64::try_from(all.slots.len() - all.free.len()).unwrap_or(u64::MAX)
    }

    /// Is a delivery with this key in hand?
    #[must_use]
    pub fn has(&self, key: &ClaimKey) -> bool {
        let all = self.slots();
        let mut keys = all.slots.iter();
        keys.any(|slot| matches!(slot, Slot::Used(Some(held)) if held == key))
    }

    /// Their keys.
    #[must_use]
    pub fn keys(&self) -> BTreeSet<ClaimKey> {
        let all = self.slots();
        let keys = all.slots.iter().filter_map(|slot| match slot {
            Slot::Used(key) => key.clone(),
            Slot::Free => None,
        });
        keys.collect()
    }

    fn slots(&self) -> MutexGuard<'_, Slots> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for InHand {
    fn drop(&mut self) {
        let mut all = self.all.slots();
        all.slots[self.at] = Slot::Free;
        all.free.push(self.at);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(text: &str) -> ClaimKey {
        ClaimKey::from_known(text)
    }

    #[test]
    fn a_key_is_held_as_long_as_any_of_its_deliveries() {
        let held = Deliveries::default();
        let (a, again) = (held.take(Some(key("a"))), held.take(Some(key("a"))));
        let nameless = held.take(None);
        assert_eq!(held.count(), 3);
        assert!(held.has(&key("a")) && !held.has(&key("b")));
        drop(a);
        assert_eq!(held.keys().into_iter().collect::<Vec<_>>(), [key("a")]);
        drop(again);
        let b = held.take(Some(key("b")));
        assert_eq!(held.keys().into_iter().collect::<Vec<_>>(), [key("b")]);
        assert_eq!(held.count(), 2);
        drop((b, nameless));
        assert_eq!((held.count(), held.keys().len()), (0, 0));
        assert_eq!(held.slots().slots.len(), 3, "places are used again");
    }
}
