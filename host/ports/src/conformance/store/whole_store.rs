//! The store as a whole: which one it is, flags and totals.

use holdfast_core::claim::{BeginAnswer, CommitAnswer, FencedBy, StepAnswer};

use super::bed::{Bed, Message, unique};
use super::cases;
use crate::error::Kind;
use crate::store::{Addition, Begin, Commit, Incarnation, Open};

cases![
    a_store_keeps_the_incarnation_it_was_given,
    the_pulse_grows_by_one,
    an_accepted_store_has_a_new_incarnation,
    whoever_remembers_more_does_not_raise_the_pulse,
    in_a_store_that_is_not_the_expected_one_nothing_is_recorded,
    in_an_older_copy_of_the_expected_store_nothing_is_recorded,
    flags_are_kept_until_they_are_deleted,
    a_flag_prefix_is_text_and_not_a_pattern,
    totals_add_up_and_each_addition_counts_once,
    a_store_that_answers_is_up,
];

async fn identity(bed: &Bed) -> Incarnation {
    let found = bed.store.open(Open::Create).await.expect("open");
    found.expect("there is an incarnation now").incarnation
}

async fn a_store_keeps_the_incarnation_it_was_given(bed: Bed) {
    let first = identity(&bed).await;
    assert!(!first.id.is_empty());
    assert_eq!(identity(&bed).await.id, first.id);
    let looked = bed.store.open(Open::Look).await.expect("open");
    assert_eq!(looked.map(|found| found.incarnation), Some(first.clone()));
    let expected = bed.store.open(Open::Expect(first.clone())).await;
    let expected = expected.expect("open").map(|found| found.incarnation.id);
    assert_eq!(expected, Some(first.id));
    bed.message("k").done().await;
}

async fn the_pulse_grows_by_one(bed: Bed) {
    let start = identity(&bed).await;
    let first = bed.store.pulse(&start).await.expect("pulse");
    let first = first.expect("it is the store that was opened");
    assert!(first.pulse > start.pulse, "{first:?} after {start:?}");
    // Other handles of a shared store may raise it too.
    let second = bed.store.pulse(&first).await.expect("pulse");
    let second = second.expect("it is the store that was opened");
    assert!(second.pulse > first.pulse, "{second:?} after {first:?}");
    assert_eq!(identity(&bed).await.id, start.id);
    assert!(identity(&bed).await.pulse >= second.pulse);
}

async fn an_accepted_store_has_a_new_incarnation(bed: Bed) {
    let before = identity(&bed).await;
    bed.message("k").done().await;
    let lost = format!("lost-{:x}", unique());
    let accept = Open::Accept(vec![lost.clone(), before.id.clone()]);
    let opened = bed.store.open(accept).await.expect("open");
    let opened = opened.expect("there is an incarnation");
    let accepted = opened.incarnation;
    assert_ne!(accepted.id, before.id);
    for stood_for in [&lost, &before.id] {
        let times = opened.replaced.iter().filter(|id| *id == stood_for).count();
        assert_eq!(times, 1, "{:?}", opened.replaced);
    }
    let looked = bed.store.open(Open::Look).await.expect("open");
    let looked = looked.expect("there is an incarnation");
    assert_eq!(
        (&looked.incarnation, looked.replaced),
        (&accepted, opened.replaced)
    );
    assert_eq!(
        bed.store.pulse(&before).await.expect("pulse"),
        Some(accepted.clone())
    );
    let again = bed
        .store
        .open(Open::Accept(Vec::new()))
        .await
        .expect("open");
    let again = again.expect("there is an incarnation");
    assert!(again.replaced.contains(&before.id) && again.replaced.contains(&accepted.id));
    bed.store.pulse(&again.incarnation).await.expect("pulse");
    bed.message("other").done().await;
}

async fn whoever_remembers_more_does_not_raise_the_pulse(bed: Bed) {
    let start = identity(&bed).await;
    let ahead = Incarnation {
        pulse: start.pulse + 1_000_000,
        ..start.clone()
    };
    let other = Incarnation {
        id: format!("another-{:x}", unique()),
        ..start
    };
    for remembered in [ahead, other] {
        let before = identity(&bed).await;
        let found = bed.store.pulse(&remembered).await.expect("pulse");
        assert_eq!(found, Some(before.clone()), "what is there is told");
        assert_eq!(identity(&bed).await, before, "and left as it is");
    }
}

/// Is the message's `begin` refused because of the store?
async fn begin_is_fenced(message: &Message) -> bool {
    let begin = Begin {
        at: message.at.clone(),
        facts: message.facts.clone(),
        state: false,
    };
    match message.store.begin(begin).await {
        Ok(answer) => matches!(answer, BeginAnswer::Fenced(FencedBy::Store)),
        Err(error) => error.kind == Kind::Fenced,
    }
}

async fn in_a_store_that_is_not_the_expected_one_nothing_is_recorded(bed: Bed) {
    let other = Incarnation {
        id: format!("another-{:x}", unique()),
        ..identity(&bed).await
    };
    nothing_is_recorded_in_place_of(bed, other).await;
}

async fn in_an_older_copy_of_the_expected_store_nothing_is_recorded(bed: Bed) {
    let mut newer = identity(&bed).await;
    newer.pulse += 1_000_000;
    nothing_is_recorded_in_place_of(bed, newer).await;
}

async fn nothing_is_recorded_in_place_of(bed: Bed, expected: Incarnation) {
    let known = identity(&bed).await;
    let running = bed.message("running");
    running.granted().await;
    // Whether this fails or tells which store it is, is the adapter's choice.
    let _ = bed.store.open(Open::Expect(expected)).await;

    let commit = Commit {
        lane: None,
        sequence: None,
        effects: crate::message::Effects::default(),
    };
    let commit = bed
        .store
        .commit(&running.at, running.shown(), &commit)
        .await;
    let fail = bed.store.fail(&running.at, running.shown(), "no").await;
    let begun = begin_is_fenced(&bed.message("fresh")).await;
    bed.store.open(Open::Expect(known)).await.expect("open");

    assert!(begun, "begin");
    match commit {
        Ok(answer) => assert_eq!(answer, CommitAnswer::Fenced(FencedBy::Store)),
        Err(error) => assert_eq!(error.kind, Kind::Fenced),
    }
    match fail {
        Ok(answer) => assert_eq!(answer, StepAnswer::Fenced(FencedBy::Store)),
        Err(error) => assert_eq!(error.kind, Kind::Fenced),
    }
    assert_eq!(bed.message("fresh").show().await, None);
    assert_eq!(running.commit().await, CommitAnswer::Done);
}

async fn flags_are_kept_until_they_are_deleted(bed: Bed) {
    let prefix = format!("paused:{}:", bed.group);
    let names = ["b", "a", "é {x}"].map(|name| format!("{prefix}{name}"));
    for name in &names {
        let set = bed.store.set_flag(name, Some("by é\n\"me\"")).await;
        set.expect("set flag");
    }
    bed.store
        .set_flag(&names[0], Some("changed"))
        .await
        .expect("set flag");
    let mut flags = bed.store.flags(&prefix).await.expect("flags");
    flags.sort_unstable();
    let value = "by é\n\"me\"".to_owned();
    assert_eq!(
        flags,
        [
            (names[1].clone(), value.clone()),
            (names[0].clone(), "changed".to_owned()),
            (names[2].clone(), value),
        ]
    );
    for _ in 0..2 {
        for name in &names {
            bed.store.set_flag(name, None).await.expect("set flag");
        }
    }
    assert_eq!(bed.store.flags(&prefix).await.expect("flags"), []);
}

async fn a_flag_prefix_is_text_and_not_a_pattern(bed: Bed) {
    let name = format!("{}.plain", bed.group);
    bed.store
        .set_flag(&name, Some("1"))
        .await
        .expect("set flag");
    for pattern in ["*", "?", "[a-z]*"] {
        let prefix = format!("{}{pattern}", bed.group);
        let found = bed.store.flags(&prefix).await.expect("flags");
        assert_eq!(found, [], "{pattern}");
    }
    let found = bed.store.flags(bed.group.as_str()).await.expect("flags");
    assert_eq!(found.len(), 1);
    bed.store.set_flag(&name, None).await.expect("set flag");
}

async fn totals_add_up_and_each_addition_counts_once(bed: Bed) {
    let name = format!("{}.orders/new", bed.group);
    assert_eq!(bed.store.totals(&name).await.expect("totals"), []);
    let add = async |run, number, counts: &[(&str, u64)]| {
        let counts: Vec<_> = counts.iter().map(|(n, c)| ((*n).to_owned(), *c)).collect();
        let added = bed
            .store
            .add_totals(&name, Addition { run, number }, &counts);
        added.await.expect("add totals");
    };
    let totals = async || {
        let mut totals = bed.store.totals(&name).await.expect("totals");
        totals.sort_unstable();
        totals
    };
    add(u64::MAX, 1, &[("completed", 5), ("stale", 0)]).await;
    add(u64::MAX, 2, &[("completed", 7), ("stale", 1)]).await;
    let expected = [("completed".to_owned(), 12), ("stale".to_owned(), 1)];
    assert_eq!(totals().await, expected);
    // Its answer was lost, so it is made again.
    add(u64::MAX, 2, &[("completed", 7), ("stale", 1)]).await;
    assert_eq!(totals().await, expected);
    add(3, 1, &[("completed", 1)]).await;
    add(3, 1, &[]).await;
    assert_eq!(totals().await[0].1, 13, "each run counts its own");
    let other = bed.store.totals(&format!("{name}.other")).await;
    assert_eq!(other.expect("totals"), []);
}

async fn a_store_that_answers_is_up(bed: Bed) {
    identity(&bed).await;
    assert!(bed.store.is_up());
}
