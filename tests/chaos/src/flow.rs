//! Messages in, effects out: whatever happens to the brokers.

use std::ops::Range;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use holdfast_live::Client;
use tokio::time::{sleep, timeout};

use crate::load::{End, Fate, LOADS, Load, body, is_twice};
use crate::watch::Watch;

/// How often messages are published.
const TICK: Duration = Duration::from_millis(50);
/// How long to wait before a broker is dialled again.
const AGAIN: Duration = Duration::from_millis(100);
/// How long the broker may take for an answer. A frozen one takes seconds; and
/// a client of lapin may wait for ever for a confirmation when its connection
/// breaks in the wrong moment.
const ANSWER: Duration = Duration::from_secs(20);
/// Most messages of one publish.
const BATCH: u64 = 64;
/// The copy of a message that is published twice comes behind so many others.
const BEHIND: u64 = 40;

/// Raises the targets of the loads at this many messages a second, until the run
/// ends. While more than `most` messages wait for their effects it publishes none.
pub(crate) async fn pace(watch: Arc<Watch>, rate: u64, most: u64, seed: u64) {
    let mut due = [0.0; LOADS.len()];
    // Those of them that have effects; the others end as letters.
    let mut expected = 0;
    let mut before = Instant::now();
    while !watch.has_ended() {
        sleep(TICK).await;
        let passed = before.elapsed().as_secs_f64();
        before = Instant::now();
        if expected > watch.effects() + most {
            continue;
        }
        for (place, load) in LOADS.iter().enumerate() {
            due[place] += passed * (rate * load.share) as f64 / 100.0;
            let numbers = watch.target(place)..due[place] as u64;
            let fates = numbers.map(|number| Fate::of(seed, load, number));
            expected += fates.filter(|fate| fate.reason().is_none()).count() as u64;
            watch.raise(place, due[place] as u64);
        }
    }
}

/// Publishes what one end of a load receives, in order, each message confirmed.
/// What was not confirmed when a connection broke is published again.
pub(crate) async fn publish(
    watch: Arc<Watch>,
    place: usize,
    end: &'static End,
    url: String,
    recorder: String,
    seed: u64,
) {
    let load = &LOADS[place];
    let mut next = 0;
    let mut client = None;
    loop {
        let ended = watch.targets_are_final();
        let until = watch.target(place).min(next + BATCH);
        if until == next {
            if ended {
                return;
            }
            sleep(TICK).await;
            continue;
        }
        let connected = match client.take() {
            Some(client) => client,
            None => match timeout(ANSWER, Client::connect(&url)).await {
                Ok(Ok(client)) => client,
                _ => {
                    sleep(AGAIN).await;
                    continue;
                }
            },
        };
        let messages = messages(load, end, next..until, seed, &recorder);
        let publish = timeout(ANSWER, connected.publish(end.name, messages));
        if matches!(publish.await, Ok(Ok(_))) {
            // The other end of a load gets the same messages.
            if end.name == load.ends[0].name {
                watch.published(until - next);
            }
            next = until;
            client = Some(connected);
        }
    }
}

/// Ids and bodies.
fn messages(
    load: &Load,
    end: &End,
    numbers: Range<u64>,
    seed: u64,
    recorder: &str,
) -> Vec<(String, Vec<u8>)> {
    let numbers = numbers.flat_map(|number| copies(load, number));
    let message = |number: u64| {
        let fate = Fate::of(seed, load, number);
        (number.to_string(), body(load, end, number, fate, recorder))
    };
    numbers.map(message).collect()
}

/// A message, and perhaps the second copy of one before it.
fn copies(load: &Load, number: u64) -> impl Iterator<Item = u64> {
    // Of the same lane, if there are lanes.
    let behind = BEHIND.next_multiple_of(load.lanes.max(1));
    let again = number.checked_sub(behind).filter(|again| is_twice(*again));
    std::iter::once(number).chain(again)
}

/// Takes what handlers publish on a broker, for as long as the run lasts.
pub(crate) async fn collect(watch: Arc<Watch>, url: String) {
    loop {
        if let Ok(Ok(client)) = timeout(ANSWER, Client::connect(&url)).await {
            let got = AtomicU64::new(0);
            let take = client.take_on("out", |effect| {
                got.fetch_add(1, Ordering::Relaxed);
                watch.effect(&effect);
            });
            // A connection that breaks is one of the things that happen here,
            // and so is one that says nothing of it.
            tokio::select! {
                _ = take => {}
                () = silence(&got) => {}
            }
        }
        sleep(AGAIN).await;
    }
}

/// Ends when this has not grown for a while.
async fn silence(got: &AtomicU64) {
    let mut before = None;
    loop {
        let now = got.load(Ordering::Relaxed);
        if before == Some(now) {
            return;
        }
        before = Some(now);
        sleep(ANSWER).await;
    }
}
