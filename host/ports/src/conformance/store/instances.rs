//! Which instances are there.

use std::time::Duration;

use super::bed::{Bed, eventually};
use super::cases;
use crate::store::Present;

cases![
    instances_that_are_there_see_each_other,
    an_instance_that_leaves_is_gone_at_once,
    an_instance_that_says_nothing_is_gone_after_its_time,
    an_instance_that_says_so_again_stays,
    rosters_are_independent,
    an_instance_that_comes_or_leaves_wakes_those_who_watch,
];

const LONG: Duration = Duration::from_secs(60);

fn roster(bed: &Bed) -> String {
    bed.group.to_string()
}

async fn attend(bed: &Bed, instance: u64, stay: Option<Duration>) -> Vec<Present> {
    let there = bed.store.attend(&roster(bed), instance, stay).await;
    let mut there = there.expect("attend");
    there.sort_unstable_by_key(|present| present.instance);
    there
}

fn who(there: &[Present]) -> Vec<u64> {
    there.iter().map(|present| present.instance).collect()
}

async fn instances_that_are_there_see_each_other(bed: Bed) {
    assert_eq!(who(&attend(&bed, 7, Some(LONG)).await), [7]);
    let there = attend(&bed, u64::MAX, Some(LONG)).await;
    assert_eq!(who(&there), [7, u64::MAX]);
    for present in there {
        let left = present.left;
        assert!(left > Duration::from_secs(30) && left <= LONG, "{left:?}");
    }
}

async fn an_instance_that_leaves_is_gone_at_once(bed: Bed) {
    attend(&bed, 1, Some(LONG)).await;
    attend(&bed, 2, Some(LONG)).await;
    assert_eq!(who(&attend(&bed, 1, None).await), [2]);
    assert_eq!(who(&attend(&bed, 1, None).await), [2], "leaving again");
    assert_eq!(who(&attend(&bed, 2, None).await), [0; 0]);
}

async fn an_instance_that_says_nothing_is_gone_after_its_time(bed: Bed) {
    attend(&bed, 1, Some(Duration::from_millis(60))).await;
    eventually("the first is gone", async || {
        let there = attend(&bed, 2, Some(LONG)).await;
        (who(&there) == [2]).then_some(())
    })
    .await;
}

async fn an_instance_that_says_so_again_stays(bed: Bed) {
    attend(&bed, 1, Some(Duration::from_millis(300))).await;
    let there = attend(&bed, 1, Some(LONG)).await;
    assert_eq!(who(&there), [1]);
    assert!(there[0].left > Duration::from_secs(30), "{there:?}");
}

async fn rosters_are_independent(bed: Bed) {
    attend(&bed, 1, Some(LONG)).await;
    for other in ["", ".2", "*"] {
        let name = format!("{}{other}x", bed.group);
        let there = bed.store.attend(&name, 2, Some(LONG)).await;
        assert_eq!(who(&there.expect("attend")), [2], "{name}");
        let there = bed.store.attend(&name, 2, None).await;
        assert_eq!(there.expect("attend"), []);
    }
    assert_eq!(who(&attend(&bed, 1, Some(LONG)).await), [1]);
}

async fn an_instance_that_comes_or_leaves_wakes_those_who_watch(bed: Bed) {
    for stay in [Some(LONG), None] {
        let watching = bed.store.clone();
        let watch = tokio::spawn(async move { watching.changed().await });
        eventually("the watcher wakes", async || {
            attend(&bed, 1, stay.xor(Some(LONG))).await;
            attend(&bed, 1, stay).await;
            watch.is_finished().then_some(())
        })
        .await;
        watch.await.expect("the watcher ends");
    }
}
