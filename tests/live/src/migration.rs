//! The two ends of a migration: queues on two brokers that receive every
//! message, one store, one group with the sides `old` and `new`.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use holdfast_servers::{PATIENCE, Redis};
use serde_json::Value;

use crate::client::{Client, Got};
use crate::host::{Host, Setup};
use crate::rabbit::Rabbit;

/// The sides, in the order of the migration.
pub const SIDES: [&str; 2] = ["old", "new"];

/// Servers for both sides.
pub struct Migration {
    /// One broker for each side, or one for both.
    pub brokers: Vec<Rabbit>,
    /// The store; durable.
    pub redis: Redis,
    /// The table `[cutover.work]`.
    rule: String,
    /// Settings of both consumers, `SIDE` standing for the name of the side.
    consumer: String,
}

/// What a handler did, as the probe published it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Effect {
    /// The claim key.
    pub key: String,
    /// The attempt that was committed.
    pub attempt: u64,
    /// The side that ran it.
    pub side: String,
    /// The fence of the attempt.
    pub fence: u64,
    /// The lane, in an ordered group.
    pub lane: Option<String>,
    /// How often effects of this key (in an ordered group: of this lane) were
    /// committed so far.
    pub count: u64,
}

impl Migration {
    /// Starts the store and this many brokers (two are processes of their own), with a queue `out` on each. `rule`
    /// are lines of `[cutover.work]`, none without a rule; `consumer` are settings
    /// of both consumers, in which `SIDE` stands for the side.
    ///
    /// # Errors
    /// When a server is missing or does not start.
    pub async fn start(brokers: usize, rule: &str, consumer: &str) -> Result<Self> {
        let starting: Vec<_> = (0..brokers)
            .map(|_| match brokers {
                1 => tokio::task::spawn_blocking(Rabbit::shared),
                _ => tokio::task::spawn_blocking(Rabbit::own),
            })
            .collect();
        let redis = Redis::builder().durable(true).start()?;
        let mut brokers = Vec::new();
        for broker in starting {
            brokers.push(broker.await??);
        }
        let stand = Self {
            brokers,
            redis,
            rule: match rule {
                "" => String::new(),
                lines => format!("[cutover.work]\nfrom = \"old\"\nto = \"new\"\n{lines}\n"),
            },
            consumer: consumer.to_owned(),
        };
        for broker in &stand.brokers {
            Client::connect(&broker.url()).await?.declare("out").await?;
        }
        Ok(stand)
    }

    /// The broker of a side.
    pub fn broker(&self, side: &str) -> &Rabbit {
        let at = usize::from(side == SIDES[1]);
        self.brokers.get(at).unwrap_or(&self.brokers[0])
    }

    /// A client of a side's broker.
    ///
    /// # Errors
    /// When it does not answer.
    pub async fn client(&self, side: &str) -> Result<Client> {
        Client::connect(&self.broker(side).url()).await
    }

    /// The tables for a host that serves these sides.
    pub fn tables(&self, sides: &[&str]) -> String {
        let mut tables = format!(
            "service = \"move\"\n[store]\nkind = \"redis\"\nurl = {:?}\n\
             [plugins.probe]\ntimeout = \"2s\"\ndeadline = \"3s\"\n",
            self.redis.url()
        );
        for side in sides {
            tables += &format!(
                "[brokers.{side}]\nkind = \"rabbitmq\"\nurl = {:?}\n",
                self.broker(side).url()
            );
        }
        tables += &self.rule;
        for side in sides {
            tables += &format!(
                "[consumers.{side}]\nbroker = \"{side}\"\nqueue = \"work-{side}\"\n\
                 plugin = \"probe\"\nclaim.group = \"work\"\nclaim.side = \"{side}\"\n{}\n",
                self.consumer.replace("SIDE", side)
            );
        }
        tables
    }

    /// A configuration for a host that serves these sides.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn setup(&self, sides: &[&str]) -> Result<Setup> {
        Setup::new(&self.tables(sides), &["probe"])
    }

    /// Publishes the same messages to both sides, at the same time.
    ///
    /// # Errors
    /// When one is not confirmed.
    pub async fn publish_to_both(&self, messages: &[(String, Vec<u8>)]) -> Result<()> {
        let (old, new) = (self.client("old").await?, self.client("new").await?);
        let (old, new) = tokio::join!(
            old.publish("work-old", messages.iter().cloned()),
            new.publish("work-new", messages.iter().cloned()),
        );
        ensure!(old? == messages.len() && new? == messages.len());
        Ok(())
    }

    /// Waits until nothing is queued, waiting or in flight on either side.
    ///
    /// # Errors
    /// When that takes longer than [`PATIENCE`].
    pub async fn settled(&self, hosts: &[&Host]) -> Result<()> {
        let clients = [self.client("old").await?, self.client("new").await?];
        let until = Instant::now() + PATIENCE;
        let mut quiet = 0;
        while quiet < 3 {
            let mut queued = 0;
            for (client, side) in clients.iter().zip(SIDES) {
                let queue = format!("work-{side}");
                queued += client.depth(&queue).await?;
                for step in client.delays(&queue).await? {
                    queued += client.depth(&step).await?;
                }
            }
            let mut moving = 0.0;
            for host in hosts {
                moving += host.metric("holdfast_in_flight", &[])?;
            }
            // A message on its way between two queues is in neither for a moment.
            quiet = if queued == 0 && moving == 0.0 {
                quiet + 1
            } else {
                0
            };
            ensure!(
                Instant::now() < until,
                "{queued} queued, {moving} in flight\n{}",
                hosts.iter().map(|host| host.output()).collect::<String>()
            );
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
        Ok(())
    }

    /// Takes what the handlers published, on both brokers. A publish may have
    /// been repeated, so equal copies under one id count once; the second value
    /// is how many there were.
    ///
    /// # Errors
    /// When copies of one id differ, or one is no report of the probe.
    pub async fn effects(&self) -> Result<(BTreeMap<String, Effect>, usize)> {
        let mut effects = BTreeMap::new();
        let mut copies = 0;
        for broker in &self.brokers {
            let client = Client::connect(&broker.url()).await?;
            for got in client.take_many("out").await? {
                copies += 1;
                let effect = effect(&got)?;
                let id = got.id.clone();
                if let Some(before) = effects.insert(got.id, effect.clone()) {
                    ensure!(before == effect, "{id}: {before:?} and {effect:?}");
                }
            }
        }
        Ok((effects, copies))
    }

    /// Nothing is left and nothing was given up: both queues, their delay
    /// queues and dead letters are empty, and no claim is unfinished.
    ///
    /// # Errors
    /// When something is left.
    pub async fn expect_nothing_left(&self, host: &Host) -> Result<()> {
        for side in SIDES {
            let client = self.client(side).await?;
            for queue in [format!("work-{side}"), format!("work-{side}.dead")] {
                let depth = client.depth(&queue).await?;
                ensure!(depth == 0, "{queue} has {depth} messages");
            }
        }
        let unfinished = host.json("/api/v1/claims?group=work&limit=5")?;
        ensure!(unfinished == Value::Array(Vec::new()), "{unfinished}");
        Ok(())
    }
}

fn effect(got: &Got) -> Result<Effect> {
    let report: Value = serde_json::from_slice(&got.body)?;
    let number = |name: &str| report[name].as_u64().with_context(|| format!("{report}"));
    let text = |name: &str| report[name].as_str().map(str::to_owned);
    Ok(Effect {
        key: text("key").with_context(|| format!("{report}"))?,
        attempt: number("attempt")?,
        side: text("side").with_context(|| format!("{report}"))?,
        fence: number("fence")?,
        lane: text("lane"),
        count: number("count")?,
    })
}

/// Each of these keys has exactly one committed effect, and no other key has.
///
/// # Errors
/// With some of the keys for which that is not so.
pub fn expect_each_once<'k>(
    effects: &BTreeMap<String, Effect>,
    keys: impl IntoIterator<Item = &'k str>,
) -> Result<()> {
    let expected: BTreeSet<String> = keys
        .into_iter()
        .map(|key| format!("work/{key}/1"))
        .collect();
    let found: BTreeSet<String> = effects.keys().cloned().collect();
    let missing: Vec<_> = expected.difference(&found).take(5).collect();
    let foreign: Vec<_> = found.difference(&expected).take(5).collect();
    ensure!(
        missing.is_empty() && foreign.is_empty(),
        "{} of {}: missing {missing:?}, not expected {foreign:?}",
        found.len(),
        expected.len()
    );
    Ok(())
}

/// Every unfinished claim that this host answers for has its message somewhere,
/// and the totals of all hosts add up.
///
/// # Errors
/// With the report of the audit when it does not close.
pub fn expect_closed_audit(host: &Host) -> Result<()> {
    let report = host.json("/api/v1/audit?wait=5s")?;
    ensure!(
        report["closes"] == true,
        "the audit does not close: {report:#}"
    );
    Ok(())
}

/// Received is what ended, for every consumer of a host that is at rest, and the
/// audit closes.
///
/// # Errors
/// With the consumer or the audit for which it is not so.
pub fn expect_closed_books(host: &Host) -> Result<()> {
    let consumers = host.json("/api/v1/consumers")?;
    for consumer in consumers.as_array().context("a list")? {
        let ended: u64 = consumer["ended"]
            .as_object()
            .context("endings")?
            .values()
            .filter_map(Value::as_u64)
            .sum();
        ensure!(
            consumer["received"].as_u64() == Some(ended) && consumer["in_flight"] == 0,
            "{consumer}"
        );
    }
    expect_closed_audit(host)
}

/// Changes the rule of the group, whatever its revision; gives the new one.
///
/// # Errors
/// When the host refuses.
pub fn change_rule(host: &Host, change: &Value) -> Result<u64> {
    let path = "/api/v1/cutover/work";
    loop {
        let mut body = change.clone();
        body["revision"] = host.json(path)?["revision"].clone();
        let (status, answer) = host.put(path, body.to_string().as_bytes())?;
        if status == 409 {
            continue;
        }
        ensure!(status == 200, "{status} {answer}");
        let rule: Value = serde_json::from_str(&answer)?;
        return rule["revision"].as_u64().context("a revision");
    }
}

/// Moves the percentage of the group.
///
/// # Errors
/// As [`change_rule`].
pub fn move_to(host: &Host, percent: f64) -> Result<u64> {
    change_rule(host, &serde_json::json!({ "percent": percent }))
}
