//! The store's identity beside the queues, seen by several hosts at once and
//! after a crash.

mod common;

use common::*;
use futures_util::future::join_all;
use holdfast_ports::broker::{Incarnation, Keep};
use holdfast_servers::unique;

fn incarnation(id: &str, pulse: u64) -> Incarnation {
    let id = id.to_owned();
    Incarnation { id, pulse }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hosts_that_look_at_the_same_time_all_see_it() {
    let server = shared().await;
    let hosts = [client(server), client(server), client(server)];
    let service = unique("shop");
    let kept = Some(incarnation("one", 7));
    let put = hosts[0]
        .incarnation(&service, Keep::Replace(kept.clone().expect("one")))
        .await;
    assert_eq!(put.expect("written"), kept);
    let looks = (0..18).map(|n| hosts[n % 3].incarnation(&service, Keep::Look));
    for seen in join_all(looks).await {
        assert_eq!(seen.expect("read"), kept);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_writer_that_died_between_the_new_and_the_old_message_leaves_the_new_one() {
    let server = shared().await;
    let (broker, service) = (client(server), unique("shop"));
    let old = incarnation("old", 900);
    let put = broker.incarnation(&service, Keep::Replace(old)).await;
    put.expect("written");
    let queue = format!("{service}.holdfast");
    let new = r#"{"id":"new","pulse":1,"revision":2}"#;
    publish(&broker, &queue, new).await.expect("a confirmation");
    for _ in 0..2 {
        let seen = broker
            .incarnation(&service, Keep::Look)
            .await
            .expect("read");
        assert_eq!(seen, Some(incarnation("new", 1)));
    }
    let depth = broker.depth(&queue).await.expect("a depth");
    assert_eq!(depth, Some(1), "the old one is gone");
}
