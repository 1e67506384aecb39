//! A channel for each queue that is published to. Inside the broker a channel
//! waits for a quorum queue that has no leader, for a minute and longer (seen
//! with RabbitMQ 3.10): that may hold up nothing for another queue.

use std::collections::BTreeMap;
use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use crate::link::Link;
use crate::publish::Publisher;

/// Channels that one connection may have for this. Queues beyond it share.
const MOST: usize = 64;

/// The publishers of one connection, by queue.
pub(crate) struct Publishers {
    link: Arc<Link>,
    deadline: Duration,
    by_queue: Mutex<BTreeMap<String, Arc<Publisher>>>,
}

impl Publishers {
    pub(crate) fn new(link: Arc<Link>, deadline: Duration) -> Self {
        Self {
            link,
            deadline,
            by_queue: Mutex::default(),
        }
    }

    /// The one for a queue, always the same while all have one of their own.
    pub(crate) fn to(&self, queue: &str) -> Arc<Publisher> {
        let mut by_queue = self.by_queue();
        if let Some(publisher) = by_queue.get(queue) {
            return publisher.clone();
        }
        if by_queue.len() >= MOST
            && let Some(shared) = by_queue.values().nth(slot(queue))
        {
            return shared.clone();
        }
        let publisher = Arc::new(Publisher::new(self.link.clone(), self.deadline));
        by_queue.insert(queue.to_owned(), publisher.clone());
        publisher
    }

    pub(crate) fn stop(&self) {
        self.by_queue().values().for_each(|one| one.stop());
    }

    fn by_queue(&self) -> MutexGuard<'_, BTreeMap<String, Arc<Publisher>>> {
        self.by_queue.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

fn slot(queue: &str) -> usize {
    let mut hasher = DefaultHasher::new();
    queue.hash(&mut hasher);
    usize::try_from(hasher.finish() % MOST as u64).unwrap_or(0)
}
