//! How many messages the hosts have in flight, looked at again and again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::thread::{self, JoinHandle};
use std::time::Duration;

use holdfast_live::Glance;

const EVERY: Duration = Duration::from_millis(100);

/// A thread for each host. One that does not answer has what it had.
pub(crate) struct Sampler {
    shared: Arc<Shared>,
    threads: Vec<JoinHandle<()>>,
}

struct Shared {
    glances: Vec<Glance>,
    latest: Vec<AtomicU64>,
    peak: AtomicU64,
    ended: AtomicBool,
}

impl Sampler {
    pub(crate) fn start(glances: Vec<Glance>) -> Self {
        let shared = Arc::new(Shared {
            latest: glances.iter().map(|_| AtomicU64::new(0)).collect(),
            glances,
            peak: AtomicU64::new(0),
            ended: AtomicBool::new(false),
        });
        let threads = (0..shared.glances.len())
            .map(|place| {
                let shared = Arc::clone(&shared);
                thread::spawn(move || {
                    while !shared.ended.load(Ordering::Relaxed) {
                        shared.look(place);
                        thread::sleep(EVERY);
                    }
                })
            })
            .collect();
        Self { shared, threads }
    }

    /// Forgets the peak, and looks at every host now.
    pub(crate) fn begin(&self) {
        self.shared.peak.store(0, Ordering::Relaxed);
        for place in 0..self.shared.glances.len() {
            self.shared.look(place);
        }
    }

    /// The most that were in flight at once since [`Sampler::begin`].
    pub(crate) fn peak(&self) -> u64 {
        self.shared.peak.load(Ordering::Relaxed)
    }

    /// What is in flight now, as far as is known.
    pub(crate) fn now(&self) -> u64 {
        let latest = self.shared.latest.iter();
        latest.map(|latest| latest.load(Ordering::Relaxed)).sum()
    }

    /// Whether every host says that it is ready.
    pub(crate) fn all_ready(&self) -> bool {
        self.shared.glances.iter().all(Glance::is_ready)
    }
}

impl Drop for Sampler {
    fn drop(&mut self) {
        self.shared.ended.store(true, Ordering::Relaxed);
        for thread in self.threads.drain(..) {
            // A panic in it has been printed already.
            let _ = thread.join();
        }
    }
}

impl Shared {
    fn look(&self, place: usize) {
        if let Ok(count) = self.glances[place].metric("holdfast_in_flight", &[]) {
            self.latest[place].store(count as u64, Ordering::Relaxed);
        }
        let latest = self.latest.iter();
        let all = latest.map(|latest| latest.load(Ordering::Relaxed)).sum();
        self.peak.fetch_max(all, Ordering::Relaxed);
    }
}
