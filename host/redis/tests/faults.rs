//! What a server can do to us, and what we make of it.

mod common;

use std::time::{Duration, Instant};

use anyhow::Result;
use common::{begin, commit, is_granted, options, place, shown};
use holdfast_core::claim::{BeginAnswer, CommitAnswer, FencedBy, StepAnswer};
use holdfast_ports::error::{Kind, PortError};
use holdfast_ports::store::{Addition, Open, Store};
use holdfast_redis::{RedisOptions, RedisStore};
use holdfast_servers::Redis;
use tokio::task::JoinSet;

const LIMIT: Duration = Duration::from_secs(20);

/// Asks until the answer is no passing error, up to a deadline.
async fn patiently<T>(ask: impl AsyncFn() -> Result<T, PortError>) -> Result<T> {
    let start = Instant::now();
    loop {
        match ask().await {
            Err(error) if error.is_transient() && start.elapsed() < LIMIT => {
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            other => return Ok(other?),
        }
    }
}

fn impatient(server: &Redis) -> RedisOptions {
    RedisOptions {
        response_timeout: Duration::from_millis(200),
        ..options(&server.url())
    }
}

/// Bad input: Store | the script cache is flushed | scripts are loaded again
/// Hazard: redis | a pipeline does not load scripts again, and its other commands ran | loaded again; only those that failed are repeated
#[tokio::test]
async fn a_server_that_forgot_the_scripts_is_taught_again() -> Result<()> {
    let server = Redis::start()?;
    let store = std::sync::Arc::new(common::at(&server.url()).await?);
    for round in 0..3 {
        let mut steps = JoinSet::new();
        for number in 0..300_u64 {
            let store = std::sync::Arc::clone(&store);
            let key = format!("{round}-{number}");
            steps.spawn(async move {
                let granted = store.begin(begin(&key, number)).await?;
                let done = commit(&store, &key, number).await?;
                Ok::<_, PortError>((is_granted(&granted), done))
            });
            if number % 100 == 50 {
                server.cli(&["SCRIPT", "FLUSH"])?;
            }
        }
        while let Some(step) = steps.join_next().await {
            assert_eq!(step??, (true, CommitAnswer::Done));
        }
    }
    Ok(())
}

#[tokio::test]
async fn commands_of_many_callers_share_a_write() -> Result<()> {
    let server = Redis::start()?;
    let store = std::sync::Arc::new(common::at(&server.url()).await?);
    patiently(async || store.show(&place("warm")).await).await?;
    let reads = || -> Result<u64> {
        let text = server.cli(&["INFO", "stats"])?;
        let line = text
            .lines()
            .find_map(|line| line.strip_prefix("total_reads_processed:"));
        Ok(line.unwrap_or_default().trim().parse()?)
    };
    let before = reads()?;
    let mut steps = JoinSet::new();
    for number in 0..2_000_u64 {
        let store = std::sync::Arc::clone(&store);
        steps.spawn(async move { store.begin(begin(&number.to_string(), number)).await });
    }
    for answer in steps.join_all().await {
        assert!(is_granted(&answer?));
    }
    let used = reads()? - before;
    assert!(used < 1_000, "{used} reads for 2000 commands");
    Ok(())
}

/// Bad input: Store | a key of the wrong type | that message is dead-lettered, no other
#[tokio::test]
async fn a_value_that_is_no_claim_spoils_its_own_message_only() -> Result<()> {
    let server = Redis::start()?;
    let options = options(&server.url());
    let name = |key: &str| format!("{}:{{orders}}:c:{key}", options.service);
    let store = RedisStore::connect(options.clone()).await?;
    server.cli(&["RPUSH", &name("list"), "x"])?;
    server.cli(&["SET", &name("text"), "Ready when you are, with a long text"])?;
    server.cli(&["SET", &name("empty"), ""])?;
    for key in ["list", "text", "empty"] {
        let at = place(key);
        let answers = tokio::join!(
            store.begin(begin(key, 1)),
            store.begin(begin(&format!("neighbour of {key}"), 1)),
            commit(&store, key, 1),
            store.fail(&at, shown(1), "no"),
            store.published(&at),
            store.show(&at),
            store.release(&at, None, true),
        );
        let (begun, neighbour, committed, failed, published, seen, released) = answers;
        let kinds = [
            begun.err().map(|error| error.kind),
            committed.err().map(|error| error.kind),
            failed.err().map(|error| error.kind),
            published.err().map(|error| error.kind),
            seen.err().map(|error| error.kind),
            released.err().map(|error| error.kind),
        ];
        assert_eq!(kinds, [Some(Kind::BadRecord); 6], "{key}");
        assert!(is_granted(&neighbour?), "{key}");
    }
    assert_eq!(server.cli(&["TYPE", &name("list")])?, "list");
    let listed = store.list(&place("").group, None, 100).await?;
    assert_eq!(listed.len(), 3, "the neighbours");
    Ok(())
}

#[tokio::test]
async fn a_state_of_another_type_stops_the_commit_before_anything_is_written() -> Result<()> {
    use holdfast_ports::message::StateChange;

    let server = Redis::start()?;
    let options = options(&server.url());
    let store = RedisStore::connect(options.clone()).await?;
    assert!(is_granted(&store.begin(begin("k", 1)).await?));
    let state = format!("{}:{{orders}}:s:k:k", options.service);
    server.cli(&["SET", &state, "a text"])?;
    let mut effects = common::plain();
    effects.effects.state = vec![StateChange::Set("a".into(), b"1".to_vec())];
    let refused = store.commit(&place("k"), shown(1), &effects).await;
    assert_eq!(refused.unwrap_err().kind, Kind::BadRecord);
    server.cli(&["DEL", &state])?;
    let answer = store.commit(&place("k"), shown(1), &effects).await?;
    assert_eq!(answer, CommitAnswer::Done);
    Ok(())
}

/// Bad input: Store | an answer that comes too late | asked again under the same token: the same answer
/// Hazard: redis | a call fails by its time-out although its script ran | asked again under the same token
#[tokio::test]
async fn a_frozen_server_answers_as_before_once_it_is_asked_again() -> Result<()> {
    let server = Redis::start()?;
    let store = RedisStore::connect(impatient(&server)).await?;
    patiently(async || store.begin(begin("running", 1)).await).await?;
    assert!(store.is_up());
    server.freeze()?;
    let start = Instant::now();
    let (begun, committed) =
        tokio::join!(store.begin(begin("new", 2)), commit(&store, "running", 1));
    assert_eq!(begun.unwrap_err().kind, Kind::Transient);
    assert_eq!(committed.unwrap_err().kind, Kind::Transient);
    assert!(start.elapsed() < LIMIT, "the wait is bounded");
    assert!(!store.is_up());
    server.thaw()?;
    let again = patiently(async || store.begin(begin("new", 2)).await).await?;
    assert!(
        matches!(again, BeginAnswer::Granted { attempt: 1, .. }),
        "{again:?}"
    );
    let done = patiently(async || commit(&store, "running", 1).await).await?;
    assert_eq!(done, CommitAnswer::Done);
    assert_eq!(
        store.begin(begin("running", 3)).await?,
        BeginAnswer::Done,
        "it ran once"
    );
    Ok(())
}

/// Bad input: Store | unreachable at start | nothing is handled; resumes by itself
#[tokio::test]
async fn a_server_that_is_away_at_first_is_found_when_it_comes() -> Result<()> {
    let mut server = Redis::start()?;
    server.kill()?;
    let store = RedisStore::connect(options(&server.url())).await?;
    let away = store.begin(begin("k", 1)).await;
    assert_eq!(away.unwrap_err().kind, Kind::Transient);
    assert!(!store.is_up());
    server.restart()?;
    assert!(is_granted(
        &patiently(async || store.begin(begin("k", 1)).await).await?
    ));
    assert!(store.is_up());
    Ok(())
}

/// Hazard: redis | a multiplexed connection never comes back by itself, and a command that failed is not repeated | connection manager, and each step asked again under its token
#[tokio::test]
async fn a_durable_server_that_was_killed_goes_on_where_it_was() -> Result<()> {
    let mut server = Redis::builder().durable(true).start()?;
    let store = common::at(&server.url()).await?;
    assert!(is_granted(&store.begin(begin("k", 1)).await?));
    server.restart()?;
    let done = patiently(async || commit(&store, "k", 1).await).await?;
    assert_eq!(done, CommitAnswer::Done);
    server.restart()?;
    let twin = patiently(async || store.begin(begin("k", 2)).await).await?;
    assert_eq!(twin, BeginAnswer::Done);
    Ok(())
}

/// Bad input: Store | FLUSHALL | everything is refused until an operator accepts the store
#[tokio::test]
async fn a_flushed_store_fences_everything() -> Result<()> {
    let server = Redis::start()?;
    let store = common::at(&server.url()).await?;
    let identity = store
        .open(Open::Create)
        .await?
        .expect("it was made")
        .incarnation;
    assert!(store.pulse(&identity).await?.is_some());
    assert!(is_granted(&store.begin(begin("k", 1)).await?));
    server.cli(&["FLUSHALL"])?;
    let fenced = FencedBy::Store;
    assert_eq!(
        store.begin(begin("k", 1)).await?,
        BeginAnswer::Fenced(fenced)
    );
    assert_eq!(commit(&store, "k", 1).await?, CommitAnswer::Fenced(fenced));
    assert_eq!(
        store.published(&place("k")).await?,
        StepAnswer::Fenced(fenced)
    );
    let group = place("k").group;
    let kinds = [
        store.show(&place("k")).await.map(drop),
        store.release(&place("k"), None, true).await.map(drop),
        store.rule(&group).await.map(drop),
        store.flags("").await.map(drop),
        store.set_flag("a", Some("b")).await,
        store
            .add_totals("a", Addition { run: 1, number: 1 }, &[("b".into(), 1)])
            .await,
    ]
    .map(|answer| answer.map_err(|error| error.kind));
    assert_eq!(kinds, [Err(Kind::Fenced); 6]);
    assert_eq!(store.pulse(&identity).await?, None);
    assert_eq!(store.open(Open::Look).await?, None);
    assert_eq!(server.cli(&["DBSIZE"])?, "0", "nothing was written");
    Ok(())
}

/// Bad input: Store | full (OOM) | waited for
#[tokio::test]
async fn a_full_server_is_a_passing_trouble() -> Result<()> {
    let server = Redis::start()?;
    let store = common::at(&server.url()).await?;
    assert!(is_granted(&store.begin(begin("k", 1)).await?));
    server.cli(&["CONFIG", "SET", "maxmemory", "1"])?;
    let full = commit(&store, "k", 1).await;
    assert_eq!(full.unwrap_err().kind, Kind::Transient);
    server.cli(&["CONFIG", "SET", "maxmemory", "0"])?;
    assert_eq!(commit(&store, "k", 1).await?, CommitAnswer::Done);
    Ok(())
}

/// Bad input: Store | demoted (READONLY) | waited for
#[tokio::test]
async fn a_demoted_server_is_a_passing_trouble() -> Result<()> {
    let server = Redis::start()?;
    let store = common::at(&server.url()).await?;
    assert!(is_granted(&store.begin(begin("k", 1)).await?));
    server.cli(&["REPLICAOF", "127.0.0.1", "1"])?;
    let refused = commit(&store, "k", 1).await;
    assert_eq!(refused.unwrap_err().kind, Kind::Transient);
    server.cli(&["REPLICAOF", "NO", "ONE"])?;
    let done = patiently(async || commit(&store, "k", 1).await).await?;
    assert_eq!(done, CommitAnswer::Done);
    Ok(())
}

#[tokio::test]
async fn a_commit_waits_for_the_replicas_that_were_asked_for() -> Result<()> {
    let server = Redis::start()?;
    let options = RedisOptions {
        wait_replicas: 1,
        response_timeout: Duration::from_secs(1),
        ..options(&server.url())
    };
    let store = RedisStore::connect(options).await?;
    assert!(is_granted(&store.begin(begin("k", 1)).await?));
    let alone = commit(&store, "k", 1).await.unwrap_err();
    assert_eq!(alone.kind, Kind::Transient);
    assert!(alone.to_string().contains("0 of 1 replicas"), "{alone}");
    let _replica = Redis::builder()
        .config("replicaof", &format!("127.0.0.1 {}", server.port()))
        .start()?;
    let done = patiently(async || commit(&store, "k", 1).await).await?;
    assert_eq!(done, CommitAnswer::Done);
    Ok(())
}

/// Bad input: Store | a wrong password | an error without the password
#[tokio::test]
async fn a_wrong_password_is_said_and_never_shown() -> Result<()> {
    let server = Redis::start()?;
    server.cli(&["CONFIG", "SET", "requirepass", "opensesame"])?;
    let url = |password: &str| format!("redis://:{password}@127.0.0.1:{}/0", server.port());
    let store = common::at(&url("hunter2")).await?;
    let refused = store.begin(begin("k", 1)).await.unwrap_err();
    assert_eq!(refused.kind, Kind::Permanent);
    let said = format!("{refused} {refused:?} {store:?}");
    assert!(!said.contains("hunter2"), "{said}");
    let none = common::at(&server.url()).await?;
    let refused = none.begin(begin("k", 1)).await.unwrap_err();
    assert_eq!(refused.kind, Kind::Permanent, "{refused}");
    let right = common::at(&url("opensesame")).await?;
    assert!(is_granted(&right.begin(begin("k", 1)).await?));
    let broken = common::at("redis://:hunter2@[broken").await.unwrap_err();
    assert_eq!(broken.kind, Kind::Permanent);
    assert!(!format!("{broken} {broken:?}").contains("hunter2"));
    Ok(())
}
