//! What is kept in Redis, for how long, and how much memory it takes.

mod common;

use std::sync::Arc;
use std::time::Duration;

use anyhow::{Context as _, Result};
use common::{begin, commit, is_granted, milliseconds_left, options, place, shown};
use holdfast_core::claim::{CommitAnswer, ParkReason, StateName, StepAnswer};
use holdfast_core::key::Lane;
use holdfast_ports::error::Kind;
use holdfast_ports::message::{Effects, Staged, StateChange, Target};
use holdfast_ports::store::{Commit, Place, Slot, Store as _};
use holdfast_redis::{RedisOptions, RedisStore};
use holdfast_servers::Redis;
use tokio::task::JoinSet;

async fn bury(store: &RedisStore, at: &Place) -> Result<()> {
    let claim = store.show(at).await?.context("it is parking")?;
    assert_eq!(store.buried(at, claim.fence).await?, StepAnswer::Ok);
    Ok(())
}

#[tokio::test]
async fn a_plain_success_leaves_28_bytes_and_no_history() -> Result<()> {
    let server = Redis::start()?;
    let options = options(&server.url());
    let store = RedisStore::connect(options.clone()).await?;
    let mut asked = begin("k", 1);
    asked.facts.side = common::side("seven77");
    asked.facts.owner_if_new = asked.facts.side.clone();
    assert!(is_granted(&store.begin(asked).await?));
    assert_eq!(commit(&store, "k", 1).await?, CommitAnswer::Done);
    let name = format!("{}:{{orders}}:c:k", options.service);
    assert_eq!(server.cli(&["STRLEN", &name])?, "28");
    assert_eq!(server.cli(&["KEYS", "*"])?, name, "nothing else is kept");
    let left = milliseconds_left(&server, &name)?;
    assert!((3_500_000..=3_600_000).contains(&left), "{left}");
    Ok(())
}

#[tokio::test]
async fn the_history_of_an_eventful_claim_is_kept_for_an_hour() -> Result<()> {
    let server = Redis::start()?;
    let options = options(&server.url());
    let store = RedisStore::connect(options.clone()).await?;
    let mut at = place("k");
    at.keep = Duration::from_secs(7 * 24 * 3600);
    assert!(is_granted(&store.begin(begin("k", 1)).await?));
    store.fail(&at, shown(1), "the reason").await?;
    assert!(is_granted(&store.begin(begin("k", 2)).await?));
    store
        .park(&at, shown(2), ParkReason::Rejected, None)
        .await?;
    bury(&store, &at).await?;
    let name = format!("{}:{{orders}}:c:k", options.service);
    assert_eq!(server.cli(&["STRLEN", &name])?, "25");
    let left = milliseconds_left(&server, &format!("{name}:h"))?;
    assert!((3_500_000..=3_600_000).contains(&left), "{left}");
    let left = milliseconds_left(&server, &name)?;
    assert!(left > 600_000_000, "{left}");
    let view = store.show(&at).await?.context("it is remembered")?;
    assert_eq!(view.error.as_deref(), Some("the reason"));
    assert_eq!(view.history.len(), 5);
    server.cli(&["DEL", &format!("{name}:h")])?;
    let view = store.show(&at).await?.context("it is remembered")?;
    assert_eq!((view.state, view.history.len()), (StateName::Parked, 0));
    Ok(())
}

#[tokio::test]
async fn a_parked_claim_is_replayed_even_when_its_history_is_gone() -> Result<()> {
    let server = Redis::start()?;
    let options = options(&server.url());
    let store = RedisStore::connect(options.clone()).await?;
    assert!(is_granted(&store.begin(begin("k", 1)).await?));
    store
        .park(&place("k"), shown(1), ParkReason::Rejected, None)
        .await?;
    bury(&store, &place("k")).await?;
    server.cli(&["DEL", &format!("{}:{{orders}}:c:k:h", options.service)])?;
    store.replay(&place("k")).await?;
    assert!(is_granted(&store.begin(begin("k", 2)).await?));
    assert_eq!(commit(&store, "k", 2).await?, CommitAnswer::Done);
    Ok(())
}

#[tokio::test]
async fn everything_of_a_group_with_slots_by_key_is_in_the_slot_of_the_key() -> Result<()> {
    let server = Redis::start()?;
    let options = options(&server.url());
    let store = RedisStore::connect(options.clone()).await?;
    let mut asked = begin("a b", 1);
    asked.at.slot = Slot::Key;
    asked.facts.lane = Some(Lane::from_known("lane"));
    asked.facts.sequence = Some(5);
    asked.state = true;
    assert!(is_granted(&store.begin(asked.clone()).await?));
    let mut effects = Effects {
        state: vec![StateChange::Set("total".into(), b"5".to_vec())],
        ..Effects::default()
    };
    let staged = |lane: Option<&str>| Staged {
        broker: None,
        to: Target::Queue("out".into()),
        body: Vec::new(),
        content_type: None,
        headers: Vec::new(),
        lane: lane.map(str::to_owned),
    };
    effects.outbox = vec![staged(Some("lane"))];
    let mut commit = Commit {
        lane: asked.facts.lane.clone(),
        sequence: Some(5),
        effects,
    };
    let refused = store.commit(&asked.at, shown(1), &commit).await;
    assert_eq!(refused.unwrap_err().kind, Kind::Permanent, "no counters");
    commit.effects.outbox = vec![staged(None)];
    let answer = store.commit(&asked.at, shown(1), &commit).await?;
    assert_eq!(answer, CommitAnswer::Committed { minted: vec![] });
    let listed = store.list(&asked.at.group, None, 10).await?;
    assert_eq!(listed.len(), 1);
    assert_eq!(listed[0].key, asked.at.key);
    let slot = format!("{}:{{orders:a%20b}}:", options.service);
    for name in server.cli(&["KEYS", "*"])?.lines() {
        assert!(name.starts_with(&slot), "{name}");
        assert!(milliseconds_left(&server, name)? > 0, "{name} expires");
    }
    Ok(())
}

/// 36 characters that look like a UUID.
fn uuid(number: u64) -> String {
    let mixed = number.wrapping_mul(0x9e37_79b9_7f4a_7c15);
    format!(
        "{:08x}-{:04x}-4{:03x}-a{:03x}-{number:012x}",
        mixed >> 32,
        (mixed >> 16) & 0xffff,
        (mixed >> 4) & 0xfff,
        mixed & 0xfff
    )
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_finished_claim_takes_at_most_200_bytes() -> Result<()> {
    const CLAIMS: u64 = 100_000;
    let server = Redis::start()?;
    let options = RedisOptions {
        service: "shop".into(),
        ..options(&server.url())
    };
    let store = Arc::new(RedisStore::connect(options).await?);
    let used = || -> Result<i64> {
        let text = server.cli(&["INFO", "memory"])?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("used_memory:"));
        Ok(line.context("used_memory")?.trim().parse()?)
    };
    let finish = |numbers: std::ops::Range<u64>| {
        let mut tasks = JoinSet::new();
        for worker in 0..256 {
            let (store, numbers) = (Arc::clone(&store), numbers.clone());
            tasks.spawn(async move {
                for number in numbers.filter(|number| number % 256 == worker) {
                    let key = uuid(number);
                    assert!(is_granted(&store.begin(begin(&key, number)).await?));
                    assert_eq!(commit(&store, &key, number).await?, CommitAnswer::Done);
                }
                Ok::<_, anyhow::Error>(())
            });
        }
        tasks
    };
    // Buffers and scripts are there before the count begins.
    finish(CLAIMS..CLAIMS + 1_000).join_all().await;
    let before = used()?;
    for outcome in finish(0..CLAIMS).join_all().await {
        outcome?;
    }
    let each = (used()? - before) / i64::try_from(CLAIMS)?;
    println!("{each} bytes for each finished claim");
    assert!(each <= 200, "{each} bytes");
    Ok(())
}
