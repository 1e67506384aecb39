//! A paused consumer is paused in every host, and stays so.

use holdfast_core::settle::Ending;

use crate::bed::{Bed, spec};

#[tokio::test(start_paused = true)]
async fn a_consumer_is_paused_and_resumed_in_all_hosts_at_once() {
    let bed = Bed::new();
    let (one, other) = (bed.host(spec()).await, bed.host(spec()).await);
    assert!(one.host.set_paused("work", true).await.expect("paused"));
    other
        .until("it heard of it", async || other.phase() == "paused")
        .await;
    bed.publish("work", "a", "a").await;
    assert!(
        !one.host
            .set_paused("unknown", true)
            .await
            .expect("an answer")
    );

    other.host.set_paused("work", false).await.expect("resumed");
    one.until("it heard of it", async || one.phase() == "consuming")
        .await;
    one.settle().await;
    let ended =
        |stage: &crate::bed::Stage| stage.host.status()[0].1.ledger.ended(Ending::Completed);
    assert_eq!(ended(&one) + ended(&other), 1);
}

#[tokio::test(start_paused = true)]
async fn a_paused_consumer_is_paused_after_a_restart_and_takes_nothing() {
    let bed = Bed::new();
    let stage = bed.host(spec()).await;
    stage.host.set_paused("work", true).await.expect("paused");
    stage.host.drain().await;
    bed.publish("work", "a", "a").await;
    let again = bed.host_that_is_paused(spec()).await;
    tokio::time::sleep(std::time::Duration::from_secs(5)).await;
    assert_eq!(again.phase(), "paused");
    assert_eq!(again.depth("work").await, 1);
    again.host.set_paused("work", false).await.expect("resumed");
    again.settle().await;
    assert_eq!(bed.handler.keys(), ["a"]);
}
