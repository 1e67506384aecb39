//! Several hosts on one broker and one store.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use holdfast_servers::{PATIENCE, Redis, wait_for};
use serde_json::Value;

use crate::client::{Client, Got};
use crate::host::{Host, Setup};
use crate::rabbit::Rabbit;
use crate::stand::probe_tables;

/// Hosts with one probe consumer `work`, each with a folder and a port of its
/// own. One that was killed leaves its place empty.
pub struct Cluster {
    /// The broker.
    pub rabbit: Rabbit,
    /// The store. It is not killed here, so that it may keep all in memory.
    pub redis: Redis,
    query: String,
    setups: Vec<Setup>,
    hosts: Vec<Option<Host>>,
}

impl Cluster {
    /// Starts both servers, declares the queue `out`, and starts this many hosts
    /// one after another. `more` is added to the consumer's configuration, and
    /// may name another queue.
    ///
    /// # Errors
    /// When a server or a host does not start.
    pub async fn start(hosts: usize, more: &str) -> Result<Self> {
        Self::start_with(hosts, more, "").await
    }

    /// The same with something at the end of the broker's address, such as
    /// `?heartbeat=4`.
    ///
    /// # Errors
    /// As for [`Self::start`].
    pub async fn start_with(hosts: usize, more: &str, query: &str) -> Result<Self> {
        let rabbit = Rabbit::shared()?;
        let redis = Redis::start()?;
        let mut cluster = Self {
            rabbit,
            redis,
            query: query.to_owned(),
            setups: Vec::new(),
            hosts: Vec::new(),
        };
        cluster.client().await?.declare("out").await?;
        for _ in 0..hosts {
            cluster.add(more)?;
        }
        Ok(cluster)
    }

    /// One more host; waits until it is ready, and gives its place.
    ///
    /// # Errors
    /// When it does not start.
    pub fn add(&mut self, more: &str) -> Result<usize> {
        let broker = format!("{}{}", self.rabbit.url(), self.query);
        let mut tables = probe_tables(&broker, &self.redis.url(), more);
        if more.contains("queue = ") {
            tables = tables.replacen("queue = \"work\"\n", "", 1);
        }
        let setup = Setup::new(&tables, &["probe"])?;
        self.hosts.push(Some(setup.start()?));
        self.setups.push(setup);
        Ok(self.hosts.len() - 1)
    }

    /// A client of the broker.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn client(&self) -> Result<Client> {
        Client::connect(&self.rabbit.url()).await
    }

    /// The host in a place.
    ///
    /// # Errors
    /// When it was killed.
    pub fn host(&self, place: usize) -> Result<&Host> {
        let host = self.hosts.get(place).and_then(Option::as_ref);
        host.with_context(|| format!("no host runs in place {place}"))
    }

    /// The configuration of a place.
    ///
    /// # Panics
    /// When there is no such place.
    pub fn setup(&self, place: usize) -> &Setup {
        &self.setups[place]
    }

    /// The places where a host runs.
    pub fn running(&self) -> Vec<usize> {
        (0..self.hosts.len())
            .filter(|place| self.hosts[*place].is_some())
            .collect()
    }

    /// Takes the host out of its place.
    ///
    /// # Errors
    /// When it was killed before.
    pub fn take(&mut self, place: usize) -> Result<Host> {
        let host = self.hosts.get_mut(place).and_then(Option::take);
        host.with_context(|| format!("no host runs in place {place}"))
    }

    /// Starts a host in an empty place, and does not wait for it.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn restart(&mut self, place: usize) -> Result<()> {
        self.hosts[place] = Some(self.setups[place].spawn()?);
        Ok(())
    }

    /// Waits until one of these hosts leads a consumer and it consumes; gives its
    /// place and the epoch.
    ///
    /// # Errors
    /// When nobody does.
    pub fn leader(&self, consumer: &str, among: &[usize]) -> Result<(usize, u64)> {
        wait_for("a leader", PATIENCE, || {
            for place in among {
                if let Ok(row) = self.row(*place, consumer)
                    && row["phase"] == "consuming"
                    && let Some(epoch) = row["epoch"].as_u64()
                {
                    return Ok(Some((*place, epoch)));
                }
            }
            Ok(None)
        })
    }

    /// What a host says of one of its consumers.
    ///
    /// # Errors
    /// When it does not answer, or has no such consumer.
    pub fn row(&self, place: usize, consumer: &str) -> Result<Value> {
        let rows = self.host(place)?.json("/api/v1/consumers")?;
        let mut rows = rows.as_array().into_iter().flatten();
        let row = rows.find(|row| row["name"] == consumer).cloned();
        row.with_context(|| format!("{consumer} is no consumer of host {place}"))
    }

    /// The store's clock, in microseconds since 1970.
    ///
    /// # Errors
    /// When the store does not answer.
    pub fn store_time(&self) -> Result<u64> {
        let time = self.redis.cli(&["TIME"])?;
        let mut parts = time.split_whitespace();
        let mut part = || -> Result<u64> { Ok(parts.next().context("a time")?.parse()?) };
        Ok(part()? * 1_000_000 + part()?)
    }

    /// Waits until these queues are empty and no running host has a message in
    /// hand; then the books of each must close.
    ///
    /// # Errors
    /// When that takes longer than [`PATIENCE`], or books do not close.
    pub async fn settle(&self, client: &Client, queues: &[String]) -> Result<()> {
        let until = std::time::Instant::now() + PATIENCE;
        let mut quiet = 0;
        while quiet < 3 {
            let mut left = 0;
            for queue in queues {
                left += client.depth(queue).await?;
            }
            let mut moving = 0;
            for place in self.running() {
                let rows = self.host(place)?.json("/api/v1/consumers")?;
                let rows = rows.as_array().into_iter().flatten();
                moving += rows
                    .filter_map(|row| row["in_flight"].as_u64())
                    .sum::<u64>();
            }
            quiet = if left == 0 && moving == 0 {
                quiet + 1
            } else {
                0
            };
            ensure!(
                std::time::Instant::now() < until,
                "{left} queued, {moving} in flight; the first host printed:\n{}",
                self.host(self.running()[0])?.output()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        for place in self.running() {
            let rows = self.host(place)?.json("/api/v1/consumers")?;
            for row in rows.as_array().into_iter().flatten() {
                let ended = row["ended"].as_object().into_iter().flatten();
                let ended: u64 = ended.filter_map(|(_, count)| count.as_u64()).sum();
                ensure!(row["received"] == ended, "the books do not close: {row}");
            }
        }
        Ok(())
    }
}

/// What a probe published about one message.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Report {
    /// The claim key.
    pub key: String,
    /// The attempt that was committed.
    pub attempt: u64,
    /// Its fence: the store's time when it began, in microseconds.
    pub fence: u64,
    /// The lane.
    pub lane: Option<String>,
    /// What the message counted in the state.
    pub count: Option<u64>,
}

/// The reports in the order in which they were published first. One that was
/// published again must say the same.
///
/// # Errors
/// When two reports of one id differ, or one is none.
pub fn reports(out: &[Got]) -> Result<Vec<Report>> {
    let mut seen: BTreeMap<&str, &[u8]> = BTreeMap::new();
    let mut reports = Vec::new();
    for message in out {
        if let Some(before) = seen.insert(&message.id, &message.body) {
            ensure!(before == message.body, "{} has two effects", message.id);
            continue;
        }
        let value: Value = serde_json::from_slice(&message.body)?;
        let number = |name: &str| value[name].as_u64().context("a number");
        reports.push(Report {
            key: value["key"].as_str().context("a key")?.to_owned(),
            attempt: number("attempt")?,
            fence: number("fence")?,
            lane: value["lane"].as_str().map(str::to_owned),
            count: value["count"].as_u64(),
        });
    }
    Ok(reports)
}
