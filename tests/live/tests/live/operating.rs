//! Stuck work, seen and mended with the commands of the binary, on real servers.

use std::collections::BTreeMap;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use holdfast_live::{Client, Host, Setup, Stand, claim_path, probe_tables, wait_settled};
use holdfast_servers::{PATIENCE, wait_for};
use serde_json::Value;

/// One attempt: what fails once is given up.
const IMPATIENT: &str = "[consumers.work.retry]\nattempts = 1\n";
/// Failed attempts wait in a delay queue for a quarter of an hour.
const PATIENT: &str = "[consumers.work.retry]\nattempts = 5\ninitial = \"512s\"\nmax = \"512s\"\n";

/// Runs a command to its end, off the runtime's threads, and gives its exit code,
/// data and notices.
fn run(setup: &Setup, line: &str) -> Result<(i32, Value, String)> {
    let mut words: Vec<&str> = line.split_whitespace().collect();
    words.push("--json");
    let (code, out, errors) = tokio::task::block_in_place(|| setup.command(&words))?;
    let data = match out.trim() {
        "" => Value::Null,
        text => serde_json::from_str(text).with_context(|| format!("{line}: {out}"))?,
    };
    Ok((code, data, errors))
}

/// The same for a command that has to succeed.
fn data(setup: &Setup, line: &str) -> Result<Value> {
    let (code, data, errors) = run(setup, line)?;
    ensure!(code == 0, "{line}: {code}: {data:#} {errors}");
    Ok(data)
}

fn wait_until(what: &str, mut holds: impl FnMut() -> Result<bool>) -> Result<()> {
    tokio::task::block_in_place(|| wait_for(what, PATIENCE, || Ok(holds()?.then_some(()))))
}

fn state(host: &Host, key: &str) -> Result<String> {
    let (_, claim) = host.get(&claim_path("work", key))?;
    let claim: Value = serde_json::from_str(&claim)?;
    Ok(claim["state"].as_str().unwrap_or("none").to_owned())
}

/// What arrived in `out`: how often by message id, and that no state was counted
/// twice.
async fn effects(client: &Client) -> Result<BTreeMap<String, usize>> {
    let mut seen = BTreeMap::new();
    for message in client.take_all("out").await? {
        let report: Value = serde_json::from_slice(&message.body)?;
        ensure!(report["count"] == 1, "{report}");
        *seen.entry(message.id).or_default() += 1;
    }
    Ok(seen)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn dead_letters_are_replayed_once_although_the_host_is_killed_in_the_middle() -> Result<()> {
    const LETTERS: usize = 1_500;
    let stand = Stand::start(IMPATIENT).await?;
    let client = stand.client().await?;
    let host = stand.setup.start()?;
    let body = br#"{"fail_times":1,"state_incr":"seen","publish_to":"out"}"#;
    let poison = (0..LETTERS).map(|n| (format!("m-{n}"), body.to_vec()));
    client.publish("work", poison).await?;
    wait_settled(&client, &host).await?;
    let list = data(&stand.setup, "dead list work")?;
    ensure!(list["count"] == LETTERS, "{list:#}");
    ensure!(list["reasons"][0]["reason"] == "attempts-spent", "{list:#}");
    let one = data(&stand.setup, "dead show work --key m-7")?;
    ensure!(one["letters"][0]["claim"]["state"] == "parked", "{one:#}");
    ensure!(
        one["letters"][0]["body"]
            .as_str()
            .is_some_and(|b| b.contains("fail_times"))
    );

    // The cause is mended: a second attempt succeeds.
    ensure!(host.stop()?.success());
    let patient = "[consumers.work.retry]\nattempts = 3\ninitial = \"50ms\"\n";
    let tables = probe_tables(&stand.rabbit.url(), &stand.redis.url(), patient);
    stand.setup.configure(&tables)?;
    let host = stand.setup.start()?;
    let setup = &stand.setup;
    // A replay dies with its host.
    let replaying = std::thread::scope(|scope| -> Result<i32> {
        let replay = scope.spawn(|| setup.command(&["dead", "replay", "work"]));
        wait_until("some are replayed", || {
            let handled = host.metric("holdfast_messages_total", &["ending=\"completed\""])?;
            Ok(handled >= 100.0)
        })?;
        host.kill()?;
        let (code, ..) = replay.join().expect("no panic")?;
        Ok(code)
    })?;
    ensure!(replaying == 1, "it says that it failed: {replaying}");
    let host = stand.setup.start()?;
    let rest = data(setup, "dead replay work")?;
    ensure!(
        rest["refused"] == 0 && rest["stopped"].is_null(),
        "{rest:#}"
    );
    ensure!(rest["replayed"] != 0, "some were left: {rest:#}");
    let client = stand.client().await?;
    wait_settled(&client, &host).await?;
    let seen = effects(&client).await?;
    ensure!(seen.len() == LETTERS, "{} of {LETTERS}", seen.len());
    let dead = data(setup, "dead list work")?;
    ensure!(dead["count"] == 0, "{dead:#}");
    let audit = data(setup, "audit --wait 30s")?;
    ensure!(audit["closes"] == true, "{audit:#}");
    ensure!(host.stop()?.success());
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_audit_closes_after_a_mixed_run_and_names_a_message_that_was_dropped() -> Result<()> {
    let stand = Stand::start(PATIENT).await?;
    let client = stand.client().await?;
    let host = stand.setup.start()?;
    let second = Setup::new(
        &probe_tables(&stand.rabbit.url(), &stand.redis.url(), PATIENT),
        &["probe"],
    )?;
    let other = second.start()?;
    let mixed = (0..400).flat_map(|n| {
        let body = match n % 20 {
            3 => r#"{"reject":"poison"}"#,
            7 => r#"{"fail_times":1,"state_incr":"seen","publish_to":"out"}"#,
            _ => r#"{"state_incr":"seen","publish_to":"out"}"#,
        };
        let message = (format!("m-{n}"), body.as_bytes().to_vec());
        // A tenth comes twice.
        std::iter::repeat_n(message, if n % 10 == 1 { 2 } else { 1 })
    });
    client.publish("work", mixed).await?;
    let waiting = "work.delay.512000";
    wait_settled_but(&client, &[&host, &other], waiting, 20).await?;
    for setup in [&stand.setup, &second] {
        let audit = data(setup, "audit --wait 30s")?;
        ensure!(audit["closes"] == true, "{audit:#}");
        let group = &audit["groups"][0];
        ensure!(group["unfinished"] == 20, "{audit:#}");
        ensure!(group["found"]["in a delay queue"] == 20, "{audit:#}");
    }
    // Looking changed nothing, and one message goes behind everybody's back.
    ensure!(client.depth(waiting).await? == 20);
    let lost = client.take(waiting).await?.context("a message waits")?;
    let (code, audit, errors) = run(&stand.setup, "audit --wait 30s")?;
    ensure!(code == 1, "{code}: {audit:#}");
    ensure!(errors.contains("the books do not close"), "{errors}");
    let named = &audit["groups"][0]["without_message"];
    ensure!(
        named.as_array().is_some_and(|all| all.len() == 1),
        "{audit:#}"
    );
    ensure!(named[0]["key"] == lost.id.as_str() && named[0]["state"] == "failed");
    for books in audit["books"].as_array().into_iter().flatten() {
        ensure!(
            books["closes"] == true,
            "the books are not to blame: {books:#}"
        );
    }

    // A host that was killed is missing from no account.
    other.kill()?;
    client
        .publish("work", [("m-1000".into(), b"{}".to_vec())])
        .await?;
    wait_settled_but(&client, &[&host], waiting, 19).await?;
    let (_, audit, _) = run(&stand.setup, "audit --wait 30s")?;
    let named = &audit["groups"][0]["without_message"];
    ensure!(
        named.as_array().is_some_and(|all| all.len() == 1),
        "{audit:#}"
    );
    ensure!(host.stop()?.success());
    Ok(())
}

/// Waits until everything has ended but what waits in one delay queue.
async fn wait_settled_but(client: &Client, hosts: &[&Host], queue: &str, count: u32) -> Result<()> {
    let until = std::time::Instant::now() + PATIENCE;
    let mut quiet = 0;
    while quiet < 3 {
        let (work, waits) = (client.depth("work").await?, client.depth(queue).await?);
        let mut moving = 0.0;
        for host in hosts {
            moving += host.metric("holdfast_in_flight", &[])?;
        }
        quiet = if (work, waits) == (0, count) && moving == 0.0 {
            quiet + 1
        } else {
            0
        };
        ensure!(
            std::time::Instant::now() < until,
            "{work} queued, {waits} wait, {moving} in flight"
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_are_released_explained_and_paused_as_an_operator_says() -> Result<()> {
    let stand = Stand::start(PATIENT).await?;
    let client = stand.client().await?;
    let host = stand.setup.start()?;
    let setup = &stand.setup;
    let one = |key: &str, body: &str| [(key.to_owned(), body.as_bytes().to_vec())];
    client.publish("work", one("done", "{}")).await?;
    client
        .publish("work", one("parked", r#"{"reject":"no"}"#))
        .await?;
    client
        .publish("work", one("failed", r#"{"fail_times":9}"#))
        .await?;
    for key in ["done", "parked", "failed"] {
        wait_until("its state", || Ok(state(&host, key)? == key))?;
    }
    for (key, why) in [
        ("done", "its effects are stored"),
        ("parked", "it is replayed from its dead letter"),
    ] {
        for force in ["", " --force"] {
            let (code, _, errors) = run(setup, &format!("claims release {key}{force}"))?;
            ensure!(code == 1 && errors.contains(why), "{key}: {errors}");
        }
    }
    let told = |key: &str| -> Result<String> {
        Ok(data(setup, &format!("explain {key}"))?["explanation"].to_string())
    };
    ensure!(told("done")?.contains("It was run"), "{}", told("done")?);
    let parked = told("parked")?;
    ensure!(parked.contains("the handler rejected it"), "{parked}");
    ensure!(
        parked.contains("holdfast dead show work --key parked"),
        "{parked}"
    );
    let failed = told("failed")?;
    ensure!(failed.contains("Attempt 1 of 5 failed"), "{failed}");
    let list = data(setup, "claims list --state failed")?;
    ensure!(list[0]["key"] == "failed" && list[1].is_null(), "{list:#}");

    // Forgotten, it is as good as new: its copy runs as the first attempt.
    data(setup, "claims release failed")?;
    ensure!(state(&host, "failed")? == "none");

    // A running attempt needs force, and can commit nothing afterwards.
    client
        .publish(
            "work",
            one("running", r#"{"busy_ms":1900,"publish_to":"out"}"#),
        )
        .await?;
    wait_until("it runs", || Ok(state(&host, "running")? == "running"))?;
    let (code, _, errors) = run(setup, "claims release running")?;
    if state(&host, "running")? == "running" {
        ensure!(code == 1 && errors.contains("force"), "{code}: {errors}");
        let (code, _, errors) = run(setup, "claims release running --to work --force")?;
        // It may have ended just now.
        ensure!(
            code == 0 || errors.contains("its effects are stored"),
            "{errors}"
        );
    }
    wait_until("it is done", || Ok(state(&host, "running")? == "done"))?;
    let out = client.take_all("out").await?;
    ensure!(out.len() == 1, "{} effects", out.len());

    // Paused, nothing is taken, also after a restart.
    data(setup, "pause work")?;
    wait_until("it is paused", || {
        Ok(host.json("/api/v1/consumers")?[0]["phase"] == "paused")
    })?;
    ensure!(host.stop()?.success());
    client.publish("work", one("later", "{}")).await?;
    let host = setup.start()?;
    ensure!(host.json("/api/v1/consumers")?[0]["phase"] == "paused");
    let later = told("later")?;
    ensure!(later.contains("an operator paused it"), "{later}");
    ensure!(client.depth("work").await? == 1);
    data(setup, "resume work")?;
    wait_until("it is handled", || Ok(state(&host, "later")? == "done"))?;
    ensure!(host.stop()?.success());
    Ok(())
}
