//! Looks at the interrupts of all calls that wait for the host, so that none of
//! them has to be woken for it: a thousand calls that wait cost what one does.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};
use std::time::Duration;

use holdfast_ports::plugins::Interrupt;

/// How often it looks.
const LOOK: Duration = Duration::from_millis(20);

/// Shared by all calls of a host.
#[derive(Clone, Default)]
pub(crate) struct Lookout(Arc<Mutex<Waiting>>);

#[derive(Default)]
struct Waiting {
    next: u64,
    calls: BTreeMap<u64, (Interrupt, Waker)>,
    /// Somebody looks; there is a task for it only while calls wait.
    looking: bool,
}

impl Lookout {
    /// Resolves once the interrupt is set. To be polled within a tokio runtime.
    pub(crate) fn interrupted(&self, interrupt: Interrupt) -> Interrupted {
        Interrupted {
            lookout: self.clone(),
            interrupt,
            ticket: None,
        }
    }

    fn lock(&self) -> MutexGuard<'_, Waiting> {
        // Plain data, whole after every statement.
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn look(self) {
        loop {
            tokio::time::sleep(LOOK).await;
            let mut waiting = self.lock();
            if waiting.calls.is_empty() {
                waiting.looking = false;
                return;
            }
            let set = waiting.calls.values().filter(|(call, _)| call.is_set());
            let wakers: Vec<Waker> = set.map(|(_, waker)| waker.clone()).collect();
            drop(waiting);
            for waker in wakers {
                waker.wake();
            }
        }
    }
}

/// A call that waits.
pub(crate) struct Interrupted {
    lookout: Lookout,
    interrupt: Interrupt,
    ticket: Option<u64>,
}

impl Future for Interrupted {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        if self.interrupt.is_set() {
            return Poll::Ready(());
        }
        let lookout = self.lookout.clone();
        let mut waiting = lookout.lock();
        let ticket = *self.ticket.get_or_insert_with(|| {
            waiting.next += 1;
            waiting.next
        });
        let call = (self.interrupt.clone(), cx.waker().clone());
        waiting.calls.insert(ticket, call);
        let start = !std::mem::replace(&mut waiting.looking, true);
        drop(waiting);
        if start {
            tokio::spawn(lookout.look());
        }
        Poll::Pending
    }
}

impl Drop for Interrupted {
    fn drop(&mut self) {
        if let Some(ticket) = self.ticket {
            self.lookout.lock().calls.remove(&ticket);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn only_the_call_that_is_interrupted_wakes() {
        let (lookout, interrupt) = (Lookout::default(), Interrupt::default());
        let waits = tokio::spawn(lookout.interrupted(Interrupt::default()));
        let ends = tokio::spawn(lookout.interrupted(interrupt.clone()));
        interrupt.set();
        ends.await.expect("no panic");
        assert!(!waits.is_finished());
        waits.abort();
    }

    #[tokio::test]
    async fn nobody_looks_when_no_call_waits() {
        let lookout = Lookout::default();
        let waits = tokio::spawn(lookout.interrupted(Interrupt::default()));
        while lookout.lock().calls.is_empty() {
            tokio::task::yield_now().await;
        }
        assert!(lookout.lock().looking);
        waits.abort();
        while lookout.lock().looking {
            tokio::time::sleep(LOOK).await;
        }
        // And again for the next.
        let interrupt = Interrupt::default();
        let ends = tokio::spawn(lookout.interrupted(interrupt.clone()));
        interrupt.set();
        ends.await.expect("no panic");
    }
}
