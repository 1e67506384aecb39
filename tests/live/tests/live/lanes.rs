//! A lane that fails for long stops no other; a lane that is halted waits for an
//! operator.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use holdfast_live::{Client, Cluster, Host, claim_path, expect_closed_audit, reports};
use holdfast_servers::{PATIENCE, wait_for};

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
    wait_for("the lanes to be done", PATIENCE, || {
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
        let fails = if n == 0 { r#""fail_times":330,"# } else { "" };
        (format!("bad-{n}"), body("bad", fails))
    };
    let since = Instant::now();
    client.publish("work", (0..201).map(bad)).await?;
    wait_for("200 messages to wait", PATIENCE, || {
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
    wait_for("the lane to go on", PATIENCE, || {
        Ok((host.metric("holdfast_in_flight", &[])? == 0.0).then_some(()))
    })?;
    let failed = since.elapsed();
    eprintln!(
        "2000 messages in 20 lanes: {alone:?} alone, {beside:?} beside a lane that failed for {failed:?}"
    );
    ensure!(failed > Duration::from_secs(60), "{failed:?}");
    ensure!(
        beside < alone.mul_f64(3.0) + Duration::from_secs(5),
        "{beside:?} beside, {alone:?} alone"
    );
    let expected: Vec<String> = (0..201).map(|n| format!("bad-{n}")).collect();
    ensure!(reported(&client, "bad").await? == expected);
    expect_closed_audit(host)?;
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
    wait_for("the report", PATIENCE, || {
        Ok((host.metric("holdfast_prefetch_full", &[])? == 1.0).then_some(()))
    })?;
    client
        .publish("work", [("good".to_owned(), body("good", ""))])
        .await?;
    cluster.settle(&client, &["work".to_owned()]).await?;
    ensure!(host.metric("holdfast_prefetch_full", &[])? == 0.0);
    ensure!(reported(&client, "bad").await?.len() == 100);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_halted_lane_outlives_its_host_and_goes_on_when_an_operator_says_so() -> Result<()> {
    let more = "[consumers.work.order]\nmode = \"lanes\"\nkey = \"json:/lane\"\n\
                on-poison = \"halt\"\n[consumers.work.lease]\nttl = \"2s\"\nrenew = \"500ms\"\n";
    let mut cluster = Cluster::start(2, more).await?;
    let client = cluster.client().await?;
    let poison = [(
        "p".to_owned(),
        br#"{"lane":"a b","reject":"poison"}"#.to_vec(),
    )];
    let behind = (0..5).map(|n| (format!("a-{n}"), body("a b", "")));
    client
        .publish("work", poison.into_iter().chain(behind))
        .await?;
    client
        .publish("work", (0..50).map(|n| (format!("b-{n}"), body("b", ""))))
        .await?;
    let (leader, _) = cluster.leader("work", &[0, 1])?;
    let halted = |cluster: &Cluster, place: usize| -> Result<Option<serde_json::Value>> {
        let row = cluster.row(place, "work")?;
        Ok(row["halted"]
            .as_array()
            .and_then(|halted| halted.first().cloned()))
    };
    // Every host tells of it.
    for place in [0, 1] {
        let lane = wait_for("the lane to be halted", PATIENCE, || {
            halted(&cluster, place)
        })?;
        ensure!(lane["lane"] == "a b" && lane["key"] == "p", "{lane}");
        ensure!(
            lane["reason"] == "rejected" && lane["error"] == "poison",
            "{lane}"
        );
        let host = cluster.host(place)?;
        ensure!(host.metric("holdfast_halted_lanes", &[])? == 1.0);
        let (status, detail) = host.get("/readyz")?;
        ensure!(
            status == 200 && detail.contains("\"halted_lanes\":1"),
            "{status} {detail}"
        );
    }
    wait_for("the other lane", PATIENCE, || {
        Ok((completed(cluster.host(leader)?)? >= 50.0).then_some(()))
    })?;
    let claim = cluster.host(leader)?.json(&claim_path("work", "p"))?;
    ensure!(claim["state"] == "parking", "{claim}");
    ensure!(
        client.depth("work.dead").await? == 0,
        "its letter is written"
    );

    cluster.take(leader)?.kill()?;
    cluster.restart(leader)?;
    cluster.host(leader)?.wait_ready()?;
    let (_, _) = cluster.leader("work", &[0, 1])?;
    client
        .publish("work", [("b-50".to_owned(), body("b", ""))])
        .await?;
    wait_for("the other lane goes on", PATIENCE, || {
        let claims = cluster
            .host(leader)?
            .json("/api/v1/claims?group=work&state=done")?;
        let claims = claims.as_array().map_or(0, Vec::len);
        Ok((claims == 51).then_some(()))
    })?;
    ensure!(cluster.row(leader, "work")?["halted"][0]["key"] == "p");

    // Asked of a host that may not be the one that leads.
    let asked = cluster.setup(leader);
    let (code, _, error) = asked.command(&["resume", "work", "--lane", "other"])?;
    ensure!(
        code == 1 && error.contains("no lane \"other\""),
        "{code} {error}"
    );
    let words = ["resume", "work", "--lane", "a b", "--halt-again"];
    let (code, said, error) = asked.command(&words)?;
    ensure!(
        code == 0 && said.contains("lane a b goes on"),
        "{code} {said} {error}"
    );
    wait_for("it halts again", PATIENCE, || {
        let claim = cluster.host(leader)?.json(&claim_path("work", "p"))?;
        let history = claim["history"].as_array();
        let parked = history
            .into_iter()
            .flatten()
            .filter(|step| step["step"] == "park");
        Ok((parked.count() == 2).then_some(()))
    })?;
    ensure!(client.depth("work.dead").await? == 0);
    wait_for("it is shown as halted again", PATIENCE, || {
        halted(&cluster, leader)
    })?;
    let (code, said, _) = asked.command(&["resume", "work"])?;
    ensure!(
        code == 0 && said.contains("work: resumed") && said.contains("a b"),
        "{said}"
    );
    cluster.settle(&client, &["work".to_owned()]).await?;
    let letters = client.take_all("work.dead").await?;
    ensure!(letters.len() == 1 && letters[0].id == "p", "{letters:?}");
    ensure!(letters[0].header("x-holdfast-reason") == Some("rejected"));
    let expected: Vec<String> = (0..5).map(|n| format!("a-{n}")).collect();
    ensure!(reported(&client, "a b").await? == expected);
    wait_for("no lane is halted", PATIENCE, || {
        Ok(halted(&cluster, leader)?.is_none().then_some(()))
    })?;
    Ok(())
}
