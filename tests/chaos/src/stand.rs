//! Two brokers, a durable Redis and some hosts, with a proxy on each way between
//! a host and a server.

use std::fs;
use std::path::{Path, PathBuf};
use std::time::Duration;

use anyhow::{Context as _, Result};
use holdfast_live::{Client, Glance, Host, Setup};
use holdfast_servers::{Proxy, RabbitMq, Redis};

use crate::load::LOADS;

/// The brokers' places, and then Redis.
pub(crate) const BROKERS: usize = 2;
pub(crate) const STORE: usize = BROKERS;

/// How many handlers of a consumer run at once, unless a fault changes it.
pub(crate) const CONCURRENCY: u64 = 16;

/// How long a look at a host may take.
const GLANCE: Duration = Duration::from_millis(500);

pub(crate) struct Stand {
    pub(crate) brokers: Vec<RabbitMq>,
    pub(crate) redis: Redis,
    pub(crate) places: Vec<Place>,
    recorder: String,
    logs: PathBuf,
}

/// A host and what belongs to it.
pub(crate) struct Place {
    pub(crate) setup: Setup,
    /// The ways to the servers, by their places.
    pub(crate) ways: Vec<Proxy>,
    /// None while it is down.
    pub(crate) host: Option<Host>,
    log: PathBuf,
}

impl Stand {
    /// Starts everything. Handlers may ask the recorder; the hosts' logs are kept
    /// in the folder.
    pub(crate) async fn start(hosts: usize, recorder: &str, logs: &Path) -> Result<Self> {
        let starting: Vec<_> = (0..BROKERS)
            .map(|_| tokio::task::spawn_blocking(RabbitMq::start))
            .collect();
        let redis = Redis::builder().durable(true).start()?;
        let mut brokers = Vec::new();
        for broker in starting {
            brokers.push(broker.await??);
        }
        for broker in &brokers {
            Client::connect(&broker.url()).await?.declare("out").await?;
        }
        fs::create_dir_all(logs)?;
        let mut stand = Self {
            brokers,
            redis,
            places: Vec::new(),
            recorder: recorder.to_owned(),
            logs: logs.to_owned(),
        };
        // The first one makes the queues.
        for _ in 0..hosts {
            let place = stand.place()?;
            stand.places.push(place);
        }
        Ok(stand)
    }

    fn place(&self) -> Result<Place> {
        let mut ways = Vec::new();
        for broker in &self.brokers {
            ways.push(Proxy::start(broker.address())?);
        }
        ways.push(Proxy::start(self.redis.address())?);
        let tables = self.tables(&ways, CONCURRENCY);
        let setup = Setup::new(&tables, &["probe"])?;
        let mut place = Place {
            setup,
            ways,
            host: None,
            log: self
                .logs
                .join(format!("host-{}.log", self.places.len() + 1)),
        };
        place.start()?;
        place.host()?.wait_ready()?;
        Ok(place)
    }

    /// The configuration of a host that goes these ways.
    pub(crate) fn tables(&self, ways: &[Proxy], concurrency: u64) -> String {
        let mut tables = format!(
            "service = \"chaos\"\n[store]\nkind = \"redis\"\nurl = {:?}\n\
             [plugins.probe]\ntimeout = \"2s\"\ndeadline = \"5s\"\nallow-hosts = [{:?}]\n",
            self.redis.url_at(ways[STORE].port()),
            self.recorder,
        );
        for (place, (broker, way)) in self.brokers.iter().zip(ways).enumerate() {
            tables += &format!(
                "[brokers.b{place}]\nkind = \"rabbitmq\"\nurl = {:?}\n",
                broker.url_at(way.port())
            );
        }
        for load in &LOADS {
            tables += &load.tables(concurrency);
        }
        tables
    }

    /// Ways to look at the hosts from other threads.
    pub(crate) fn glances(&self) -> Vec<Glance> {
        let hosts = self.places.iter().filter_map(|place| place.host.as_ref());
        hosts.map(|host| Glance::at(host, GLANCE)).collect()
    }

    /// What hosts say is wrong with them, the beginning of it.
    pub(crate) fn readiness(&self) -> String {
        let hosts = self.places.iter().enumerate().map(|(number, place)| {
            let said = place.host().and_then(|host| host.get("/readyz"));
            let wrong = match said {
                Ok((200, _)) => "ready".to_owned(),
                Ok((_, text)) => serde_json::from_str::<serde_json::Value>(&text)
                    .map_or(text, |said| said["wrong"].to_string()),
                Err(error) => format!("{error:#}"),
            };
            let wrong: String = wrong.chars().take(300).collect();
            format!("host {}: {wrong}", number + 1)
        });
        hosts.collect::<Vec<_>>().join("; ")
    }

    /// Says of each host that ended by itself how it did, and starts it again.
    pub(crate) fn look_for_dead(&mut self) -> Result<Vec<String>> {
        let mut found = Vec::new();
        for (number, place) in self.places.iter_mut().enumerate() {
            let ended = match &place.host {
                Some(host) => host.ended()?,
                None => None,
            };
            if let Some(status) = ended {
                let host = place.take()?;
                let output = host.output();
                let tail: Vec<&str> = output.lines().rev().take(3).collect();
                found.push(format!(
                    "host {} ended by itself ({status}): {tail:?}",
                    number + 1
                ));
                drop(host);
                place.start()?;
            }
        }
        Ok(found)
    }
}

impl Place {
    /// Takes the host out of its place.
    pub(crate) fn take(&mut self) -> Result<Host> {
        self.host.take().context("no host runs here")
    }

    /// The host.
    pub(crate) fn host(&self) -> Result<&Host> {
        self.host.as_ref().context("no host runs here")
    }

    /// Starts it, if it does not run.
    pub(crate) fn start(&mut self) -> Result<()> {
        if self.host.is_none() {
            self.host = Some(self.setup.spawn()?.log_kept_in(&self.log));
        }
        Ok(())
    }
}
