//! What holds after any sequence of steps, by two sides that know nothing of
//! each other, with lost answers, crashes and an operator in between.

#[expect(dead_code, reason = "each test file uses some of the stories")]
mod story;

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast_core::claim::{
    BeginAnswer, CommitAnswer, ParkReason, Record, ReleaseAnswer, StateName, StepAnswer,
};
use proptest::prelude::*;
use story::{Asking, Story, asks, has_effects};

/// One step of somebody.
#[derive(Clone, Debug)]
enum Step {
    Begin {
        token: u64,
        old: bool,
        given_to_old: bool,
        other_body: bool,
        number: Option<u64>,
        epoch: Option<u64>,
        rule: Option<u64>,
    },
    Commit {
        token: u64,
        outbox: usize,
        moved: bool,
    },
    Fail(u64),
    Park(u64),
    Abandon(u64),
    Published,
    Buried,
    Undeliverable,
    Release {
        to_old: Option<bool>,
        force: bool,
    },
    Replay,
    Wait(u64),
    NewLeader,
    OtherStore(bool),
    LaneGoesOn,
    RuleMoves,
}

fn step() -> impl Strategy<Value = Step> {
    let token = 1..12_u64;
    prop_oneof![
        8 => (
            token.clone(),
            any::<bool>(),
            any::<bool>(),
            prop::bool::weighted(0.1),
            prop::option::of(0..6_u64),
            prop::option::weighted(0.3, 1..4_u64),
            prop::option::weighted(0.3, 1..4_u64),
        )
            .prop_map(|(token, old, given_to_old, other_body, number, epoch, rule)| Step::Begin {
                token,
                old,
                given_to_old,
                other_body,
                number,
                epoch,
                rule,
            }),
        4 => (token.clone(), 0..2_usize, prop::bool::weighted(0.2))
            .prop_map(|(token, outbox, moved)| Step::Commit { token, outbox, moved }),
        4 => token.clone().prop_map(Step::Fail),
        2 => token.clone().prop_map(Step::Park),
        2 => token.prop_map(Step::Abandon),
        1 => Just(Step::Published),
        1 => Just(Step::Buried),
        1 => Just(Step::Undeliverable),
        1 => (prop::option::of(any::<bool>()), any::<bool>())
            .prop_map(|(to_old, force)| Step::Release { to_old, force }),
        1 => Just(Step::Replay),
        3 => (1..100_u64).prop_map(Step::Wait),
        1 => Just(Step::NewLeader),
        1 => any::<bool>().prop_map(Step::OtherStore),
        1 => Just(Step::LaneGoesOn),
        1 => Just(Step::RuleMoves),
    ]
}

/// What was seen so far.
#[derive(Default)]
struct Seen {
    /// The token of each commit that wrote effects.
    effects: BTreeSet<u64>,
    fence: u64,
    /// Calls of the handler since the attempts were last forgotten.
    attempts: u32,
}

/// A failed or running claim of one side.
fn held(record: &Record) -> bool {
    matches!(record.state.name(), StateName::Failed | StateName::Running)
}

fn take(story: &mut Story, step: &Step, seen: &mut Seen) -> Result<(), TestCaseError> {
    let before = story.record.clone();
    let current = |token: u64| {
        before
            .as_ref()
            .and_then(|r| r.token)
            .is_some_and(|t| t.0 == token)
    };
    // Every call takes some time, however little.
    story.after(Duration::from_micros(1));
    match *step {
        Step::Begin { .. } => begin(story, step, seen)?,
        Step::Commit {
            token,
            outbox,
            moved,
        } => {
            let answer = story.commit_on(token, outbox, Some(1), 1 + u64::from(moved));
            let wrote = story.record != before;
            prop_assert!(current(token) || !wrote, "a stranger's token wrote");
            if wrote {
                prop_assert!(seen.effects.insert(token), "{token} has written before");
                prop_assert!(!moved);
                prop_assert!(
                    matches!(answer, CommitAnswer::Done | CommitAnswer::Committed { .. }),
                    "{:?}",
                    answer
                );
            }
            if !current(token) {
                prop_assert!(matches!(
                    answer,
                    CommitAnswer::Lost | CommitAnswer::Fenced(_)
                ));
            }
        }
        Step::Fail(token) => {
            let answer = story.fail(token, "no");
            ended(story, &before, answer, current(token))?;
        }
        Step::Park(token) => {
            let answer = story.park(token, ParkReason::Rejected);
            ended(story, &before, answer, current(token))?;
        }
        Step::Abandon(token) => {
            let answer = story.abandon(token);
            ended(story, &before, answer, current(token))?;
            if story.record != before {
                seen.attempts -= 1;
            }
        }
        Step::Published => {
            story.published();
        }
        Step::Buried => {
            story.buried();
        }
        Step::Undeliverable => {
            story.undeliverable(2);
        }
        Step::Release { to_old, force } => {
            let to = to_old.map(|old| if old { "old" } else { "new" });
            if story.release(to, force) == ReleaseAnswer::Released {
                let before = before.as_ref().expect("there was something to release");
                prop_assert!(!has_effects(before) && !before.state.name().is_finished());
                seen.attempts = 0;
            }
        }
        Step::Replay => {
            if story.replay() == ReleaseAnswer::Released && story.record != before {
                seen.attempts = story.record().attempt;
            }
        }
        Step::Wait(seconds) => {
            story.after(Duration::from_secs(seconds));
        }
        Step::NewLeader => story.scope.epoch = Some(story.scope.epoch.map_or(1, |e| e + 1)),
        Step::OtherStore(other) => story.scope.same_store = !other,
        Step::LaneGoesOn => {
            story.scope.last_sequence = Some(story.scope.last_sequence.map_or(0, |n| n + 1));
        }
        Step::RuleMoves => story.scope.rule = Some(story.scope.rule.map_or(1, |n| n + 1)),
    }
    if let Some(before) = &before {
        let released = matches!(step, Step::Release { .. });
        prop_assert!(released || story.record.is_some(), "a claim was forgotten");
        if held(before) && !released {
            prop_assert_eq!(&story.record().side, &before.side, "a claim changed sides");
        }
        if has_effects(before) {
            prop_assert!(has_effects(story.record()), "effects were forgotten");
        }
    }
    prop_assert!(seen.effects.len() <= 1, "the effects were written twice");
    Ok(())
}

/// An ending step wrote only if its token was the current one.
fn ended(
    story: &Story,
    before: &Option<Record>,
    answer: StepAnswer,
    current: bool,
) -> Result<(), TestCaseError> {
    let wrote = story.record != *before;
    prop_assert!(!wrote || (current && answer == StepAnswer::Ok));
    if !current {
        prop_assert!(matches!(answer, StepAnswer::Lost | StepAnswer::Fenced(_)));
    }
    Ok(())
}

fn begin(story: &mut Story, step: &Step, seen: &mut Seen) -> Result<(), TestCaseError> {
    let Step::Begin {
        token,
        old,
        given_to_old,
        other_body,
        number,
        epoch,
        rule,
    } = *step
    else {
        return Ok(());
    };
    let name = |old| if old { "old" } else { "new" };
    let mut facts = asks(token)
        .by(name(old))
        .given_to(name(given_to_old))
        .body(if other_body { "another" } else { "body" });
    facts.sequence = number;
    facts.epoch = epoch;
    facts.rule = rule;
    let before = story.record.clone();
    let answer = story.begin(&facts);
    if !story.scope.same_store || epoch.is_some() && epoch != story.scope.epoch {
        prop_assert!(matches!(answer, BeginAnswer::Fenced(_)), "{:?}", answer);
    }
    if before.is_none() && story.record.is_some() && rule.is_some() {
        prop_assert_eq!(rule, story.scope.rule, "decided by an old rule");
    }
    match answer {
        BeginAnswer::Granted { attempt, fence, .. } => {
            prop_assert_eq!(&story.record().side, &facts.side);
            prop_assert!(before.as_ref().is_none_or(|before| !has_effects(before)));
            prop_assert!(seen.effects.is_empty(), "granted after its effects");
            let repeated = |before: &Record| {
                before.token == Some(facts.token) && before.state.name() == StateName::Running
            };
            if before.as_ref().is_some_and(repeated) {
                prop_assert_eq!(attempt, seen.attempts, "the same call again");
                prop_assert_eq!(fence, seen.fence);
            } else {
                prop_assert_eq!(attempt, seen.attempts + 1);
                prop_assert!(fence > seen.fence, "{} after {}", fence, seen.fence);
            }
            seen.attempts = attempt;
            seen.fence = fence;
        }
        BeginAnswer::Assigned { .. } | BeginAnswer::Stale { .. } => {}
        _ => prop_assert_eq!(&story.record, &before),
    }
    Ok(())
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 4000, failure_persistence: None, ..ProptestConfig::default() })]

    /// Bad input: Messages | duplicates | one effect
    #[test]
    fn effects_happen_once_tokens_and_fences_hold_and_no_claim_is_forgotten(
        steps in prop::collection::vec(step(), 1..60),
    ) {
        let mut story = Story::new();
        let mut seen = Seen::default();
        for step in &steps {
            take(&mut story, step, &mut seen)?;
        }
    }

    #[test]
    fn a_message_whose_attempts_go_on_ends_once_nothing_goes_wrong_any_more(
        steps in prop::collection::vec(step(), 0..40),
    ) {
        let mut story = Story::new();
        let mut seen = Seen::default();
        for step in &steps {
            take(&mut story, step, &mut seen)?;
        }
        story.scope.same_store = true;
        story.after(Duration::from_secs(3600));
        let mut ended = false;
        for name in ["new", "old"] {
            match story.begin(&asks(99).by(name).body("body")) {
                BeginAnswer::Granted { .. } => {
                    prop_assert_eq!(story.commit(99, 0), CommitAnswer::Done);
                    ended = true;
                }
                BeginAnswer::Committed { .. } => {
                    prop_assert_eq!(story.published(), StepAnswer::Ok);
                    ended = true;
                }
                BeginAnswer::Parking { .. } => {
                    prop_assert_eq!(story.buried(), StepAnswer::Ok);
                    ended = true;
                }
                BeginAnswer::Done | BeginAnswer::Parked { .. } => ended = true,
                // The key's first body is the other one: that message ends as
                // a conflict, and the claim goes on for the other.
                BeginAnswer::Conflict => ended = true,
                BeginAnswer::Foreign { .. } => {}
                other => prop_assert!(false, "{:?}", other),
            }
        }
        prop_assert!(ended, "never do both sides skip");
    }
}
