//! How long nobody handles messages while the lead changes hands, measured by
//! the fences of the messages, which are the store's own time. The figures are
//! printed; what is asserted leaves room for a machine that does other things.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use holdfast_live::{Client, Cluster, Report, reports};

const TTL: Duration = Duration::from_secs(6);
/// What the broker's address says. The hosts ask for a third of the lease.
const HEARTBEAT: Duration = Duration::from_secs(4);
const MORE: &str = "prefetch = 64\n[consumers.work.order]\nmode = \"strict\"\n\
                    [consumers.work.lease]\nttl = \"6s\"\nrenew = \"1s\"\n";

/// What makes a leader go.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Cause {
    /// SIGTERM.
    Stop,
    /// `lease step-down`.
    StepDown,
    /// SIGKILL.
    Kill,
    /// SIGSTOP.
    Freeze,
}

/// One change of the lead: when it was caused, and the epoch that followed.
struct Change {
    cause: Cause,
    at: u64,
    epoch: u64,
}

/// Messages enough for a while.
async fn feed(client: &Client, round: usize, count: usize) -> Result<()> {
    let body = br#"{"busy_ms":2,"publish_to":"out"}"#;
    let messages = (0..count).map(|n| (format!("m-{round}-{n:05}"), body.to_vec()));
    client.publish("work", messages).await?;
    Ok(())
}

async fn change(cluster: &mut Cluster, cause: Cause) -> Result<Change> {
    let (leader, _) = cluster.leader("work", &cluster.running())?;
    let others: Vec<usize> = cluster.running();
    let others: Vec<usize> = others
        .into_iter()
        .filter(|place| *place != leader)
        .collect();
    // Followers have to be there before they can follow.
    for other in &others {
        cluster.host(*other)?.wait_ready()?;
    }
    let at = cluster.store_time()?;
    match cause {
        Cause::Stop => cluster.host(leader)?.terminate()?,
        Cause::StepDown => {
            let (code, _, error) =
                cluster
                    .setup(leader)
                    .command(&["lease", "step-down", "work"])?;
            ensure!(code == 0, "{error}");
        }
        Cause::Kill => cluster.take(leader)?.kill()?,
        Cause::Freeze => cluster.host(leader)?.freeze()?,
    }
    let (_, epoch) = cluster.leader("work", &others)?;
    match cause {
        Cause::Stop => {
            let code = cluster.take(leader)?.wait()?;
            ensure!(code.success(), "{code}");
            cluster.restart(leader)?;
        }
        Cause::StepDown => {}
        Cause::Kill => cluster.restart(leader)?,
        Cause::Freeze => {
            // Until the message is through that the next leader begins with.
            tokio::time::sleep(Duration::from_secs(1)).await;
            cluster.host(leader)?.thaw()?;
        }
    }
    Ok(Change { cause, at, epoch })
}

fn millis(micros: u64) -> Duration {
    Duration::from_micros(micros)
}

/// From the cause, or from the last message before the hand-over if that is
/// later, to the first message after it.
fn gap(effects: &[Report], change: &Change) -> Result<Duration> {
    let next = effects
        .iter()
        .position(|effect| effect.fence >= change.epoch);
    let next = next.context("nothing was handled by the next leader")?;
    let last = next.checked_sub(1).map_or(0, |last| effects[last].fence);
    let since = last.max(change.at);
    Ok(millis(effects[next].fence.saturating_sub(since)))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_lead_changes_hands_in_time() -> Result<()> {
    let mut cluster =
        Cluster::start_with(3, MORE, &format!("?heartbeat={}", HEARTBEAT.as_secs())).await?;
    let client = cluster.client().await?;
    let causes = [
        Cause::Stop,
        Cause::Kill,
        Cause::StepDown,
        Cause::Freeze,
        Cause::Stop,
        Cause::Kill,
        Cause::StepDown,
    ];
    let mut changes = Vec::new();
    for (round, cause) in causes.into_iter().enumerate() {
        feed(&client, round, 400).await?;
        changes.push(change(&mut cluster, cause).await?);
    }
    let queues = ["work".to_owned()];
    cluster.settle(&client, &queues).await?;
    let effects = reports(&client.take_all("out").await?)?;
    ensure!(
        effects.len() == 400 * changes.len(),
        "{} effects",
        effects.len()
    );
    let mut sorted = effects.clone();
    sorted.sort_by(|a, b| a.key.cmp(&b.key));
    ensure!(effects == sorted, "the order was not kept");

    eprintln!(
        "without a leader, with a lease of {TTL:?} and a heartbeat of {HEARTBEAT:?} in the address:"
    );
    for change in &changes {
        let gap = gap(&effects, change)?;
        eprintln!(
            "{:>9}: {:>6} ms",
            format!("{:?}", change.cause),
            gap.as_millis()
        );
        // The goal, and room for a machine with other work: less than a lease
        // that nobody gave back.
        let most = match change.cause {
            Cause::Stop | Cause::StepDown => Duration::from_millis(100),
            Cause::Kill => TTL + Duration::from_millis(500),
            Cause::Freeze => 2 * HEARTBEAT,
        } + Duration::from_secs(5);
        ensure!(gap < most, "{:?} took {gap:?}", change.cause);
    }
    Ok(())
}
