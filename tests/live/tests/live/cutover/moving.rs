//! The percentage moves while messages run.

use std::collections::BTreeMap;
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use holdfast_live::{
    Effect, Host, Migration, SIDES, expect_closed_books, expect_each_once, move_to,
};
use holdfast_servers::{PATIENCE, wait_for};

use super::{completed, expect_one_side, fails, messages, of_side};

/// Messages on both queues; `HOLDFAST_MIGRATION_MESSAGES` asks for more.
fn count(usual: usize) -> usize {
    std::env::var("HOLDFAST_MIGRATION_MESSAGES")
        .ok()
        .and_then(|text| text.parse().ok())
        .unwrap_or(usual)
}

const RULE: &str = "enabled = true\npercent = 0.0\nassign-timeout = \"10m\"";
const RETRY: &str = "[consumers.SIDE.retry]\ninitial = \"50ms\"\n";

/// How many messages the hosts have completed together.
fn all_completed(hosts: &[&Host]) -> Result<f64> {
    hosts.iter().map(|host| completed(host, &[])).sum()
}

/// 0 %, 100 %, 30 % and 100 %, each after a quarter of the messages.
fn move_along(hosts: &[&Host], messages: usize) -> Result<()> {
    let quarter = messages as f64 / 4.0;
    for (quarters, percent) in [(1.0, 100.0), (2.0, 30.0), (3.0, 100.0)] {
        wait_for("a quarter of the messages", PATIENCE, || {
            Ok((all_completed(hosts)? >= quarter * quarters).then_some(()))
        })?;
        move_to(hosts[0], percent)?;
    }
    Ok(())
}

/// Each message has one effect, made in the attempt after those that fail, and
/// all its attempts were made by the side of its effect.
fn expect_migrated(
    hosts: &[&Host],
    effects: &BTreeMap<String, Effect>,
    messages: usize,
) -> Result<()> {
    let keys: Vec<String> = (0..messages).map(|n| format!("m-{n}")).collect();
    expect_each_once(effects, keys.iter().map(String::as_str))?;
    for (n, key) in keys.iter().enumerate() {
        let effect = &effects[&format!("work/{key}/1")];
        ensure!(
            effect.count == 1 && effect.attempt == fails(n) + 1,
            "{effect:?}"
        );
    }
    // What each side has called its handler is what its own effects needed.
    for side in SIDES {
        let needed: u64 = of_side(effects, side).iter().map(|e| e.attempt).sum();
        let label = format!("side=\"{side}\"");
        let mut called = 0.0;
        for host in hosts {
            called += host.metric("holdfast_attempts_total", &[&label])?;
        }
        ensure!(
            called == needed as f64,
            "{side}: {called} calls, its effects needed {needed}"
        );
        let share = of_side(effects, side).len();
        eprintln!("{side}: {share} of {messages}");
        ensure!(share * 10 > messages, "{side} had only {share}");
    }
    let failed = keys.iter().enumerate().filter(|(n, _)| fails(*n) > 0);
    for (_, key) in failed.step_by(7).take(300) {
        expect_one_side(hosts[0], &effects[&format!("work/{key}/1")])?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_key_runs_once_and_on_one_side_while_the_percentage_moves() -> Result<()> {
    let messages = messages(count(4_000), "out");
    let stand = Migration::start(2, RULE, RETRY).await?;
    let both = stand.setup(&SIDES)?;
    let host = both.start()?;
    let started = Instant::now();
    let moved = tokio::task::block_in_place(|| {
        let publishing = tokio::runtime::Handle::current();
        std::thread::scope(|scope| {
            let published = scope.spawn(|| publishing.block_on(stand.publish_to_both(&messages)));
            let moved = move_along(&[&host], messages.len());
            published.join().expect("the publisher ends").and(moved)
        })
    });
    moved?;
    stand.settled(&[&host]).await?;
    eprintln!("{} messages in {:?}", messages.len(), started.elapsed());
    let (effects, copies) = stand.effects().await?;
    ensure!(copies == messages.len(), "{copies} copies");
    expect_migrated(&[&host], &effects, messages.len())?;
    stand.expect_nothing_left(&host).await?;
    expect_closed_books(&host)?;
    ensure!(host.stop()?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_same_holds_with_a_host_for_each_side_and_two_flips_a_second() -> Result<()> {
    let messages = messages(count(4_000), "out");
    let stand = Migration::start(2, RULE, RETRY).await?;
    let setups = [stand.setup(&["old"])?, stand.setup(&["new"])?];
    let hosts = [setups[0].start()?, setups[1].start()?];
    let hosts = [&hosts[0], &hosts[1]];
    let started = Instant::now();
    let (sent, mut flips) = (messages.len() as f64, 0);
    let flipped = tokio::task::block_in_place(|| {
        let publishing = tokio::runtime::Handle::current();
        std::thread::scope(|scope| {
            let published = scope.spawn(|| publishing.block_on(stand.publish_to_both(&messages)));
            let mut flip = || -> Result<()> {
                while all_completed(&hosts)? < sent {
                    ensure!(started.elapsed() < PATIENCE * 2, "{flips} flips");
                    flips += 1;
                    // Each change is made at the other host than the one before.
                    move_to(hosts[flips % 2], if flips % 2 == 1 { 100.0 } else { 0.0 })?;
                    let next = Duration::from_millis(500) * u32::try_from(flips)?;
                    std::thread::sleep(next.saturating_sub(started.elapsed()));
                }
                Ok(())
            };
            let flipped = flip();
            published.join().expect("the publisher ends").and(flipped)
        })
    });
    flipped?;
    stand.settled(&hosts).await?;
    eprintln!("{sent} messages in {:?}, {flips} flips", started.elapsed());
    let (effects, copies) = stand.effects().await?;
    ensure!(copies == messages.len(), "{copies} copies");
    expect_migrated(&hosts, &effects, messages.len())?;
    stand.expect_nothing_left(hosts[0]).await?;
    for host in hosts {
        expect_closed_books(host)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_runs_twice_or_is_lost_when_hosts_and_a_broker_die_in_between() -> Result<()> {
    let messages = messages(count(4_000), "out");
    let mut stand = Migration::start(2, RULE, RETRY).await?;
    let setups = [stand.setup(&["old"])?, stand.setup(&["new"])?];
    let mut old = setups[0].start()?;
    let mut new = setups[1].start()?;
    stand.publish_to_both(&messages).await?;
    let progress = |host: &Host, at_least: f64| {
        wait_for("some progress", PATIENCE, || {
            let ended = host.metric("holdfast_messages_total", &[])?;
            Ok((ended >= at_least).then_some(()))
        })
    };
    progress(&old, 200.0)?;
    move_to(&old, 100.0)?;
    progress(&new, 400.0)?;
    new.kill()?;
    new = setups[1].start()?;
    move_to(&new, 30.0)?;
    progress(&new, 200.0)?;
    stand.brokers[0].kill()?;
    stand.brokers[0].restart()?;
    old.wait_ready()?;
    progress(&old, 100.0)?;
    old.kill()?;
    old = setups[0].start()?;
    move_to(&old, 100.0)?;
    stand.settled(&[&old, &new]).await?;

    let (effects, _) = stand.effects().await?;
    let keys: Vec<String> = messages.iter().map(|(key, _)| key.clone()).collect();
    expect_each_once(&effects, keys.iter().map(String::as_str))?;
    for (n, key) in keys.iter().enumerate() {
        // An attempt that died with its host counts.
        let effect = &effects[&format!("work/{key}/1")];
        ensure!(effect.count == 1 && effect.attempt > fails(n), "{effect:?}");
    }
    for effect in effects.values().filter(|e| e.attempt > 1).step_by(7) {
        expect_one_side(&new, effect)?;
    }
    for side in SIDES {
        let share = of_side(&effects, side).len();
        eprintln!("{side}: {share}");
        ensure!(share > 0);
    }
    stand.expect_nothing_left(&new).await?;
    for host in [&old, &new] {
        expect_closed_books(host)?;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_moves_from_rabbitmq_to_the_embedded_broker() -> Result<()> {
    let messages = messages(400, "old:out");
    let stand = Migration::start(1, RULE, RETRY).await?;
    let setup = stand.setup(&SIDES)?;
    let url = format!("url = {:?}", stand.broker("new").url());
    let tables = stand.tables(&SIDES);
    let (before, new) = tables.split_at(tables.find("[brokers.new]").expect("it is there"));
    let new = new.replacen("kind = \"rabbitmq\"", "kind = \"embedded\"", 1);
    let path = format!("path = {:?}", setup.plugins().with_file_name("queues.redb"));
    setup.configure(&format!("{before}{}", new.replacen(&url, &path, 1)))?;
    let host = setup.start()?;
    let old = stand.client("old").await?;
    for (percent, some) in [0.0, 100.0, 30.0, 100.0]
        .into_iter()
        .zip(messages.chunks(100))
    {
        move_to(&host, percent)?;
        old.publish("work-old", some.iter().cloned()).await?;
        for (id, body) in some {
            let to = "/api/v1/queues/work-new/messages?broker=new";
            let (status, answer) = host.post(to, &[("Holdfast-Message-Id", id)], body)?;
            ensure!(status == 202, "{status} {answer}");
        }
    }
    wait_for("both sides to be done", PATIENCE, || {
        let ended = host.metric("holdfast_messages_total", &["ending=\"completed\""])?;
        let left = host.metric("holdfast_messages_total", &["ending=\"left_to_owner\""])?;
        let all = messages.len() as f64;
        Ok((ended == all && left == all).then_some(()))
    })?;
    expect_closed_books(&host)?;
    // Both sides publish to the old broker.
    let (effects, copies) = stand.effects().await?;
    ensure!(copies == messages.len(), "{copies} copies");
    expect_migrated(&[&host], &effects, messages.len())?;
    let consumers = host.json("/api/v1/consumers")?;
    for consumer in consumers.as_array().into_iter().flatten() {
        let empty = serde_json::json!({"ready": 0, "dead": 0});
        ensure!(consumer["depth"] == empty, "{consumer}");
    }
    ensure!(host.stop()?.success());
    Ok(())
}
