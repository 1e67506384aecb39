//! A store that was restored from an older copy, or emptied, is not gone on with:
//! its claims may be forgotten. A restart does not change that; an operator does,
//! once for all hosts.

use std::collections::BTreeSet;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use holdfast_live::{Client, Cluster, Report, reports};
use holdfast_servers::{PATIENCE, Redis, wait_for};

/// What the probe is told: one effect for each message.
const BODY: &[u8] = br#"{"state_incr":"seen","publish_to":"out"}"#;

fn counting(ids: std::ops::Range<usize>) -> impl Iterator<Item = (String, Vec<u8>)> {
    ids.map(|n| (format!("m-{n}"), BODY.to_vec()))
}

/// How often hosts raised the pulse.
fn pulse(redis: &Redis) -> Result<u64> {
    let text = redis.cli(&["GET", "live:incarnation"])?;
    let (_, pulse) = text.rsplit_once(':').context("no incarnation")?;
    Ok(pulse.parse()?)
}

fn completed(cluster: &Cluster) -> Result<f64> {
    let mut sum = 0.0;
    for place in cluster.running() {
        sum += cluster
            .host(place)?
            .metric("holdfast_messages_total", &["ending=\"completed\""])?;
    }
    Ok(sum)
}

/// Every host says that it halted, why, and what to do.
fn expect_halted(cluster: &Cluster, why: &str) -> Result<()> {
    for place in cluster.running() {
        let host = cluster.host(place)?;
        wait_for("the host to say what to do", PATIENCE, || {
            // One that was just started may not listen yet.
            let Ok((status, detail)) = host.get("/readyz") else {
                return Ok(None);
            };
            let said = detail.contains(why) && detail.contains("holdfast store accept");
            Ok((status == 503 && said).then_some(()))
        })
        .with_context(|| format!("host {place} printed:\n{}", host.output()))?;
    }
    Ok(())
}

/// What is in the work queue stays there.
async fn expect_nothing_handled(cluster: &Cluster, client: &Client, waiting: u32) -> Result<()> {
    wait_for("all to be handed back", PATIENCE, || {
        for place in cluster.running() {
            if cluster.host(place)?.metric("holdfast_in_flight", &[])? > 0.0 {
                return Ok(None);
            }
        }
        Ok(Some(()))
    })?;
    let before = completed(cluster)?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    let depth = client.depth("work").await?;
    ensure!(depth == waiting, "{depth} of {waiting} wait");
    ensure!(completed(cluster)? == before, "something was handled");
    Ok(())
}

fn accept(cluster: &Cluster, place: usize) -> Result<()> {
    let command = || cluster.setup(place).command(&["store", "accept"]);
    let (code, out, errors) = tokio::task::block_in_place(command)?;
    ensure!(
        code == 0 && out.contains("is accepted"),
        "{code}: {out}{errors}"
    );
    for place in cluster.running() {
        cluster.host(place)?.wait_ready()?;
    }
    Ok(())
}

/// Keys that had an effect, each once in what the store remembers.
async fn effects(client: &Client) -> Result<BTreeSet<String>> {
    let reports = reports(&client.take_many("out").await?)?;
    let once = |report: &Report| report.count == Some(1);
    ensure!(reports.iter().all(once), "handled twice: {reports:?}");
    let keys: BTreeSet<String> = reports.iter().map(|report| report.key.clone()).collect();
    ensure!(keys.len() == reports.len(), "two effects of one key");
    Ok(keys)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_store_restored_from_an_older_copy_halts_all_hosts_until_one_accept() -> Result<()> {
    let queues = ["work".to_owned()];
    let mut cluster = Cluster::start(2, "").await?;
    let client = cluster.client().await?;
    client.publish("work", counting(0..200)).await?;
    cluster.settle(&client, &queues).await?;
    cluster.redis.cli(&["SAVE"])?;
    let saved = pulse(&cluster.redis)?;
    client.publish("work", counting(200..400)).await?;
    cluster.settle(&client, &queues).await?;
    // As many beats as there are hosts: each alone could take it for its own.
    wait_for("two more beats", PATIENCE, || {
        Ok((pulse(&cluster.redis)? >= saved + 2).then_some(()))
    })?;
    // In hand while the store goes back.
    let slow = br#"{"busy_ms":1500,"state_incr":"seen","publish_to":"out"}"#;
    let slow = (400..408).map(|n| (format!("m-{n}"), slow.to_vec()));
    client.publish("work", slow).await?;
    wait_for("them to be in hand", PATIENCE, || {
        Ok((in_hand(&cluster)? >= 1.0).then_some(()))
    })?;
    cluster.redis.kill()?;
    cluster.redis.restart()?;
    expect_halted(&cluster, "was it restored from an old copy?")?;

    client.publish("work", counting(408..450)).await?;
    expect_nothing_handled(&cluster, &client, 50).await?;
    let before = effects(&client).await?;
    ensure!(before.len() == 400, "{} effects", before.len());

    // A restart of all hosts is no way around it.
    for place in 0..2 {
        let status = cluster.take(place)?.stop()?;
        ensure!(status.success(), "{status}");
        cluster.restart(place)?;
    }
    expect_halted(&cluster, "was it restored from an old copy?")?;
    expect_nothing_handled(&cluster, &client, 50).await?;

    accept(&cluster, 1)?;
    cluster.settle(&client, &queues).await?;
    let after = effects(&client).await?;
    let expected: BTreeSet<String> = (400..450).map(|n| format!("m-{n}")).collect();
    ensure!(after == expected, "{after:?}");
    Ok(())
}

fn in_hand(cluster: &Cluster) -> Result<f64> {
    let mut sum = 0.0;
    for place in cluster.running() {
        sum += cluster.host(place)?.metric("holdfast_in_flight", &[])?;
    }
    Ok(sum)
}

/// Bad input: Store | emptied while hosts run | all hosts halt and say why
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_emptied_store_halts_all_hosts_until_one_accept() -> Result<()> {
    let queues = ["work".to_owned()];
    let mut cluster = Cluster::start(2, "").await?;
    let client = cluster.client().await?;
    client.publish("work", counting(0..50)).await?;
    cluster.settle(&client, &queues).await?;
    cluster.redis.cli(&["FLUSHALL"])?;
    expect_halted(&cluster, "was it flushed")?;
    client.publish("work", counting(50..100)).await?;
    expect_nothing_handled(&cluster, &client, 50).await?;
    cluster.take(0)?.kill()?;
    cluster.restart(0)?;
    expect_halted(&cluster, "was it flushed")?;
    expect_nothing_handled(&cluster, &client, 50).await?;
    let written = cluster.redis.cli(&["KEYS", "*"])?;
    ensure!(written.is_empty(), "something was written: {written}");
    accept(&cluster, 0)?;
    cluster.settle(&client, &queues).await?;
    ensure!(effects(&client).await?.len() == 100);
    // A second acceptance, of a store that nothing is wrong with, does no harm.
    accept(&cluster, 1)?;
    client.publish("work", counting(100..150)).await?;
    cluster.settle(&client, &queues).await?;
    ensure!(effects(&client).await?.len() == 50);
    Ok(())
}
