//! The two ends of a migration: under which rule a new key is decided, and what
//! a look at a message of the other side finds.

#[expect(dead_code, reason = "each test file uses some of the stories")]
mod story;

use std::time::Duration;

use holdfast_core::claim::{BeginAnswer, Look, StateName, look};
use story::{Asking, Story, asks, in_state, side};

const SECOND: Duration = Duration::from_secs(1);

#[test]
fn a_new_key_is_not_decided_by_a_rule_that_is_no_longer_the_current_one() {
    for current in [None, Some(4), Some(6)] {
        for owner in ["new", "old"] {
            let mut story = Story::new();
            story.scope.rule = current;
            let answer = story.begin(&asks(1).given_to(owner).by_rule(5));
            assert_eq!(answer, BeginAnswer::RuleMoved);
            assert!(story.record.is_none(), "nothing was decided");
            story.scope.rule = Some(5);
            story.begin(&asks(1).given_to(owner).by_rule(5));
            assert_eq!(story.record().side, side(owner));
        }
    }
}

#[test]
fn a_known_key_does_not_care_which_rule_the_host_has() {
    for state in StateName::ALL {
        let mut plain = in_state(state);
        let mut ruled = in_state(state);
        ruled.scope.rule = Some(9);
        for name in ["new", "old"] {
            let facts = asks(3).by(name).body("body");
            let answer = plain.begin(&facts);
            assert_eq!(ruled.begin(&facts.by_rule(1)), answer, "{state}");
            assert_eq!(ruled.record, plain.record);
        }
    }
}

#[test]
fn without_a_rule_nothing_is_compared() {
    let mut story = Story::new();
    story.scope.rule = Some(7);
    assert_eq!(story.granted(&asks(1)).0, 1);
}

fn looked(story: &Story, name: &str) -> Look {
    let wait = 60 * SECOND;
    look(story.record.as_ref(), &side(name), wait, story.scope.now)
}

/// A look is a hint, so it has to agree with what `begin` would say.
#[test]
fn a_look_says_ask_exactly_when_begin_would_not_answer_wait() {
    let nothing = Story::new();
    assert_eq!(looked(&nothing, "old"), Look::Ask);
    for state in StateName::ALL {
        for after in [0, 59, 60, 3600] {
            for name in ["new", "old"] {
                let mut story = in_state(state);
                story.after(after * SECOND);
                let found = looked(&story, name);
                let answer = story.begin(&asks(2).by(name).body("body"));
                let waits = matches!(
                    answer,
                    BeginAnswer::Foreign { state, .. } if !state.is_finished()
                );
                let says_wait = matches!(found, Look::Foreign { .. });
                assert_eq!(
                    says_wait, waits,
                    "{state} {after} {name}: {found:?} {answer:?}"
                );
            }
        }
    }
}

#[test]
fn a_look_tells_how_old_the_key_is_and_when_it_may_be_taken_over() {
    let mut story = in_state(StateName::Assigned);
    story.after(20 * SECOND);
    let assigned = Look::Foreign {
        age: 20 * SECOND,
        overdue_in: Some(40 * SECOND),
    };
    assert_eq!(looked(&story, "old"), assigned);
    let mut story = in_state(StateName::Failed);
    story.after(20 * SECOND);
    let begun = Look::Foreign {
        age: 20 * SECOND,
        overdue_in: None,
    };
    assert_eq!(looked(&story, "old"), begun);
}
