//! Which frames settle what, and that nothing is forgotten.

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
    coalescer.take(&mut frames, Beyond::All);
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
fn what_goes_back_in_order_waits_for_all_before_it() {
    let mut coalescer = Coalescer::default();
    (1..=4).for_each(|tag| coalescer.delivered(tag));
    let mut frames = Vec::new();
    for tag in [3, 4] {
        assert!(coalescer.settle(tag, How::BackInOrder));
    }
    assert!(coalescer.settle(1, How::Ack));
    coalescer.take(&mut frames, Beyond::All);
    assert_eq!(frames, [ack(1)]);
    assert!(coalescer.settle(2, How::Back));
    coalescer.take(&mut frames, Beyond::All);
    assert_eq!(frames[1..], [back(4, true)]);
}

#[test]
fn what_is_held_back_is_one_frame_with_what_follows_or_is_sent_the_next_time() {
    let mut coalescer = Coalescer::default();
    (1..=6).for_each(|tag| coalescer.delivered(tag));
    let mut take = |settled: &[u64]| {
        for &tag in settled {
            assert!(coalescer.settle(tag, How::Ack));
        }
        let mut frames = Vec::new();
        coalescer.take(&mut frames, Beyond::Held);
        (frames, coalescer.holds())
    };
    assert_eq!(take(&[1, 3, 4]), (vec![ack(1)], true));
    assert_eq!(take(&[2, 6]), (vec![all_to(4)], true));
    assert_eq!(take(&[]), (vec![ack(6)], false));
}

#[test]
fn a_delivery_that_stays_open_for_ever_costs_no_memory_for_those_after_it() {
    let mut coalescer = Coalescer::default();
    coalescer.delivered(1);
    let mut frames = Vec::new();
    for tag in 2..100_000 {
        coalescer.delivered(tag);
        coalescer.settle(tag, How::Ack);
        coalescer.take(&mut frames, Beyond::All);
    }
    assert_eq!(frames.len(), 99_998);
    assert!(coalescer.window.len() < 100, "{}", coalescer.window.len());
}

#[derive(Clone, Debug)]
enum Step {
    Deliver(u8),
    Settle(prop::sample::Index, How),
    Take(Beyond),
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
        3 => Just(Step::Take(Beyond::All)),
        3 => Just(Step::Take(Beyond::Held)),
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
        for step in steps.into_iter().chain([Step::Take(Beyond::All)]) {
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
                Step::Take(beyond) => {
                    coalescer.take(&mut frames, beyond);
                    frames.drain(..).for_each(|frame| channel.receive(frame));
                }
            }
        }
        let oldest = open.iter().min().copied().unwrap_or(u64::MAX);
        for tag in &channel.unsettled {
            let waits = channel.settled.get(tag) == Some(&How::BackInOrder) && *tag > oldest;
            prop_assert!(waits || open.contains(tag), "{tag} was forgotten");
        }
        prop_assert_eq!(coalescer.open(), open.len());
        prop_assert!(!coalescer.holds());
    }
}
