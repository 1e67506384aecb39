//! Messages that wait for the other side.
//!
//! One task looks at the claims of all of them, many in one call, and wakes
//! those that may go on. So a held message costs the store a share of a call
//! now and then, and goes on within a few tens of milliseconds of the moment at
//! which the other side is finished.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use holdfast_core::claim::{FencedBy, Look};
use holdfast_core::hold::{self, Hand, Pace};
use holdfast_ports::error::Kind;
use holdfast_ports::store::Place;
use tokio::sync::{Notify, oneshot};
use tokio::time::Instant;

use crate::session::Session;

/// Claims in one call of the store.
const AT_ONCE: usize = 512;

/// Why a held message goes on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Wake {
    /// Ask for the claim again.
    Ask,
    /// Give the place in the host up and come back after this time.
    MakeRoom(Duration),
}

/// What is held in one session, in order of arrival.
#[derive(Debug, Default)]
pub(crate) struct Foreign {
    entries: Mutex<BTreeMap<u64, Entry>>,
    next: AtomicUsize,
    /// On their way to a delay queue.
    leaving: AtomicUsize,
    came: Notify,
    moved: AtomicBool,
}

#[derive(Debug)]
struct Entry {
    at: Place,
    since: Instant,
    wake: oneshot::Sender<Wake>,
}

/// A place among the held; it is given up when this is dropped.
pub(crate) struct Waits<'h> {
    held: &'h Foreign,
    number: u64,
    wake: oneshot::Receiver<Wake>,
}

/// Counts a message that is on its way to a delay queue while it lives.
pub(crate) struct Leaving<'h>(&'h Foreign);

impl Foreign {
    /// A message starts to wait; `since` is when it came to this host.
    pub(crate) fn enter(&self, at: Place, since: Instant) -> Waits<'_> {
        let (sender, wake) = oneshot::channel();
        let number = self.next.fetch_add(1, Ordering::Relaxed) as u64;
        let entry = Entry {
            at,
            since,
            wake: sender,
        };
        self.entries().insert(number, entry);
        self.moved.store(true, Ordering::Relaxed);
        self.came.notify_one();
        Waits {
            held: self,
            number,
            wake,
        }
    }

    /// The message is being copied to a delay queue.
    pub(crate) fn leave(&self) -> Leaving<'_> {
        self.leaving.fetch_add(1, Ordering::Relaxed);
        Leaving(self)
    }

    fn entries(&self) -> MutexGuard<'_, BTreeMap<u64, Entry>> {
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn snapshot(&self) -> Vec<(u64, Place)> {
        let entries = self.entries();
        entries.iter().map(|(n, e)| (*n, e.at.clone())).collect()
    }

    /// Wakes one; it may have gone on by itself.
    fn wake(&self, number: u64, why: Wake) {
        if let Some(entry) = self.entries().remove(&number) {
            self.moved.store(true, Ordering::Relaxed);
            let _ = entry.wake.send(why);
        }
    }

    /// When this one came to the host; none when it has gone on.
    fn since(&self, number: u64) -> Option<Instant> {
        self.entries().get(&number).map(|entry| entry.since)
    }
}

impl Waits<'_> {
    /// Returns when the message may go on.
    pub(crate) async fn woken(&mut self) -> Wake {
        // The session ends: whoever waits is told so elsewhere.
        (&mut self.wake).await.unwrap_or(Wake::Ask)
    }
}

impl Drop for Waits<'_> {
    fn drop(&mut self) {
        self.held.entries().remove(&self.number);
    }
}

impl Drop for Leaving<'_> {
    fn drop(&mut self) {
        self.0.leaving.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Session {
    /// Looks at what is held until the session ends.
    pub(crate) async fn watch_foreign(&self) {
        let held = &self.foreign;
        let mut pace = Pace::default();
        loop {
            let waiting = held.entries().len();
            let pause = async {
                if waiting == 0 {
                    held.came.notified().await;
                }
                let moved = held.moved.swap(false, Ordering::Relaxed);
                tokio::time::sleep(pace.next(waiting, moved)).await;
            };
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => return,
                () = pause => {}
            }
            let found = tokio::select! {
                biased;
                () = self.stopping.cancelled() => return,
                found = self.look_at_foreign() => found,
            };
            self.wake_foreign(&found);
        }
    }

    /// What the claims of all held messages say; those not looked at are left
    /// out.
    async fn look_at_foreign(&self) -> Vec<(u64, Look)> {
        let (context, held) = (&self.context, self.foreign.snapshot());
        let mut found = Vec::with_capacity(held.len());
        for some in held.chunks(AT_ONCE) {
            let places: Vec<Place> = some.iter().map(|(_, at)| at.clone()).collect();
            let (side, wait) = (&context.spec.side, context.rule.assign_timeout());
            match context.store.look_at(&places, side, wait).await {
                Ok(looks) => found.extend(some.iter().map(|(number, _)| *number).zip(looks)),
                Err(error) if error.kind == Kind::Fenced => {
                    self.fence(FencedBy::Store);
                    break;
                }
                // They go on waiting, as everything does without the store.
                Err(error) => {
                    tracing::debug!(consumer = %context.spec.name, %error, "no look at held messages");
                    break;
                }
            }
        }
        found
    }

    fn wake_foreign(&self, found: &[(u64, Look)]) {
        let held = &self.foreign;
        let mut stay = Vec::with_capacity(found.len());
        for (number, look) in found {
            match look {
                Look::Ask => held.wake(*number, Wake::Ask),
                Look::Foreign { age, overdue_in } => {
                    stay.push((*number, hold::away(*age, *overdue_in)));
                }
            }
        }
        // The head of a lane waits where it is.
        if self.context.spec.ordered() {
            return;
        }
        stay.retain(|(number, away)| {
            let since = held.since(*number);
            let long = since.is_some_and(|since| since.elapsed() >= hold::LONGEST);
            if long {
                held.wake(*number, Wake::MakeRoom(*away));
            }
            since.is_some() && !long
        });
        let leaving = held.leaving.load(Ordering::Relaxed);
        let in_flight = usize::try_from(self.context.books.in_flight()).unwrap_or(usize::MAX);
        let hand = Hand {
            prefetch: usize::from(self.context.spec.prefetch),
            in_flight: in_flight.saturating_sub(leaving),
            held: stay.len(),
            idle: self.context.permits.available_permits(),
        };
        // Those that came last go.
        let first = stay.len() - hand.surplus();
        for (number, away) in &stay[first..] {
            held.wake(*number, Wake::MakeRoom(*away));
        }
    }
}

#[cfg(test)]
mod tests {
    use holdfast_core::key::ClaimKey;
    use holdfast_core::name::Group;
    use holdfast_ports::store::Slot;

    use super::*;

    fn place(key: &str) -> Place {
        Place {
            group: Group::new("g").expect("a name"),
            key: ClaimKey::from_known(key),
            slot: Slot::Group,
            lease: None,
            keep: Duration::from_secs(60),
        }
    }

    #[tokio::test]
    async fn who_is_woken_or_gives_up_waits_no_longer() {
        let held = Foreign::default();
        let mut first = held.enter(place("a"), Instant::now());
        let second = held.enter(place("b"), Instant::now());
        let third = held.enter(place("c"), Instant::now());
        let keys = |held: &Foreign| -> Vec<String> {
            let places = held.snapshot().into_iter();
            places.map(|(_, at)| at.key.as_str().to_owned()).collect()
        };
        assert_eq!(keys(&held), ["a", "b", "c"]);
        held.wake(first.number, Wake::MakeRoom(Duration::ZERO));
        assert_eq!(first.woken().await, Wake::MakeRoom(Duration::ZERO));
        assert_eq!(keys(&held), ["b", "c"]);
        drop(second);
        assert_eq!(keys(&held), ["c"]);
        held.wake(third.number, Wake::Ask);
        drop(third);
        assert!(keys(&held).is_empty());
    }
}
