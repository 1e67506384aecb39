//! Steps of many messages that wait at the same time.

mod common;

use std::collections::BTreeMap;
use std::sync::Arc;

use anyhow::{Context as _, Result};
use common::{begin, commit, is_granted, options, place, shown, side};
use futures_util::future::{join_all, try_join_all};
use holdfast_core::claim::{
    BeginAnswer, CommitAnswer, FencedBy, Fingerprint, ParkReason, StateName,
};
use holdfast_ports::store::{Open, Store as _};
use holdfast_redis::RedisStore;
use holdfast_servers::Redis;
use tokio::task::JoinSet;

fn scripts_run(server: &Redis) -> Result<u64> {
    let text = server.cli(&["INFO", "commandstats"])?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("cmdstat_evalsha:calls="));
    let calls = line.and_then(|line| line.split(',').next());
    calls.map_or(Ok(0), |calls| Ok(calls.parse()?))
}

#[tokio::test]
async fn plain_steps_of_many_messages_share_calls_of_scripts() -> Result<()> {
    const MESSAGES: u64 = 2_000;
    let server = Redis::start()?;
    let store = Arc::new(RedisStore::connect(options(&server.url())).await?);
    assert!(is_granted(&store.begin(begin("first", 1)).await?));
    let before = scripts_run(&server)?;
    let mut steps = JoinSet::new();
    for number in 0..MESSAGES {
        let (store, key) = (Arc::clone(&store), number.to_string());
        steps.spawn(async move {
            let granted = is_granted(&store.begin(begin(&key, number)).await?);
            let done = commit(&store, &key, number).await?;
            Ok::<_, anyhow::Error>((granted, done))
        });
    }
    for step in steps.join_all().await {
        assert_eq!(step?, (true, CommitAnswer::Done));
    }
    let run = scripts_run(&server)? - before;
    assert!(run < MESSAGES / 4, "{run} calls for {MESSAGES} messages");
    Ok(())
}

/// Claims in every state that a begin can meet.
async fn claims_of_all_kinds(store: &RedisStore) -> Result<()> {
    for key in ["running", "failed", "done", "parking", "parked", "body"] {
        assert!(is_granted(&store.begin(begin(key, 1)).await?), "{key}");
    }
    store.fail(&place("failed"), shown(1), "no").await?;
    assert_eq!(commit(store, "done", 1).await?, CommitAnswer::Done);
    for key in ["parking", "parked"] {
        let (at, reason) = (place(key), ParkReason::Rejected);
        store.park(&at, shown(1), reason, None).await?;
    }
    let parking = store.show(&place("parked")).await?;
    let fence = parking.context("it is parking")?.fence;
    store.buried(&place("parked"), fence).await?;
    let mut theirs = begin("theirs", 1);
    theirs.facts.side = side("other");
    theirs.facts.owner_if_new = side("other");
    assert!(is_granted(&store.begin(theirs).await?));
    Ok(())
}

#[tokio::test]
async fn each_claim_is_decided_as_if_its_message_had_come_alone() -> Result<()> {
    let store = common::shared().await?;
    claims_of_all_kinds(&store).await?;
    let keys = [
        "new", "running", "failed", "done", "parking", "parked", "body", "theirs", "newer",
    ];
    let begins = keys.map(|key| {
        let mut asked = begin(key, 2);
        if key == "body" {
            asked.facts.fingerprint = Some(Fingerprint(*b"another."));
        }
        store.begin(asked)
    });
    let answers = try_join_all(begins).await?;
    let answers: BTreeMap<&str, _> = keys.into_iter().zip(answers).collect();
    for (key, expected) in [("new", 1), ("failed", 2), ("newer", 1)] {
        let BeginAnswer::Granted { attempt, .. } = answers[key] else {
            anyhow::bail!("{key}: {:?}", answers[key]);
        };
        assert_eq!(attempt, expected, "{key}");
    }
    assert!(matches!(answers["running"], BeginAnswer::Busy { .. }));
    assert_eq!(answers["done"], BeginAnswer::Done);
    assert!(matches!(answers["parking"], BeginAnswer::Parking { .. }));
    assert!(matches!(answers["parked"], BeginAnswer::Parked { .. }));
    assert_eq!(answers["body"], BeginAnswer::Conflict);
    let foreign = BeginAnswer::Foreign {
        side: side("other"),
        state: StateName::Running,
    };
    assert_eq!(answers["theirs"], foreign);
    Ok(())
}

#[tokio::test]
async fn two_messages_with_one_new_key_are_not_both_granted() -> Result<()> {
    let store = common::shared().await?;
    let begins = [1, 2, 2].map(|token| store.begin(begin("k", token)));
    let answers = try_join_all(begins).await?;
    assert!(is_granted(&answers[0]), "{answers:?}");
    for later in &answers[1..] {
        assert!(matches!(later, BeginAnswer::Busy { .. }), "{answers:?}");
    }
    Ok(())
}

#[tokio::test]
async fn the_same_call_made_twice_at_once_is_one_call() -> Result<()> {
    let store = common::shared().await?;
    let begun = try_join_all([1, 1].map(|token| store.begin(begin("k", token)))).await?;
    assert!(is_granted(&begun[0]));
    assert_eq!(begun[0], begun[1]);
    let done = try_join_all([1, 1].map(|token| commit(&store, "k", token))).await?;
    assert_eq!(done, [CommitAnswer::Done, CommitAnswer::Done]);
    Ok(())
}

#[tokio::test]
async fn each_success_is_recorded_as_if_it_had_come_alone() -> Result<()> {
    let store = common::shared().await?;
    claims_of_all_kinds(&store).await?;
    assert!(is_granted(&store.begin(begin("failed", 2)).await?));
    let commits = [
        ("running", 1),
        ("body", 7),
        ("nothing", 1),
        ("failed", 2),
        ("done", 1),
        ("parked", 1),
    ];
    let answers = commits.map(|(key, token)| commit(&store, key, token));
    let answers = try_join_all(answers).await?;
    let lost = CommitAnswer::Lost;
    let done = CommitAnswer::Done;
    let expected = [
        done.clone(),
        lost.clone(),
        lost.clone(),
        done.clone(),
        done,
        lost,
    ];
    assert_eq!(answers, expected);
    let eventful = store.show(&place("failed")).await?.context("it is there")?;
    assert_eq!(eventful.history.len(), 4, "begin, fail, begin, commit");
    Ok(())
}

#[tokio::test]
async fn in_another_store_nothing_is_granted_and_nothing_recorded() -> Result<()> {
    let store = common::shared().await?;
    let opened = store.open(Open::Create).await?;
    let known = opened.context("an incarnation")?.incarnation;
    store.open(Open::Expect(known.clone())).await?;
    assert!(is_granted(&store.begin(begin("k", 1)).await?));
    let (mut another, mut newer) = (known.clone(), known.clone());
    // As long, and sorted behind it: only the id tells them apart.
    another.id = "f".repeat(another.id.len());
    newer.pulse += 1;
    for expected in [another, newer] {
        store.open(Open::Expect(expected)).await?;
        for begun in join_all(["a", "b", "k"].map(|key| store.begin(begin(key, 2)))).await {
            assert_eq!(begun?, BeginAnswer::Fenced(FencedBy::Store));
        }
        for done in join_all(["k", "b"].map(|key| commit(&store, key, 1))).await {
            assert_eq!(done?, CommitAnswer::Fenced(FencedBy::Store));
        }
    }
    store.open(Open::Expect(known)).await?;
    assert!(store.show(&place("a")).await?.is_none());
    assert_eq!(commit(&store, "k", 1).await?, CommitAnswer::Done);
    Ok(())
}
