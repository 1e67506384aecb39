//! Random sequences of steps against Redis and against the functions of
//! holdfast-core: every answer and every record has to be the same.

#[path = "../common/mod.rs"]
mod common;
mod compare;
mod model;
mod steps;

use holdfast_core::name::Group;
use holdfast_ports::store::{Open, Store as _};
use holdfast_redis::RedisStore;
use holdfast_servers::unique;
use proptest::collection::vec;
use proptest::test_runner::{Config, TestCaseError, TestRunner};
use tokio::runtime::Runtime;

use self::model::Model;
use self::steps::{KEYS, Step};

#[test]
fn redis_decides_as_the_reference_does() {
    let runtime = Runtime::new().unwrap();
    let (store, id) = runtime.block_on(async {
        let store = common::shared().await.unwrap();
        let identity = store.open(Open::Create).await.unwrap().unwrap();
        (store, identity.id)
    });
    let config = Config {
        cases: 300,
        failure_persistence: None,
        max_shrink_iters: 2_000,
        ..Config::default()
    };
    let outcome = TestRunner::new(config).run(&vec(steps::any(), 1..60), |steps| {
        runtime
            .block_on(replay(&store, &id, &steps))
            .map_err(TestCaseError::fail)
    });
    if let Err(error) = outcome {
        panic!("{error}");
    }
}

/// Takes the steps on both sides; the error names the first that differs.
async fn replay(store: &RedisStore, id: &str, steps: &[Step]) -> Result<(), String> {
    let group = Group::new(&unique("g")).unwrap();
    let mut model = Model::new(group, id);
    for (number, step) in steps.iter().enumerate() {
        let differs = |what| format!("step {number}, {step:?}: {what}");
        compare::step(store, &mut model, step)
            .await
            .map_err(differs)?;
        store.open(Open::Expect(id.to_owned())).await.unwrap();
        for key in KEYS {
            compare::record(store, &model, key).await.map_err(differs)?;
        }
    }
    Ok(())
}
