//! More than one Redis: replicas and failovers, sentinels, a cluster.

use std::collections::{BTreeMap, BTreeSet};
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result, ensure};
use holdfast_live::{Client, Host, Rabbit, Report, Setup, probe_tables, reports, wait_settled};
use holdfast_servers::{PATIENCE, Proxy, Redis, RedisCluster, Sentinel, wait_for};

const BODY: &[u8] = br#"{"state_incr":"seen","publish_to":"out"}"#;

fn counting(ids: std::ops::Range<usize>) -> impl Iterator<Item = (String, Vec<u8>)> {
    ids.map(|n| (format!("m-{n}"), BODY.to_vec()))
}

fn completed(host: &Host) -> Result<f64> {
    host.metric("holdfast_messages_total", &["ending=\"completed\""])
}

fn some_progress(host: &Host, at_least: f64) -> Result<()> {
    wait_for("some progress", PATIENCE, || {
        Ok((completed(host)? >= at_least).then_some(()))
    })
    .with_context(|| format!("the host printed:\n{}", host.output()))
}

/// A primary that replicates to two others over a slow line, behind an address
/// that stays; a broker; a host.
struct Replicated {
    rabbit: Rabbit,
    primary: Redis,
    replicas: [Redis; 2],
    _slow: Proxy,
    stable: Proxy,
    setup: Setup,
}

impl Replicated {
    async fn start(more_of_store: &str) -> Result<(Self, Client, Host)> {
        let rabbit = Rabbit::shared()?;
        let primary = Redis::start()?;
        let slow = Proxy::start(primary.address())?;
        slow.delay(Duration::from_millis(40));
        let behind = || {
            Redis::builder()
                .config("replicaof", &format!("127.0.0.1 {}", slow.port()))
                .config("repl-diskless-sync-delay", "0")
                .start()
        };
        let replicas = [behind()?, behind()?];
        for replica in &replicas {
            wait_for("a replica to follow", PATIENCE, || {
                let up = replica.replication("master_link_status")? == "up";
                Ok(up.then_some(()))
            })?;
        }
        let stable = Proxy::start(primary.address())?;
        let url = primary.url_at(stable.port());
        let tables = probe_tables(&rabbit.url(), &url, "");
        let tables = tables.replace(
            "kind = \"redis\"\n",
            &format!("kind = \"redis\"\n{more_of_store}"),
        );
        let setup = Setup::new(&tables, &["probe"])?;
        let client = Client::connect(&rabbit.url()).await?;
        client.declare("out").await?;
        let host = setup.start()?;
        let replicated = Self {
            rabbit,
            primary,
            replicas,
            _slow: slow,
            stable,
            setup,
        };
        Ok((replicated, client, host))
    }

    /// The primary dies, and the replica that has most takes its place.
    fn fail_over(&mut self) -> Result<()> {
        self.primary.kill()?;
        let offset = |replica: &Redis| -> Result<u64> {
            Ok(replica.replication("slave_repl_offset")?.parse()?)
        };
        let [one, other] = &self.replicas;
        let (best, rest) = if offset(one)? >= offset(other)? {
            (one, other)
        } else {
            (other, one)
        };
        best.follow(None)?;
        rest.follow(Some(best.address()))?;
        self.stable.lead_to(best.address());
        Ok(())
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_replicas_have_confirmed_is_not_forgotten_at_a_failover() -> Result<()> {
    const MESSAGES: usize = 2_000;
    let (mut replicated, client, host) = Replicated::start("wait-replicas = 1\n").await?;
    client.publish("work", counting(0..MESSAGES)).await?;
    some_progress(&host, 500.0)?;
    replicated.fail_over()?;
    wait_settled(&client, &host).await?;
    ensure!(completed(&host)? == MESSAGES as f64);
    // Everything comes again: what the new primary had forgotten would run twice.
    client.publish("work", counting(0..MESSAGES)).await?;
    wait_settled(&client, &host).await?;
    ensure!(
        completed(&host)? == MESSAGES as f64,
        "{} of {MESSAGES} ran again",
        completed(&host)? - MESSAGES as f64
    );
    let reports = reports(&client.take_many("out").await?)?;
    ensure!(reports.len() == MESSAGES, "{} effects", reports.len());
    ensure!(reports.iter().all(|report| report.count == Some(1)));
    let (status, detail) = host.get("/readyz")?;
    ensure!(status == 200, "{detail}");
    drop(replicated.rabbit);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_enough_replicas_nothing_is_acknowledged_until_they_are_back() -> Result<()> {
    let (replicated, client, host) = Replicated::start("wait-replicas = 2\n").await?;
    client.publish("work", counting(0..20)).await?;
    wait_settled(&client, &host).await?;
    replicated.replicas[0].freeze()?;
    client.publish("work", counting(20..30)).await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    ensure!(completed(&host)? == 20.0, "{}", completed(&host)?);
    replicated.replicas[0].thaw()?;
    wait_settled(&client, &host).await?;
    ensure!(completed(&host)? == 30.0);
    Ok(())
}

/// Hazard: Redis and leases | a failover forgets what was acknowledged | incarnation and pulse of the store; hosts halt
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_failover_to_replicas_that_are_behind_halts_until_it_is_accepted() -> Result<()> {
    let (mut replicated, client, host) = Replicated::start("").await?;
    client.publish("work", counting(0..200)).await?;
    wait_settled(&client, &host).await?;
    let pulse = |redis: &Redis| -> Result<u64> {
        let text = redis.cli(&["GET", "live:incarnation"])?;
        Ok(text.rsplit_once(':').context("no incarnation")?.1.parse()?)
    };
    for replica in &replicated.replicas {
        // They hear nothing from now on.
        replica.cli(&["CONFIG", "SET", "repl-timeout", "600"])?;
        replica.cli(&["REPLICAOF", "127.0.0.1", "1"])?;
    }
    let behind = pulse(&replicated.replicas[0])?;
    client.publish("work", counting(200..400)).await?;
    wait_settled(&client, &host).await?;
    wait_for("two more beats", PATIENCE, || {
        Ok((pulse(&replicated.primary)? >= behind + 2).then_some(()))
    })?;
    replicated.fail_over()?;
    client.publish("work", counting(400..450)).await?;
    wait_for("the host to say what to do", PATIENCE, || {
        let (status, detail) = host.get("/readyz")?;
        Ok((status == 503 && detail.contains("holdfast store accept")).then_some(()))
    })
    .with_context(|| format!("the host printed:\n{}", host.output()))?;
    tokio::time::sleep(Duration::from_secs(3)).await;
    ensure!(completed(&host)? == 400.0, "{}", completed(&host)?);
    let accept = || replicated.setup.command(&["store", "accept"]);
    let (code, _, errors) = tokio::task::block_in_place(accept)?;
    ensure!(code == 0, "{errors}");
    host.wait_ready()?;
    wait_settled(&client, &host).await?;
    ensure!(completed(&host)? == 450.0, "{}", completed(&host)?);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_primary_that_sentinels_name_is_followed() -> Result<()> {
    const MESSAGES: usize = 2_000;
    let rabbit = Rabbit::shared()?;
    let mut primary = Redis::start()?;
    let behind = || {
        Redis::builder()
            .config("replicaof", &format!("127.0.0.1 {}", primary.port()))
            .config("repl-diskless-sync-delay", "0")
            .start()
    };
    let _replicas = [behind()?, behind()?];
    let sentinel = Sentinel::start(primary.address(), 2)?;
    let tables = probe_tables(&rabbit.url(), "redis://primary/0", "");
    let store = format!(
        "kind = \"redis\"\nwait-replicas = 1\nsentinels = [\"127.0.0.1:1\", {:?}]\n",
        sentinel.address()
    );
    let setup = Setup::new(&tables.replace("kind = \"redis\"\n", &store), &["probe"])?;
    let client = Client::connect(&rabbit.url()).await?;
    client.declare("out").await?;
    let host = setup.start()?;
    client.publish("work", counting(0..MESSAGES)).await?;
    some_progress(&host, 300.0)?;
    let before = sentinel.primary()?;
    primary.kill()?;
    wait_for("another primary", PATIENCE, || {
        Ok((sentinel.primary()? != before).then_some(()))
    })?;
    wait_settled(&client, &host).await?;
    client.publish("work", counting(0..MESSAGES)).await?;
    wait_settled(&client, &host).await?;
    ensure!(
        completed(&host)? == MESSAGES as f64,
        "{}",
        completed(&host)?
    );
    host.wait_ready()?;
    Ok(())
}

/// Three consumers on one cluster: unordered, in lanes under a lease, and with a
/// hash slot for each key.
const ON_A_CLUSTER: &str = r#"
[consumers.work.retry]
attempts = 3
initial = "200ms"
[consumers.lanes]
broker = "main"
queue = "lanes"
plugin = "probe"
[consumers.lanes.order]
mode = "lanes"
key = "json:/lane"
sequence = "json:/n"
[consumers.lanes.retry]
initial = "50ms"
[consumers.lanes.lease]
ttl = "3s"
renew = "1s"
[consumers.keyed]
broker = "main"
queue = "keyed"
plugin = "probe"
[consumers.keyed.claim]
slot = "key"
"#;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_main_job_is_done_on_a_cluster() -> Result<()> {
    let rabbit = Rabbit::shared()?;
    let mut cluster = RedisCluster::start(3, false)?;
    let nodes: Vec<String> = cluster
        .addresses()
        .iter()
        .map(ToString::to_string)
        .collect();
    let tables = probe_tables(&rabbit.url(), &cluster.url(), ON_A_CLUSTER);
    let store = format!("kind = \"redis\"\ncluster = true\nnodes = {nodes:?}\n");
    let tables = tables.replace("kind = \"redis\"\n", &store);
    let setups = [
        Setup::new(&tables, &["probe"])?,
        Setup::new(&tables, &["probe"])?,
    ];
    let client = Client::connect(&rabbit.url()).await?;
    client.declare("out").await?;
    let hosts = [setups[0].start()?, setups[1].start()?];

    let work = (0..400).flat_map(|n| {
        let body = match n {
            0..10 => r#"{"reject":"poison"}"#.to_owned(),
            10..30 => r#"{"fail_times":2,"state_incr":"seen","publish_to":"out"}"#.to_owned(),
            _ => String::from_utf8_lossy(BODY).into_owned(),
        };
        let times = if n % 10 == 7 { 2 } else { 1 };
        std::iter::repeat_n((format!("m-{n}"), body.into_bytes()), times)
    });
    let lanes = (0..200).map(|n| {
        let (lane, fails) = (n % 8, u8::from(n % 23 == 5));
        let body = format!(
            r#"{{"lane":"l{lane}","n":{},"fail_times":{fails},"state_incr":"seen","publish_to":"out"}}"#,
            n + 1
        );
        (format!("m-{n}"), body.into_bytes())
    });
    client.publish("work", work).await?;
    client.publish("lanes", lanes).await?;
    client.publish("keyed", counting(0..200)).await?;
    let queues = ["work", "lanes", "keyed"];
    settled(&client, &hosts, &queues).await?;

    let out = client.take_many("out").await?;
    let ids: BTreeSet<&str> = out.iter().map(|message| message.id.as_str()).collect();
    let of = |group: &str| ids.iter().filter(|id| id.starts_with(group)).count();
    ensure!(
        (of("work/"), of("lanes/"), of("keyed/")) == (390, 200, 200),
        "{ids:?}"
    );
    expect_lanes_in_order(&reports(&out)?)?;
    // A message that came twice may have its letter twice.
    let letters = client.take_all("work.dead").await?;
    let dead: BTreeSet<&str> = letters.iter().map(|letter| letter.id.as_str()).collect();
    ensure!(dead.len() == 10, "{dead:?}");
    for group in ["work", "lanes", "keyed"] {
        for state in ["running", "failed", "committed", "parking", "assigned"] {
            let claims = hosts[0].json(&format!("/api/v1/claims?group={group}&state={state}"))?;
            ensure!(
                claims.as_array().is_some_and(Vec::is_empty),
                "{group} {state}: {claims}"
            );
        }
    }
    // The groups do not all lie at one server.
    let mut with_claims = 0;
    for node in cluster.nodes() {
        with_claims += u8::from(node.cli(&["DBSIZE"])?.parse::<u32>()? > 20);
    }
    ensure!(with_claims > 1, "{with_claims} servers have claims");

    // One of three comes back empty: no group is gone on with.
    cluster.node(1).kill()?;
    cluster.node(1).restart()?;
    for host in &hosts {
        wait_for("the host to say what to do", PATIENCE, || {
            let (status, detail) = host.get("/readyz")?;
            Ok((status == 503 && detail.contains("holdfast store accept")).then_some(()))
        })
        .with_context(|| format!("the host printed:\n{}", host.output()))?;
    }
    for queue in queues {
        client
            .publish(
                queue,
                [("later".to_owned(), br#"{"lane":"later","n":1}"#.to_vec())],
            )
            .await?;
    }
    tokio::time::sleep(Duration::from_secs(3)).await;
    for queue in queues {
        ensure!(client.depth(queue).await? == 1, "{queue} was consumed");
    }
    let accept = || setups[0].command(&["store", "accept"]);
    let (code, _, errors) = tokio::task::block_in_place(accept)?;
    ensure!(code == 0, "{errors}");
    for host in &hosts {
        host.wait_ready()?;
    }
    settled(&client, &hosts, &queues).await?;
    for host in hosts {
        ensure!(host.stop()?.success());
    }
    Ok(())
}

async fn settled(client: &Client, hosts: &[Host], queues: &[&str]) -> Result<()> {
    let end = Instant::now() + PATIENCE;
    let mut quiet = 0;
    while quiet < 3 {
        let mut left = 0;
        for queue in queues {
            left += client.depth(queue).await?;
            // An ordered consumer waits in the host.
            let steps = match *queue {
                "lanes" => Vec::new(),
                queue => client.delays(queue).await?,
            };
            for step in steps {
                left += client.depth(&step).await?;
            }
        }
        let mut flying = 0.0;
        for host in hosts {
            flying += host.metric("holdfast_in_flight", &[])?;
        }
        quiet = if left == 0 && flying == 0.0 {
            quiet + 1
        } else {
            0
        };
        ensure!(
            Instant::now() < end,
            "{left} queued, {flying} in flight; the first host printed:\n{}",
            hosts[0].output()
        );
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    Ok(())
}

/// Each lane counted its messages in the order in which they were published.
fn expect_lanes_in_order(reports: &[Report]) -> Result<()> {
    let mut lanes: BTreeMap<&str, Vec<(u64, &Report)>> = BTreeMap::new();
    for report in reports {
        if let Some(lane) = report.lane.as_deref() {
            let number = report.key.trim_start_matches("m-").parse()?;
            lanes.entry(lane).or_default().push((number, report));
        }
    }
    ensure!(lanes.len() == 8, "{:?}", lanes.keys());
    for (lane, mut reports) in lanes {
        reports.sort_by_key(|(number, _)| *number);
        let counts: Vec<Option<u64>> = reports.iter().map(|(_, report)| report.count).collect();
        let expected: Vec<Option<u64>> = (1..=25).map(Some).collect();
        ensure!(counts == expected, "{lane}: {counts:?}");
    }
    Ok(())
}
