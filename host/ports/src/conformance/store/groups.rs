//! What belongs to a group as a whole: rules, switches, lists of claims.

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast_core::claim::{ParkReason, StateName};
use holdfast_core::cutover::{Percent, Rule};

use super::bed::{Bed, side};
use super::cases;
use crate::store::{Agreement, GroupRules};

cases![
    the_first_host_sets_the_rules_of_a_group_and_others_agree_or_differ,
    a_cut_over_rule_is_kept_whole,
    a_racing_change_of_a_rule_is_refused,
    of_many_racing_changes_one_wins,
    unfinished_claims_are_listed_and_finished_ones_only_when_asked_for,
    a_list_is_bounded_and_stays_in_its_group,
];

fn rules(rules: &[(&str, &str)]) -> GroupRules {
    GroupRules {
        rules: rules
            .iter()
            .map(|(name, value)| ((*name).to_owned(), (*value).to_owned()))
            .collect(),
    }
}

async fn the_first_host_sets_the_rules_of_a_group_and_others_agree_or_differ(bed: Bed) {
    let ours = rules(&[("slot", "group"), ("key", "header:id"), ("ordered", "true")]);
    for _ in 0..2 {
        let agreed = bed.store.agree(&bed.group, &ours).await.expect("agree");
        assert_eq!(agreed, Agreement::Agreed);
    }
    let shuffled = rules(&[("ordered", "true"), ("slot", "group"), ("key", "header:id")]);
    let agreed = bed.store.agree(&bed.group, &shuffled).await;
    assert_eq!(agreed.expect("agree"), Agreement::Agreed);
    let other = rules(&[("slot", "group"), ("key", "json:/id"), ("ordered", "true")]);
    let difference = (
        "key".to_owned(),
        "json:/id".to_owned(),
        "header:id".to_owned(),
    );
    for _ in 0..2 {
        let differs = bed.store.agree(&bed.group, &other).await.expect("agree");
        assert_eq!(differs, Agreement::Differs(vec![difference.clone()]));
    }
}

fn rule(hundredths: u16) -> Rule {
    Rule {
        from: side("old"),
        to: side("new"),
        enabled: true,
        percent: Percent::from_hundredths(hundredths).expect("a percentage"),
        allow: BTreeSet::from(["vip".to_owned(), "é: \"x\", {y}".to_owned()]),
        assign_timeout: Duration::from_millis(60_001),
        revision: 77,
    }
}

async fn a_cut_over_rule_is_kept_whole(bed: Bed) {
    assert_eq!(bed.store.rule(&bed.group).await.expect("rule"), None);
    let set = bed.store.set_rule(&bed.group, &rule(3333), 0).await;
    let kept = set.expect("set rule").expect("there was none");
    let expected = Rule {
        revision: kept.revision,
        ..rule(3333)
    };
    assert_eq!(kept, expected);
    assert!(kept.revision > 0);
    let read = bed.store.rule(&bed.group).await.expect("rule");
    assert_eq!(read, Some(kept.clone()));

    let mut off = rule(0);
    off.enabled = false;
    off.allow = BTreeSet::new();
    let set = bed.store.set_rule(&bed.group, &off, kept.revision).await;
    let second = set.expect("set rule").expect("the revision is current");
    assert!(second.revision > kept.revision);
    assert_eq!((second.enabled, second.allow.len()), (false, 0));
    let read = bed.store.rule(&bed.group).await.expect("rule");
    assert_eq!(read, Some(second));
}

async fn a_racing_change_of_a_rule_is_refused(bed: Bed) {
    let first = bed.store.set_rule(&bed.group, &rule(1), 0).await;
    let first = first.expect("set rule").expect("there was none");
    for expected in [0, first.revision + 1] {
        let refused = bed.store.set_rule(&bed.group, &rule(2), expected).await;
        assert_eq!(refused.expect("set rule"), Err(first.clone()));
    }
    let read = bed.store.rule(&bed.group).await.expect("rule");
    assert_eq!(read, Some(first));
}

async fn of_many_racing_changes_one_wins(bed: Bed) {
    let mut racing = tokio::task::JoinSet::new();
    for percent in 0..16 {
        let bed = bed.clone();
        racing.spawn(async move { bed.store.set_rule(&bed.group, &rule(percent), 0).await });
    }
    let won = racing
        .join_all()
        .await
        .into_iter()
        .filter(|answer| matches!(answer, Ok(Ok(_))))
        .count();
    assert_eq!(won, 1);
}

async fn keys(bed: &Bed, state: Option<StateName>, limit: usize) -> Vec<String> {
    let listed = bed.store.list(&bed.group, state, limit).await;
    let mut keys: Vec<_> = listed
        .expect("list")
        .into_iter()
        .map(|view| view.key.to_string())
        .collect();
    keys.sort_unstable();
    keys
}

async fn unfinished_claims_are_listed_and_finished_ones_only_when_asked_for(bed: Bed) {
    bed.message("assigned").given_to("old").begin().await;
    bed.message("running").granted().await;
    let failed = bed.message("failed: é");
    failed.granted().await;
    failed.fail("no").await;
    let parking = bed.message("parking");
    parking.granted().await;
    parking.park(ParkReason::Rejected).await;
    bed.message("done").done().await;
    bed.message("parked").parked().await;
    assert_eq!(
        keys(&bed, None, 100).await,
        ["assigned", "failed: é", "parking", "running"]
    );
    for (state, key) in [
        (StateName::Assigned, "assigned"),
        (StateName::Failed, "failed: é"),
        (StateName::Running, "running"),
        (StateName::Parking, "parking"),
        (StateName::Done, "done"),
        (StateName::Parked, "parked"),
    ] {
        assert_eq!(keys(&bed, Some(state), 100).await, [key], "{state}");
    }
}

async fn a_list_is_bounded_and_stays_in_its_group(bed: Bed) {
    let neighbour = Bed::new(bed.store.clone());
    neighbour.message("elsewhere").granted().await;
    for n in 0..5 {
        bed.message(&format!("{n}")).granted().await;
    }
    assert_eq!(keys(&bed, None, 3).await.len(), 3);
    assert_eq!(keys(&bed, None, 100).await, ["0", "1", "2", "3", "4"]);
    let released = bed.message("4");
    released.release(None, true).await;
    assert_eq!(keys(&bed, None, 100).await, ["0", "1", "2", "3"]);
}
