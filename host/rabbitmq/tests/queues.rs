//! What exists at the broker and does not fit, and who is let in.

mod common;

use std::time::Duration;

use common::*;
use holdfast_ports::broker::{Ended, Subscribe};
use holdfast_ports::error::Kind;
use holdfast_rabbitmq::Options;
use holdfast_servers::unique;
use lapin::types::AMQPValue;

const STEP: Duration = Duration::from_secs(1);

/// Bad input: Broker | a queue with other arguments | said at start
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_work_queue_with_other_arguments_is_reported_and_can_be_used() {
    let server = shared().await;
    let (broker, queue) = (client(server), unique("classic"));
    declare_as_stranger(server, &queue, &[]).await;
    let findings = prepare(&broker, &topology(&queue, &[STEP])).await;
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!((&findings[0].queue, findings[0].fatal), (&queue, false));
    let text = &findings[0].text;
    assert!(
        text.contains("x-queue-type") && text.contains("quorum"),
        "{text}"
    );

    publish(&broker, &queue, "hello")
        .await
        .expect("a confirmation");
    let mut subscription = subscribe(&broker, &queue, 1).await;
    assert_eq!(body(&next(&mut subscription).await), "hello");
}

/// Bad input: Broker | a delay queue that would lose messages | refused at start
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_delay_queue_that_would_lose_messages_is_fatal() {
    let server = shared().await;
    let (broker, queue) = (client(server), unique("careless"));
    let delay = format!("{queue}.delay.1000");
    let text = |value: &str| AMQPValue::LongString(value.into());
    let careless = [
        ("x-message-ttl", AMQPValue::LongLongInt(1000)),
        ("x-dead-letter-exchange", text("")),
        ("x-dead-letter-routing-key", text(&queue)),
    ];
    declare_as_stranger(server, &delay, &careless).await;
    let findings = prepare(&broker, &topology(&queue, &[STEP])).await;
    assert_eq!(findings.len(), 1, "{findings:?}");
    assert_eq!((&findings[0].queue, findings[0].fatal), (&delay, true));
    let shown = &findings[0].text;
    assert!(shown.contains("at-least-once"), "{shown}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_is_not_single_active_is_reported_to_a_leased_consumer() {
    let server = shared().await;
    let (broker, queue) = (client(server), unique("shared"));
    let mut topology = topology(&queue, &[]);
    assert_eq!(prepare(&broker, &topology).await, []);
    topology.single_active = true;
    let findings = prepare(&broker, &topology).await;
    assert_eq!(findings.len(), 2, "{findings:?}");
    assert!(
        findings[1].text.contains("consumed exclusively"),
        "{findings:?}"
    );
    let text = &findings[0].text;
    assert!(
        text.contains("x-single-active-consumer") && !findings[0].fatal,
        "{text}"
    );
}

/// Bad input: Broker | a queue that is deleted while it is consumed | not ready; subscribes again
/// Hazard: lapin and RabbitMQ | a deleted queue or cancelled consumer ends the stream on a healthy connection | taken for an error; subscribes again
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_deleted_queue_ends_the_subscription_and_a_new_one_begins_again() {
    let server = shared().await;
    let (broker, queue) = (client(server), unique("deleted"));
    prepare(&broker, &topology(&queue, &[])).await;
    let mut subscription = subscribe(&broker, &queue, 10).await;
    publish(&broker, &queue, "one")
        .await
        .expect("a confirmation");
    next(&mut subscription).await;

    delete_as_stranger(server, &queue).await;
    let end = tokio::time::timeout(PATIENCE, subscription.next()).await;
    let end = end.expect("an end in time");
    assert!(matches!(end, Err(Ended::Cancelled)), "{end:?}");
    assert!(broker.is_up(), "the connection is healthy");

    let request = Subscribe {
        queue: queue.clone(),
        consumer: "live".to_owned(),
        prefetch: 1,
        exclusive: false,
    };
    let refused = broker.subscribe(&request).await.err();
    let refused = refused.expect("there is no such queue");
    assert_eq!(refused.kind, Kind::Permanent, "{refused}");
    prepare(&broker, &topology(&queue, &[])).await;
    let mut subscription = subscribe(&broker, &queue, 10).await;
    publish(&broker, &queue, "two")
        .await
        .expect("a confirmation");
    assert_eq!(body(&next(&mut subscription).await), "two");
}

/// Bad input: Broker | a wrong password | an error without the password
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_wrong_password_is_refused_and_never_shown() {
    let server = shared().await;
    let address = server.address();
    let wrong = format!("amqp://guest:s3cr3t%40x@{address}/%2f");
    let options = Options::new(wrong, "live");
    let shown = format!("{options:?}");
    let broker = connect(options);
    let refused = broker.depth("any").await.expect_err("a wrong password");
    assert_eq!(refused.kind, Kind::Permanent, "{refused}");
    assert!(refused.to_string().contains("ACCESS_REFUSED"), "{refused}");
    let publish = publish(&broker, "any", "x").await.expect_err("no way in");
    for text in [
        shown,
        refused.to_string(),
        publish.to_string(),
        format!("{publish:?}"),
    ] {
        assert!(!text.contains("s3cr3t"), "{text}");
    }
    assert!(!broker.is_up());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_brokers_own_tools_show_the_consumers_name_and_prefetch() {
    let server = shared().await;
    let (broker, queue) = (client(server), unique("shown"));
    prepare(&broker, &topology(&queue, &[])).await;
    let _subscription = subscribe(&broker, &queue, 17).await;
    let listed = tokio::task::spawn_blocking(|| {
        server.ctl(&[
            "list_consumers",
            "-q",
            "queue_name",
            "consumer_tag",
            "prefetch_count",
        ])
    });
    let listed = listed.await.expect("a task").expect("a list");
    let line = listed.lines().find(|line| line.starts_with(&queue));
    let line = line.unwrap_or_else(|| panic!("not listed: {listed}"));
    assert!(line.contains("live-") && line.ends_with("17"), "{line}");
}
