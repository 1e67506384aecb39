//! Who leads a consumer, and what a deposed leader can still do: nothing.

use std::time::Duration;

use holdfast_core::claim::{BeginAnswer, CommitAnswer, FencedBy, ParkReason, StepAnswer};

use super::bed::{Bed, eventually};
use super::cases;
use crate::store::LeaseAnswer;

cases![
    one_owner_at_a_time_has_the_lease,
    an_acquisition_asked_again_is_the_same_one,
    a_renewal_extends_only_a_lease_that_is_still_ours,
    a_lease_that_was_given_back_is_free_at_once,
    a_lease_runs_out_by_itself,
    a_lease_that_ran_out_is_nobodys_even_if_no_other_took_it,
    the_epoch_grows_with_every_acquisition,
    leases_of_different_consumers_are_independent,
    a_step_under_the_current_epoch_is_taken,
    a_deposed_leader_can_record_nothing,
    a_step_without_a_leader_is_fenced,
    a_new_leader_breaks_the_lock_of_the_old_one,
    a_claim_that_a_deposed_leader_committed_is_still_closed,
    giving_a_lease_back_wakes_those_who_watch,
];

const LONG: Duration = Duration::from_secs(60);

async fn one_owner_at_a_time_has_the_lease(bed: Bed) {
    let of = bed.lease("orders");
    assert_eq!(bed.store.leader(&of).await.expect("leader"), None);
    let epoch = bed.lead("orders", 1, LONG).await;
    for _ in 0..2 {
        match bed.store.acquire(&of, 2, LONG).await.expect("acquire") {
            LeaseAnswer::Held { left } => {
                assert!(left > Duration::from_secs(30) && left <= LONG, "{left:?}");
            }
            other => panic!("{other:?}"),
        }
    }
    let view = bed.store.leader(&of).await.expect("leader");
    let view = view.expect("somebody leads");
    assert_eq!((view.owner, view.epoch), (1, epoch));
    assert!(view.left <= LONG);
}

async fn an_acquisition_asked_again_is_the_same_one(bed: Bed) {
    let owner = u64::MAX;
    let first = bed.lead("orders", owner, LONG).await;
    assert_eq!(bed.lead("orders", owner, LONG).await, first);
    let view = bed
        .store
        .leader(&bed.lease("orders"))
        .await
        .expect("leader");
    assert_eq!(view.map(|view| view.owner), Some(owner));
}

async fn a_renewal_extends_only_a_lease_that_is_still_ours(bed: Bed) {
    let of = bed.lease("orders");
    let gone = bed.store.renew(&of, 1, LONG).await.expect("renew");
    assert_eq!(gone, LeaseAnswer::Gone);
    let epoch = bed.lead("orders", 1, Duration::from_secs(30)).await;
    let ours = bed.store.renew(&of, 1, LONG).await.expect("renew");
    assert_eq!(ours, LeaseAnswer::Ours { epoch });
    let view = bed.store.leader(&of).await.expect("leader");
    assert!(view.expect("somebody leads").left > Duration::from_secs(40));
    let held = bed.store.renew(&of, 2, LONG).await.expect("renew");
    assert!(matches!(held, LeaseAnswer::Held { .. }), "{held:?}");
}

async fn a_lease_that_was_given_back_is_free_at_once(bed: Bed) {
    let of = bed.lease("orders");
    let epoch = bed.lead("orders", 1, LONG).await;
    let other = bed.store.give_back(&of, 2).await.expect("give back");
    assert!(matches!(other, LeaseAnswer::Held { .. }), "{other:?}");
    let ours = bed.store.give_back(&of, 1).await.expect("give back");
    assert_eq!(ours, LeaseAnswer::Ours { epoch });
    let again = bed.store.give_back(&of, 1).await.expect("give back");
    assert_eq!(again, LeaseAnswer::Gone);
    assert_eq!(bed.store.leader(&of).await.expect("leader"), None);
    assert!(bed.lead("orders", 2, LONG).await > epoch);
}

async fn a_lease_runs_out_by_itself(bed: Bed) {
    let of = bed.lease("orders");
    let epoch = bed.lead("orders", 1, Duration::from_millis(60)).await;
    let next = eventually("the lease runs out", async || {
        match bed.store.acquire(&of, 2, LONG).await.expect("acquire") {
            LeaseAnswer::Ours { epoch } => Some(epoch),
            LeaseAnswer::Held { .. } => None,
            LeaseAnswer::Gone => panic!("acquire never answers gone"),
        }
    })
    .await;
    assert!(next > epoch);
    let late = bed.store.renew(&of, 1, LONG).await.expect("renew");
    assert!(matches!(late, LeaseAnswer::Held { .. }), "{late:?}");
}

async fn a_lease_that_ran_out_is_nobodys_even_if_no_other_took_it(bed: Bed) {
    let of = bed.lease("orders");
    let epoch = bed.lead("orders", 1, LONG).await;
    let message = bed.message("k").led(&of, epoch);
    message.granted().await;
    let short = Duration::from_millis(40);
    let ours = bed.store.renew(&of, 1, short).await.expect("renew");
    assert_eq!(ours, LeaseAnswer::Ours { epoch });
    eventually("the lease runs out", async || {
        let leader = bed.store.leader(&of).await.expect("leader");
        leader.is_none().then_some(())
    })
    .await;
    let late = bed.store.renew(&of, 1, LONG).await.expect("renew");
    assert_eq!(late, LeaseAnswer::Gone);
    let late = bed.store.give_back(&of, 1).await.expect("give back");
    assert_eq!(late, LeaseAnswer::Gone);
    assert_eq!(
        message.commit().await,
        CommitAnswer::Fenced(FencedBy::Epoch)
    );
    assert!(bed.lead("orders", 1, LONG).await > epoch);
}

async fn the_epoch_grows_with_every_acquisition(bed: Bed) {
    let of = bed.lease("orders");
    let mut last = 0;
    for owner in 1..6 {
        let epoch = bed.lead("orders", owner, LONG).await;
        assert!(epoch > last, "{epoch} after {last}");
        last = epoch;
        bed.store.give_back(&of, owner).await.expect("give back");
    }
}

async fn leases_of_different_consumers_are_independent(bed: Bed) {
    bed.lead("orders", 1, LONG).await;
    bed.lead("payments", 2, LONG).await;
}

async fn a_step_under_the_current_epoch_is_taken(bed: Bed) {
    let of = bed.lease("orders");
    let epoch = bed.lead("orders", 1, LONG).await;
    let message = bed.message("k").led(&of, epoch);
    message.granted().await;
    assert_eq!(message.fail("no").await, StepAnswer::Ok);
    message.again().done().await;
}

async fn a_deposed_leader_can_record_nothing(bed: Bed) {
    let of = bed.lease("orders");
    let old = bed.lead("orders", 1, LONG).await;
    let running = bed.message("running").led(&of, old);
    let grant = running.granted().await;
    bed.store.give_back(&of, 1).await.expect("give back");
    let new = bed.lead("orders", 2, LONG).await;
    let fenced = FencedBy::Epoch;
    assert_eq!(running.commit().await, CommitAnswer::Fenced(fenced));
    assert_eq!(running.fail("late").await, StepAnswer::Fenced(fenced));
    assert_eq!(
        running.park(ParkReason::Rejected).await,
        StepAnswer::Fenced(fenced)
    );
    assert_eq!(running.abandon().await, StepAnswer::Fenced(fenced));
    let fresh = bed.message("fresh").led(&of, old);
    assert_eq!(fresh.begin().await, BeginAnswer::Fenced(fenced));
    assert_eq!(fresh.show().await, None);
    let next = running.again().led(&of, new).granted().await;
    assert_eq!((next.attempt, next.error), (2, None));
    assert!(next.fence > grant.fence);
}

async fn a_step_without_a_leader_is_fenced(bed: Bed) {
    let of = bed.lease("orders");
    let epoch = bed.lead("orders", 1, LONG).await;
    let message = bed.message("k").led(&of, epoch);
    message.granted().await;
    bed.store.give_back(&of, 1).await.expect("give back");
    assert_eq!(
        message.commit().await,
        CommitAnswer::Fenced(FencedBy::Epoch)
    );
    assert_eq!(message.begin().await, BeginAnswer::Fenced(FencedBy::Epoch));
}

async fn a_new_leader_breaks_the_lock_of_the_old_one(bed: Bed) {
    let of = bed.lease("orders");
    let old = bed.lead("orders", 1, LONG).await;
    let message = bed.message("k").led(&of, old);
    message.granted().await;
    let same_epoch = message.again().begin().await;
    assert!(
        matches!(same_epoch, BeginAnswer::Busy { .. }),
        "{same_epoch:?}"
    );
    bed.store.give_back(&of, 1).await.expect("give back");
    let new = bed.lead("orders", 2, LONG).await;
    let taken = message.again().led(&of, new).granted().await;
    assert_eq!(taken.attempt, 2);
}

async fn a_claim_that_a_deposed_leader_committed_is_still_closed(bed: Bed) {
    let of = bed.lease("orders");
    let old = bed.lead("orders", 1, LONG).await;
    let message = bed.message("k").led(&of, old);
    message.granted().await;
    message.park(ParkReason::Rejected).await;
    bed.store.give_back(&of, 1).await.expect("give back");
    assert_eq!(message.buried().await, StepAnswer::Ok);
}

async fn giving_a_lease_back_wakes_those_who_watch(bed: Bed) {
    let watching = bed.store.clone();
    let watch = tokio::spawn(async move { watching.changed().await });
    let mut owner = 0;
    eventually("the watcher wakes", async || {
        owner += 1;
        bed.lead("orders", owner, LONG).await;
        let of = bed.lease("orders");
        bed.store.give_back(&of, owner).await.expect("give back");
        watch.is_finished().then_some(())
    })
    .await;
    watch.await.expect("the watcher ends");
}
