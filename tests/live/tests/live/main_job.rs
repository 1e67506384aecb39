//! Messages from a real RabbitMQ through a wasm handler, claimed once in a real
//! Redis, while host and broker are killed.

use std::collections::{BTreeMap, BTreeSet};

use anyhow::{Result, ensure};
use holdfast_live::{Rabbit, Stand, expect_closed_audit, wait_settled};
use holdfast_servers::{PATIENCE, wait_for};

const MESSAGES: usize = 5_000;
const POISON: usize = 20;

/// A tenth fails twice, a few are rejected, the others just publish.
fn body(number: usize) -> String {
    if number < POISON {
        return r#"{"reject":"poison"}"#.into();
    }
    let fails = if number % 10 == 3 {
        r#""fail_times":2,"#
    } else {
        ""
    };
    format!(r#"{{{fails}"state_incr":"seen","publish_to":"out"}}"#)
}

fn messages() -> impl Iterator<Item = (String, Vec<u8>)> {
    (0..MESSAGES).flat_map(|n| {
        let message = (format!("m-{n}"), body(n).into_bytes());
        // A tenth comes twice.
        let times = if n % 10 == 7 { 2 } else { 1 };
        std::iter::repeat_n(message, times)
    })
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_key_has_one_effect_although_host_and_broker_are_killed() -> Result<()> {
    let mut stand = Stand::start_on(
        Rabbit::own()?,
        "[consumers.work.retry]\ninitial = \"200ms\"",
    )
    .await?;
    let client = stand.client().await?;
    let mut host = stand.setup.start()?;
    let published = client.publish("work", messages()).await?;
    ensure!(published > MESSAGES);

    for _ in 0..3 {
        wait_for("some progress", PATIENCE, || {
            Ok(
                (host.metric("holdfast_messages_total", &["ending=\"completed\""])? > 200.0)
                    .then_some(()),
            )
        })?;
        host.kill()?;
        host = stand.setup.start()?;
    }
    stand.rabbit.kill()?;
    stand.rabbit.restart()?;
    host.wait_ready()?;

    let client = stand.client().await?;
    wait_settled(&client, &host).await?;
    let out = client.take_all("out").await?;
    let mut seen: BTreeMap<String, usize> = BTreeMap::new();
    for message in &out {
        *seen.entry(message.id.clone()).or_default() += 1;
    }
    let expected: BTreeSet<String> = (POISON..MESSAGES)
        .map(|n| format!("work/m-{n}/1"))
        .collect();
    let found: BTreeSet<String> = seen.keys().cloned().collect();
    ensure!(
        found == expected,
        "missing {:?}",
        expected.difference(&found).take(5).collect::<Vec<_>>()
    );
    // State is exactly once: a second run of a key would have counted 2.
    for message in &out {
        let report: serde_json::Value = serde_json::from_slice(&message.body)?;
        ensure!(report["count"] == 1, "{report}");
    }
    let dead = client.take_all("work.dead").await?;
    let dead: BTreeSet<&str> = dead.iter().map(|letter| letter.id.as_str()).collect();
    let poison: BTreeSet<String> = (0..POISON).map(|n| format!("m-{n}")).collect();
    ensure!(
        dead == poison.iter().map(String::as_str).collect(),
        "dead letters: {dead:?}"
    );
    ensure!(client.depth("work").await? == 0);
    for state in ["running", "failed", "committed", "parking", "assigned"] {
        let claims = host.json(&format!("/api/v1/claims?group=work&state={state}"))?;
        ensure!(
            claims.as_array().is_some_and(Vec::is_empty),
            "{state}: {claims}"
        );
    }
    expect_closed_audit(&host)?;
    ensure!(host.stop()?.success());
    Ok(())
}
