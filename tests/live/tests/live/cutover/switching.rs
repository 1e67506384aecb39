//! The rule is changed: by whom, how fast, and what outlives what.

use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use holdfast_live::{Migration, SIDES, change_rule, claim_path, move_to, put};
use holdfast_servers::{PATIENCE, wait_for};
use serde_json::json;

use super::{completed, of_side};

const BODY: &str = r#"{"state_incr":"seen","publish_to":"out"}"#;
const RULE: &str = "enabled = true\npercent = 0.0\nassign-timeout = \"10m\"";

fn plain(name: &str, count: usize) -> Vec<(String, Vec<u8>)> {
    (0..count)
        .map(|n| (format!("{name}-{n}"), BODY.into()))
        .collect()
}

/// A changed rule decides every key that is first seen after the change was
/// answered, on every host: not a single one by the rule before.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_change_on_one_host_decides_the_next_key_on_every_other() -> Result<()> {
    let stand = Migration::start(1, RULE, "").await?;
    let setups = [stand.setup(&["old"])?, stand.setup(&["new"])?];
    let hosts = [setups[0].start()?, setups[1].start()?];
    let clients = [stand.client("old").await?, stand.client("new").await?];
    for round in 0..20 {
        let percent = if round % 2 == 0 { 100.0 } else { 0.0 };
        let (here, there) = (round % 2, 1 - round % 2);
        // The word that something changed reaches nobody; each host would look
        // for itself within a second.
        stand.redis.cli(&["CLIENT", "KILL", "TYPE", "pubsub"])?;
        move_to(&hosts[here], percent)?;
        // The key is seen first on the host that was not asked for the change.
        let key = plain(&format!("r{round}"), 1);
        let queue = format!("work-{}", SIDES[there]);
        clients[there].publish(&queue, key.clone()).await?;
        let path = claim_path("work", &key[0].0);
        let claim = wait_for("the key to be decided", PATIENCE, || {
            Ok(hosts[there].json(&path).ok())
        })?;
        let owner = if percent == 0.0 { "old" } else { "new" };
        ensure!(claim["side"] == owner, "round {round}: {claim}");
        let other = format!("work-{}", SIDES[here]);
        clients[here].publish(&other, key).await?;
    }
    stand.settled(&[&hosts[0], &hosts[1]]).await?;
    let (effects, _) = stand.effects().await?;
    ensure!(effects.len() == 20 && of_side(&effects, "new").len() == 10);
    let moved = hosts[0].metric("holdfast_claims_total", &["answer=\"rule_moved\""])?
        + hosts[1].metric("holdfast_claims_total", &["answer=\"rule_moved\""])?;
    eprintln!("the store held back {moved} decisions by a rule that had moved");
    ensure!(moved > 0.0, "every host knew: nothing was tested");
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_rule_outlives_host_and_store_and_an_edited_file_is_ignored() -> Result<()> {
    let mut stand = Migration::start(1, RULE, "").await?;
    let setup = stand.setup(&SIDES)?;
    let host = setup.start()?;
    change_rule(&host, &json!({"percent": 100, "assign_timeout": "9m"}))?;

    // An edit of the file while it runs is reported and changes nothing.
    let tables = stand.tables(&SIDES);
    setup.configure(&tables.replace("percent = 0.0", "percent = 12.5"))?;
    let ignored = "the change of cutover.work is ignored";
    wait_for("the report", PATIENCE, || {
        Ok(host.output().contains(ignored).then_some(()))
    })?;
    let path = "/api/v1/cutover/work";
    let rule = host.json(path)?;
    ensure!(rule["percent"] == 100.0, "{rule}");

    // So does another start: the file gave the first value only.
    ensure!(host.stop()?.success());
    let host = setup.start()?;
    ensure!(host.json(path)? == rule);
    let said = host.output();
    ensure!(
        said.contains("the cut-over rule in the store holds"),
        "{said}"
    );

    // A file without the rule does not end it either.
    let (start, rest) = tables.split_once("[cutover.work]").expect("it is there");
    let consumers = &rest[rest.find("[consumers.").expect("it is there")..];
    ensure!(host.stop()?.success());
    setup.configure(&format!("{start}{consumers}"))?;
    let host = setup.start()?;
    let said = host.output();
    ensure!(
        said.contains("although the configuration has none"),
        "{said}"
    );

    stand.redis.kill()?;
    host.wait_not_ready()?;
    stand.redis.restart()?;
    host.wait_ready()?;
    ensure!(host.json(path)? == rule);
    stand.publish_to_both(&plain("k", 100)).await?;
    stand.settled(&[&host]).await?;
    let (effects, _) = stand.effects().await?;
    ensure!(effects.len() == 100 && of_side(&effects, "new").len() == 100);
    ensure!(host.stop()?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn of_racing_changes_one_is_refused_and_sides_that_do_not_fit_are_told() -> Result<()> {
    let stand = Migration::start(1, RULE, "").await?;
    let setups = [stand.setup(&["old"])?, stand.setup(&["new"])?];
    let hosts = [setups[0].start()?, setups[1].start()?];
    let path = "/api/v1/cutover/work";
    let urls = hosts
        .each_ref()
        .map(|host| format!("{}{path}", host.base()));
    for round in 0..10 {
        let revision = hosts[0].json(path)?["revision"].clone();
        let change = |host: usize| {
            let body = json!({"revision": revision, "percent": 10 * round + host});
            put(&urls[host], body.to_string().as_bytes())
        };
        let (one, other) = std::thread::scope(|scope| {
            let (here, there) = (scope.spawn(|| change(0)), scope.spawn(|| change(1)));
            (
                here.join().expect("it ends"),
                there.join().expect("it ends"),
            )
        });
        let mut statuses = [one?.0, other?.0];
        statuses.sort_unstable();
        ensure!(statuses == [200, 409], "round {round}: {statuses:?}");
    }
    let revision = hosts[1].json(path)?["revision"].to_string();
    let set = |expect: &str| {
        let words = [
            "cutover",
            "set",
            "work",
            "--percent",
            "5",
            "--expect",
            expect,
        ];
        setups[0].command(&words)
    };
    let (code, _, said) = set("1")?;
    ensure!(
        code == 1 && said.contains("the current revision is"),
        "{code} {said}"
    );
    let (code, _, said) = set(&revision)?;
    ensure!(code == 0, "{code} {said}");

    // The other host learns of it without being asked.
    let changed = Instant::now();
    wait_for("the other host", PATIENCE, || {
        Ok((hosts[1].json(path)?["percent"] == 5.0).then_some(()))
    })?;
    eprintln!("seen after {:?}", changed.elapsed());

    // A consumer of a third side would never own a key: it says so and waits.
    let third = stand.setup(&["new"])?;
    let tables = stand.tables(&["new"]);
    let tables = tables.replace("claim.side = \"new\"", "claim.side = \"third\"");
    let (start, rest) = tables.split_once("[cutover.work]").expect("it is there");
    let consumers = &rest[rest.find("[consumers.").expect("it is there")..];
    third.configure(&format!("{start}{consumers}"))?;
    let host = third.spawn()?;
    wait_for("the refusal", PATIENCE, || {
        let ready = host.get("/readyz").unwrap_or_default();
        Ok((ready.0 == 503 && ready.1.contains("side is third")).then_some(()))
    })?;
    ensure!(completed(&host, &[])? == 0.0);
    Ok(())
}

/// There rule and claim cannot be compared in one step, and each host learns of
/// the change by itself.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_hash_slot_for_each_key_a_change_is_in_force_soon() -> Result<()> {
    let stand = Migration::start(1, RULE, "claim.slot = \"key\"").await?;
    let setups = [stand.setup(&["old"])?, stand.setup(&["new"])?];
    let hosts = [setups[0].start()?, setups[1].start()?];
    let (old, new) = (stand.client("old").await?, stand.client("new").await?);
    move_to(&hosts[0], 100.0)?;
    let changed = Instant::now();
    let mut number = 0;
    loop {
        let key = plain(&format!("s{number}"), 1);
        let path = claim_path("work", &key[0].0);
        let seen = changed.elapsed();
        new.publish("work-new", key.clone()).await?;
        let claim = wait_for("the key to be decided", PATIENCE, || {
            Ok(hosts[1].json(&path).ok())
        })?;
        old.publish("work-old", key).await?;
        number += 1;
        if claim["side"] == "new" {
            eprintln!("in force on the other host after {seen:?}");
            ensure!(seen < Duration::from_secs(60), "{seen:?}");
            break;
        }
    }
    stand.settled(&[&hosts[0], &hosts[1]]).await?;
    let (effects, copies) = stand.effects().await?;
    ensure!(copies == number && effects.len() == number);
    stand.expect_nothing_left(&hosts[0]).await?;
    Ok(())
}
