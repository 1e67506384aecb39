//! Everything that is ready, and nothing left behind.

use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::task::{Context, Poll, Wake, Waker};

use futures_util::Stream;
use futures_util::stream::FuturesUnordered;

/// Takes the results of all futures that are ready now. The set itself may
/// answer "pending" with some of them still unseen, and asks to be polled
/// again; that is taken seriously here.
///
/// Whoever polls the set afterwards registers its own waker.
pub(crate) fn drain<F: Future>(set: &mut FuturesUnordered<F>, ready: &mut Vec<F::Output>) {
    let flag = Arc::new(Flag::default());
    let waker = Waker::from(flag.clone());
    let mut context = Context::from_waker(&waker);
    loop {
        match Pin::new(&mut *set).poll_next(&mut context) {
            Poll::Ready(Some(output)) => ready.push(output),
            Poll::Ready(None) => return,
            Poll::Pending if flag.0.swap(false, Ordering::AcqRel) => {}
            Poll::Pending => return,
        }
    }
}

#[derive(Default)]
struct Flag(AtomicBool);

impl Wake for Flag {
    fn wake(self: Arc<Self>) {
        self.0.store(true, Ordering::Release);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    #[test]
    fn whatever_was_completed_before_is_seen() {
        let mut set = FuturesUnordered::new();
        let mut senders = Vec::new();
        for n in 0..1_000 {
            let (sender, receiver) = oneshot::channel();
            senders.push((n, sender));
            set.push(receiver);
        }
        let mut ready = Vec::new();
        drain(&mut set, &mut ready);
        assert!(ready.is_empty());
        for (n, sender) in senders.into_iter().filter(|(n, _)| n % 3 == 0) {
            sender.send(n).expect("it waits");
        }
        drain(&mut set, &mut ready);
        let closed = ready.iter().filter(|result| result.is_err()).count();
        assert_eq!((ready.len(), closed), (1_000, 666), "dropped senders count");
    }
}
