//! Messages that wait for the other side cost little and block nothing.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use holdfast_live::{Host, Migration, SIDES, expect_closed_books, expect_each_once};
use holdfast_servers::{PATIENCE, Redis, wait_for};

use super::{completed, of_side};

const BODY: &str = r#"{"state_incr":"seen","publish_to":"out"}"#;

fn plain(keys: impl IntoIterator<Item = usize>) -> Vec<(String, Vec<u8>)> {
    keys.into_iter()
        .map(|n| (format!("m-{n}"), BODY.into()))
        .collect()
}

fn pause(host: &Host, side: &str, verb: &str) -> Result<()> {
    let (status, answer) = host.post(&format!("/api/v1/consumers/{side}/{verb}"), &[], b"")?;
    ensure!(status == 200, "{answer}");
    Ok(())
}

fn waiting(host: &Host, side: &str) -> Result<f64> {
    let side = format!("side=\"{side}\"");
    host.metric("holdfast_waiting", &[&side, "why=\"other side\""])
}

/// Scripts that Redis has run so far.
fn scripts(redis: &Redis) -> Result<u64> {
    let info = redis.cli(&["INFO", "commandstats"])?;
    let line = info
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="))
        .context("scripts have run")?;
    Ok(line.split(',').next().unwrap_or_default().parse()?)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn thousands_of_held_messages_are_no_load_and_go_on_as_soon_as_they_can() -> Result<()> {
    const HELD: usize = 3_000;
    let rule = "enabled = true\npercent = 100.0\nassign-timeout = \"10m\"";
    let stand = Migration::start(1, rule, "prefetch = 4000\n").await?;
    let setup = stand.setup(&SIDES)?;
    let host = setup.start()?;
    pause(&host, "new", "pause")?;
    stand.publish_to_both(&plain(0..HELD)).await?;
    wait_for("all to be held", PATIENCE, || {
        Ok((waiting(&host, "old")? >= HELD as f64).then_some(()))
    })?;
    // From here on nothing moves; what is asked now is asked for ever.
    let (before, since) = (scripts(&stand.redis)?, Instant::now());
    tokio::time::sleep(Duration::from_secs(5)).await;
    let asked = (scripts(&stand.redis)? - before) as f64 / since.elapsed().as_secs_f64();
    eprintln!(
        "{HELD} held messages: {asked:.0} scripts a second, {:.4} for each",
        asked / HELD as f64
    );
    ensure!(asked < 200.0, "{asked} scripts a second");

    pause(&host, "new", "resume")?;
    let new = "side=\"new\"";
    wait_for("the owner to finish", PATIENCE, || {
        Ok((completed(&host, &[new])? >= HELD as f64).then_some(()))
    })?;
    let finished = Instant::now();
    wait_for("the last held message", PATIENCE, || {
        let left = ["ending=\"left_to_owner\""];
        let left = host.metric("holdfast_messages_total", &left)?;
        Ok((left >= HELD as f64).then_some(()))
    })?;
    let late = finished.elapsed();
    eprintln!("the last held message ended {late:?} after its owner was finished");
    ensure!(late < Duration::from_secs(30), "{late:?}");
    stand.settled(&[&host]).await?;
    let deferred = host.metric("holdfast_messages_total", &["ending=\"deferred\""])?;
    ensure!(
        deferred == 0.0,
        "{deferred} left a prefetch that was not full"
    );
    let (effects, _) = stand.effects().await?;
    ensure!(effects.len() == HELD);
    stand.expect_nothing_left(&host).await?;
    expect_closed_books(&host)?;
    ensure!(host.stop()?.success());
    Ok(())
}

/// The queues hold the messages in opposite order, so each side's prefetch
/// fills with messages of the other that are far away there.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sides_that_wait_for_each_other_with_full_hands_make_room() -> Result<()> {
    const COUNT: usize = 600;
    let rule = "enabled = true\npercent = 50.0\nassign-timeout = \"10m\"";
    let few = "concurrency = 4\nprefetch = 16\n";
    let stand = Migration::start(1, rule, few).await?;
    let setup = stand.setup(&SIDES)?;
    let (old, new) = (stand.client("old").await?, stand.client("new").await?);
    old.declare("work-old").await?;
    new.declare("work-new").await?;
    old.publish("work-old", plain(0..COUNT)).await?;
    new.publish("work-new", plain((0..COUNT).rev())).await?;
    let host = setup.start()?;
    let started = Instant::now();
    stand.settled(&[&host]).await?;
    let took = started.elapsed();
    let deferred = host.metric("holdfast_messages_total", &["ending=\"deferred\""])?;
    eprintln!("{COUNT} in opposite order in {took:?}, {deferred} times a message made room");
    // A minute for each full prefetch would be 20 minutes.
    ensure!(took < Duration::from_secs(120), "{took:?}");
    let (effects, copies) = stand.effects().await?;
    ensure!(copies == COUNT);
    let keys: Vec<String> = plain(0..COUNT).into_iter().map(|(key, _)| key).collect();
    expect_each_once(&effects, keys.iter().map(String::as_str))?;
    for side in SIDES {
        ensure!(of_side(&effects, side).len() > COUNT / 4);
    }
    stand.expect_nothing_left(&host).await?;
    expect_closed_books(&host)?;
    ensure!(host.stop()?.success());
    Ok(())
}

/// One side is down for good; the other goes on with what is its own at once,
/// and with the rest when the time for its owner is up.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_side_that_is_away_does_not_hold_the_other_up() -> Result<()> {
    const COUNT: usize = 1_000;
    let rule = "enabled = true\npercent = 50.0\nassign-timeout = \"30s\"";
    let few = "concurrency = 8\nprefetch = 32\n";
    let stand = Migration::start(1, rule, few).await?;
    let setup = stand.setup(&["old"])?;
    let host = setup.start()?;
    let old = stand.client("old").await?;
    let started = Instant::now();
    old.publish("work-old", plain(0..COUNT)).await?;
    let mut own = Duration::ZERO;
    wait_for("all messages", PATIENCE, || {
        let done = completed(&host, &[])?;
        if done < COUNT as f64 * 0.45 {
            own = started.elapsed();
        }
        Ok((done >= COUNT as f64).then_some(()))
    })?;
    eprintln!("its own half took {own:?}, all {:?}", started.elapsed());
    ensure!(own < Duration::from_secs(27), "held up for {own:?}");
    stand.client("new").await?.declare("work-new").await?;
    wait_for("the last acknowledgements", PATIENCE, || {
        Ok((host.metric("holdfast_in_flight", &[])? == 0.0).then_some(()))
    })?;
    let (effects, copies) = stand.effects().await?;
    ensure!(copies == COUNT && of_side(&effects, "old").len() == COUNT);
    ensure!(effects.values().all(|effect| effect.count == 1));
    expect_closed_books(&host)?;
    ensure!(host.stop()?.success());
    Ok(())
}
