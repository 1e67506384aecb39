//! A row of partitions, spread over hosts that come and go.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use holdfast_live::{Client, Cluster, Host, reports};
use holdfast_servers::{PATIENCE, wait_for};

const TTL: Duration = Duration::from_secs(3);
const LANES: usize = 16;

/// How many partitions each of these hosts leads.
fn led(cluster: &Cluster, places: &[usize]) -> Result<Vec<usize>> {
    let one = |place: &usize| -> Result<usize> {
        let rows = cluster.host(*place)?.json("/api/v1/consumers")?;
        let rows = rows.as_array().into_iter().flatten();
        Ok(rows.filter(|row| row["phase"] == "consuming").count())
    };
    places.iter().map(one).collect()
}

fn until_spread(cluster: &Cluster, places: &[usize], shares: &[usize]) -> Result<Duration> {
    let since = Instant::now();
    wait_for("the partitions to be spread", PATIENCE, || {
        let mut led = led(cluster, places)?;
        led.sort_unstable();
        Ok((led == shares).then_some(()))
    })
    .with_context(|| {
        let told = places
            .iter()
            .map(|place| cluster.host(*place).map(Host::output));
        let told: Vec<String> = told.flatten().collect();
        let led = led(cluster, places);
        format!(
            "{led:?} instead of {shares:?}; they printed:\n{}",
            told.join("\n")
        )
    })?;
    Ok(since.elapsed())
}

/// Lane l goes to partition l mod 8, in this order.
async fn feed(client: &Client, numbers: std::ops::Range<usize>) -> Result<()> {
    for partition in 0..8 {
        let messages = numbers.clone().flat_map(|n| {
            (0..LANES)
                .filter(move |lane| lane % 8 == partition)
                .map(move |lane| {
                    let body =
                        format!(r#"{{"lane":"{lane}","state_incr":"n","publish_to":"out"}}"#);
                    (format!("{lane}-{n}"), body.into_bytes())
                })
        });
        client
            .publish(&format!("work.{partition}"), messages)
            .await?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn partitions_are_shared_by_the_hosts_that_are_there_and_keep_their_order() -> Result<()> {
    let more = "concurrency = 8\nprefetch = 32\n[consumers.work.order]\nmode = \"lanes\"\nkey = \"json:/lane\"\n\
                [consumers.work.lease]\nttl = \"3s\"\nrenew = \"1s\"\nretry = \"500ms\"\n";
    // The usual tables, with a row of queues instead of one.
    let more = more.replace("prefetch", "queue = \"work.{0..7}\"\nprefetch");
    let mut cluster = Cluster::start(2, &more).await?;
    let client = cluster.client().await?;
    until_spread(&cluster, &[0, 1], &[4, 4])?;
    feed(&client, 0..100).await?;
    let third = cluster.add(&more)?;
    let took = until_spread(&cluster, &[0, 1, third], &[2, 3, 3])?;
    eprintln!("a third host had its share {took:?} after it was ready");
    ensure!(took < TTL * 2, "{took:?}");
    feed(&client, 100..200).await?;
    cluster.take(0)?.kill()?;
    let took = until_spread(&cluster, &[1, third], &[4, 4])?;
    eprintln!("the share of a killed host was taken after {took:?}");
    feed(&client, 200..250).await?;
    let queues: Vec<String> = (0..8).map(|n| format!("work.{n}")).collect();
    cluster.settle(&client, &queues).await?;
    let ended = Instant::now();
    let code = cluster.take(1)?.stop()?;
    ensure!(code.success(), "{code}");
    until_spread(&cluster, &[third], &[8])?;
    eprintln!(
        "the share of a host that ended was taken after {:?}",
        ended.elapsed()
    );
    feed(&client, 250..300).await?;
    cluster.settle(&client, &queues).await?;

    let mut lanes: BTreeMap<String, Vec<(String, Option<u64>)>> = BTreeMap::new();
    for effect in reports(&client.take_all("out").await?)? {
        let lane = effect.lane.context("a lane")?;
        lanes
            .entry(lane)
            .or_default()
            .push((effect.key, effect.count));
    }
    ensure!(lanes.len() == LANES);
    for (lane, effects) in lanes {
        ensure!(effects.len() == 300, "{lane}: {} effects", effects.len());
        for (n, (key, count)) in effects.into_iter().enumerate() {
            let place = u64::try_from(n + 1)?;
            ensure!(
                key == format!("{lane}-{n}") && count == Some(place),
                "{key} {count:?} at {n}"
            );
        }
    }
    Ok(())
}
