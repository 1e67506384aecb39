//! Two sides of one group, and the operator between them.

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast_core::claim::{
    BeginAnswer, CommitAnswer, Look, ParkReason, ReleaseAnswer, StateName, StepAnswer,
};
use holdfast_core::cutover::{Percent, Rule};

use super::bed::{Bed, eventually, side};
use super::cases;

cases![
    a_key_given_to_the_other_side_is_recorded_and_sticks,
    a_claim_of_the_other_side_is_foreign_in_every_state,
    an_assigned_key_is_taken_over_once_the_time_for_its_owner_is_up,
    a_key_that_its_owner_has_begun_is_never_taken_over,
    a_new_key_is_decided_by_the_current_rule_only,
    a_look_finds_what_is_worth_asking_for,
    a_released_claim_is_forgotten_and_decided_anew,
    a_release_can_name_the_next_owner,
    a_running_claim_is_released_by_force_only,
    a_finished_or_committed_claim_is_never_released,
    only_a_given_up_claim_is_replayed,
    a_replayed_claim_starts_from_attempt_one_for_its_side,
];

fn foreign<S, O>(state: StateName) -> BeginAnswer<S, O> {
    BeginAnswer::Foreign {
        side: side("old"),
        state,
    }
}

async fn a_key_given_to_the_other_side_is_recorded_and_sticks(bed: Bed) {
    let here = bed.message("k").given_to("old");
    let assigned = BeginAnswer::Assigned { side: side("old") };
    assert_eq!(here.begin().await, assigned);
    let view = here.show().await.expect("the decision is recorded");
    assert_eq!(
        (view.side, view.state, view.attempt),
        (side("old"), StateName::Assigned, 0)
    );
    // The rule has been flipped: it would now give the key to this side.
    let later = here.again().given_to("new");
    assert_eq!(later.begin().await, foreign(StateName::Assigned));
    let owner = here.on("old").given_to("new");
    assert_eq!(owner.granted().await.attempt, 1);
}

async fn a_claim_of_the_other_side_is_foreign_in_every_state(bed: Bed) {
    let owner = bed.message("k").on("old");
    let here = bed.message("k");
    owner.granted().await;
    assert_eq!(here.begin().await, foreign(StateName::Running));
    owner.fail("no").await;
    assert_eq!(here.begin().await, foreign(StateName::Failed));
    let owner = owner.again();
    owner.granted().await;
    owner.park(ParkReason::Rejected).await;
    assert_eq!(here.begin().await, foreign(StateName::Parking));
    owner.buried().await;
    assert_eq!(here.begin().await, foreign(StateName::Parked));

    let owner = bed.message("other").on("old");
    owner.done().await;
    assert_eq!(bed.message("other").begin().await, foreign(StateName::Done));
}

async fn an_assigned_key_is_taken_over_once_the_time_for_its_owner_is_up(bed: Bed) {
    let here = bed.message("k").given_to("old").assign_timeout_ms(60);
    here.begin().await;
    let grant = eventually("the time for the owner is up", async || {
        match here.again().given_to("old").begin().await {
            BeginAnswer::Foreign { .. } => None,
            BeginAnswer::Granted { attempt, .. } => Some(attempt),
            other => panic!("{other:?}"),
        }
    })
    .await;
    assert_eq!(grant, 1);
    let late = here.on("old").begin().await;
    let taken = BeginAnswer::Foreign {
        side: side("new"),
        state: StateName::Running,
    };
    assert_eq!(late, taken);
}

async fn a_key_that_its_owner_has_begun_is_never_taken_over(bed: Bed) {
    let owner = bed.message("k").on("old").lock_ms(1);
    owner.granted().await;
    owner.fail("no").await;
    let here = bed.message("k").assign_timeout_ms(0);
    assert_eq!(here.begin().await, foreign(StateName::Failed));
    let owner = owner.again().lock_ms(0);
    owner.granted().await;
    assert_eq!(here.begin().await, foreign(StateName::Running));
}

async fn a_new_key_is_decided_by_the_current_rule_only(bed: Bed) {
    let rule = Rule {
        from: side("old"),
        to: side("new"),
        enabled: true,
        percent: Percent::ALL,
        allow: BTreeSet::new(),
        assign_timeout: Duration::from_secs(60),
        revision: 0,
    };
    let early = bed.message("k").by_rule(1);
    assert_eq!(early.begin().await, BeginAnswer::RuleMoved, "there is none");
    let first = bed.store.set_rule(&bed.group, &rule, 0).await;
    let first = first.expect("set rule").expect("there was none").revision;
    let known = bed.message("known").by_rule(first);
    known.granted().await;
    known.fail("no").await;
    let second = bed.store.set_rule(&bed.group, &rule, first).await;
    let second = second.expect("set rule").expect("it was current").revision;
    for owner in ["new", "old"] {
        let message = bed.message(owner).given_to(owner).sequence(1);
        let stale = message.clone().by_rule(first);
        assert_eq!(stale.begin().await, BeginAnswer::RuleMoved);
        assert_eq!(stale.show().await, None, "nothing was decided");
        let current = message.by_rule(second);
        match current.begin().await {
            BeginAnswer::Granted { .. } => assert_eq!(owner, "new"),
            BeginAnswer::Assigned { .. } => assert_eq!(owner, "old"),
            other => panic!("{other:?}"),
        }
    }
    // A known key keeps its side, whichever rule its host has.
    assert_eq!(known.again().granted().await.attempt, 2);
}

async fn a_look_finds_what_is_worth_asking_for(bed: Bed) {
    let held = |key: &str| bed.message(key).on("old").at;
    let look = async |keys: &[&str], wait_ms: u64| {
        let held: Vec<_> = keys.iter().map(|key| held(key)).collect();
        let wait = Duration::from_millis(wait_ms);
        let looks = bed.store.look_at(&held, &side("old"), wait).await;
        looks.expect("look")
    };
    assert_eq!(look(&[], 1).await, []);
    bed.message("assigned")
        .on("old")
        .given_to("new")
        .begin()
        .await;
    bed.message("running").granted().await;
    let failed = bed.message("failed");
    failed.granted().await;
    failed.fail("no").await;
    let parking = bed.message("parking");
    parking.granted().await;
    parking.park(ParkReason::Rejected).await;
    let unfinished = ["running", "failed", "parking", "assigned"];
    for (key, look) in unfinished.iter().zip(look(&unfinished, 600_000).await) {
        match look {
            Look::Foreign { age, overdue_in } => {
                assert!(age < Duration::from_secs(60), "{key} {age:?}");
                assert_eq!(overdue_in.is_some(), *key == "assigned", "{key}");
                let late = overdue_in.unwrap_or_default();
                assert!(late <= Duration::from_secs(600), "{late:?}");
            }
            Look::Ask => panic!("{key} is the other side's"),
        }
    }
    assert_eq!(look(&["assigned"], 0).await, [Look::Ask], "overdue");
    bed.message("done").done().await;
    bed.message("parked").parked().await;
    bed.message("mine").on("old").granted().await;
    let ask = ["done", "nothing", "parked", "mine"];
    assert_eq!(look(&ask, 600_000).await, [Look::Ask; 4]);
    // More than fit into one call, with a needle among them.
    let many: Vec<String> = (0..300).map(|n| format!("many: {n}")).collect();
    for key in &many {
        bed.message(key).on("old").given_to("new").begin().await;
    }
    bed.message("many: 257").done().await;
    let many: Vec<&str> = many.iter().map(String::as_str).collect();
    let found = look(&many, 600_000).await;
    let ask: Vec<_> = (0..300).filter(|n| found[*n] == Look::Ask).collect();
    assert_eq!(ask, [257]);
}

async fn a_released_claim_is_forgotten_and_decided_anew(bed: Bed) {
    let message = bed.message("k").body("b");
    assert_eq!(message.release(None, false).await, ReleaseAnswer::NotFound);
    let before = message.granted().await;
    message.fail("no").await;
    assert_eq!(message.release(None, false).await, ReleaseAnswer::Released);
    let other = message.on("old");
    let grant = other.granted().await;
    assert_eq!(grant.attempt, 1);
    assert!(grant.fence > before.fence);
    assert_eq!(message.commit().await, CommitAnswer::Lost);
}

async fn a_release_can_name_the_next_owner(bed: Bed) {
    let message = bed.message("k");
    message.granted().await;
    message.fail("no").await;
    let answer = message.release(Some("old"), false).await;
    assert_eq!(answer, ReleaseAnswer::Released);
    let here = message.again().begin().await;
    assert_eq!(here, foreign(StateName::Assigned));
    let grant = message.on("old").granted().await;
    assert_eq!((grant.attempt, grant.error), (1, None));
}

async fn a_running_claim_is_released_by_force_only(bed: Bed) {
    let message = bed.message("k");
    message.granted().await;
    match message.release(None, false).await {
        ReleaseAnswer::Locked { wait } => assert!(wait <= message.facts.lock, "{wait:?}"),
        other => panic!("{other:?}"),
    }
    assert_eq!(message.granted().await.attempt, 1, "nothing has changed");
    assert_eq!(message.release(None, true).await, ReleaseAnswer::Released);
    assert_eq!(message.commit().await, CommitAnswer::Lost);
    assert_eq!(message.fail("late").await, StepAnswer::Lost);
}

async fn a_finished_or_committed_claim_is_never_released(bed: Bed) {
    let done = bed.message("done");
    done.done().await;
    let refused = ReleaseAnswer::Refused(StateName::Done);
    assert_eq!(done.release(None, true).await, refused);
    assert_eq!(done.again().begin().await, BeginAnswer::Done);

    let parked = bed.message("parked");
    parked.granted().await;
    parked.park(ParkReason::Rejected).await;
    let refused = ReleaseAnswer::Refused(StateName::Parking);
    assert_eq!(parked.release(Some("old"), true).await, refused);
    parked.buried().await;
    let refused = ReleaseAnswer::Refused(StateName::Parked);
    assert_eq!(parked.release(None, true).await, refused);
}

async fn only_a_given_up_claim_is_replayed(bed: Bed) {
    let message = bed.message("k");
    assert_eq!(message.replay().await, ReleaseAnswer::NotFound);
    message.granted().await;
    let refused = ReleaseAnswer::Refused(StateName::Running);
    assert_eq!(message.replay().await, refused);
    message.fail("no").await;
    let refused = ReleaseAnswer::Refused(StateName::Failed);
    assert_eq!(message.replay().await, refused);
    let message = message.again();
    message.done().await;
    let refused = ReleaseAnswer::Refused(StateName::Done);
    assert_eq!(message.replay().await, refused);
}

async fn a_replayed_claim_starts_from_attempt_one_for_its_side(bed: Bed) {
    let message = bed.message("k").body("b");
    let before = message.granted().await;
    message.fail("no").await;
    message.again().parked().await;
    assert_eq!(message.replay().await, ReleaseAnswer::Released);
    assert_eq!(message.replay().await, ReleaseAnswer::Released, "again");
    assert_eq!(
        message.on("old").begin().await,
        BeginAnswer::Foreign {
            side: side("new"),
            state: StateName::Failed,
        }
    );
    let other_body = message.again().body("another");
    assert_eq!(other_body.begin().await, BeginAnswer::Conflict);
    let message = message.again();
    let grant = message.granted().await;
    assert_eq!(grant.attempt, 1);
    assert!(grant.fence > before.fence);
    assert_eq!(message.commit().await, CommitAnswer::Done);
}
