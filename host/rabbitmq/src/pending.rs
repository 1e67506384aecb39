//! What was settled on a channel and is not sent yet, and when to send it.

use std::time::Duration;

use tokio::time::Instant;

use crate::coalesce::{Coalescer, Frame};

/// How long settlements may wait for others to share frames with while there is
/// much to do.
pub(crate) const SHARE: Duration = Duration::from_millis(2);

/// Settlements that have to be expected in that time.
const CLOSE: u32 = 8;

#[derive(Default)]
pub(crate) struct Pending {
    pub(crate) coalescer: Coalescer,
    pub(crate) frames: Vec<Frame>,
    /// The task was told.
    pub(crate) told: bool,
    /// Some of what was settled goes back.
    pub(crate) goes_back: bool,
    /// Nothing more is delivered.
    pub(crate) cancelled: bool,
    /// Something was sent, or given back by the broker, that the queue may not
    /// have applied.
    pub(crate) unsure: bool,
    /// Settlements follow each other closely: it is worth waiting for more.
    busy: bool,
    last_sent: Option<Instant>,
}

/// How long to wait before frames are sent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Pace {
    /// Not at all.
    Now,
    /// Until many settlements share them, or little is left to do.
    Share,
    /// For a while in any case.
    Gather,
}

impl Pending {
    /// What to wait for before frames are sent; `part` is how many open deliveries
    /// are many. After a cancel, and when messages go back, as they do just
    /// before a cancel, for more of the same: sooner, they would be delivered to
    /// this consumer again.
    pub(crate) fn pace(&self, part: usize) -> Pace {
        if self.goes_back || self.cancelled {
            Pace::Gather
        } else if self.shares(part) && self.coalescer.fresh() < part {
            Pace::Share
        } else {
            Pace::Now
        }
    }

    /// Is there so much to do that waiting pays?
    pub(crate) fn shares(&self, part: usize) -> bool {
        let simple = !self.goes_back && !self.cancelled;
        simple && self.busy && self.coalescer.open() >= part
    }

    /// Frames are about to be sent: how closely did settlements follow each other
    /// since the last time?
    pub(crate) fn sending(&mut self, now: Instant) {
        (self.told, self.goes_back) = (false, false);
        let settled = u32::try_from(self.coalescer.fresh()).unwrap_or(u32::MAX);
        let since = self.last_sent.replace(now).map(|last| now - last);
        let close = |since: Duration| SHARE.saturating_mul(settled) >= since.saturating_mul(CLOSE);
        self.busy = since.is_some_and(close);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::coalesce::{Beyond, How};

    /// Settles `count` of 64 deliveries after this time and sends, again and again.
    fn paced(every: Duration, count: u64) -> Pace {
        let mut pending = Pending::default();
        let (mut now, mut tag) = (Instant::now(), 0);
        (1..=64).for_each(|tag| pending.coalescer.delivered(tag));
        for _ in 0..5 {
            for _ in 0..count {
                tag += 1;
                pending.coalescer.settle(tag, How::Ack);
                pending.coalescer.delivered(64 + tag);
            }
            now += every;
            pending.sending(now);
            pending.coalescer.take(&mut Vec::new(), Beyond::All);
        }
        pending.pace(16)
    }

    #[test]
    fn only_what_is_followed_closely_waits() {
        let ms = Duration::from_millis;
        assert_eq!(paced(ms(1), 20), Pace::Share);
        assert_eq!(paced(Duration::from_micros(50), 1), Pace::Share);
        assert_eq!(paced(ms(2), 1), Pace::Now);
        assert_eq!(paced(ms(100), 20), Pace::Now);
    }

    #[test]
    fn with_little_open_or_enough_settled_nothing_waits() {
        let mut pending = Pending {
            busy: true,
            ..Pending::default()
        };
        (1..=32).for_each(|tag| pending.coalescer.delivered(tag));
        assert_eq!(pending.pace(16), Pace::Share);
        assert_eq!(pending.pace(33), Pace::Now, "little is open");
        (1..=15).for_each(|tag| assert!(pending.coalescer.settle(tag, How::Ack)));
        assert_eq!(pending.pace(16), Pace::Share);
        pending.coalescer.settle(16, How::Ack);
        assert_eq!(pending.pace(16), Pace::Now, "many are settled");
        pending.goes_back = true;
        assert_eq!(pending.pace(16), Pace::Gather);
    }
}
