//! Watching a consumer from outside: a tap between it and the broker notes
//! when each message's acknowledgement passes. The consumer does not know, so
//! every consumer is measured alike; the tap's own delay is the same for all.
//!
//! The n-th delivery is the n-th message published: one queue, one consumer,
//! no redelivery (which would be an error here).

use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use anyhow::{Context, Result, ensure};
use lapin::options::ConfirmSelectOptions;
use lapin::uri::AMQPUri;
use serde_json::{Value, json};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::tcp::{OwnedReadHalf, OwnedWriteHalf};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::Notify;
use tokio::task::JoinSet;
use tokio::time::MissedTickBehavior;

use crate::frames::{Scanner, Seen};
use crate::{Source, broker, load};

/// How long the last messages may take.
const PATIENCE: Duration = Duration::from_secs(30);

/// Prints where the tap listens, waits for a line of input (the consumer is
/// there), publishes at the rate, and prints a report when all messages are
/// acknowledged. The tap stays open until the input ends.
pub(crate) async fn observe(source: &Source, rate: u32) -> Result<()> {
    let target = broker_address(&source.amqp).await?;
    let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
    let book = Arc::new(Book::new(&source.queue));
    let mut tasks = JoinSet::new();
    let address = listener.local_addr()?;
    tasks.spawn(tap(listener, target, Arc::clone(&book)));

    crate::print(&json!({ "tap": address.to_string() }))?;
    let line = || std::io::stdin().read_line(&mut String::new());
    let length = tokio::task::spawn_blocking(line).await??;
    ensure!(length > 0, "the input ended before the consumer was there");

    publish(source, rate, &book).await?;
    let done = tokio::time::timeout(PATIENCE, book.all_acknowledged(source.messages));
    tokio::select! {
        done = done => done.context("some messages were never acknowledged")?,
        Some(ended) = tasks.join_next() => ended.context("the tap ended")??,
    }
    crate::print(&book.report(source.messages)?)?;
    while tokio::task::spawn_blocking(line).await?? > 0 {}
    Ok(())
}

async fn broker_address(url: &str) -> Result<SocketAddr> {
    let uri: AMQPUri = url.parse().map_err(anyhow::Error::msg)?;
    let authority = (uri.authority.host.as_str(), uri.authority.port);
    let mut addresses = tokio::net::lookup_host(authority).await?;
    addresses.next().context("the broker has no address")
}

async fn publish(source: &Source, rate: u32, book: &Book) -> Result<()> {
    let (_connection, channel) = broker::connect(&source.amqp).await?;
    channel
        .confirm_select(ConfirmSelectOptions::default())
        .await?;
    let mut ticks = tokio::time::interval(Duration::from_secs(1) / rate);
    ticks.set_missed_tick_behavior(MissedTickBehavior::Burst);
    let mut confirms = Vec::with_capacity(source.messages);
    for number in 0..source.messages {
        ticks.tick().await;
        book.lock().published.push(Instant::now());
        confirms.push(load::send(&channel, &source.queue, "latency", number).await?);
    }
    for publish in confirms {
        load::confirm(Some(publish)).await?;
    }
    Ok(())
}

/// What has been seen so far.
struct Book {
    queue: String,
    entries: Mutex<Entries>,
    changed: Notify,
}

#[derive(Default)]
struct Entries {
    published: Vec<Instant>,
    delivered: usize,
    redelivered: usize,
    /// Which message, by connection, channel and tag.
    outstanding: BTreeMap<(u64, u16, u64), usize>,
    latencies: Vec<(usize, Duration)>,
}

impl Book {
    fn new(queue: &str) -> Self {
        Self {
            queue: queue.to_owned(),
            entries: Mutex::default(),
            changed: Notify::new(),
        }
    }

    fn lock(&self) -> MutexGuard<'_, Entries> {
        // Plain data, whole after every statement.
        self.entries.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn note(&self, connection: u64, seen: Seen, now: Instant) {
        let entries = &mut *self.lock();
        match seen {
            Seen::Delivered {
                channel,
                tag,
                redelivered,
                queue,
            } if queue == self.queue => {
                entries.redelivered += usize::from(redelivered);
                let place = (connection, channel, tag);
                entries.outstanding.insert(place, entries.delivered);
                entries.delivered += 1;
            }
            Seen::Delivered { .. } => {}
            Seen::Acknowledged {
                channel,
                tag,
                multiple,
            } => {
                let first = if multiple { 0 } else { tag };
                let covered = (connection, channel, first)..=(connection, channel, tag);
                for (_, number) in entries.outstanding.extract_if(covered, |_, _| true) {
                    if let Some(published) = entries.published.get(number) {
                        let latency = now.saturating_duration_since(*published);
                        entries.latencies.push((number, latency));
                    }
                }
                self.changed.notify_one();
            }
        }
    }

    async fn all_acknowledged(&self, messages: usize) {
        while self.lock().latencies.len() < messages {
            self.changed.notified().await;
        }
    }

    /// Percentiles of all but the first tenth, in which things warm up.
    fn report(&self, messages: usize) -> Result<Value> {
        let entries = self.lock();
        ensure!(entries.redelivered == 0, "a message was redelivered");
        let mut times: Vec<Duration> = entries
            .latencies
            .iter()
            .filter(|(number, _)| *number >= messages / 10)
            .map(|(_, latency)| *latency)
            .collect();
        times.sort_unstable();
        let percentile = |percent: usize| -> Result<f64> {
            let index = (times.len() * percent / 100).min(times.len().saturating_sub(1));
            let time = times.get(index).context("nothing was measured")?;
            Ok(time.as_secs_f64() * 1000.0)
        };
        Ok(json!({
            "messages": times.len(),
            "p50_ms": percentile(50)?,
            "p99_ms": percentile(99)?,
            "max_ms": percentile(100)?,
        }))
    }
}

async fn tap(listener: TcpListener, target: SocketAddr, book: Arc<Book>) -> Result<()> {
    let mut directions = JoinSet::new();
    for connection in 0.. {
        let (client, _) = listener.accept().await?;
        let server = TcpStream::connect(target).await?;
        client.set_nodelay(true)?;
        server.set_nodelay(true)?;
        let (from_client, to_client) = client.into_split();
        let (from_server, to_server) = server.into_split();
        for (from, to) in [(from_client, to_server), (from_server, to_client)] {
            directions.spawn(forward(from, to, connection, Arc::clone(&book)));
        }
    }
    Ok(())
}

/// Ends with either side; a broken connection is the consumer's own affair.
async fn forward(
    mut from: OwnedReadHalf,
    mut to: OwnedWriteHalf,
    connection: u64,
    book: Arc<Book>,
) {
    let mut scanner = Scanner::default();
    let mut buffer = vec![0; 64 * 1024];
    while let Ok(length @ 1..) = from.read(&mut buffer).await {
        for seen in scanner.feed(&buffer[..length]) {
            book.note(connection, seen, Instant::now());
        }
        if to.write_all(&buffer[..length]).await.is_err() {
            return;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_multiple_acknowledgement_covers_its_channel_up_to_its_tag() {
        let book = Book::new("q");
        let start = Instant::now();
        book.lock().published = vec![start; 4];
        let deliver = |channel, tag| Seen::Delivered {
            channel,
            tag,
            redelivered: false,
            queue: "q".to_owned(),
        };
        for (channel, tag) in [(1, 1), (1, 2), (2, 1), (1, 3)] {
            book.note(7, deliver(channel, tag), start);
        }
        let ack = Seen::Acknowledged {
            channel: 1,
            tag: 2,
            multiple: true,
        };
        book.note(7, ack, start + Duration::from_millis(3));
        let entries = book.lock();
        let three = Duration::from_millis(3);
        assert_eq!(entries.latencies, [(0, three), (1, three)]);
        assert_eq!(entries.outstanding.len(), 2);
    }

    #[test]
    fn a_redelivery_makes_the_report_an_error() {
        let book = Book::new("q");
        let seen = Seen::Delivered {
            channel: 1,
            tag: 1,
            redelivered: true,
            queue: "q".to_owned(),
        };
        book.note(1, seen, Instant::now());
        assert!(book.report(1).is_err());
    }
}
