//! Lanes: messages of one lane run one after another, in queue order.
//!
//! ```text
//!   enter, lane free ──► running ──leave──► next of the lane, or free
//!   enter, lane taken ─► waiting behind it
//!   halt ──────────────► nothing of the lane runs until resume
//!   put back ──────────► the running one waits again, before all others
//! ```

use std::collections::{HashMap, VecDeque};
use std::hash::Hash;

/// The waiting messages of all lanes of one consumer. `L` names a lane, `T` is
/// what waits.
#[derive(Debug)]
pub struct Lanes<L, T> {
    lanes: HashMap<L, Queue<T>>,
    waiting: usize,
}

#[derive(Debug)]
struct Queue<T> {
    waiting: VecDeque<T>,
    running: bool,
    halted: bool,
}

impl<T> Default for Queue<T> {
    fn default() -> Self {
        Self {
            waiting: VecDeque::new(),
            running: false,
            halted: false,
        }
    }
}

impl<L, T> Default for Lanes<L, T> {
    fn default() -> Self {
        Self {
            lanes: HashMap::new(),
            waiting: 0,
        }
    }
}

impl<L: Clone + Eq + Hash, T> Lanes<L, T> {
    /// A message arrives. Gives it back when it may run now; otherwise it waits
    /// behind its lane.
    pub fn enter(&mut self, lane: L, item: T) -> Option<T> {
        let queue = self.lanes.entry(lane).or_default();
        if queue.running || queue.halted || !queue.waiting.is_empty() {
            queue.waiting.push_back(item);
            self.waiting += 1;
            return None;
        }
        queue.running = true;
        Some(item)
    }

    /// The running message of a lane is settled. Gives the next one that may
    /// run.
    pub fn leave(&mut self, lane: &L) -> Option<T> {
        let queue = self.lanes.get_mut(lane)?;
        queue.running = false;
        self.advance(lane)
    }

    /// Stops a lane: what waits in it stays, its running message may end.
    pub fn halt(&mut self, lane: L) {
        self.lanes.entry(lane).or_default().halted = true;
    }

    /// The running message of a lane waits again, before all others of it: for
    /// one at which the lane was halted. Gives it back when the lane was resumed
    /// in the meantime.
    pub fn put_back(&mut self, lane: L, item: T) -> Option<T> {
        let queue = self.lanes.entry(lane.clone()).or_default();
        queue.running = false;
        queue.waiting.push_front(item);
        self.waiting += 1;
        self.advance(&lane)
    }

    /// Is nothing of this lane to run?
    #[must_use]
    pub fn is_halted(&self, lane: &L) -> bool {
        self.lanes.get(lane).is_some_and(|queue| queue.halted)
    }

    /// Continues a halted lane. Gives the message that may run now.
    pub fn resume(&mut self, lane: &L) -> Option<T> {
        let queue = self.lanes.get_mut(lane)?;
        queue.halted = false;
        self.advance(lane)
    }

    fn advance(&mut self, lane: &L) -> Option<T> {
        let queue = self.lanes.get_mut(lane)?;
        if queue.running || queue.halted {
            return None;
        }
        let next = queue.waiting.pop_front();
        if next.is_some() {
            queue.running = true;
            self.waiting -= 1;
        } else {
            self.lanes.remove(lane);
        }
        next
    }

    /// Takes out everything that waits, in no order between lanes; running
    /// messages stay. For handing messages back.
    pub fn take_waiting(&mut self) -> Vec<T> {
        self.waiting = 0;
        let items = self
            .lanes
            .values_mut()
            .flat_map(|queue| queue.waiting.drain(..))
            .collect();
        self.lanes.retain(|_, queue| queue.running || queue.halted);
        items
    }

    /// Messages that wait behind their lane.
    #[must_use]
    pub fn waiting(&self) -> usize {
        self.waiting
    }

    /// Lanes that are halted.
    pub fn halted(&self) -> impl Iterator<Item = &L> {
        self.lanes
            .iter()
            .filter(|(_, queue)| queue.halted)
            .map(|(lane, _)| lane)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_lane_runs_in_order_and_does_not_stop_another() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.enter("a", 1), Some(1));
        assert_eq!(lanes.enter("a", 2), None);
        assert_eq!(lanes.enter("a", 3), None);
        assert_eq!(lanes.enter("b", 4), Some(4));
        assert_eq!(lanes.waiting(), 2);
        assert_eq!(lanes.leave(&"a"), Some(2));
        assert_eq!(lanes.leave(&"a"), Some(3));
        assert_eq!(lanes.leave(&"a"), None);
        assert_eq!(lanes.leave(&"b"), None);
        assert!(
            lanes.lanes.is_empty(),
            "a lane without messages costs nothing"
        );
    }

    #[test]
    fn a_halted_lane_keeps_its_messages_until_it_is_resumed() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.enter("a", 1), Some(1));
        lanes.halt("a");
        assert_eq!(lanes.leave(&"a"), None);
        assert_eq!(lanes.enter("a", 2), None);
        assert_eq!(lanes.halted().collect::<Vec<_>>(), [&"a"]);
        assert!(lanes.is_halted(&"a") && !lanes.is_halted(&"b"));
        assert_eq!(lanes.resume(&"a"), Some(2));
    }

    #[test]
    fn a_message_at_which_a_lane_was_halted_is_the_first_to_run_again() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.enter("a", 1), Some(1));
        assert_eq!(lanes.enter("a", 2), None);
        lanes.halt("a");
        assert_eq!(lanes.put_back("a", 1), None);
        assert_eq!(lanes.enter("a", 3), None);
        assert_eq!(lanes.waiting(), 3);
        assert_eq!(lanes.resume(&"a"), Some(1));
        assert_eq!(lanes.leave(&"a"), Some(2));
        assert_eq!(lanes.leave(&"a"), Some(3));
        assert_eq!(lanes.leave(&"a"), None);
        assert!(lanes.lanes.is_empty());
    }

    #[test]
    fn a_lane_that_is_resumed_before_its_message_is_back_goes_on_with_that() {
        let mut lanes = Lanes::default();
        assert_eq!(lanes.enter("a", 1), Some(1));
        assert_eq!(lanes.enter("a", 2), None);
        lanes.halt("a");
        assert_eq!(lanes.resume(&"a"), None, "its message still runs");
        assert_eq!(lanes.put_back("a", 1), Some(1));
        assert_eq!(lanes.leave(&"a"), Some(2));
    }

    proptest::proptest! {
        #[test]
        fn every_message_comes_out_once_in_its_lanes_order(arrivals in proptest::collection::vec(0..4u8, 0..60), picks in proptest::collection::vec(0..8usize, 0..200)) {
            let mut lanes = Lanes::default();
            let (mut running, mut done) = (Vec::new(), Vec::new());
            let mut incoming = arrivals.iter().copied().enumerate();
            for pick in picks.into_iter().chain(std::iter::repeat_n(0, 200)) {
                let next = if pick % 2 == 0 { incoming.next() } else { None };
                let out = match next {
                    Some((n, lane)) => lanes.enter(lane, (lane, n)),
                    None if running.is_empty() => None,
                    None => {
                        let (lane, n): (u8, usize) = running.remove(pick % running.len());
                        done.push((lane, n));
                        lanes.leave(&lane)
                    }
                };
                running.extend(out);
            }
            proptest::prop_assert_eq!(done.len(), arrivals.len());
            for lane in 0..4 {
                let order: Vec<usize> = done.iter().filter(|d| d.0 == lane).map(|d| d.1).collect();
                proptest::prop_assert!(order.is_sorted(), "lane {} ran as {:?}", lane, order);
            }
        }
    }
}
