//! Which frames settle a set of deliveries: one acknowledgement for everything
//! up to the oldest delivery that is still open, one each for what was settled
//! beyond it, so that a slow message holds up no other.
//!
//! ```text
//!  tags       1    2    3    4    5    6    7
//!            ack  ack  back ack  open ack  open
//!  frames    nack 3, ack 4 and all before, ack 6
//! ```
//!
//! Pure: it knows no channel and no clock.

use std::collections::VecDeque;

/// How a delivery is settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum How {
    /// Acknowledged.
    Ack,
    /// Given back at once.
    Back,
    /// Given back once everything before it is settled, so that it keeps its
    /// place in the queue behind a message that is given back later.
    BackInOrder,
}

/// What is sent to the broker.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Frame {
    /// This delivery is done; with `multiple` also all before it.
    Ack { tag: u64, multiple: bool },
    /// Deliver this one again.
    Back { tag: u64 },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open,
    Settled(How),
    /// Its frame was sent.
    Gone,
}

/// The deliveries of one channel that are not settled yet.
#[derive(Debug, Default)]
pub(crate) struct Coalescer {
    /// In the order of their tags; what is gone is dropped from time to time.
    window: VecDeque<(u64, Fate)>,
    gone: usize,
    /// Settled since the last [`Coalescer::take`].
    fresh: Vec<u64>,
}

impl Coalescer {
    /// A delivery arrived. Tags only grow.
    pub(crate) fn delivered(&mut self, tag: u64) {
        self.window.push_back((tag, Fate::Open));
    }

    /// Settles a delivery; false when it is not open.
    pub(crate) fn settle(&mut self, tag: u64, how: How) -> bool {
        let Some(index) = self.find(tag) else {
            return false;
        };
        if self.window[index].1 != Fate::Open {
            return false;
        }
        self.window[index].1 = Fate::Settled(how);
        self.fresh.push(tag);
        true
    }

    /// Appends the frames for what was settled since the last call.
    pub(crate) fn take(&mut self, frames: &mut Vec<Frame>) {
        let mut fresh = std::mem::take(&mut self.fresh);
        fresh.sort_unstable();
        // First what goes back: an acknowledgement of all before must not take
        // it along.
        for &tag in &fresh {
            if self.send(tag, How::Back) {
                frames.push(Frame::Back { tag });
            }
        }
        self.take_settled_prefix(frames);
        for &tag in &fresh {
            if self.send(tag, How::Ack) {
                let multiple = false;
                frames.push(Frame::Ack { tag, multiple });
            }
        }
        fresh.clear();
        self.fresh = fresh;
        self.compact();
    }

    fn take_settled_prefix(&mut self, frames: &mut Vec<Frame>) {
        let (mut last, mut count) = (0, 0_u32);
        while let Some(&(tag, fate)) = self.window.front() {
            match fate {
                Fate::Open => break,
                Fate::Settled(How::Ack) => (last, count) = (tag, count + 1),
                Fate::Settled(How::Back | How::BackInOrder) => frames.push(Frame::Back { tag }),
                Fate::Gone => self.gone -= 1,
            }
            self.window.pop_front();
        }
        if count > 0 {
            let multiple = count > 1;
            frames.push(Frame::Ack {
                tag: last,
                multiple,
            });
        }
    }

    /// Marks a delivery as sent if it is settled like this.
    fn send(&mut self, tag: u64, how: How) -> bool {
        let found = self.find(tag);
        let Some(index) = found.filter(|&index| self.window[index].1 == Fate::Settled(how)) else {
            return false;
        };
        self.window[index].1 = Fate::Gone;
        self.gone += 1;
        true
    }

    fn find(&self, tag: u64) -> Option<usize> {
        self.window.binary_search_by_key(&tag, |slot| slot.0).ok()
    }

    fn compact(&mut self) {
        if self.gone > 32 && self.gone > self.window.len() / 2 {
            self.window.retain(|slot| slot.1 != Fate::Gone);
            self.gone = 0;
        }
    }
}

#[cfg(test)]
mod tests {
    use std::collections::{BTreeMap, BTreeSet};

    use proptest::prelude::*;

    use super::*;

    fn after(deliveries: u64, settled: &[(u64, How)]) -> Vec<Frame> {
        let mut coalescer = Coalescer::default();
        (1..=deliveries).for_each(|tag| coalescer.delivered(tag));
        for &(tag, how) in settled {
            assert!(coalescer.settle(tag, how));
        }
        let mut frames = Vec::new();
        coalescer.take(&mut frames);
        frames
    }

    const fn ack(tag: u64) -> Frame {
        Frame::Ack {
            tag,
            multiple: false,
        }
    }

    const fn all_to(tag: u64) -> Frame {
        let multiple = true;
        Frame::Ack { tag, multiple }
    }

    #[test]
    fn everything_before_the_oldest_open_delivery_is_acknowledged_at_once() {
        let settled = [(3, How::Ack), (1, How::Ack), (2, How::Ack)];
        assert_eq!(after(4, &settled), [all_to(3)]);
    }

    #[test]
    fn beyond_an_open_delivery_each_is_acknowledged_by_itself() {
        let settled = [(4, How::Ack), (2, How::Ack), (1, How::Ack), (6, How::Ack)];
        assert_eq!(after(6, &settled), [all_to(2), ack(4), ack(6)]);
    }

    #[test]
    fn what_goes_back_is_sent_before_an_acknowledgement_of_all_before() {
        let settled = [(1, How::Ack), (2, How::Back), (3, How::Ack)];
        assert_eq!(after(3, &settled), [Frame::Back { tag: 2 }, all_to(3)]);
    }

    #[test]
    fn what_goes_back_in_order_waits_for_all_before_it() {
        let mut coalescer = Coalescer::default();
        (1..=4).for_each(|tag| coalescer.delivered(tag));
        let mut frames = Vec::new();
        for tag in [3, 4] {
            assert!(coalescer.settle(tag, How::BackInOrder));
        }
        assert!(coalescer.settle(1, How::Ack));
        coalescer.take(&mut frames);
        assert_eq!(frames, [ack(1)]);
        assert!(coalescer.settle(2, How::Back));
        coalescer.take(&mut frames);
        let back = |tag| Frame::Back { tag };
        assert_eq!(frames[1..], [back(2), back(3), back(4)]);
    }

    #[test]
    fn a_delivery_that_stays_open_for_ever_costs_no_memory_for_those_after_it() {
        let mut coalescer = Coalescer::default();
        coalescer.delivered(1);
        let mut frames = Vec::new();
        for tag in 2..100_000 {
            coalescer.delivered(tag);
            coalescer.settle(tag, How::Ack);
            coalescer.take(&mut frames);
        }
        assert_eq!(frames.len(), 99_998);
        assert!(coalescer.window.len() < 100, "{}", coalescer.window.len());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Deliver(u8),
        Settle(prop::sample::Index, How),
        Take,
    }

    fn step() -> impl Strategy<Value = Step> {
        let how = prop_oneof![
            5 => Just(How::Ack),
            1 => Just(How::Back),
            1 => Just(How::BackInOrder)
        ];
        prop_oneof![
            2 => (1_u8..20).prop_map(Step::Deliver),
            8 => (any::<prop::sample::Index>(), how).prop_map(|(i, h)| Step::Settle(i, h)),
            3 => Just(Step::Take),
        ]
    }

    /// The broker's side of one channel, as strict as RabbitMQ.
    #[derive(Default)]
    struct Channel {
        unsettled: BTreeSet<u64>,
        settled: BTreeMap<u64, How>,
    }

    impl Channel {
        fn receive(&mut self, frame: Frame) {
            match frame {
                Frame::Back { tag } => {
                    let how = self.settled.get(&tag);
                    let back = matches!(how, Some(How::Back | How::BackInOrder));
                    assert!(back, "{tag} goes back, but is {how:?}");
                    assert!(self.unsettled.remove(&tag), "unknown delivery tag {tag}");
                }
                Frame::Ack { tag, multiple } => {
                    assert!(self.unsettled.contains(&tag), "unknown delivery tag {tag}");
                    let rest = self.unsettled.split_off(&(tag + 1));
                    let upto = std::mem::replace(&mut self.unsettled, rest);
                    for other in upto {
                        if multiple || other == tag {
                            let how = self.settled.get(&other);
                            assert_eq!(how, Some(&How::Ack), "{other} acknowledged by {frame:?}");
                        } else {
                            self.unsettled.insert(other);
                        }
                    }
                }
            }
        }
    }

    proptest! {
        #[test]
        fn only_what_was_settled_is_settled_and_nothing_is_forgotten(
            steps in prop::collection::vec(step(), 1..200)
        ) {
            let (mut coalescer, mut channel) = (Coalescer::default(), Channel::default());
            let (mut last, mut open, mut frames) = (0, Vec::new(), Vec::new());
            for step in steps.into_iter().chain([Step::Take]) {
                match step {
                    Step::Deliver(count) => for _ in 0..count {
                        last += 1;
                        coalescer.delivered(last);
                        channel.unsettled.insert(last);
                        open.push(last);
                    },
                    Step::Settle(index, how) if !open.is_empty() => {
                        let tag = open.swap_remove(index.index(open.len()));
                        prop_assert!(coalescer.settle(tag, how));
                        prop_assert!(!coalescer.settle(tag, how), "settled twice");
                        channel.settled.insert(tag, how);
                    }
                    Step::Settle(..) => {}
                    Step::Take => {
                        coalescer.take(&mut frames);
                        frames.drain(..).for_each(|frame| channel.receive(frame));
                    }
                }
            }
            let oldest = open.iter().min().copied().unwrap_or(u64::MAX);
            for tag in &channel.unsettled {
                let waits = channel.settled.get(tag) == Some(&How::BackInOrder) && *tag > oldest;
                prop_assert!(waits || open.contains(tag), "{tag} was forgotten");
            }
        }
    }
}
