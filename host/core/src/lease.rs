//! The lease of one consumer: one instance at a time consumes.
//!
//! ```text
//!   Follower ──time to try──► Campaigning ──acquired──► Leader ──stop──► Draining
//!      ▲                          │                       │                 │
//!      └──────── held by another ─┴──── lost, expired ────┴─── released ────┘
//! ```
//!
//! - A follower asks for the lease when its retry time has come, when the time
//!   of the one that holds it runs out, or at once when the owner announces that
//!   it left. One that released it itself stands back for a while, so that the
//!   others come first.
//! - A leader renews on time; its own deadline counts from *before* the renewal
//!   was sent, so that it stops before the store can give the lease away.
//! - A draining leader goes on renewing, finishes what runs and then releases.
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

/// A lease that is about to run out is asked for this much later than the store
/// said, since both round.
const RUN_OUT: Duration = Duration::from_millis(2);

impl Terms {
    /// What a leader may use of the time to live: a hundredth (50 ms at least)
    /// is left for clocks that run at different rates and for the time that it
    /// takes to stop.
    #[must_use]
    pub fn usable(&self) -> Duration {
        self.ttl
            .saturating_sub((self.ttl / 100).max(Duration::from_millis(50)))
    }

    /// How long one that released the lease leaves it to others: long enough
    /// for each of them to ask, even if it did not hear the announcement.
    #[must_use]
    pub fn rest(&self) -> Duration {
        self.retry * 2
    }
}

/// Where this instance stands.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Lease {
    /// Someone else leads, or nobody yet.
    Follower {
        /// When to ask.
        try_at: Monotonic,
        /// An announcement before this is not for this instance: most likely it
        /// is its own.
        rest_until: Monotonic,
    },
    /// The question is on its way.
    Campaigning {
        /// When it was sent.
        sent: Monotonic,
        /// An owner left after it was sent: a refusal may be out of date.
        again: bool,
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
        /// When to renew.
        renew_at: Monotonic,
        /// When the renewal under way was sent.
        renewing: Option<Monotonic>,
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
    Held {
        /// For how much longer, at most.
        left: Duration,
    },
    /// The store renewed it.
    Renewed,
    /// The store says that it is no longer ours.
    Gone,
    /// The store could not be reached.
    Unreachable,
    /// An owner announced that it left.
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
        Self::follow(now, now)
    }

    fn follow(try_at: Monotonic, rest_until: Monotonic) -> Self {
        Self::Follower { try_at, rest_until }
    }

    /// When to call [`Lease::handle`] with [`Input::Tick`] at the latest.
    #[must_use]
    pub fn next_timeout(&self) -> Option<Monotonic> {
        match self {
            Self::Follower { try_at, .. } => Some(*try_at),
            Self::Campaigning { .. } => None,
            Self::Leader {
                deadline,
                renew_at,
                renewing,
                ..
            }
            | Self::Draining {
                deadline,
                renew_at,
                renewing,
                ..
            } => Some(match renewing {
                Some(_) => *deadline,
                None => *deadline.min(renew_at),
            }),
        }
    }

    /// Takes what happened and says what to do.
    pub fn handle(&mut self, input: Input, now: Monotonic, terms: &Terms) -> Option<Command> {
        match *self {
            Self::Follower { try_at, rest_until } => {
                let due = match input {
                    Input::Tick => now >= try_at,
                    Input::Announced => now >= rest_until,
                    _ => false,
                };
                due.then(|| self.campaign(now))
            }
            Self::Campaigning { sent, again } => self.campaigning(input, now, terms, sent, again),
            Self::Leader { deadline, .. } | Self::Draining { deadline, .. } => {
                self.leading(input, now, terms, deadline)
            }
        }
    }

    fn campaign(&mut self, now: Monotonic) -> Command {
        *self = Self::Campaigning {
            sent: now,
            again: false,
        };
        Command::Acquire
    }

    fn campaigning(
        &mut self,
        input: Input,
        now: Monotonic,
        terms: &Terms,
        sent: Monotonic,
        again: bool,
    ) -> Option<Command> {
        match input {
            Input::Acquired { epoch } => {
                let deadline = sent + terms.usable();
                if now >= deadline {
                    *self = Self::follow(now + terms.retry, now + terms.retry);
                    return Some(Command::Release { epoch });
                }
                *self = Self::Leader {
                    epoch,
                    deadline,
                    renew_at: sent + terms.renew,
                    renewing: None,
                };
                Some(Command::Start { epoch })
            }
            Input::Announced => {
                *self = Self::Campaigning { sent, again: true };
                None
            }
            Input::Held { .. } if again => Some(self.campaign(now)),
            Input::Held { left } => {
                let wait = terms.retry.min(left + RUN_OUT);
                *self = Self::follow(now + wait, now);
                None
            }
            Input::Gone | Input::Unreachable => {
                *self = Self::follow(now + terms.retry, now);
                None
            }
            Input::Tick | Input::Renewed | Input::StepDown | Input::Drained => None,
        }
    }

    /// In these states a lease is held, or was a moment ago.
    fn leading(
        &mut self,
        input: Input,
        now: Monotonic,
        terms: &Terms,
        deadline: Monotonic,
    ) -> Option<Command> {
        let (Self::Leader {
            epoch,
            renew_at,
            renewing,
            ..
        }
        | Self::Draining {
            epoch,
            renew_at,
            renewing,
            ..
        }) = *self
        else {
            return None;
        };
        let draining = matches!(self, Self::Draining { .. });
        match input {
            // Nothing runs any more, so that it is not too late either.
            Input::Drained if draining => {
                let rested = now + terms.rest();
                *self = Self::follow(rested, rested);
                Some(Command::Release { epoch })
            }
            _ if now >= deadline => self.lose(now, terms),
            Input::Gone | Input::Held { .. } => self.lose(now, terms),
            Input::Tick if renewing.is_none() && now >= renew_at => {
                self.set_renewal(deadline, renew_at, Some(now));
                Some(Command::Renew)
            }
            Input::Renewed => {
                let sent = renewing?;
                self.set_renewal(sent + terms.usable(), sent + terms.renew, None);
                None
            }
            Input::Unreachable => {
                self.set_renewal(deadline, now + terms.retry, None);
                None
            }
            Input::StepDown if !draining => {
                *self = Self::Draining {
                    epoch,
                    deadline,
                    renew_at,
                    renewing,
                };
                Some(Command::Drain)
            }
            _ => None,
        }
    }

    fn lose(&mut self, now: Monotonic, terms: &Terms) -> Option<Command> {
        *self = Self::follow(now + terms.retry, now);
        Some(Command::Stop)
    }

    fn set_renewal(&mut self, until: Monotonic, next: Monotonic, sent: Option<Monotonic>) {
        if let Self::Leader {
            deadline,
            renew_at,
            renewing,
            ..
        }
        | Self::Draining {
            deadline,
            renew_at,
            renewing,
            ..
        } = self
        {
            (*deadline, *renew_at, *renewing) = (until, next, sent);
        }
    }
}
