//! The end of a run: everything ends, and is looked at.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, bail};
use holdfast_live::Client;

use crate::history::Letter;
use crate::load::LOADS;
use crate::sampler::Sampler;
use crate::stand::Stand;
use crate::watch::{Watch, id};

/// How long all that is left may take, which on a busy machine is long.
const LIMIT: Duration = Duration::from_secs(300);
/// How long nothing may arrive before the rest counts as lost.
const SILENCE: Duration = Duration::from_secs(3);

/// Waits until no queue has a message, no host has one in flight, and all that
/// handlers published has arrived.
pub(crate) async fn settle(stand: &Stand, watch: &Watch, sampler: &Sampler) -> Result<()> {
    let until = Instant::now() + LIMIT;
    let mut clients = Vec::new();
    for broker in &stand.brokers {
        clients.push(Client::connect(&broker.url()).await?);
    }
    let mut queues = Vec::new();
    for load in &LOADS {
        for end in load.ends {
            let client = &clients[end.broker];
            queues.push((client, end.name.to_owned()));
            let delays = client.delays(end.name).await?;
            queues.extend(delays.into_iter().map(|delay| (client, delay)));
        }
    }
    for client in &clients {
        queues.push((client, "out".to_owned()));
    }
    // A message on its way between two queues is in neither for a moment.
    let mut quiet = 0;
    while quiet < 5 {
        let mut queued = Vec::new();
        for (client, queue) in &queues {
            let depth = client.depth(queue).await?;
            if depth > 0 {
                queued.push(format!("{queue}: {depth}"));
            }
        }
        let moving = sampler.now();
        let still = queued.is_empty() && moving == 0;
        quiet = if still { quiet + 1 } else { 0 };
        if Instant::now() > until {
            bail!("after {LIMIT:?} {queued:?} are queued and {moving} in flight");
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    // The collectors may be dialling a broker again.
    let mut seen = (watch.effects(), Instant::now());
    while seen.1.elapsed() < SILENCE {
        tokio::time::sleep(Duration::from_millis(100)).await;
        let now = watch.effects();
        if now != seen.0 {
            seen = (now, Instant::now());
        }
    }
    Ok(())
}

/// Runs `holdfast audit` against every host; what does not close is wrong.
pub(crate) fn audit(stand: &Stand, wrong: &mut Vec<String>) -> Vec<String> {
    let mut verdicts = Vec::new();
    for (number, place) in stand.places.iter().enumerate() {
        let name = format!("host {}", number + 1);
        let verdict = match place.setup.command(&["audit", "--wait", "60s"]) {
            Ok((0, out, _)) => out.lines().last().unwrap_or_default().to_owned(),
            Ok((code, out, errors)) => {
                wrong.push(format!(
                    "the audit of {name} ended with {code}: {out}{errors}"
                ));
                errors
            }
            Err(error) => {
                wrong.push(format!("the audit of {name} did not run: {error:#}"));
                error.to_string()
            }
        };
        verdicts.push(format!("{name}: {verdict}"));
    }
    verdicts
}

/// Takes all dead letters.
pub(crate) async fn letters(stand: &Stand) -> Result<Vec<Letter>> {
    let mut letters = Vec::new();
    for load in &LOADS {
        for end in load.ends {
            let client = Client::connect(&stand.brokers[end.broker].url()).await?;
            for got in client.take_many(&format!("{}.dead", end.name)).await? {
                let header = |name: &str| got.header(name).context("a letter without a header");
                letters.push(Letter {
                    id: id(load.group, header("x-holdfast-key")?)?,
                    reason: header("x-holdfast-reason")?.to_owned(),
                });
            }
        }
    }
    Ok(letters)
}

/// Ends all hosts in order.
pub(crate) fn stop(stand: &mut Stand, wrong: &mut Vec<String>) {
    for (number, place) in stand.places.iter_mut().enumerate() {
        let stopped = place.take().and_then(|host| host.stop());
        match stopped {
            Ok(status) if status.success() => {}
            Ok(status) => wrong.push(format!("host {} ended with {status}", number + 1)),
            Err(error) => wrong.push(format!("host {} did not end: {error:#}", number + 1)),
        }
    }
}
