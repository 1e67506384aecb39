//! Draining and reloading under load.

use std::collections::BTreeSet;
use std::fs;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Result, ensure};
use holdfast_live::{Client, Stand, prebuilt, probe_tables, wait_settled};
use holdfast_servers::{PATIENCE, wait_for};

fn plain(ids: std::ops::Range<usize>) -> impl Iterator<Item = (String, Vec<u8>)> {
    ids.map(|n| (format!("m-{n}"), b"{}".to_vec()))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_reload_every_100_ms_for_30_s_under_load_loses_and_fails_nothing() -> Result<()> {
    const PER_SECOND: usize = 2_000;
    const LOAD: Duration = Duration::from_secs(30);
    const RELOADS: f64 = 20.0;
    let stand = Stand::start("").await?;
    // A handler that runs out of time on a busy machine would count as failed.
    let tables = probe_tables(&stand.rabbit.url(), &stand.redis.url(), "");
    stand.setup.configure(&tables.replace(
        "timeout = \"2s\"\ndeadline = \"3s\"",
        "timeout = \"60s\"\ndeadline = \"90s\"",
    ))?;
    let client = Arc::new(stand.client().await?);
    let host = stand.setup.start()?;
    let reloads = || {
        host.metric(
            "holdfast_reloads_total",
            &["plugin=\"probe\"", "result=\"ok\""],
        )
    };
    let stop = Arc::new(AtomicBool::new(false));
    let changing = {
        let (stop, file) = (Arc::clone(&stop), stand.setup.plugins().join("probe.wasm"));
        std::thread::spawn(move || change_until(&stop, &file))
    };
    let started = Instant::now();
    let mut published = 0;
    // A busy machine takes longer for that many reloads.
    while started.elapsed() < LOAD || reloads()? <= RELOADS {
        ensure!(started.elapsed() < PATIENCE, "{} reloads", reloads()?);
        let next = started.elapsed() + Duration::from_millis(100);
        client
            .publish("work", plain(published..published + PER_SECOND / 10))
            .await?;
        published += PER_SECOND / 10;
        tokio::time::sleep_until((started + next).into()).await;
    }
    stop.store(true, Ordering::Relaxed);
    let changes = changing.join().expect("the changing thread ends")?;
    wait_settled(&client, &host).await?;
    let all = published as f64;
    let completed = host.metric("holdfast_messages_total", &["ending=\"completed\""])?;
    ensure!(completed == all, "{completed} of {all} completed");
    ensure!(
        host.metric("holdfast_attempts_total", &["result=\"retry\""])? == 0.0,
        "an attempt failed"
    );
    let reloads = reloads()?;
    let refused = host.metric("holdfast_reloads_total", &["result=\"refused\""])?;
    // A file that is written in place can be seen half written when its writer
    // is held up for longer than a file has to rest. It is refused, never
    // served, and taken up once it is whole.
    eprintln!("{changes} changes, {reloads} reloads, {refused} refused, {completed} messages");
    ensure!(host.stop()?.success());
    Ok(())
}

/// Writes another version every 100 ms, by turns over the file and by a rename.
fn change_until(stop: &AtomicBool, file: &std::path::Path) -> Result<usize> {
    let component = fs::read(prebuilt("probe"))?;
    let aside = file.with_extension("aside");
    let mut changes = 0;
    while !stop.load(Ordering::Relaxed) {
        changes += 1;
        let note = format!("{changes:08}");
        let mut changed = component.clone();
        changed.extend([0, 14, 5]);
        changed.extend(b"test:");
        changed.extend(note.as_bytes());
        if changes % 2 == 0 {
            fs::write(&aside, &changed)?;
            fs::rename(&aside, file)?;
        } else {
            fs::write(file, &changed)?;
        }
        std::thread::sleep(Duration::from_millis(100));
    }
    Ok(changes)
}

/// Bad input: Configuration | a file that becomes wrong while messages flow | the old set goes on serving; readiness and log say why
/// Bad input: Plugins | a file that is written half, while messages flow | refused; the version before goes on serving
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broken_plugin_or_file_leaves_the_old_set_serving_and_says_so() -> Result<()> {
    let stand = Stand::start("").await?;
    let client: Client = stand.client().await?;
    let host = stand.setup.start()?;
    let file = stand.setup.plugins().join("probe.wasm");
    let digest = |host: &holdfast_live::Host| -> Result<String> {
        Ok(host.json("/api/v1/plugins")?[0]["sha256"]
            .as_str()
            .unwrap_or_default()
            .to_owned())
    };
    let before = digest(&host)?;
    let component = fs::read(&file)?;
    fs::write(&file, &component[..component.len() / 2])?;
    wait_for("the refusal", PATIENCE, || {
        let refused = host.metric(
            "holdfast_reloads_total",
            &["plugin=\"probe\"", "result=\"refused\""],
        )?;
        Ok((refused >= 1.0).then_some(()))
    })?;
    ensure!(digest(&host)? == before);
    let (status, detail) = host.get("/readyz")?;
    ensure!(
        status == 200 && detail.contains("refused"),
        "{status} {detail}"
    );

    let tables = fs::read_to_string(stand.setup.config())?;
    fs::write(
        stand.setup.config(),
        tables.replace("queue = \"work\"", "quue = \"work\""),
    )?;
    wait_for("the refusal of the file", PATIENCE, || {
        Ok(host.get("/readyz")?.1.contains("quue").then_some(()))
    })?;
    client.publish("work", plain(0..50)).await?;
    wait_settled(&client, &host).await?;
    ensure!(host.metric("holdfast_messages_total", &["ending=\"completed\""])? == 50.0);

    // Mended files are taken up by themselves, and a rollback goes back.
    let mut second = component.clone();
    second.extend([0, 6, 5]);
    second.extend(b"other");
    fs::write(&file, &second)?;
    fs::write(stand.setup.config(), tables)?;
    wait_for("the second version", PATIENCE, || {
        Ok((digest(&host)? != before).then_some(()))
    })?;
    let (status, body) = host.post("/api/v1/plugins/probe/rollback", &[], b"")?;
    ensure!(status == 200, "{status} {body}");
    ensure!(digest(&host)? == before);
    client.publish("work", plain(50..100)).await?;
    wait_settled(&client, &host).await?;
    ensure!(host.metric("holdfast_messages_total", &["ending=\"completed\""])? == 100.0);
    ensure!(host.stop()?.success());
    Ok(())
}

/// Bad input: Command line | a second SIGTERM | leaves at once; nothing is lost
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_second_signal_leaves_at_once_and_loses_nothing() -> Result<()> {
    let stand = Stand::start("[consumers.work.retry]\nattempts = 3\ninitial = \"100ms\"\n").await?;
    let client = stand.client().await?;
    let host = stand.setup.start()?;
    let slow = (0..20).map(|n| {
        (
            format!("m-{n}"),
            br#"{"busy_ms":1500,"publish_to":"out"}"#.to_vec(),
        )
    });
    client.publish("work", slow).await?;
    wait_for("handlers to run", PATIENCE, || {
        Ok((host.metric("holdfast_in_flight", &[])? >= 20.0).then_some(()))
    })?;
    let code = host.stop_twice()?;
    ensure!(code.code() == Some(1), "{code}");
    let host = stand.setup.start()?;
    wait_settled(&client, &host).await?;
    let out = client.take_all("out").await?;
    let ids: BTreeSet<&str> = out.iter().map(|m| m.id.as_str()).collect();
    ensure!(ids.len() == 20, "{} of 20", ids.len());
    ensure!(host.stop()?.success());
    Ok(())
}

/// An acknowledged message that came again would be a duplicate in the books of
/// a later host.
/// Bad input: Command line | SIGTERM under load | drains; nothing acknowledged comes again
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn fifty_drains_under_load_bring_no_acknowledged_message_back() -> Result<()> {
    const DRAINS: usize = 50;
    const EACH: usize = 400;
    let stand = Stand::start("").await?;
    let client = stand.client().await?;
    let mut duplicates = 0.0;
    for drain in 0..DRAINS {
        let host = stand.setup.start()?;
        client
            .publish("work", plain(drain * EACH..(drain + 1) * EACH))
            .await?;
        wait_for("some progress", PATIENCE, || {
            let done = host.metric("holdfast_messages_total", &["ending=\"completed\""])?;
            Ok((done >= 50.0).then_some(()))
        })?;
        duplicates += host.metric("holdfast_messages_total", &["ending=\"duplicate\""])?;
        ensure!(host.stop()?.success(), "drain {drain}");
    }
    let host = stand.setup.start()?;
    wait_settled(&client, &host).await?;
    duplicates += host.metric("holdfast_messages_total", &["ending=\"duplicate\""])?;
    ensure!(
        duplicates == 0.0,
        "{duplicates} acknowledged messages came again"
    );
    ensure!(host.stop()?.success());
    Ok(())
}
