//! What a confirmation means, and what it does not hide.

use std::collections::BTreeSet;

use super::bed::{Bed, body, to_queue, unique};
use super::cases;
use crate::broker::{PublishError, dead_queue};
use crate::message::{Header, Outgoing, Target};

cases![
    what_no_queue_takes_is_returned,
    an_exchange_that_does_not_exist_is_the_targets_fault,
    each_of_many_publishes_at_once_gets_its_own_answer,
    many_publishes_at_once_all_arrive,
    a_message_that_cannot_be_written_is_invalid,
    a_dead_letter_keeps_what_the_host_says_about_it,
    after_a_close_nothing_is_published,
];

/// Bad input: Broker | a publish that is returned | a failure, not a success
/// Hazard: lapin and RabbitMQ | a returned message arrives as a positive confirmation | it counts as returned
async fn what_no_queue_takes_is_returned(bed: Bed) {
    let missing = to_queue(&unique("missing"), "lost?");
    let answer = bed.broker.publish(missing).await;
    let error = answer.expect_err("nobody took it");
    assert!(matches!(error, PublishError::Returned(_)), "{error}");
    assert!(error.is_undeliverable());
}

async fn an_exchange_that_does_not_exist_is_the_targets_fault(bed: Bed) {
    bed.prepare().await;
    let missing = Outgoing {
        to: Target::Exchange(unique("missing"), "key".to_owned()),
        ..to_queue(&bed.queue, "lost?")
    };
    let error = bed.broker.publish(missing).await.expect_err("no exchange");
    assert!(error.is_undeliverable(), "{error}");
    bed.publish(["the next one is confirmed"]).await;
}

/// Hazard: lapin and RabbitMQ | confirmations of publishes that overlap are mixed up | one task publishes on a channel
async fn each_of_many_publishes_at_once_gets_its_own_answer(bed: Bed) {
    bed.prepare().await;
    let missing = unique("missing");
    let publishers: Vec<_> = (0..40)
        .map(|publisher| {
            let (queue, missing) = (bed.queue.clone(), missing.clone());
            let broker = bed.broker.clone();
            tokio::spawn(async move {
                for n in 0..50 {
                    let bad = (publisher + n) % 3 == 0;
                    let target = if bad { &missing } else { &queue };
                    let message = to_queue(target, format!("message {n} of {publisher}"));
                    match (bad, broker.publish(message).await) {
                        (false, Ok(_)) | (true, Err(PublishError::Returned(_))) => {}
                        (_, answer) => panic!("{n} of {publisher} to {target}: {answer:?}"),
                    }
                }
            })
        })
        .collect();
    for publisher in publishers {
        publisher.await.expect("each has its own answer");
    }
}

async fn many_publishes_at_once_all_arrive(bed: Bed) {
    bed.prepare().await;
    let all: BTreeSet<String> = (0..500).map(|n| format!("message {n}")).collect();
    let publishes: Vec<_> = all
        .iter()
        .map(|text| {
            let message = to_queue(&bed.queue, text);
            let broker = bed.broker.clone();
            tokio::spawn(async move { broker.publish(message).await })
        })
        .collect();
    for publish in publishes {
        let confirmed = publish.await.expect("an answer");
        confirmed.expect("a confirmation");
    }
    let (mut consumer, mut got) = (bed.consumer(100).await, BTreeSet::new());
    while got.len() < all.len() {
        let delivery = consumer.next().await;
        assert!(got.insert(body(&delivery)), "{} twice", body(&delivery));
        consumer.ack(delivery.ticket);
    }
    assert_eq!(got, all);
}

async fn a_message_that_cannot_be_written_is_invalid(bed: Bed) {
    bed.prepare().await;
    let long = "n".repeat(300);
    let cases = [
        to_queue(&long, "a queue's name is too long"),
        Outgoing {
            id: Some(long.clone()),
            ..to_queue(&bed.queue, "its id is too long")
        },
        Outgoing {
            headers: vec![Header::text(long.clone(), "value")],
            ..to_queue(&bed.queue, "a header's name is too long")
        },
    ];
    for message in cases {
        let about = String::from_utf8_lossy(&message.body).into_owned();
        match bed.broker.publish(message).await {
            Err(PublishError::Invalid(_)) => {}
            answer => panic!("{about}: {answer:?}"),
        }
    }
    bed.publish(["the next one is confirmed"]).await;
}

async fn a_dead_letter_keeps_what_the_host_says_about_it(mut bed: Bed) {
    bed.prepare().await;
    let dead = dead_queue(&bed.queue);
    let letter = Outgoing {
        headers: vec![Header::text("x-holdfast-reason", "rejected")],
        ..to_queue(&dead, "poison")
    };
    bed.broker.publish(letter).await.expect("a confirmation");
    bed.depth_becomes(&dead, 1).await;
    bed.queue = dead;
    bed.consumer(1).await.expect("poison").await;
}

async fn after_a_close_nothing_is_published(bed: Bed) {
    bed.prepare().await;
    bed.other.close().await;
    bed.other.close().await;
    assert!(!bed.other.is_up());
    let answer = bed.other.publish(to_queue(&bed.queue, "late")).await;
    assert!(matches!(answer, Err(PublishError::Away(_))), "{answer:?}");
}
