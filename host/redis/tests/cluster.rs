//! A Redis Cluster keeps the rules of every store; a call finds the server of its
//! slot, also after slots moved or a primary was replaced.

mod common;

use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context as _, Result};
use common::{begin, commit, is_granted, options, place};
use holdfast_core::claim::{BeginAnswer, CommitAnswer};
use holdfast_core::name::Group;
use holdfast_ports::conformance;
use holdfast_ports::error::{Kind, PortError};
use holdfast_ports::store::{Begin, Incarnation, Open, Slot, Store};
use holdfast_redis::{RedisOptions, RedisStore};
use holdfast_servers::RedisCluster;

async fn start(primaries: usize, with_replicas: bool) -> Result<RedisCluster> {
    let start = move || RedisCluster::start(primaries, with_replicas);
    tokio::task::spawn_blocking(start).await?
}

fn clustered(cluster: &RedisCluster) -> RedisOptions {
    let addresses = cluster.addresses();
    RedisOptions {
        cluster: true,
        nodes: addresses.iter().skip(1).map(ToString::to_string).collect(),
        ..options(&cluster.url())
    }
}

/// Asks again while the answer is a passing trouble.
async fn patiently<T>(mut ask: impl AsyncFnMut() -> Result<T, PortError>) -> Result<T> {
    let start = Instant::now();
    loop {
        match ask().await {
            Err(error) if error.kind == Kind::Transient => {
                anyhow::ensure!(start.elapsed() < Duration::from_secs(60), "{error}");
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            other => return Ok(other?),
        }
    }
}

/// A message of a group that lies at one of the primaries.
fn in_group(n: usize, key: &str) -> Begin {
    let mut begin = begin(key, 1);
    begin.at.group = Group::new(&format!("group-{n}")).unwrap();
    begin
}

#[tokio::test]
async fn a_cluster_keeps_every_rule() -> Result<()> {
    let cluster = start(3, false).await?;
    conformance::store::run(async || {
        let store = RedisStore::connect(clustered(&cluster)).await;
        Arc::new(store.expect("an address")) as Arc<dyn Store>
    })
    .await;
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn claims_are_spread_by_group_and_with_a_slot_for_each_key_by_key() -> Result<()> {
    let cluster = start(3, false).await?;
    let store = RedisStore::connect(clustered(&cluster)).await?;
    for n in 0..40 {
        let own = in_group(n, "k");
        assert!(is_granted(
            &patiently(async || store.begin(own.clone()).await).await?
        ));
        let mut by_key = begin(&format!("k-{n}"), 1);
        by_key.at.slot = Slot::Key;
        assert!(is_granted(&store.begin(by_key).await?));
    }
    for node in cluster.nodes() {
        let keys: usize = node.cli(&["DBSIZE"])?.parse()?;
        assert!(keys > 8, "{keys} of 80");
    }
    let listed = store.list(&place("k").group, None, 1000).await?;
    assert_eq!(listed.len(), 40, "from all servers");
    let listed = store.list(&in_group(7, "k").at.group, None, 1000).await?;
    assert_eq!(listed.len(), 1);
    Ok(())
}

/// Hazard: redis | slots of a cluster move | followed
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_follows_slots_that_moved() -> Result<()> {
    let cluster = start(3, false).await?;
    let store = RedisStore::connect(clustered(&cluster)).await?;
    patiently(async || store.begin(begin("before", 1)).await).await?;
    // An empty group's slot is given to another primary.
    let moving = in_group(1, "k");
    let name = format!("x:{{{}}}:y", moving.at.group);
    let slot = cluster.nodes()[0].cli(&["CLUSTER", "KEYSLOT", &name])?;
    let from = cluster.primary_of(&name)?;
    let to = cluster.nodes()[(from + 1) % 3].cli(&["CLUSTER", "MYID"])?;
    for node in cluster.nodes() {
        node.cli(&["CLUSTER", "SETSLOT", &slot, "NODE", &to])?;
    }
    assert!(is_granted(
        &patiently(async || store.begin(moving.clone()).await).await?
    ));
    assert_eq!(commit(&store, "before", 1).await?, CommitAnswer::Done);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_replaced_primary_is_found_and_what_it_has_goes_on() -> Result<()> {
    let mut cluster = start(3, true).await?;
    let options = clustered(&cluster);
    let store = RedisStore::connect(RedisOptions {
        wait_replicas: 1,
        ..options.clone()
    })
    .await?;
    let opened = patiently(async || store.open(Open::Create).await).await?;
    let mut known = opened.context("an incarnation")?.incarnation;
    known = patiently(async || store.pulse(&known).await)
        .await?
        .context("the store")?;
    let message = begin("k", 1);
    assert!(is_granted(&store.begin(message.clone()).await?));
    assert_eq!(commit(&store, "k", 1).await?, CommitAnswer::Done);
    let owner = cluster.primary_of(&format!("x:{{{}}}:y", message.at.group))?;
    cluster.node(owner).kill()?;
    // It does not wait for replicas, since the new primary has none.
    let looking = RedisStore::connect(options).await?;
    let twin = patiently(async || looking.begin(begin("k", 2)).await).await?;
    assert_eq!(twin, BeginAnswer::Done, "the commit was on the replica");
    let found = patiently(async || looking.pulse(&known).await).await?;
    assert_eq!(
        found.map(|found| found.id),
        Some(known.id),
        "and so was the pulse"
    );
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_primary_that_was_emptied_stops_everything() -> Result<()> {
    let cluster = start(3, false).await?;
    let store = RedisStore::connect(clustered(&cluster)).await?;
    let opened = patiently(async || store.open(Open::Create).await).await?;
    let known = opened.context("an incarnation")?.incarnation;
    let known = store.pulse(&known).await?.context("the store")?;
    assert!(is_granted(&store.begin(begin("k", 1)).await?));
    let owner = cluster.primary_of("x:{orders}:y")?;
    cluster.nodes()[(owner + 1) % 3].cli(&["FLUSHALL"])?;
    assert_eq!(store.pulse(&known).await?, None);
    let refused = commit(&store, "k", 1).await.unwrap_err();
    assert_eq!(refused.kind, Kind::Fenced, "also where nothing was lost");
    let accepted = store.open(Open::Accept(vec![known.id.clone()])).await?;
    let accepted = accepted.context("an incarnation")?;
    assert!(accepted.replaced.contains(&known.id));
    assert!(store.pulse(&accepted.incarnation).await?.is_some());
    assert_eq!(commit(&store, "k", 1).await?, CommitAnswer::Done);
    Ok(())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_primary_that_went_back_is_noticed_although_others_are_behind_it() -> Result<()> {
    let cluster = start(3, false).await?;
    let store = RedisStore::connect(clustered(&cluster)).await?;
    let opened = patiently(async || store.open(Open::Create).await).await?;
    let mut known: Incarnation = opened.context("an incarnation")?.incarnation;
    for _ in 0..3 {
        known = store.pulse(&known).await?.context("the store")?;
    }
    // Found by its name: each primary has one.
    let node = &cluster.nodes()[0];
    let name = node.cli(&["KEYS", "*:incarnation"])?;
    let old = node.cli(&["GET", &name])?;
    for _ in 0..2 {
        known = store.pulse(&known).await?.context("the store")?;
    }
    node.cli(&["SET", &name, &old])?;
    let found = store.pulse(&known).await?.context("it has one")?;
    assert!(found.pulse < known.pulse, "{found:?} after {known:?}");
    let refused = store.begin(begin("k", 1)).await.unwrap_err();
    assert_eq!(refused.kind, Kind::Fenced);
    Ok(())
}
