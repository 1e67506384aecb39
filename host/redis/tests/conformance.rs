//! The rules that every claim store keeps.

mod common;

use std::sync::Arc;

use holdfast_ports::conformance;
use holdfast_ports::store::Store;

#[tokio::test]
async fn the_store_keeps_every_rule() {
    conformance::store::run(async || {
        let store = common::shared().await.expect("a Redis server");
        Arc::new(store) as Arc<dyn Store>
    })
    .await;
}
