//! What the broker has in memory: queues, and the channels that consume them.
//! Nothing here waits, and the time is an argument.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holdfast_ports::broker::{Delivery, Ended, Ticket};
use holdfast_ports::message::{Header, Incoming};
use tokio::sync::Notify;
use tokio::time::Instant;

/// Which queue it is and how it works.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Spec {
    /// One consumer at a time gets messages.
    pub(super) single_active: bool,
    /// A delay queue: where its messages go, and after how long.
    pub(super) delay: Option<(String, Duration)>,
}

/// A message in a queue.
#[derive(Debug)]
pub(super) struct Kept {
    /// As consumers get it the first time.
    pub(super) message: Arc<Incoming>,
    /// The host's own headers, for those who read without consuming.
    pub(super) own: Vec<Header>,
}

/// A message that is ready, or waits in a delay queue.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) kept: Arc<Kept>,
    pub(super) redelivered: bool,
    pub(super) due: Option<Instant>,
}

#[derive(Debug, Default)]
pub(super) struct Queue {
    pub(super) spec: Spec,
    /// By position: what is handed back takes its old place again.
    pub(super) ready: BTreeMap<u64, Waiting>,
    /// The next position.
    next: u64,
    /// Everything up to this position has been delivered at least once.
    pub(super) delivered: u64,
    /// A note of that is on its way to the file.
    pub(super) noting: bool,
    pub(super) changed: Arc<Notify>,
}

impl Queue {
    pub(super) fn take_position(&mut self) -> u64 {
        self.next = (self.next + 1).max(self.delivered + 1);
        self.next
    }

    /// A message that was there before a restart.
    pub(super) fn restore(&mut self, position: u64, mut waiting: Waiting) {
        self.next = self.next.max(position);
        waiting.redelivered = position <= self.delivered;
        self.ready.insert(position, waiting);
    }

    fn insert(&mut self, position: u64, waiting: Waiting) {
        self.ready.insert(position, waiting);
        self.changed.notify_waiters();
    }
}

/// One subscription.
#[derive(Debug)]
struct Channel {
    client: u64,
    queue: String,
    prefetch: usize,
    exclusive: bool,
    /// It takes no more, but settles what it has.
    cancelled: bool,
    /// Its queue was deleted.
    orphaned: bool,
    tags: u64,
    unsettled: BTreeMap<u64, (u64, Arc<Kept>)>,
}

/// A message that went from a delay queue to the queue it waited for.
#[derive(Debug, PartialEq, Eq)]
pub(super) struct Move {
    pub(super) from: (String, u64),
    pub(super) to: (String, u64),
}

/// The answer to a subscription that wants a message.
pub(super) enum Next {
    /// This one. True: no earlier delivery came as far in the queue.
    Deliver(Delivery, bool),
    /// Nothing now: ask again when notified, or at this time.
    Wait(Option<Instant>),
    /// Never again.
    End(Ended),
}

/// Why nobody can subscribe.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Denied {
    /// There is no such queue.
    Missing,
    /// Another consumer has it, or this one wants it alone.
    InUse,
}

#[derive(Debug, Default)]
pub(super) struct State {
    pub(super) queues: BTreeMap<String, Queue>,
    /// The delay queues that go to a queue.
    feeders: BTreeMap<String, Vec<String>>,
    /// By generation, so that the oldest comes first.
    channels: BTreeMap<u64, Channel>,
    generations: u64,
    pub(super) clients: u64,
}

impl State {
    /// Makes a queue or changes how it works; its messages stay.
    pub(super) fn declare(&mut self, name: &str, spec: Spec) {
        if let Some((to, _)) = &spec.delay {
            let feeders = self.feeders.entry(to.clone()).or_default();
            if !feeders.iter().any(|feeder| feeder == name) {
                feeders.push(name.to_owned());
            }
        }
        let queue = self.queues.entry(name.to_owned()).or_default();
        queue.spec = spec;
        queue.changed.notify_waiters();
    }

    /// Deletes a queue with its messages. Its consumers are told.
    pub(super) fn delete(&mut self, name: &str) -> bool {
        for channel in self.channels.values_mut().filter(|c| c.queue == name) {
            channel.orphaned = true;
            channel.unsettled.clear();
        }
        match self.queues.remove(name) {
            Some(queue) => {
                queue.changed.notify_waiters();
                true
            }
            None => false,
        }
    }

    /// A message is safe and may be delivered. Those who wait for the queue that
    /// a delay queue goes to have a new time to look at.
    pub(super) fn arrive(&mut self, name: &str, position: u64, waiting: Waiting) {
        let Some(queue) = self.queues.get_mut(name) else {
            return;
        };
        queue.insert(position, waiting);
        if let Some((to, _)) = queue.spec.delay.clone()
            && let Some(target) = self.queues.get(&to)
        {
            target.changed.notify_waiters();
        }
    }

    pub(super) fn subscribe(
        &mut self,
        client: u64,
        queue: &str,
        prefetch: u16,
        exclusive: bool,
    ) -> Result<u64, Denied> {
        let Some(found) = self.queues.get(queue) else {
            return Err(Denied::Missing);
        };
        // With a single active consumer the others wait in line.
        let exclusive = exclusive && !found.spec.single_active;
        let mut others = self
            .channels
            .values()
            .filter(|c| c.queue == queue && !c.orphaned);
        if others.any(|other| exclusive || other.exclusive) {
            return Err(Denied::InUse);
        }
        self.generations += 1;
        let channel = Channel {
            client,
            queue: queue.to_owned(),
            prefetch: usize::from(prefetch.max(1)),
            exclusive,
            cancelled: false,
            orphaned: false,
            tags: 0,
            unsettled: BTreeMap::new(),
        };
        self.channels.insert(self.generations, channel);
        Ok(self.generations)
    }

    /// What this subscription gets now.
    pub(super) fn next(&mut self, generation: u64) -> Next {
        let Some(channel) = self.channels.get(&generation) else {
            return Next::End(Ended::Closed("the subscription was closed".to_owned()));
        };
        if channel.orphaned {
            return Next::End(Ended::Cancelled);
        }
        if channel.cancelled {
            return Next::End(Ended::Closed("the subscription was cancelled".to_owned()));
        }
        let name = channel.queue.clone();
        let full = channel.unsettled.len() >= channel.prefetch;
        let active = self.is_active(&name, generation);
        let due = self.next_due(&name);
        let Some(queue) = self.queues.get_mut(&name) else {
            return Next::End(Ended::Cancelled);
        };
        if full || !active {
            return Next::Wait(None);
        }
        let Some((position, waiting)) = queue.ready.pop_first() else {
            return Next::Wait(due);
        };
        let further = position > queue.delivered;
        queue.delivered = queue.delivered.max(position);
        let message = if waiting.redelivered {
            Arc::new(Incoming {
                redelivered: true,
                ..(*waiting.kept.message).clone()
            })
        } else {
            waiting.kept.message.clone()
        };
        let mut tag = 0;
        if let Some(channel) = self.channels.get_mut(&generation) {
            channel.tags += 1;
            tag = channel.tags;
            channel.unsettled.insert(tag, (position, waiting.kept));
        }
        let ticket = Ticket { generation, tag };
        Next::Deliver(Delivery { message, ticket }, further)
    }

    /// With a single active consumer, the oldest that still takes messages or
    /// has some in hand: a new one gets nothing before the old one's are settled.
    fn is_active(&self, queue: &str, generation: u64) -> bool {
        let single = self
            .queues
            .get(queue)
            .is_some_and(|queue| queue.spec.single_active);
        if !single {
            return true;
        }
        let oldest = self.channels.iter().find(|(_, channel)| {
            channel.queue == queue
                && !channel.orphaned
                && !(channel.cancelled && channel.unsettled.is_empty())
        });
        oldest.is_some_and(|(oldest, _)| *oldest == generation)
    }

    /// Settles a delivery. Gives the queue and the position of what was
    /// acknowledged, none for what went back to its place.
    pub(super) fn settle(
        &mut self,
        generation: u64,
        ticket: Ticket,
        acknowledged: bool,
    ) -> Result<Option<(String, u64)>, Ticket> {
        if ticket.generation != generation {
            return Err(ticket);
        }
        let Some(channel) = self.channels.get_mut(&generation) else {
            return Err(ticket);
        };
        let Some((position, kept)) = channel.unsettled.remove(&ticket.tag) else {
            return Err(ticket);
        };
        let name = channel.queue.clone();
        if !acknowledged {
            self.hand_back(&name, [(position, kept)]);
            return Ok(None);
        }
        if let Some(queue) = self.queues.get(&name) {
            queue.changed.notify_waiters();
        }
        Ok(Some((name, position)))
    }

    fn hand_back(&mut self, name: &str, back: impl IntoIterator<Item = (u64, Arc<Kept>)>) {
        if let Some(queue) = self.queues.get_mut(name) {
            for (position, kept) in back {
                let waiting = Waiting {
                    kept,
                    redelivered: true,
                    due: None,
                };
                queue.ready.insert(position, waiting);
            }
            queue.changed.notify_waiters();
        }
    }

    /// The subscription takes no more messages.
    pub(super) fn cancel(&mut self, generation: u64) {
        if let Some(channel) = self.channels.get_mut(&generation) {
            channel.cancelled = true;
            if let Some(queue) = self.queues.get(&channel.queue) {
                queue.changed.notify_waiters();
            }
        }
    }

    /// The subscription is gone; what it had goes back.
    pub(super) fn leave(&mut self, generation: u64) {
        if let Some(channel) = self.channels.remove(&generation) {
            self.hand_back(&channel.queue, channel.unsettled.into_values());
        }
    }

    /// All subscriptions of a client are gone.
    pub(super) fn leave_all(&mut self, client: u64) {
        let of_client = |(generation, channel): (&u64, &Channel)| {
            (channel.client == client).then_some(*generation)
        };
        let generations: Vec<u64> = self.channels.iter().filter_map(of_client).collect();
        for generation in generations {
            self.leave(generation);
        }
    }

    /// Consumers of a queue that take messages.
    pub(super) fn consumers(&self, queue: &str) -> usize {
        let of_queue = self.channels.values().filter(|c| c.queue == queue);
        of_queue.filter(|c| !c.cancelled && !c.orphaned).count()
    }

    /// Takes a message out that is ready, if it still is.
    pub(super) fn take_out(&mut self, queue: &str, position: u64) -> bool {
        let found = self.queues.get_mut(queue);
        found.is_some_and(|queue| queue.ready.remove(&position).is_some())
    }

    /// Deliveries of a queue that are not settled.
    pub(super) fn unsettled(&self, queue: &str) -> usize {
        let of_queue = self.channels.values().filter(|c| c.queue == queue);
        of_queue.map(|channel| channel.unsettled.len()).sum()
    }

    /// Moves what has waited long enough to this queue, or from it if it is a
    /// delay queue.
    pub(super) fn mature(&mut self, name: &str, now: Instant) -> Vec<Move> {
        let target = match self.queues.get(name).map(|queue| &queue.spec.delay) {
            Some(Some((to, _))) => to.clone(),
            Some(None) => name.to_owned(),
            None => return Vec::new(),
        };
        // Without its target a message goes on waiting.
        let feeders = match self.feeders.get(&target) {
            Some(feeders) if self.queues.contains_key(&target) => feeders.clone(),
            _ => return Vec::new(),
        };
        let mut moves = Vec::new();
        for feeder in feeders {
            while let Some((position, mut waiting)) = self.pop_due(&feeder, now) {
                waiting.due = None;
                waiting.redelivered = false;
                let Some(queue) = self.queues.get_mut(&target) else {
                    break;
                };
                let to = queue.take_position();
                queue.insert(to, waiting);
                moves.push(Move {
                    from: (feeder.clone(), position),
                    to: (target.clone(), to),
                });
            }
        }
        moves
    }

    fn pop_due(&mut self, feeder: &str, now: Instant) -> Option<(u64, Waiting)> {
        let queue = self.queues.get_mut(feeder)?;
        let first = queue.ready.first_entry()?;
        let due = first.get().due.is_none_or(|due| due <= now);
        due.then(|| first.remove_entry())
    }

    /// When the next message comes to this queue from a delay queue.
    fn next_due(&self, name: &str) -> Option<Instant> {
        let feeders = self.feeders.get(name)?;
        let first = |feeder: &String| self.queues.get(feeder)?.ready.values().next()?.due;
        feeders.iter().filter_map(first).min()
    }
}
