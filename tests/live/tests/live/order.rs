//! Three hosts, one queue in order, leaders killed and frozen: what took effect
//! did so in order, once, and nothing was lost.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use holdfast_live::{Client, Cluster, Report, expect_closed_audit, reports};
use holdfast_servers::{PATIENCE, wait_for};

const LANES: usize = 50;
const MESSAGES: usize = 10_000;
const ROUNDS: usize = 8;
const TTL: Duration = Duration::from_secs(2);
const LEASE: &str = "[consumers.work.lease]\nttl = \"2s\"\nrenew = \"500ms\"\nretry = \"250ms\"\n";

/// The same faults for the same seed.
struct Dice(u64);

impl Dice {
    fn new() -> Result<Self> {
        let seed = match std::env::var("HOLDFAST_TEST_SEED") {
            Ok(seed) => seed.parse().context("HOLDFAST_TEST_SEED is a number")?,
            Err(_) => 1_763_769_600,
        };
        eprintln!("seed {seed}");
        Ok(Self(seed))
    }

    fn below(&mut self, limit: u64) -> u64 {
        // SplitMix64.
        self.0 = self.0.wrapping_add(0x9e37_79b9_7f4a_7c15);
        let mut z = self.0;
        z = (z ^ (z >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
        z = (z ^ (z >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
        (z ^ (z >> 31)) % limit
    }
}

fn key(number: usize) -> String {
    format!("{}-{}", number % LANES, number / LANES)
}

/// Lanes take turns. A fiftieth fails at first.
fn messages(numbers: std::ops::Range<usize>) -> impl Iterator<Item = (String, Vec<u8>)> {
    numbers.map(|number| {
        let fails = if number % 50 == number / 1_000 {
            r#""fail_times":1,"#
        } else {
            ""
        };
        let body = format!(
            r#"{{{fails}"lane":"l{}","state_incr":"n","publish_to":"out"}}"#,
            number % LANES
        );
        (key(number), body.into_bytes())
    })
}

/// Kills or freezes the leader while messages flow, again and again. Gives how
/// many of each.
async fn disturb(cluster: &mut Cluster, client: &Client, dice: &mut Dice) -> Result<[usize; 2]> {
    let mut done = [0, 0];
    for round in 0..ROUNDS {
        let share = MESSAGES / ROUNDS;
        client
            .publish("work", messages(round * share..(round + 1) * share))
            .await?;
        let (leader, _) = cluster.leader("work", &cluster.running())?;
        // In the midst of it.
        let some = share as u64 / 10 + dice.below(share as u64 / 2);
        wait_for("some progress", PATIENCE, || {
            let row = cluster.row(leader, "work")?;
            let depth = row["depth"]["ready"].as_u64();
            Ok(depth
                .is_none_or(|ready| ready <= share as u64 - some)
                .then_some(()))
        })?;
        // Both kinds occur in every run.
        let freeze = if round < 2 {
            round == 1
        } else {
            dice.below(2) == 1
        };
        done[usize::from(freeze)] += 1;
        if freeze {
            cluster.host(leader)?.freeze()?;
            let frozen = Instant::now();
            let others: Vec<usize> = cluster.running();
            let others: Vec<usize> = others.into_iter().filter(|p| *p != leader).collect();
            cluster.leader("work", &others)?;
            tokio::time::sleep((TTL * 2).saturating_sub(frozen.elapsed())).await;
            cluster.host(leader)?.thaw()?;
        } else {
            cluster.take(leader)?.kill()?;
            cluster.restart(leader)?;
        }
    }
    Ok(done)
}

async fn three_hosts(order: &str) -> Result<(Vec<Report>, usize)> {
    let mut dice = Dice::new()?;
    let more = format!(
        "prefetch = 128\nconcurrency = 16\n[consumers.work.retry]\ninitial = \"20ms\"\n{order}{LEASE}"
    );
    let started = Instant::now();
    let mut cluster = Cluster::start(3, &more).await?;
    let client = cluster.client().await?;
    let [kills, freezes] = disturb(&mut cluster, &client, &mut dice).await?;
    for place in cluster.running() {
        cluster.host(place)?.wait_ready()?;
    }
    cluster.settle(&client, &["work".to_owned()]).await?;
    let out = client.take_all("out").await?;
    let dead = client.depth("work.dead").await?;
    ensure!(dead == 0, "{dead} dead letters");
    let effects = reports(&out)?;
    eprintln!(
        "{kills} kills, {freezes} freezes, {} of {} effects published again, {:?}",
        out.len() - effects.len(),
        out.len(),
        started.elapsed()
    );
    let found: BTreeSet<&str> = effects.iter().map(|effect| effect.key.as_str()).collect();
    let missing: Vec<String> = (0..MESSAGES)
        .map(key)
        .filter(|key| !found.contains(key.as_str()))
        .collect();
    ensure!(
        missing.is_empty(),
        "{} lost: {:?}",
        missing.len(),
        &missing[..missing.len().min(9)]
    );
    ensure!(effects.len() == MESSAGES, "{} effects", effects.len());
    for place in cluster.running() {
        expect_closed_audit(cluster.host(place)?)?;
    }
    for place in cluster.running() {
        let code = cluster.take(place)?.stop()?;
        ensure!(code.success(), "{code}");
    }
    Ok((effects, out.len()))
}

/// The state of a lane counts its commits one after another, so that what a
/// message counted says at which place it was committed.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lanes_keep_their_order_although_leaders_are_killed_and_frozen() -> Result<()> {
    let order = "[consumers.work.order]\nmode = \"lanes\"\nkey = \"json:/lane\"\n";
    let (effects, _) = three_hosts(order).await?;
    let mut lanes: BTreeMap<&str, Vec<&Report>> = BTreeMap::new();
    for effect in &effects {
        let lane = effect.lane.as_deref().context("a lane")?;
        lanes.entry(lane).or_default().push(effect);
    }
    ensure!(lanes.len() == LANES);
    for (lane, effects) in lanes {
        for (place, effect) in effects.iter().enumerate() {
            let expected = format!("{}-{place}", &lane[1..]);
            ensure!(
                effect.key == expected,
                "{lane}: published {effect:?} at {place}"
            );
            let count = u64::try_from(place + 1)?;
            ensure!(
                effect.count == Some(count),
                "{lane}: committed {effect:?} at {place}"
            );
        }
        for pair in effects.windows(2) {
            ensure!(
                pair[0].fence < pair[1].fence,
                "{lane}: {pair:?} began out of order"
            );
        }
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn strict_order_is_kept_although_leaders_are_killed_and_frozen() -> Result<()> {
    let (effects, _) = three_hosts("[consumers.work.order]\nmode = \"strict\"\n").await?;
    for (place, effect) in effects.iter().enumerate() {
        ensure!(effect.key == key(place), "published {effect:?} at {place}");
        // Without lanes each key has a state of its own.
        ensure!(effect.count == Some(1), "committed twice: {effect:?}");
    }
    for pair in effects.windows(2) {
        ensure!(pair[0].fence < pair[1].fence, "{pair:?} began out of order");
    }
    Ok(())
}

/// A leader is frozen while its handler runs, and wakes when another has done
/// its work.
/// Hazard: Redis and leases | an election does not guarantee one acting leader | commits are fenced by the epoch of the lease
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_leader_that_wakes_after_its_lease_commits_nothing() -> Result<()> {
    let more = format!("[consumers.work.order]\nmode = \"strict\"\n{LEASE}");
    let cluster = Cluster::start(2, &more).await?;
    let client = cluster.client().await?;
    let (old, old_epoch) = cluster.leader("work", &[0, 1])?;
    let other = 1 - old;
    let slow = r#"{"busy_ms":1500,"state_incr":"n","publish_to":"out"}"#;
    let quick = r#"{"state_incr":"n","publish_to":"out"}"#;
    let bodies = [slow, quick, quick].into_iter().enumerate();
    let bodies = bodies.map(|(n, body)| (format!("m-{n}"), body.as_bytes().to_vec()));
    client.publish("work", bodies).await?;
    wait_for("the handler to run", PATIENCE, || {
        let claims = cluster
            .host(old)?
            .json("/api/v1/claims?group=work&state=running")?;
        Ok((claims.as_array().map(Vec::len) == Some(1)).then_some(()))
    })?;
    cluster.host(old)?.freeze()?;
    let (_, new_epoch) = cluster.leader("work", &[other])?;
    ensure!(new_epoch > old_epoch);
    wait_for("the other host to do all", PATIENCE, || {
        let row = cluster.row(other, "work")?;
        Ok((row["ended"]["completed"] == 3).then_some(()))
    })?;
    cluster.host(old)?.thaw()?;
    wait_for("the old leader to follow", PATIENCE, || {
        let row = cluster.row(old, "work")?;
        Ok((row["phase"] == "follower" && row["in_flight"] == 0).then_some(()))
    })?;
    let effects = reports(&client.take_all("out").await?)?;
    let counts: Vec<Option<u64>> = effects.iter().map(|effect| effect.count).collect();
    ensure!(counts == [Some(1); 3], "{effects:?}");
    ensure!(effects[0].attempt == 2, "{effects:?}");
    ensure!(
        effects.iter().all(|effect| effect.fence > new_epoch),
        "{effects:?}"
    );
    ensure!(cluster.row(old, "work")?["ended"]["completed"] == 0);
    Ok(())
}
