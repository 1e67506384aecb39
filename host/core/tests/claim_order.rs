//! In which order the answers of `begin` are looked for. The table below is
//! written down apart from the code, and every combination of a state and what
//! may be asked is held against it.

#[expect(dead_code, reason = "each test file uses some of the stories")]
mod story;

use std::time::Duration;

use holdfast_core::claim::{BeginAnswer, BeginFacts, StateName};
use story::{Asking, Story, asks, in_state};

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Answer {
    Fenced,
    Conflict,
    Foreign,
    Assigned,
    RuleMoved,
    Finished,
    Busy,
    Stale,
    Granted,
}

fn kind(answer: &BeginAnswer) -> Answer {
    match answer {
        BeginAnswer::Fenced(_) => Answer::Fenced,
        BeginAnswer::Conflict => Answer::Conflict,
        BeginAnswer::Foreign { .. } => Answer::Foreign,
        BeginAnswer::Assigned { .. } => Answer::Assigned,
        BeginAnswer::RuleMoved => Answer::RuleMoved,
        BeginAnswer::Done
        | BeginAnswer::Committed { .. }
        | BeginAnswer::Parking { .. }
        | BeginAnswer::Parked { .. } => Answer::Finished,
        BeginAnswer::Busy { .. } => Answer::Busy,
        BeginAnswer::Stale { .. } => Answer::Stale,
        BeginAnswer::Granted { .. } => Answer::Granted,
    }
}

/// What is asked about a claim in some state.
#[derive(Clone, Copy, Debug)]
struct Case {
    state: Option<StateName>,
    wrong_epoch: bool,
    other_body: bool,
    other_side: bool,
    low_number: bool,
    /// The lock has expired, and the time of an owner to begin has passed.
    late: bool,
    /// The host does not know the current rule.
    old_rule: bool,
}

/// The first line that fits is the answer.
fn expected(case: Case) -> Answer {
    use StateName as S;
    let known = case.state.is_some();
    let begun = known && case.state != Some(S::Assigned);
    let table = [
        (Answer::Fenced, case.wrong_epoch),
        (Answer::Conflict, known && case.other_body),
        (Answer::Foreign, begun && case.other_side),
        (Answer::Foreign, known && case.other_side && !case.late),
        (Answer::RuleMoved, !known && case.old_rule),
        (Answer::Assigned, !known && case.other_side),
        (
            Answer::Finished,
            matches!(
                case.state,
                Some(S::Done | S::Committed | S::Parking | S::Parked)
            ),
        ),
        (Answer::Busy, case.state == Some(S::Running) && !case.late),
        (Answer::Stale, case.low_number),
        (Answer::Granted, true),
    ];
    table[table.iter().position(|(_, fits)| *fits).unwrap()].0
}

fn ask(case: Case) -> (Story, BeginFacts) {
    let mut story = case.state.map_or_else(Story::new, in_state);
    story.scope.epoch = Some(7);
    story.scope.last_sequence = Some(100);
    story.scope.rule = Some(3);
    if case.late {
        story.after(Duration::from_secs(3600));
    }
    let body = if case.other_body { "another" } else { "body" };
    let number = if case.low_number { 100 } else { 101 };
    let epoch = if case.wrong_epoch { 6 } else { 7 };
    let rule = if case.old_rule { 2 } else { 3 };
    let asked = asks(2).body(body).number(number);
    let mut facts = asked.epoch(epoch).by_rule(rule);
    if case.other_side {
        facts = facts.by("old").given_to("new");
    }
    (story, facts)
}

#[test]
fn the_answers_are_looked_for_in_their_order() {
    let mut seen = Vec::new();
    let states = StateName::ALL.into_iter().map(Some).chain([None]);
    for state in states {
        for bits in 0..64_u8 {
            let bit = |n: u8| bits & (1 << n) != 0;
            let case = Case {
                state,
                wrong_epoch: bit(0),
                other_body: bit(1),
                other_side: bit(2),
                low_number: bit(3),
                late: bit(4),
                old_rule: bit(5),
            };
            let (mut story, facts) = ask(case);
            let answer = story.begin(&facts);
            assert_eq!(kind(&answer), expected(case), "{case:?}: {answer:?}");
            seen.push(kind(&answer));
        }
    }
    assert_eq!(seen.len(), 8 * 64);
}

#[test]
fn an_answer_that_refuses_writes_nothing() {
    for state in StateName::ALL {
        for bits in 0..64_u8 {
            let bit = |n: u8| bits & (1 << n) != 0;
            let case = Case {
                state: Some(state),
                wrong_epoch: bit(0),
                other_body: bit(1),
                other_side: bit(2),
                low_number: bit(3),
                late: bit(4),
                old_rule: bit(5),
            };
            let (mut story, facts) = ask(case);
            let before = story.record.clone();
            let answer = kind(&story.begin(&facts));
            let writes = matches!(answer, Answer::Granted | Answer::Stale);
            assert_eq!(story.record != before, writes, "{case:?}: {answer:?}");
        }
    }
}
