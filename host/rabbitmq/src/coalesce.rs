//! Which frames settle a set of deliveries: one for each run of equal ones before
//! the oldest delivery that is still open, one each for what was settled beyond
//! it, so that a slow message holds up no other.
//!
//! ```text
//!  tags       1    2    3    4    5    6    7    8
//!            ack  ack  back back ack  open ack  open
//!  frames    ack up to 2, nack up to 4, ack 5, ack 7
//! ```
//!
//! Pure: it knows no channel and no clock.

use std::collections::VecDeque;

/// Deliveries that one frame gives back. More than this many at once come back
/// in any order where a queue has a delivery limit (seen with RabbitMQ 3.10).
const MOST_BACK: u32 = 32;

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
    /// Deliver this one again; with `multiple` also all before it.
    Back { tag: u64, multiple: bool },
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    Open,
    Settled(How),
    /// Its frame was sent.
    Gone,
}

/// Neighbours that are settled in the same way.
struct Run {
    back: bool,
    last: u64,
    count: u32,
}

impl Run {
    const fn takes(&self, back: bool) -> bool {
        self.back == back && !(back && self.count == MOST_BACK)
    }

    const fn frame(self) -> Frame {
        let (tag, multiple) = (self.last, self.count > 1);
        if self.back {
            Frame::Back { tag, multiple }
        } else {
            Frame::Ack { tag, multiple }
        }
    }
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

    /// Appends frames for what was settled until there are `most` of them. True
    /// when there are more to come.
    pub(crate) fn take(&mut self, frames: &mut Vec<Frame>, most: usize) -> bool {
        self.take_settled_prefix(frames, most);
        let mut fresh = std::mem::take(&mut self.fresh);
        fresh.sort_unstable();
        fresh.retain(|&tag| self.keep_or_take(tag, frames, most));
        self.fresh = fresh;
        self.compact();
        let more = matches!(self.window.front(), Some((_, Fate::Settled(_))));
        more || !self.fresh.is_empty()
    }

    fn take_settled_prefix(&mut self, frames: &mut Vec<Frame>, most: usize) {
        let mut run: Option<Run> = None;
        while let Some(&(tag, fate)) = self.window.front() {
            match fate {
                Fate::Open => break,
                Fate::Gone => self.gone -= 1,
                Fate::Settled(how) => {
                    let back = how != How::Ack;
                    if let Some(run) = run.as_mut().filter(|run| run.takes(back)) {
                        (run.last, run.count) = (tag, run.count + 1);
                    } else {
                        frames.extend(run.take().map(Run::frame));
                        if frames.len() >= most {
                            return;
                        }
                        let (last, count) = (tag, 1);
                        run = Some(Run { back, last, count });
                    }
                }
            }
            self.window.pop_front();
        }
        frames.extend(run.map(Run::frame));
    }

    /// Takes what was settled beyond an open delivery; true when there is no
    /// room for its frame.
    fn keep_or_take(&mut self, tag: u64, frames: &mut Vec<Frame>, most: usize) -> bool {
        let multiple = false;
        let fate = self.find(tag).map(|index| &mut self.window[index].1);
        let (fate, frame) = match fate {
            Some(fate @ Fate::Settled(How::Ack)) => (fate, Frame::Ack { tag, multiple }),
            Some(fate @ Fate::Settled(How::Back)) => (fate, Frame::Back { tag, multiple }),
            // Its turn comes in the prefix, or has been.
            _ => return false,
        };
        if frames.len() >= most {
            return true;
        }
        frames.push(frame);
        *fate = Fate::Gone;
        self.gone += 1;
        false
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
        assert!(!coalescer.take(&mut frames, usize::MAX));
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

    const fn back(tag: u64, multiple: bool) -> Frame {
        Frame::Back { tag, multiple }
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
    fn each_run_of_equal_settlements_costs_one_frame() {
        let settled = [
            (1, How::Ack),
            (2, How::Back),
            (3, How::BackInOrder),
            (4, How::Ack),
            (5, How::Ack),
        ];
        assert_eq!(after(5, &settled), [ack(1), back(3, true), all_to(5)]);
    }

    #[test]
    fn no_frame_gives_more_back_than_a_queue_keeps_in_order() {
        let settled: Vec<_> = (1..=70).map(|tag| (tag, How::BackInOrder)).collect();
        let expected = [back(32, true), back(64, true), back(70, true)];
        assert_eq!(after(70, &settled), expected);
    }

    #[test]
    fn what_finds_no_room_is_sent_the_next_time() {
        let mut coalescer = Coalescer::default();
        (1..=6).for_each(|tag| coalescer.delivered(tag));
        for (tag, how) in [(1, How::Ack), (2, How::Back), (4, How::Ack), (6, How::Back)] {
            assert!(coalescer.settle(tag, how));
        }
        for (expected, more) in [
            (ack(1), true),
            (back(2, false), true),
            (ack(4), true),
            (back(6, false), false),
        ] {
            let mut frames = Vec::new();
            assert_eq!(coalescer.take(&mut frames, 1), more);
            assert_eq!(frames, [expected]);
        }
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
        assert!(!coalescer.take(&mut frames, usize::MAX));
        assert_eq!(frames, [ack(1)]);
        assert!(coalescer.settle(2, How::Back));
        assert!(!coalescer.take(&mut frames, usize::MAX));
        assert_eq!(frames[1..], [back(4, true)]);
    }

    #[test]
    fn a_delivery_that_stays_open_for_ever_costs_no_memory_for_those_after_it() {
        let mut coalescer = Coalescer::default();
        coalescer.delivered(1);
        let mut frames = Vec::new();
        for tag in 2..100_000 {
            coalescer.delivered(tag);
            coalescer.settle(tag, How::Ack);
            coalescer.take(&mut frames, usize::MAX);
        }
        assert_eq!(frames.len(), 99_998);
        assert!(coalescer.window.len() < 100, "{}", coalescer.window.len());
    }

    #[derive(Clone, Debug)]
    enum Step {
        Deliver(u8),
        Settle(prop::sample::Index, How),
        Take(usize),
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
            2 => Just(Step::Take(usize::MAX)),
            2 => (1_usize..5).prop_map(Step::Take),
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
            let (Frame::Ack { tag, multiple } | Frame::Back { tag, multiple }) = frame;
            let back = matches!(frame, Frame::Back { .. });
            assert!(self.unsettled.contains(&tag), "unknown delivery tag {tag}");
            let rest = self.unsettled.split_off(&(tag + 1));
            let upto = std::mem::replace(&mut self.unsettled, rest);
            for other in upto {
                if multiple || other == tag {
                    let how = self.settled.get(&other).copied();
                    assert!(how.is_some(), "{other} settled by {frame:?}");
                    assert_eq!(how != Some(How::Ack), back, "{other} settled by {frame:?}");
                } else {
                    self.unsettled.insert(other);
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
            for step in steps.into_iter().chain([Step::Take(usize::MAX)]) {
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
                    Step::Take(most) => {
                        coalescer.take(&mut frames, most);
                        prop_assert!(frames.len() <= most);
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
