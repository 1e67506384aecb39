//! The broker dies, freezes, or takes nothing for a while.

mod common;

use std::collections::BTreeSet;
use std::time::{Duration, Instant};

use common::*;
use futures_util::future::join_all;
use holdfast_core::settle::Settlement;
use holdfast_ports::broker::{Ended, PublishError};
use holdfast_ports::message::Incoming;
use holdfast_servers::RabbitMq as Server;

const QUEUE: &str = "orders";

/// Bad input: Broker | a connection or channel that ends with messages in hand | nothing is recorded as acknowledged; reconnects
/// Hazard: lapin and RabbitMQ | an acknowledgement on a dead channel is no error, and built-in recovery is invisible | own reconnect with a generation for each channel: what is old settles nothing
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_killed_broker_ends_the_subscription_and_voids_its_tickets() {
    let server = private().await;
    let broker = client(&server);
    prepare(&broker, &topology(QUEUE, &[])).await;
    publish_many(&broker, QUEUE, 3).await;
    let mut subscription = subscribe(&broker, QUEUE, 10).await;
    let settler = subscription.settler();
    let acknowledged = next(&mut subscription).await;
    settler
        .settle(acknowledged.ticket, ack())
        .expect("a live channel");
    settler.flush().await;
    let (one, two) = (next(&mut subscription).await, next(&mut subscription).await);

    let (server, ()) = with(server, |server| server.kill()).await;
    let end = tokio::time::timeout(PATIENCE, subscription.next()).await;
    let end = end.expect("an end in time");
    assert!(matches!(end, Err(Ended::Closed(_))), "{end:?}");
    for ticket in [one.ticket, two.ticket] {
        let refused = settler.settle(ticket, ack()).expect_err("a dead channel");
        settler
            .settle(refused, Settlement::Abandon)
            .expect_err("a dead channel");
    }
    settler.flush().await;
    subscription.cancel().await;
    let away = broker.depth(QUEUE).await.expect_err("the broker is away");
    assert!(away.is_transient(), "{away}");
    let away = publish(&broker, QUEUE, "x").await.expect_err("away");
    assert!(matches!(away, PublishError::Away(_)), "{away}");
    assert!(!broker.is_up());

    let (_server, ()) = with(server, |server| server.restart()).await;
    let mut subscription = subscribe(&broker, QUEUE, 10).await;
    for text in ["1", "2"] {
        let again = next(&mut subscription).await;
        assert_eq!(body(&again), text, "unsettled, in order");
        assert!(again.message.redelivered);
        let settled = subscription.settler().settle(again.ticket, ack());
        settled.expect("a live channel");
    }
    eventually("publishing works again", async || {
        publish(&broker, QUEUE, "later").await.ok()
    })
    .await;
    assert_eq!(body(&next(&mut subscription).await), "later");
    assert!(broker.is_up());
}

/// Bad input: Broker | a broker that is away, or starts again | the host waits and resumes by itself
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_that_starts_before_its_broker_connects_when_it_is_there() {
    let (server, ()) = with(private().await, |server| server.kill()).await;
    let broker = client(&server);
    let start = Instant::now();
    let away = broker.prepare(&topology(QUEUE, &[])).await;
    assert!(away.expect_err("the broker is away").is_transient());
    assert!(start.elapsed() < Duration::from_secs(5), "told at once");
    let (_server, ()) = with(server, |server| server.restart()).await;
    assert_eq!(prepare(&broker, &topology(QUEUE, &[])).await, []);
}

/// Hazard: lapin and RabbitMQ | queues with a time to live lose messages on the move | delay queues that dead-letter at least once, declared at start
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn messages_that_wait_survive_a_killed_broker() {
    const COUNT: usize = 200;
    const STEP: Duration = Duration::from_secs(4);
    let server = private().await;
    let broker = client(&server);
    prepare(&broker, &topology(QUEUE, &[STEP])).await;
    // A queue that is younger than a second is not safe yet.
    tokio::time::sleep(Duration::from_secs(2)).await;
    publish_many(&broker, QUEUE, COUNT).await;
    let mut subscription = subscribe(&broker, QUEUE, 256).await;
    let mut taken = Vec::new();
    for _ in 0..COUNT {
        taken.push(next(&mut subscription).await);
    }
    let copies = taken
        .iter()
        .map(|delivery| broker.delay(QUEUE, &delivery.message, STEP, Duration::ZERO));
    for copied in join_all(copies).await {
        copied.expect("a confirmation");
    }
    let over = tokio::time::Instant::now() + STEP + Duration::from_secs(1);
    let settler = subscription.settler();
    for delivery in taken {
        settler
            .settle(delivery.ticket, ack())
            .expect("a live channel");
    }
    settler.flush().await;

    let (server, ()) = with(server, |server| server.kill()).await;
    tokio::time::sleep_until(over).await;
    let (_server, ()) = with(server, |server| server.restart()).await;
    let mut subscription = subscribe(&broker, QUEUE, 256).await;
    let mut back = BTreeSet::new();
    while back.len() < COUNT {
        back.insert(body(&next(&mut subscription).await));
    }
}

/// Bad input: Broker | a connection that is blocked | publishes fail at their deadline
/// Hazard: lapin and RabbitMQ | a blocked connection blocks publishes without end | a connection of their own, and a deadline
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_broker_that_takes_nothing_fails_publishes_in_time_and_not_the_consumer() {
    let server = private().await;
    let mut options = options(&server);
    options.publish_deadline = Duration::from_secs(1);
    let broker = connect(options);
    prepare(&broker, &topology(QUEUE, &[])).await;
    publish_many(&broker, QUEUE, 50).await;
    let (server, _) = with(server, |server| {
        server.ctl(&["set_vm_memory_high_watermark", "absolute", "1"])
    })
    .await;
    // Blocked at the latest by the second publish.
    eventually("the alarm is on", async || {
        publish(&broker, QUEUE, "x").await.err()
    })
    .await;
    let start = Instant::now();
    let late = publish(&broker, QUEUE, "y").await.expect_err("blocked");
    assert!(matches!(late, PublishError::Deadline(_)), "{late}");
    assert!(start.elapsed() < Duration::from_secs(3));

    let mut subscription = subscribe(&broker, QUEUE, 10).await;
    let settler = subscription.settler();
    for n in 0..50 {
        let delivery = next(&mut subscription).await;
        assert_eq!(body(&delivery), n.to_string());
        settler
            .settle(delivery.ticket, ack())
            .expect("a live channel");
    }
    let (_server, _) = with(server, |server| {
        server.ctl(&["set_vm_memory_high_watermark", "absolute", "2GB"])
    })
    .await;
    eventually("publishing works again", async || {
        publish(&broker, QUEUE, "z").await.ok()
    })
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_frozen_broker_costs_no_call_more_than_its_deadline() {
    let server = private().await;
    let mut options = options(&server);
    options.publish_deadline = Duration::from_secs(1);
    options.call_deadline = Duration::from_secs(1);
    let broker = connect(options.clone());
    prepare(&broker, &topology(QUEUE, &[])).await;
    publish_many(&broker, QUEUE, 3).await;
    let mut subscription = subscribe(&broker, QUEUE, 10).await;
    next(&mut subscription).await;
    let (server, ()) = with(server, |server| server.freeze()).await;
    let start = Instant::now();
    let late = publish(&broker, QUEUE, "x").await.expect_err("frozen");
    assert!(!late.is_undeliverable(), "{late}");
    let late = broker.depth(QUEUE).await.expect_err("frozen");
    assert!(late.is_transient(), "{late}");
    subscription.settler().flush().await;
    let late = connect(options).depth(QUEUE).await.expect_err("frozen");
    assert!(late.is_transient(), "{late}");
    assert!(start.elapsed() < Duration::from_secs(8), "bounded");

    // Silent for too long: the connection is given up.
    let end = tokio::time::timeout(PATIENCE, async {
        loop {
            if let Err(end) = subscription.next().await {
                return end;
            }
        }
    });
    let end = end.await.expect("an end in time");
    assert!(matches!(end, Ended::Closed(_)), "{end:?}");
    let (_server, ()) = with(server, |server| server.thaw()).await;
    let mut subscription = subscribe(&broker, QUEUE, 10).await;
    assert!(next(&mut subscription).await.message.redelivered);
}

/// A queue as after an election that nobody wins.
async fn without_answers(server: Server, queue: &str, deaf: bool) -> Server {
    let act = if deaf { "suspend" } else { "resume" };
    let words = format!("sys:{act}('%2F_{queue}').");
    let (server, _) = with(server, move |server| server.ctl(&["eval", &words])).await;
    server
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_queue_that_answers_nothing_holds_up_no_other() {
    const STEPS: [Duration; 2] = [Duration::from_secs(1), Duration::from_secs(2)];
    let server = private().await;
    let mut options = options(&server);
    options.publish_deadline = Duration::from_secs(3);
    let broker = connect(options);
    prepare(&broker, &topology(QUEUE, &STEPS)).await;
    let server = without_answers(server, "orders.delay.2000", true).await;
    let message = Incoming::default();
    let delay = async |step| broker.delay(QUEUE, &message, step, Duration::ZERO).await;
    let (stuck, fine) = tokio::join!(delay(STEPS[1]), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        delay(STEPS[0]).await
    });
    assert!(matches!(stuck, Err(PublishError::Deadline(_))), "{stuck:?}");
    fine.expect("a confirmation");

    let server = without_answers(server, "orders.dead", true).await;
    let (stuck, fine) = tokio::join!(publish(&broker, "orders.dead", "x"), async {
        tokio::time::sleep(Duration::from_millis(200)).await;
        publish(&broker, QUEUE, "x").await
    });
    assert!(matches!(stuck, Err(PublishError::Deadline(_))), "{stuck:?}");
    fine.expect("a confirmation");

    let server = without_answers(server, "orders.delay.2000", false).await;
    let _server = without_answers(server, "orders.dead", false).await;
    eventually("both take messages again", async || {
        delay(STEPS[1]).await.ok()?;
        publish(&broker, "orders.dead", "y").await.ok()
    })
    .await;
}

/// One waits for a confirmation that does not come, others open channels.
/// Hazard: lapin and RabbitMQ | a confirmation may never come when the connection breaks | told at once, at the latest at the deadline
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn publishes_that_are_made_while_the_broker_dies_are_told_at_once() {
    let server = private().await;
    let broker = client(&server);
    prepare(&broker, &topology(QUEUE, &[])).await;
    publish(&broker, QUEUE, "x").await.expect("a confirmation");
    let mut server = without_answers(server, QUEUE, true).await;
    for round in 0..5 {
        let publishing = publish(&broker, QUEUE, "y");
        let opening = join_all((0..10).map(|n| {
            let (broker, queue) = (&broker, format!("none-{round}-{n}"));
            async move {
                // Nobody takes it, until the broker is away.
                while matches!(
                    publish(broker, &queue, "z").await,
                    Err(PublishError::Returned(_))
                ) {}
            }
        }));
        let killing = async {
            tokio::time::sleep(Duration::from_millis(200)).await;
            let (server, ()) = with(server, |server| server.kill()).await;
            (server, Instant::now())
        };
        let (answer, _, (killed_server, killed)) = tokio::join!(publishing, opening, killing);
        assert!(killed.elapsed() < Duration::from_secs(2));
        assert!(matches!(answer, Err(PublishError::Away(_))), "{answer:?}");

        let (again, ()) = with(killed_server, |server| server.restart()).await;
        eventually("the next one goes over a new connection", async || {
            publish(&broker, QUEUE, "z").await.ok()
        })
        .await;
        server = without_answers(again, QUEUE, true).await;
    }
}
