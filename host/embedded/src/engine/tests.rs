use std::sync::atomic::AtomicU64;
use std::time::Duration;

use super::*;
use crate::rows::Key;

const COMPANION: u8 = b'o';

/// An engine in memory and the microseconds on its clock.
fn engine() -> (Engine, Arc<AtomicU64>) {
    let now = Arc::new(AtomicU64::new(1_000_000_000));
    let read = now.clone();
    let clock: Clock = Arc::new(move || Micros(read.load(Ordering::Relaxed)));
    let companion: Companion = |kind| (kind == b'c').then_some(COMPANION);
    (Engine::open(None, clock, companion).unwrap(), now)
}

fn pass(now: &AtomicU64, span: Duration) {
    let micros = u64::try_from(span.as_micros()).unwrap();
    now.fetch_add(micros, Ordering::Relaxed);
}

async fn put(engine: &Engine, key: Key, keep: Duration) {
    let put = move |rows: &mut Rows<'_>| rows.put(&key, &1_u8, Some(keep));
    engine.run("put", put).await.unwrap();
}

async fn count(engine: &Engine) -> u64 {
    engine.run("count", |rows| Ok(rows.count())).await.unwrap()
}

#[tokio::test]
async fn rows_past_their_time_are_unreadable_at_once_and_removed_in_small_steps() {
    let (engine, now) = engine();
    for n in 0..200_u8 {
        let key = Key::new(b'c', &[&n.to_string()]);
        let with = key.as_kind(COMPANION);
        put(&engine, key, Duration::from_secs(60)).await;
        let put = move |rows: &mut Rows<'_>| rows.put(&with, &(), None);
        engine.run("put", put).await.unwrap();
    }
    assert_eq!(count(&engine).await, 600);
    pass(&now, Duration::from_secs(60));
    let key = Key::new(b'c', &["7"]);
    let get = move |rows: &mut Rows<'_>| rows.get::<u8>(&key);
    assert_eq!(engine.run("get", get).await.unwrap(), None);
    let mut left = count(&engine).await;
    assert!(left >= 600 - 2 * 64 * 3, "small steps, but {left} are left");
    for _ in 0..10 {
        left = count(&engine).await;
    }
    assert_eq!(left, 0);
}

#[tokio::test]
async fn a_row_that_was_written_again_stays_for_its_new_time() {
    let (engine, now) = engine();
    let key = Key::new(b'c', &["k"]);
    put(&engine, key.clone(), Duration::from_secs(60)).await;
    pass(&now, Duration::from_secs(50));
    put(&engine, key.clone(), Duration::from_secs(60)).await;
    for _ in 0..50 {
        pass(&now, Duration::from_secs(1));
        let key = key.clone();
        let get = move |rows: &mut Rows<'_>| rows.get::<u8>(&key);
        assert_eq!(engine.run("get", get).await.unwrap(), Some(1));
    }
    pass(&now, Duration::from_secs(11));
    count(&engine).await;
    assert_eq!(count(&engine).await, 0);
}

#[tokio::test]
async fn callers_of_a_file_that_wait_together_share_one_transaction() {
    let folder = tempfile::tempdir().unwrap();
    let path = Some(folder.path().join("rows.redb"));
    let clock: Clock = Arc::new(|| Micros(1));
    let engine = Engine::open(path, clock, |_| None).unwrap();
    // Its file is busy with one call while the others arrive.
    let (started, has_started) = mpsc::channel();
    let (go_on, may_go_on) = mpsc::channel();
    engine.submit(
        move |_| {
            started.send(()).unwrap();
            may_go_on.recv().unwrap();
            Ok(())
        },
        |_| (),
    );
    has_started.recv().unwrap();
    let (answered, answers) = mpsc::channel();
    let seen = Arc::new(AtomicU64::new(0));
    for n in 0..100_u64 {
        let (seen, answered) = (seen.clone(), answered.clone());
        engine.submit(
            move |_| Ok(seen.fetch_add(1, Ordering::Relaxed)),
            move |_| answered.send(n).unwrap(),
        );
    }
    drop(answered);
    go_on.send(()).unwrap();
    // No answer before all of them were decided: they are in one commit.
    assert_eq!(answers.recv().unwrap(), 0);
    assert_eq!(seen.load(Ordering::Relaxed), 100);
    assert_eq!(answers.iter().count(), 99);
}

#[tokio::test]
async fn a_refused_call_does_not_disturb_the_others_of_its_transaction() {
    let (engine, _) = engine();
    let refused = engine
        .run("refuse", |_| -> Result<(), Stop> {
            Err(PortError::bad_record("read it").into())
        })
        .await;
    assert!(refused.is_err());
    put(&engine, Key::new(b'c', &["k"]), Duration::from_secs(60)).await;
    assert!(engine.is_up());
}

#[tokio::test]
async fn a_value_of_another_format_is_a_bad_record() {
    let (engine, _) = engine();
    let key = Key::new(b'c', &["k"]);
    put(&engine, key.clone(), Duration::from_secs(60)).await;
    let get = move |rows: &mut Rows<'_>| rows.get::<String>(&key);
    let error = engine.run("get", get).await.unwrap_err();
    assert_eq!(error.kind, holdfast_ports::error::Kind::BadRecord);
}
