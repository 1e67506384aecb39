//! The lease of one consumer: one instance at a time consumes.
//!
//! ```text
//!   Follower ──time to try──► Campaigning ──acquired──► Leader ──stop──► Draining
//!      ▲                          │                       │                 │
//!      └──────── held by another ─┴──── lost, expired ────┴─── released ────┘
//! ```
//!
//! - A follower asks for the lease when its retry time has come, or at once when
//!   the owner announces that it left.
//! - A leader renews on time; its own deadline counts from *before* the renewal
//!   was sent, so that it stops before the store can give the lease away.
//! - A draining leader finishes what runs and then releases.
//!
//! Times are monotonic and the caller's: any starting point will do.

use std::time::Duration;

/// A point on the caller's monotonic clock.
pub type Monotonic = Duration;

/// Durations of a lease.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Terms {
    /// Time to live in the store.
    pub ttl: Duration,
    /// Time between renewals.
    pub renew: Duration,
    /// Time between a follower's attempts.
    pub retry: Duration,
}

impl Terms {
    /// What a leader may use of the time to live: a hundredth (50 ms at least)
    /// is left for clocks that run at different rates and for the time that it
    /// takes to stop.
    #[must_use]
    pub fn usable(&self) -> Duration {
        self.ttl
            .saturating_sub((self.ttl / 100).max(Duration::from_millis(50)))
    }
}

/// Where this instance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lease {
    /// Someone else leads, or nobody yet.
    Follower {
        /// When to ask.
        try_at: Monotonic,
    },
    /// The question is on its way.
    Campaigning {
        /// When it was sent.
        sent: Monotonic,
    },
    /// This instance leads.
    Leader {
        /// The fence of the lease.
        epoch: u64,
        /// Nothing may be dispatched after this.
        deadline: Monotonic,
        /// When to renew.
        renew_at: Monotonic,
        /// When the renewal under way was sent.
        renewing: Option<Monotonic>,
    },
    /// This instance led and finishes what runs.
    Draining {
        /// The fence of the lease.
        epoch: u64,
        /// Nothing may be running after this.
        deadline: Monotonic,
    },
}

/// What happened.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Input {
    /// Time passed.
    Tick,
    /// The store gave the lease.
    Acquired {
        /// Its fence.
        epoch: u64,
    },
    /// The store says that another holds it.
    Held,
    /// The store renewed it.
    Renewed,
    /// The store says that it is no longer ours.
    Gone,
    /// The store could not be reached.
    Unreachable,
    /// The owner announced that it left.
    Announced,
    /// This instance is to stop leading.
    StepDown,
    /// What ran has ended.
    Drained,
}

/// What the caller has to do.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Command {
    /// Ask the store for the lease.
    Acquire,
    /// Renew it in the store.
    Renew,
    /// Start consuming under this epoch.
    Start {
        /// The fence.
        epoch: u64,
    },
    /// Stop taking messages, let what runs end, then say [`Input::Drained`].
    Drain,
    /// Stop at once: interrupt handlers, abandon what is in flight.
    Stop,
    /// Give the lease back in the store and announce it.
    Release {
        /// The fence.
        epoch: u64,
    },
}

impl Lease {
    /// A new instance asks at once.
    #[must_use]
    pub fn new(now: Monotonic) -> Self {
        Self::Follower { try_at: now }
    }

    /// When to call [`Lease::handle`] with [`Input::Tick`] at the latest.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Monotonic> {
        match self {
            Self::Follower { try_at } => Some(*try_at),
            Self::Campaigning { .. } => None,
            Self::Leader {
                deadline,
                renewing: Some(_),
                ..
            } => Some(*deadline),
            Self::Leader {
                deadline,
                renew_at,
                renewing: None,
                ..
            } => Some(*(deadline.min(renew_at))),
            Self::Draining { deadline, .. } => Some(*deadline),
        }
    }

    /// Takes what happened and says what to do.
    pub fn handle(&mut self, input: Input, now: Monotonic, terms: &Terms) -> Option<Command> {
        let retry = Self::Follower {
            try_at: now + terms.retry,
        };
        match (*self, input) {
            (Self::Leader { deadline, .. } | Self::Draining { deadline, .. }, _)
                if now >= deadline =>
            {
                *self = retry;
                Some(Command::Stop)
            }
            (Self::Follower { try_at }, Input::Tick) if now >= try_at => {
                *self = Self::Campaigning { sent: now };
                Some(Command::Acquire)
            }
            (Self::Follower { .. }, Input::Announced) => {
                *self = Self::Campaigning { sent: now };
                Some(Command::Acquire)
            }
            (Self::Campaigning { sent }, Input::Acquired { epoch }) => {
                let deadline = sent + terms.usable();
                if now >= deadline {
                    *self = retry;
                    return Some(Command::Release { epoch });
                }
                let renew_at = sent + terms.renew;
                *self = Self::Leader {
                    epoch,
                    deadline,
                    renew_at,
                    renewing: None,
                };
                Some(Command::Start { epoch })
            }
            (Self::Campaigning { .. }, Input::Held | Input::Gone | Input::Unreachable) => {
                *self = retry;
                None
            }
            (
                Self::Leader {
                    epoch,
                    deadline,
                    renew_at,
                    renewing: None,
                },
                Input::Tick,
            ) if now >= renew_at => {
                *self = Self::Leader {
                    epoch,
                    deadline,
                    renew_at,
                    renewing: Some(now),
                };
                Some(Command::Renew)
            }
            (
                Self::Leader {
                    epoch,
                    renewing: Some(sent),
                    ..
                },
                Input::Renewed,
            ) => {
                *self = Self::Leader {
                    epoch,
                    deadline: sent + terms.usable(),
                    renew_at: sent + terms.renew,
                    renewing: None,
                };
                None
            }
            (
                Self::Leader {
                    epoch, deadline, ..
                },
                Input::Unreachable,
            ) => {
                let renew_at = now + terms.retry;
                *self = Self::Leader {
                    epoch,
                    deadline,
                    renew_at,
                    renewing: None,
                };
                None
            }
            (Self::Leader { .. } | Self::Draining { .. }, Input::Gone | Input::Held) => {
                *self = retry;
                Some(Command::Stop)
            }
            (
                Self::Leader {
                    epoch, deadline, ..
                },
                Input::StepDown,
            ) => {
                *self = Self::Draining { epoch, deadline };
                Some(Command::Drain)
            }
            (Self::Draining { epoch, .. }, Input::Drained) => {
                *self = retry;
                Some(Command::Release { epoch })
            }
            _ => None,
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    const TERMS: Terms = Terms {
        ttl: Duration::from_secs(15),
        renew: Duration::from_secs(5),
        retry: Duration::from_secs(1),
    };

    const fn at(ms: u64) -> Monotonic {
        Duration::from_millis(ms)
    }

    fn leader() -> Lease {
        let mut lease = Lease::new(at(0));
        assert_eq!(
            lease.handle(Input::Tick, at(0), &TERMS),
            Some(Command::Acquire)
        );
        let start = lease.handle(Input::Acquired { epoch: 7 }, at(100), &TERMS);
        assert_eq!(start, Some(Command::Start { epoch: 7 }));
        lease
    }

    #[test]
    fn the_deadline_counts_from_before_the_question_was_sent() {
        let Lease::Leader {
            deadline, renew_at, ..
        } = leader()
        else {
            panic!("leads")
        };
        assert_eq!(deadline, at(14_850));
        assert_eq!(renew_at, at(5_000));
    }

    #[test]
    fn a_leader_that_cannot_renew_stops_before_the_time_to_live_has_passed() {
        let mut lease = leader();
        assert_eq!(
            lease.handle(Input::Tick, at(5_000), &TERMS),
            Some(Command::Renew)
        );
        assert_eq!(lease.handle(Input::Unreachable, at(6_000), &TERMS), None);
        assert_eq!(
            lease.handle(Input::Tick, at(7_000), &TERMS),
            Some(Command::Renew)
        );
        assert_eq!(lease.next_timeout(), Some(at(14_850)));
        assert_eq!(
            lease.handle(Input::Tick, at(14_850), &TERMS),
            Some(Command::Stop)
        );
        assert_eq!(lease.handle(Input::Renewed, at(14_900), &TERMS), None);
    }

    #[test]
    fn a_late_renewal_counts_from_when_it_was_sent() {
        let mut lease = leader();
        lease.handle(Input::Tick, at(5_000), &TERMS);
        lease.handle(Input::Renewed, at(9_000), &TERMS);
        let Lease::Leader { deadline, .. } = lease else {
            panic!("leads")
        };
        assert_eq!(deadline, at(19_850));
    }

    #[test]
    fn a_follower_asks_at_once_when_the_owner_leaves() {
        let mut lease = Lease::new(at(0));
        lease.handle(Input::Tick, at(0), &TERMS);
        assert_eq!(lease.handle(Input::Held, at(10), &TERMS), None);
        assert_eq!(lease.handle(Input::Tick, at(20), &TERMS), None);
        assert_eq!(
            lease.handle(Input::Announced, at(30), &TERMS),
            Some(Command::Acquire)
        );
    }

    #[test]
    fn stepping_down_drains_before_it_releases() {
        let mut lease = leader();
        assert_eq!(
            lease.handle(Input::StepDown, at(200), &TERMS),
            Some(Command::Drain)
        );
        assert_eq!(
            lease.handle(Input::Drained, at(300), &TERMS),
            Some(Command::Release { epoch: 7 })
        );
        assert!(matches!(lease, Lease::Follower { .. }));
    }

    #[test]
    fn losing_the_lease_stops_at_once() {
        let mut lease = leader();
        assert_eq!(
            lease.handle(Input::Gone, at(200), &TERMS),
            Some(Command::Stop)
        );
    }

    #[test]
    fn a_lease_that_came_too_late_to_be_used_is_given_back() {
        let mut lease = Lease::new(at(0));
        lease.handle(Input::Tick, at(0), &TERMS);
        let answer = lease.handle(Input::Acquired { epoch: 1 }, at(20_000), &TERMS);
        assert_eq!(answer, Some(Command::Release { epoch: 1 }));
    }
}
