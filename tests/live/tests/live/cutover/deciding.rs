//! Which side owns a key: allow-list, switch, time-out, first sight.

use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use holdfast_live::{
    Host, Migration, SIDES, change_rule, claim_path, expect_closed_books, expect_each_once,
    explain_path, move_to,
};
use holdfast_servers::{PATIENCE, wait_for};
use serde_json::json;

use super::{completed, of_side};

const BODY: &str = r#"{"state_incr":"seen","publish_to":"out"}"#;

fn plain(keys: impl IntoIterator<Item = String>) -> Vec<(String, Vec<u8>)> {
    keys.into_iter().map(|key| (key, BODY.into())).collect()
}

fn numbered(name: &str, count: usize) -> Vec<String> {
    (0..count).map(|n| format!("{name}-{n}")).collect()
}

/// Waits until this many messages have ended in one way on one side.
fn ended(host: &Host, side: &str, ending: &str, count: usize) -> Result<()> {
    let (side, ending) = (format!("side=\"{side}\""), format!("ending=\"{ending}\""));
    wait_for("messages to end", PATIENCE, || {
        let ended = host.metric("holdfast_messages_total", &[&side, &ending])?;
        Ok((ended >= count as f64).then_some(()))
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn listed_keys_move_first_and_a_rule_that_is_off_moves_nothing() -> Result<()> {
    let rule = "enabled = true\nallow = [\"vip-0\", \"vip-1\"]\nassign-timeout = \"10m\"";
    let stand = Migration::start(1, rule, "").await?;
    let setup = stand.setup(&SIDES)?;
    let host = setup.start()?;
    let (vip, some) = (numbered("vip", 2), numbered("some", 200));
    let first = plain(vip.iter().chain(&some).cloned());
    stand.publish_to_both(&first).await?;
    stand.settled(&[&host]).await?;
    let (effects, _) = stand.effects().await?;
    expect_each_once(&effects, vip.iter().chain(&some).map(String::as_str))?;
    let mut on_new: Vec<&str> = of_side(&effects, "new").iter().map(|e| &*e.key).collect();
    on_new.sort_unstable();
    ensure!(on_new == ["vip-0", "vip-1"], "{on_new:?}");

    // Off: neither a percentage nor a listed key moves.
    let off = json!({"enabled": false, "percent": 100, "allow": ["vip-2", "off-7"]});
    change_rule(&host, &off)?;
    let off = numbered("off", 200);
    stand.publish_to_both(&plain(off.iter().cloned())).await?;
    stand.settled(&[&host]).await?;
    let (effects, _) = stand.effects().await?;
    expect_each_once(&effects, off.iter().map(String::as_str))?;
    ensure!(of_side(&effects, "old").len() == off.len());
    stand.expect_nothing_left(&host).await?;
    expect_closed_books(&host)?;
    ensure!(host.stop()?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_on_one_side_only_is_handled_after_the_assign_timeout() -> Result<()> {
    const TIMEOUT: Duration = Duration::from_secs(3);
    let rule = "enabled = true\npercent = 0.0\nassign-timeout = \"3s\"";
    let stand = Migration::start(1, rule, "").await?;
    let setup = stand.setup(&SIDES)?;
    let host = setup.start()?;
    let new = stand.client("new").await?;
    let published = Instant::now();
    new.publish("work-new", plain(["lonely".to_owned()]))
        .await?;
    wait_for("it to be assigned", PATIENCE, || {
        let claim = host.get(&claim_path("work", "lonely"))?;
        Ok(claim.1.contains("\"assigned\"").then_some(()))
    })?;
    let explained = host.json(&explain_path("work", "lonely"))?.to_string();
    ensure!(explained.contains("take it over 3s after"), "{explained}");
    ended(&host, "new", "completed", 1)?;
    let took = published.elapsed();
    eprintln!("handled {took:?} after it was published");
    ensure!(took >= TIMEOUT, "taken over after {took:?}");
    let claim = host.json(&claim_path("work", "lonely"))?;
    let steps: Vec<&str> = claim["history"]
        .as_array()
        .context("a history")?
        .iter()
        .filter_map(|step| step["step"].as_str())
        .collect();
    ensure!(
        steps == ["assigned", "takeover", "begin", "commit", "published"],
        "{claim}"
    );
    ensure!(claim["side"] == "new", "{claim}");

    // Its other copy comes late: it was handled, so it is left to its owner.
    let old = stand.client("old").await?;
    old.publish("work-old", plain(["lonely".to_owned()]))
        .await?;
    ended(&host, "old", "left_to_owner", 1)?;
    let (effects, copies) = stand.effects().await?;
    ensure!(copies == 1 && effects["work/lonely/1"].count == 1);
    stand.expect_nothing_left(&host).await?;
    expect_closed_books(&host)?;
    ensure!(host.stop()?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_a_rule_the_side_that_sees_a_key_first_owns_it() -> Result<()> {
    let stand = Migration::start(1, "", "").await?;
    let setup = stand.setup(&SIDES)?;
    let host = setup.start()?;
    let keys = numbered("k", 200);
    let (old, new) = (stand.client("old").await?, stand.client("new").await?);
    let (early, late) = keys.split_at(100);
    old.publish("work-old", plain(early.iter().cloned()))
        .await?;
    new.publish("work-new", plain(late.iter().cloned())).await?;
    ended(&host, "old", "completed", 100)?;
    ended(&host, "new", "completed", 100)?;
    new.publish("work-new", plain(early.iter().cloned()))
        .await?;
    old.publish("work-old", plain(late.iter().cloned())).await?;
    ended(&host, "old", "left_to_owner", 100)?;
    ended(&host, "new", "left_to_owner", 100)?;
    let (effects, _) = stand.effects().await?;
    expect_each_once(&effects, keys.iter().map(String::as_str))?;
    ensure!(
        early
            .iter()
            .all(|key| effects[&format!("work/{key}/1")].side == "old")
    );
    ensure!(
        late.iter()
            .all(|key| effects[&format!("work/{key}/1")].side == "new")
    );

    // Both at once: whoever it is, it is one.
    let both = numbered("b", 300);
    stand.publish_to_both(&plain(both.iter().cloned())).await?;
    stand.settled(&[&host]).await?;
    let (mut effects, _) = stand.effects().await?;
    // What was taken before may come once more: its taker was gone at once.
    effects.retain(|id, _| id.starts_with("work/b-"));
    expect_each_once(&effects, both.iter().map(String::as_str))?;
    ensure!(effects.values().all(|effect| effect.count == 1));
    stand.expect_nothing_left(&host).await?;
    expect_closed_books(&host)?;
    ensure!(host.stop()?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_side_that_drops_acknowledges_at_once_what_the_other_owns() -> Result<()> {
    let rule = "enabled = true\npercent = 100.0\nassign-timeout = \"1s\"";
    let stand = Migration::start(1, rule, "claim.on-foreign = \"drop\"").await?;
    let setup = stand.setup(&SIDES)?;
    let host = setup.start()?;
    ensure!(host.post("/api/v1/consumers/new/pause", &[], b"")?.0 == 200);
    wait_for("the pause", PATIENCE, || {
        let consumers = host.json("/api/v1/consumers")?.to_string();
        Ok(consumers.contains("\"paused\"").then_some(()))
    })?;
    let keys = numbered("k", 100);
    stand.publish_to_both(&plain(keys.iter().cloned())).await?;
    // Nothing has run, and the old side is done.
    ended(&host, "old", "left_to_owner", 100)?;
    ensure!(completed(&host, &[])? == 0.0);
    let old = stand.client("old").await?;
    ensure!(old.depth("work-old").await? == 0);
    // Assigned and never begun: the time-out does not bring it back, since no
    // side holds it but its owner.
    move_to(&host, 0.0)?;
    ensure!(host.post("/api/v1/consumers/new/resume", &[], b"")?.0 == 200);
    ended(&host, "new", "completed", 100)?;
    let (effects, _) = stand.effects().await?;
    expect_each_once(&effects, keys.iter().map(String::as_str))?;
    ensure!(of_side(&effects, "new").len() == 100);
    stand.expect_nothing_left(&host).await?;
    expect_closed_books(&host)?;
    ensure!(host.stop()?.success());
    Ok(())
}
