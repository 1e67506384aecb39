//! Queues, their depth, and the incarnation id beside them.

use super::bed::{Bed, STEP, unique};
use super::cases;
use crate::broker::{Incarnation, Keep, Topology, dead_queue, delay_queue};

cases![
    preparing_twice_finds_nothing,
    what_is_not_to_be_declared_must_exist,
    the_depth_counts_what_is_ready,
    the_incarnation_is_kept_and_replaced,
    a_kept_incarnation_is_renewed_but_not_by_whoever_remembers_another_store,
];

async fn preparing_twice_finds_nothing(bed: Bed) {
    bed.prepare().await;
    bed.publish(["a"]).await;
    bed.prepare().await;
    bed.depth_becomes(&bed.queue, 1).await;
    let mut passive = bed.topology();
    passive.declare = false;
    let findings = bed.other.prepare(&passive).await.expect("an answer");
    let fatal: Vec<_> = findings.iter().filter(|finding| finding.fatal).collect();
    assert!(fatal.is_empty(), "{fatal:?}");
}

/// Bad input: Broker | a queue that is not there and not to be declared | said at start
async fn what_is_not_to_be_declared_must_exist(bed: Bed) {
    let topology = Topology {
        declare: false,
        ..bed.topology()
    };
    let findings = bed.broker.prepare(&topology).await.expect("an answer");
    for queue in [
        bed.queue.clone(),
        dead_queue(&bed.queue),
        delay_queue(&bed.queue, STEP),
    ] {
        let found = findings.iter().find(|finding| finding.queue == queue);
        let found = found.unwrap_or_else(|| panic!("nothing about {queue}: {findings:?}"));
        assert!(found.fatal, "{found:?}");
        let depth = bed.broker.depth(&queue).await.expect("a depth");
        assert_eq!(depth, None, "{queue} was declared nevertheless");
    }
}

async fn the_depth_counts_what_is_ready(bed: Bed) {
    let missing = bed.broker.depth(&bed.queue).await.expect("a depth");
    assert_eq!(missing, None);
    bed.prepare().await;
    bed.depth_becomes(&bed.queue, 0).await;
    bed.publish(["a", "b", "c"]).await;
    bed.depth_becomes(&bed.queue, 3).await;
    let mut consumer = bed.consumer(1).await;
    let first = consumer.expect("a").await;
    bed.depth_becomes(&bed.queue, 2).await;
    consumer.abandon(first.ticket);
}

async fn the_incarnation_is_kept_and_replaced(bed: Bed) {
    let service = unique("service");
    let get = async || {
        let look = bed.other.incarnation(&service, Keep::Look).await;
        look.expect("read")
    };
    assert_eq!(get().await, None, "nothing was kept yet");
    let mut last = None;
    for pulse in [1, 2, 900, 3] {
        let put = Incarnation {
            id: format!("id-{}", pulse % 2),
            pulse,
        };
        let keep = Keep::Replace(put.clone());
        let kept = bed.broker.incarnation(&service, keep).await;
        let kept = kept.expect("written");
        // A broker that forgets at a restart says that it keeps nothing.
        last = kept.as_ref().map(|_| put);
        assert_eq!(kept, last);
        for _ in 0..3 {
            assert_eq!(get().await, last, "every reader sees it");
        }
    }
    let other = unique("service");
    let foreign = bed.broker.incarnation(&other, Keep::Look).await;
    let foreign = foreign.expect("read");
    assert_eq!(foreign, None, "another service has its own");
    assert_eq!(get().await, last);
}

async fn a_kept_incarnation_is_renewed_but_not_by_whoever_remembers_another_store(bed: Bed) {
    let service = unique("service");
    let renew = async |id: &str, pulse| {
        let remembered = Incarnation {
            id: id.to_owned(),
            pulse,
        };
        let kept = bed.broker.incarnation(&service, Keep::Renew(remembered));
        let kept = kept.await.expect("kept");
        kept.map(|kept| (kept.id, kept.pulse))
    };
    let Some(first) = renew("a", 5).await else {
        return; // This broker keeps nothing.
    };
    assert_eq!(first, ("a".to_owned(), 5));
    for (id, pulse, kept) in [("a", 7, 7), ("a", 6, 7), ("b", 9, 7), ("a", 8, 8)] {
        assert_eq!(renew(id, pulse).await, Some(("a".to_owned(), kept)));
    }
}
