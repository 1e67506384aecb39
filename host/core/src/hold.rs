//! Messages that wait for the other side: how often their claims are looked at,
//! and when one gives up its place in the host.
//!
//! ```text
//!   begin answers foreign ──► held ── a look says "ask" ──► begin again
//!                              │
//!                              └── held for a minute, or the prefetch is full
//!                                  of such messages while handlers are idle
//!                                  ──► waits in a delay queue
//! ```
//!
//! A queue hands over only so many messages at once (its prefetch). When all of
//! them belong to the other side, the ones behind, which this side could run,
//! are not reached; and when the other side is in the same position both would
//! stand still. So waiting messages make room. Ordered consumers keep theirs:
//! the head of a lane waits where it is.

use std::time::Duration;

/// A message is held for this long at most, then it waits in a delay queue: a
/// broker keeps its log from the oldest unacknowledged message on.
pub const LONGEST: Duration = Duration::from_mins(1);

const SHORTEST_AWAY: Duration = Duration::from_secs(1);
const LONGEST_AWAY: Duration = Duration::from_secs(32);

/// How long until the next look at everything that is held.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    wait: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self { wait: Self::FIRST }
    }
}

impl Pace {
    /// The shortest time between two looks, which is what a message waits at
    /// most for nothing while messages move.
    pub const FIRST: Duration = Duration::from_millis(25);
    /// The longest, when nothing moves.
    pub const LONGEST: Duration = Duration::from_millis(500);
    /// What one held message adds to the time between two looks, so that looking
    /// at thousands stays a small share of what a store can do.
    const EACH: Duration = Duration::from_micros(40);

    /// The wait before the next look. `moved` says whether messages came or went
    /// since the last one.
    pub fn next(&mut self, held: usize, moved: bool) -> Duration {
        self.wait = if moved {
            Self::FIRST
        } else {
            (self.wait * 2).min(Self::LONGEST)
        };
        let load = Self::EACH.saturating_mul(u32::try_from(held).unwrap_or(u32::MAX));
        self.wait.max(load)
    }
}

/// What a consumer has in hand.
#[derive(Clone, Copy, Debug)]
pub struct Hand {
    /// Unacknowledged messages at once.
    pub prefetch: usize,
    /// Those there are, without those on their way to a delay queue.
    pub in_flight: usize,
    /// Of these, messages that wait for the other side.
    pub held: usize,
    /// Handlers that could run and have no message.
    pub idle: usize,
}

impl Hand {
    /// How many held messages have to make room: half of them, while the
    /// prefetch is used up and handlers have nothing to do. The half that came
    /// last goes, since the other side is likely to reach the others first.
    #[must_use]
    pub fn surplus(&self) -> usize {
        if self.in_flight < self.prefetch || self.idle == 0 {
            0
        } else {
            self.held.div_ceil(2)
        }
    }
}

/// How long a message that makes room stays away: as long as its key is known
/// already, so that the looks at a key that the other side never finishes get
/// rare, but not past the time at which it may be taken over.
#[must_use]
pub fn away(age: Duration, overdue_in: Option<Duration>) -> Duration {
    let wait = age.clamp(SHORTEST_AWAY, LONGEST_AWAY);
    overdue_in.map_or(wait, |left| wait.min(left.max(SHORTEST_AWAY)))
}

#[cfg(test)]
mod tests {
    use super::*;

    const fn secs(n: u64) -> Duration {
        Duration::from_secs(n)
    }

    #[test]
    fn looks_are_frequent_while_messages_move_and_rare_when_nothing_does() {
        let mut pace = Pace::default();
        let quiet: Vec<u128> = (0..7).map(|_| pace.next(1, false).as_millis()).collect();
        assert_eq!(quiet, [50, 100, 200, 400, 500, 500, 500]);
        assert_eq!(pace.next(1, true), Pace::FIRST);
    }

    #[test]
    fn many_held_messages_are_looked_at_less_often() {
        let mut pace = Pace::default();
        assert_eq!(pace.next(5_000, true), Duration::from_millis(200));
        assert_eq!(pace.next(65_535, true), Duration::from_micros(65_535 * 40));
    }

    #[test]
    fn messages_make_room_only_when_that_keeps_handlers_busy() {
        let full = Hand {
            prefetch: 100,
            in_flight: 100,
            held: 81,
            idle: 3,
        };
        assert_eq!(full.surplus(), 41);
        assert_eq!(Hand { idle: 0, ..full }.surplus(), 0);
        assert_eq!(
            Hand {
                in_flight: 99,
                ..full
            }
            .surplus(),
            0
        );
        let one = Hand {
            prefetch: 1,
            in_flight: 1,
            held: 1,
            idle: 1,
        };
        assert_eq!(one.surplus(), 1, "a prefetch of one must not stand still");
    }

    #[test]
    fn who_makes_room_stays_away_longer_each_time_but_is_back_to_take_over() {
        assert_eq!(away(Duration::ZERO, Some(secs(60))), secs(1));
        assert_eq!(away(secs(4), Some(secs(56))), secs(4));
        assert_eq!(away(secs(50), Some(secs(10))), secs(10));
        assert_eq!(away(secs(60), Some(Duration::ZERO)), secs(1));
        assert_eq!(away(secs(600), None), secs(32));
    }
}
