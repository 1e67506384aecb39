//! Random sequences of steps against Redis and against the functions of
//! holdfast-core: every answer and every record has to be the same.

#[path = "../common/mod.rs"]
mod common;
mod compare;
mod model;
mod sides;
mod steps;

use holdfast_core::claim::CommitAnswer;
use holdfast_core::name::Group;
use holdfast_ports::store::{Incarnation, Open, Store as _};
use holdfast_redis::RedisStore;
use holdfast_servers::unique;
use proptest::collection::vec;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use tokio::runtime::Runtime;

use self::model::Model;
use self::steps::{BeginStep, CommitStep, Epoch, KEYS, Step, Whose};

/// A store, and its incarnation.
async fn store() -> (RedisStore, Incarnation) {
    let store = common::shared().await.unwrap();
    let identity = store.open(Open::Create).await.unwrap().unwrap();
    (store, identity.incarnation)
}

#[test]
fn redis_decides_as_the_reference_does() {
    let runtime = Runtime::new().unwrap();
    let (store, known) = runtime.block_on(store());
    let config = Config {
        cases: 150,
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&vec(steps::any(), 1..200), |steps| {
        runtime
            .block_on(replay(&store, &known, &steps))
            .map_err(TestCaseError::fail)
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

#[tokio::test]
async fn a_long_history_is_cut_where_the_reference_cuts_it() {
    let (store, known) = store().await;
    let attempt = [
        Step::Begin(BeginStep::plain(0)),
        Step::Fail(0, Whose::Last, Epoch::None),
    ];
    let mut steps: Vec<Step> = attempt.iter().cloned().cycle().take(40).collect();
    steps.push(Step::Begin(BeginStep::plain(0)));
    steps.push(Step::Commit(CommitStep::plain(0)));
    replay(&store, &known, &steps).await.unwrap();
}

#[tokio::test]
async fn a_late_commit_does_not_lower_the_last_sequence() {
    let (store, known) = store().await;
    let begin = |key, sequence| {
        Step::Begin(BeginStep {
            lane: Some(0),
            sequence: Some(sequence),
            ..BeginStep::plain(key)
        })
    };
    let commit = |key, sequence| {
        Step::Commit(CommitStep {
            lane: Some(0),
            sequence: Some(sequence),
            ..CommitStep::plain(key)
        })
    };
    let steps = [
        begin(0, 1),
        begin(1, 3),
        commit(1, 3),
        commit(0, 1),
        begin(2, 2),
    ];
    replay(&store, &known, &steps).await.unwrap();
}

/// Begins and finishes claims of others while a step is taken, so that what can
/// share a call does.
async fn neighbours(store: &RedisStore, group: &Group, number: usize) {
    let name = unique("neighbour");
    let token = number as u64;
    let mut asked = common::begin(&name, token);
    asked.at.group = group.clone();
    let at = asked.at.clone();
    assert!(common::is_granted(&store.begin(asked).await.unwrap()));
    let plain = common::plain();
    let done = store.commit(&at, common::shown(token), &plain).await;
    assert_eq!(done.unwrap(), CommitAnswer::Done);
}

/// Takes the steps on both sides; the error names the first that differs.
async fn replay(store: &RedisStore, known: &Incarnation, steps: &[Step]) -> Result<(), String> {
    let group = Group::new(&unique("g")).unwrap();
    let mut model = Model::new(group.clone(), known);
    for (number, step) in steps.iter().enumerate() {
        let differs = |what| format!("step {number}, {step:?}: {what}");
        let outcome = match step {
            // A store that refuses everything refuses neighbours as well.
            Step::OtherStore(_) => compare::step(store, &mut model, step).await,
            _ => {
                let before = neighbours(store, &group, number);
                let after = neighbours(store, &group, number);
                let step = compare::step(store, &mut model, step);
                tokio::join!(before, step, after).1
            }
        };
        outcome.map_err(differs)?;
        store.open(Open::Expect(known.clone())).await.unwrap();
        for key in KEYS {
            compare::record(store, &model, key).await.map_err(differs)?;
        }
    }
    Ok(())
}
