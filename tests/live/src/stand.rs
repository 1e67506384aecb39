//! The usual stand: one RabbitMQ, one Redis, one probe consumer of `work`.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use holdfast_servers::{PATIENCE, Redis};

use crate::client::Client;
use crate::host::{Host, Setup};
use crate::rabbit::Rabbit;

/// A broker, a store and a configuration for a host with one probe consumer.
pub struct Stand {
    /// The broker.
    pub rabbit: Rabbit,
    /// The store; durable.
    pub redis: Redis,
    /// The configuration.
    pub setup: Setup,
}

impl Stand {
    /// Starts both servers and declares the queue `out`. `more` is added to the
    /// consumer's configuration.
    ///
    /// # Errors
    /// When a server is missing or does not start.
    pub async fn start(more: &str) -> Result<Self> {
        Self::start_on(Rabbit::shared()?, more).await
    }

    /// The same on this broker.
    ///
    /// # Errors
    /// As for [`Self::start`].
    pub async fn start_on(rabbit: Rabbit, more: &str) -> Result<Self> {
        let redis = Redis::builder().durable(true).start()?;
        let setup = Setup::new(&probe_tables(&rabbit.url(), &redis.url(), more), &["probe"])?;
        let stand = Self {
            rabbit,
            redis,
            setup,
        };
        stand.client().await?.declare("out").await?;
        Ok(stand)
    }

    /// A client of the broker.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn client(&self) -> Result<Client> {
        Client::connect(&self.rabbit.url()).await
    }
}

/// The tables of one consumer `work` that runs the probe.
pub fn probe_tables(broker: &str, store: &str, more: &str) -> String {
    format!(
        r#"
service = "live"
[store]
kind = "redis"
url = "{store}"
[brokers.main]
kind = "rabbitmq"
url = "{broker}"
[plugins.probe]
timeout = "2s"
deadline = "3s"
[consumers.work]
broker = "main"
queue = "work"
plugin = "probe"
{more}
"#
    )
}

/// Waits until nothing is queued, waiting or in flight.
///
/// # Errors
/// When that takes longer than [`PATIENCE`], with what the host printed.
pub async fn wait_settled(client: &Client, host: &Host) -> Result<()> {
    let until = Instant::now() + PATIENCE;
    let mut quiet = 0;
    loop {
        let mut queued = client.depth("work").await?;
        for step in client.delays("work").await? {
            queued += client.depth(&step).await?;
        }
        let moving = host.metric("holdfast_in_flight", &[])?;
        // A message on its way between two queues is in neither for a moment.
        quiet = if queued == 0 && moving == 0.0 {
            quiet + 1
        } else {
            0
        };
        if quiet == 3 {
            return Ok(());
        }
        ensure!(
            Instant::now() < until,
            "{queued} queued, {moving} in flight\n{}",
            host.output()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
}
