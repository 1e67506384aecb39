//! Lanes stay in order although their messages run on both sides.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use holdfast_live::{Migration, SIDES, claim_path, expect_closed_books, expect_each_once, move_to};
use holdfast_servers::{PATIENCE, wait_for};

use super::completed;

const LANES: &str = "[consumers.SIDE.order]\nmode = \"lanes\"\nkey = \"json:/lane\"\n\
                     [consumers.SIDE.retry]\ninitial = \"20ms\"\n";

/// Message `n` of a lane; a tenth fails once.
fn message(lane: usize, n: usize) -> (String, Vec<u8>) {
    let fails = u8::from(n % 10 == 4);
    let body = format!(
        r#"{{"lane":"lane-{lane}","fail_times":{fails},"state_incr":"seen","publish_to":"out"}}"#
    );
    (format!("l{lane}-{n}"), body.into_bytes())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_lane_keeps_its_order_across_flips_and_a_kill_although_it_runs_on_both_sides()
-> Result<()> {
    const OF_LANE: usize = 200;
    const FLIPS: usize = 12;
    let rule = "enabled = true\npercent = 0.0\nassign-timeout = \"10m\"";
    let stand = Migration::start(2, rule, LANES).await?;
    let setups = [stand.setup(&["old"])?, stand.setup(&["new"])?];
    let (old, new) = (setups[0].start()?, setups[1].start()?);
    let mut old = Some(old);
    let messages: Vec<_> = (0..OF_LANE)
        .flat_map(|n| (0..10).map(move |lane| message(lane, n)))
        .collect();
    let started = Instant::now();
    let flipped = tokio::task::block_in_place(|| {
        let publishing = tokio::runtime::Handle::current();
        std::thread::scope(|scope| {
            let published = scope.spawn(|| publishing.block_on(stand.publish_to_both(&messages)));
            let mut flip = || -> Result<()> {
                for flips in 0..FLIPS {
                    move_to(&new, if flips % 2 == 0 { 100.0 } else { 0.0 })?;
                    if flips == FLIPS / 3 {
                        let dying = old.take().context("it runs")?;
                        ensure!(completed(&dying, &[])? > 0.0, "it dies too early");
                        dying.kill()?;
                        old = Some(setups[0].spawn()?);
                    }
                    std::thread::sleep(Duration::from_millis(150));
                }
                Ok(())
            };
            let flipped = flip();
            published.join().expect("the publisher ends").and(flipped)
        })
    });
    flipped?;
    let old = old.context("it runs again")?;
    old.wait_ready()?;
    stand.settled(&[&old, &new]).await?;
    eprintln!(
        "{} messages, {FLIPS} flips, {:?}",
        messages.len(),
        started.elapsed()
    );

    let (effects, copies) = stand.effects().await?;
    ensure!(copies >= messages.len());
    expect_each_once(&effects, messages.iter().map(|(key, _)| key.as_str()))?;
    let mut sides: BTreeMap<&str, BTreeSet<&str>> = BTreeMap::new();
    for effect in effects.values() {
        let (lane, n) = effect.key.split_once('-').expect("a lane and a number");
        // The lane's own count says in which place of the lane it was committed.
        let place = n.parse::<u64>()? + 1;
        ensure!(effect.count == place, "{effect:?}");
        sides.entry(lane).or_default().insert(&effect.side);
    }
    let shared = sides.values().filter(|sides| sides.len() == 2).count();
    eprintln!("{shared} of {} lanes ran on both sides", sides.len());
    ensure!(shared > 0, "no lane moved: nothing was tested");
    stand.expect_nothing_left(&new).await?;
    for host in [&old, &new] {
        expect_closed_books(host)?;
    }
    Ok(())
}

/// Each side has the message at its head that the other has behind it, and each
/// belongs to the other.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn queues_in_different_order_wait_for_each_other_no_longer_than_the_time_out() -> Result<()> {
    const TIMEOUT: Duration = Duration::from_secs(15);
    let rule = "enabled = true\npercent = 100.0\nassign-timeout = \"15s\"";
    let stand = Migration::start(1, rule, LANES).await?;
    let setups = [stand.setup(&["old"])?, stand.setup(&["new"])?];
    let (old, new) = (setups[0].start()?, setups[1].start()?);
    let client = stand.client("old").await?;
    let (first, second) = (message(0, 0), message(0, 1));
    client
        .publish("work-old", [first.clone(), second.clone()])
        .await?;
    let assigned = |key: &str, owner: &str| {
        let path = claim_path("work", key);
        wait_for("the key to be assigned", PATIENCE, || {
            let Ok(claim) = old.json(&path) else {
                return Ok(None);
            };
            ensure!(
                claim["side"] == owner && claim["state"] == "assigned",
                "{claim}"
            );
            Ok(Some(()))
        })
    };
    // Assigned no earlier than now, so taken over no earlier than that.
    let waited = Instant::now();
    assigned(&first.0, "new")?;
    move_to(&old, 0.0)?;
    client
        .publish("work-new", [second.clone(), first.clone()])
        .await?;
    assigned(&second.0, "old")?;
    let crossed = Instant::now();
    ensure!(
        crossed - waited < TIMEOUT,
        "too slow to be a test: {:?}",
        crossed - waited
    );
    stand.settled(&[&old, &new]).await?;
    let took = crossed.elapsed();
    eprintln!("stood still for {took:?}");
    // Each head is taken over on its own, so the whole is over after one
    // time-out and what polling and retries take.
    ensure!(took < TIMEOUT + Duration::from_secs(20), "{took:?}");
    let (effects, copies) = stand.effects().await?;
    ensure!(copies == 2);
    expect_each_once(&effects, [first.0.as_str(), second.0.as_str()])?;
    stand.expect_nothing_left(&old).await?;
    for host in [&old, &new] {
        expect_closed_books(host)?;
    }
    for side in SIDES {
        eprintln!(
            "{side}: {:?}",
            effects.values().filter(|e| e.side == side).count()
        );
    }
    Ok(())
}
