//! Which frames settle a set of deliveries: one for each run of equal ones before
//! the oldest delivery that is still open, one each for what was settled beyond
//! it, so that a slow message holds up no other. Those may be held back once, in
//! case the open ones before them follow at once: all are then one frame.
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

/// What is to be done with deliveries that were settled beyond an open one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Beyond {
    /// They are settled too.
    All,
    /// Only those that were held back before; the others are held back now.
    Held,
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
    open: usize,
    /// Settled since the last [`Coalescer::take`].
    fresh: Vec<u64>,
    /// Settled before, beyond an open delivery, and held back.
    held: Vec<u64>,
}

impl Coalescer {
    /// A delivery arrived. Tags only grow.
    pub(crate) fn delivered(&mut self, tag: u64) {
        self.window.push_back((tag, Fate::Open));
        self.open += 1;
    }

    /// Deliveries that are not settled.
    pub(crate) fn open(&self) -> usize {
        self.open
    }

    /// Deliveries that were settled since frames were last taken.
    pub(crate) fn fresh(&self) -> usize {
        self.fresh.len()
    }

    /// Was anything held back?
    pub(crate) fn holds(&self) -> bool {
        !self.held.is_empty()
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
        self.open -= 1;
        true
    }

    /// Appends the frames for what was settled.
    pub(crate) fn take(&mut self, frames: &mut Vec<Frame>, beyond: Beyond) {
        self.take_settled_prefix(frames);
        let mut due = std::mem::take(&mut self.held);
        let mut fresh = std::mem::take(&mut self.fresh);
        match beyond {
            Beyond::All => due.append(&mut fresh),
            Beyond::Held => {
                fresh.retain(|&tag| self.is_settled(tag));
                self.held = fresh;
            }
        }
        due.sort_unstable();
        frames.extend(due.into_iter().filter_map(|tag| self.take_single(tag)));
        self.compact();
    }

    fn take_settled_prefix(&mut self, frames: &mut Vec<Frame>) {
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
                        let (last, count) = (tag, 1);
                        run = Some(Run { back, last, count });
                    }
                }
            }
            self.window.pop_front();
        }
        frames.extend(run.map(Run::frame));
    }

    /// The frame of a delivery that was settled beyond an open one.
    fn take_single(&mut self, tag: u64) -> Option<Frame> {
        let multiple = false;
        let index = self.find(tag)?;
        let frame = match self.window[index].1 {
            Fate::Settled(How::Ack) => Frame::Ack { tag, multiple },
            Fate::Settled(How::Back) => Frame::Back { tag, multiple },
            // Its turn comes in the prefix, or has been.
            _ => return None,
        };
        self.window[index].1 = Fate::Gone;
        self.gone += 1;
        Some(frame)
    }

    fn is_settled(&self, tag: u64) -> bool {
        let fate = self.find(tag).map(|index| self.window[index].1);
        matches!(fate, Some(Fate::Settled(_)))
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
#[path = "coalesce_tests.rs"]
mod tests;
