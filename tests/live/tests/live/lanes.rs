//! A lane that fails for long stops no other.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use holdfast_live::{Client, Cluster, Host, reports};
use holdfast_servers::wait_for;

const LIMIT: Duration = Duration::from_secs(120);

fn completed(host: &Host) -> Result<f64> {
    host.metric("holdfast_messages_total", &["ending=\"completed\""])
}

fn body(lane: &str, more: &str) -> Vec<u8> {
    format!(r#"{{{more}"lane":"{lane}","state_incr":"n","publish_to":"out"}}"#).into_bytes()
}

/// This many messages in each of twenty lanes, taking turns.
async fn feed(client: &Client, round: &str, each: usize) -> Result<()> {
    let all = (0..each).flat_map(|n| {
        (0..20).map(move |lane| {
            let lane = format!("{lane}");
            (format!("{round}-{lane}-{n}"), body(&lane, ""))
        })
    });
    client.publish("work", all).await?;
    Ok(())
}

/// How long the twenty lanes take, from the first to the last message.
async fn run(client: &Client, host: &Host, round: &str) -> Result<Duration> {
    let before = completed(host)?;
    let started = Instant::now();
    feed(client, round, 100).await?;
    wait_for("the lanes to be done", LIMIT, || {
        Ok((completed(host)? >= before + 2_000.0).then_some(()))
    })?;
    Ok(started.elapsed())
}

async fn reported(client: &Client, lane: &str) -> Result<Vec<String>> {
    let effects = reports(&client.take_all("out").await?)?;
    let of_lane = effects
        .into_iter()
        .filter(|e| e.lane.as_deref() == Some(lane));
    Ok(of_lane.map(|effect| effect.key).collect())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_that_fails_with_200_messages_behind_it_slows_no_other() -> Result<()> {
    let more = "prefetch = 300\nconcurrency = 16\n[consumers.work.order]\nmode = \"lanes\"\n\
                key = \"json:/lane\"\n[consumers.work.lease]\n\
                [consumers.work.retry]\nattempts = 1000\ninitial = \"200ms\"\nfactor = 1.0\n";
    let cluster = Cluster::start(1, more).await?;
    let (client, host) = (cluster.client().await?, cluster.host(0)?);
    // What is needed once is there, and the machine is warm.
    run(&client, host, "warm").await?;
    let alone = run(&client, host, "alone").await?;

    let bad = |n: usize| {
        let fails = if n == 0 { r#""fail_times":100,"# } else { "" };
        (format!("bad-{n}"), body("bad", fails))
    };
    let since = Instant::now();
    client.publish("work", (0..201).map(bad)).await?;
    wait_for("200 messages to wait", LIMIT, || {
        let waiting = host.metric("holdfast_waiting", &["why=\"lane\""])?;
        Ok((waiting >= 200.0).then_some(()))
    })?;
    let beside = run(&client, host, "beside").await?;
    let still = host.metric("holdfast_waiting", &["why=\"lane\""])?;
    ensure!(
        still >= 200.0,
        "the lane did not fail for long enough: {still}"
    );
    ensure!(host.metric("holdfast_prefetch_full", &[])? == 0.0);
    wait_for("the lane to go on", LIMIT, || {
        Ok((host.metric("holdfast_in_flight", &[])? == 0.0).then_some(()))
    })?;
    let failed = since.elapsed();
    eprintln!(
        "2000 messages in 20 lanes: {alone:?} alone, {beside:?} beside a lane that failed for {failed:?}"
    );
    ensure!(failed > Duration::from_secs(20), "{failed:?}");
    ensure!(
        beside < alone.mul_f64(2.0) + Duration::from_secs(1),
        "{beside:?} beside, {alone:?} alone"
    );
    let expected: Vec<String> = (0..201).map(|n| format!("bad-{n}")).collect();
    ensure!(reported(&client, "bad").await? == expected);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_that_fills_the_prefetch_is_reported() -> Result<()> {
    let more = "prefetch = 50\nconcurrency = 16\n[consumers.work.order]\nmode = \"lanes\"\n\
                key = \"json:/lane\"\n[consumers.work.retry]\nattempts = 1000\n\
                initial = \"100ms\"\nfactor = 1.0\n";
    let cluster = Cluster::start(1, more).await?;
    let (client, host) = (cluster.client().await?, cluster.host(0)?);
    let bad = |n: usize| {
        let fails = if n == 0 { r#""fail_times":40,"# } else { "" };
        (format!("bad-{n}"), body("bad", fails))
    };
    client.publish("work", (0..100).map(bad)).await?;
    wait_for("the report", LIMIT, || {
        Ok((host.metric("holdfast_prefetch_full", &[])? == 1.0).then_some(()))
    })?;
    client
        .publish("work", [("good".to_owned(), body("good", ""))])
        .await?;
    cluster.settle(&client, &["work".to_owned()], LIMIT).await?;
    ensure!(host.metric("holdfast_prefetch_full", &[])? == 0.0);
    ensure!(reported(&client, "bad").await?.len() == 100);
    Ok(())
}
