//! The clock that interrupts guests: a thread that raises the engine's epoch
//! at every tick while calls are in progress, and sleeps when there are none.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::thread::JoinHandle;
use std::time::Duration;

use wasmtime::Engine;

/// Ticks without a call before the thread goes to sleep, so that a slow
/// trickle of messages does not wake it for each.
const IDLE_TICKS: u32 = 500;

pub(crate) struct Ticker {
    shared: Arc<Shared>,
    thread: Option<JoinHandle<()>>,
}

#[derive(Default)]
struct Shared {
    calls: AtomicUsize,
    asleep: AtomicBool,
    closed: AtomicBool,
}

/// One call in progress.
pub(crate) struct InProgress(Arc<Shared>);

impl Ticker {
    /// Calls `also` at every tick, too.
    pub(crate) fn start(
        engine: &Engine,
        tick: Duration,
        also: impl Fn() + Send + 'static,
    ) -> std::io::Result<Self> {
        let shared = Arc::new(Shared::default());
        let (mine, engine) = (shared.clone(), engine.clone());
        let thread = std::thread::Builder::new()
            .name("guest-ticker".to_owned())
            .spawn(move || mine.run(&engine, tick, &also))?;
        Ok(Self {
            shared,
            thread: Some(thread),
        })
    }

    /// To be held while a call is in progress.
    pub(crate) fn call(&self) -> InProgress {
        self.shared.calls.fetch_add(1, Ordering::SeqCst);
        if self.shared.asleep.swap(false, Ordering::SeqCst)
            && let Some(thread) = &self.thread
        {
            thread.thread().unpark();
        }
        InProgress(self.shared.clone())
    }
}

impl Drop for InProgress {
    fn drop(&mut self) {
        self.0.calls.fetch_sub(1, Ordering::SeqCst);
    }
}

impl Shared {
    fn run(&self, engine: &Engine, tick: Duration, also: &dyn Fn()) {
        let mut idle = 0;
        while !self.closed.load(Ordering::SeqCst) {
            std::thread::sleep(tick);
            engine.increment_epoch();
            also();
            if self.calls.load(Ordering::SeqCst) > 0 {
                idle = 0;
                continue;
            }
            idle += 1;
            if idle >= IDLE_TICKS {
                idle = 0;
                self.sleep();
            }
        }
    }

    fn sleep(&self) {
        self.asleep.store(true, Ordering::SeqCst);
        while self.asleep.load(Ordering::SeqCst)
            && self.calls.load(Ordering::SeqCst) == 0
            && !self.closed.load(Ordering::SeqCst)
        {
            std::thread::park();
        }
        self.asleep.store(false, Ordering::SeqCst);
    }
}

impl Drop for Ticker {
    fn drop(&mut self) {
        self.shared.closed.store(true, Ordering::SeqCst);
        if let Some(thread) = self.thread.take() {
            thread.thread().unpark();
            let _ = thread.join();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_ticker_sleeps_without_calls_and_wakes_for_one() {
        let mut config = wasmtime::Config::new();
        config.epoch_interruption(true);
        let engine = Engine::new(&config).expect("an engine");
        let ticker = Ticker::start(&engine, Duration::from_micros(10), || ()).expect("a thread");
        let until = std::time::Instant::now() + Duration::from_secs(10);
        while !ticker.shared.asleep.load(Ordering::SeqCst) {
            assert!(std::time::Instant::now() < until, "it never slept");
            std::thread::yield_now();
        }
        let _call = ticker.call();
        assert!(!ticker.shared.asleep.load(Ordering::SeqCst));
    }
}
