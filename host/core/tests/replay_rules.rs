//! What a replay does with a letter, whatever its claim says by then.

use holdfast_core::claim::{Fingerprint, ParkReason, StateName};
use holdfast_core::name::Side;
use holdfast_core::replay::{Facts, Known, Refusal, Replay, drop_letter, replay};

fn side(name: &str) -> Side {
    Side::new(name).unwrap()
}

fn body(text: &str) -> Option<Fingerprint> {
    Some(Fingerprint::of(text.as_bytes()))
}

/// A letter of the side `new` with the body `b`.
fn letter(side: &Side) -> Facts<'_> {
    Facts {
        side,
        reason: ParkReason::AttemptsSpent,
        fingerprint: body("b"),
        sequenced: false,
        new_key: false,
        claim: None,
    }
}

fn claim(side: &Side, state: StateName) -> Option<Known<'_>> {
    Some(Known {
        side,
        state,
        stale: false,
        fingerprint: body("b"),
    })
}

#[test]
fn only_a_given_up_claim_is_reopened_and_only_a_done_one_is_not_published_for() {
    let new = side("new");
    for state in StateName::ALL {
        let expected = match state {
            StateName::Parking | StateName::Parked => Replay::Reopen,
            StateName::Done => Replay::Finished,
            StateName::Assigned | StateName::Running | StateName::Failed | StateName::Committed => {
                Replay::Publish
            }
        };
        for new_key in [false, true] {
            let facts = Facts {
                claim: claim(&new, state),
                new_key,
                ..letter(&new)
            };
            assert_eq!(replay(&facts), expected, "{state}, new key: {new_key}");
        }
    }
}

#[test]
fn a_letter_of_another_body_is_never_published_under_the_key_of_the_first() {
    let new = side("new");
    for state in StateName::ALL {
        let facts = Facts {
            fingerprint: body("other"),
            claim: claim(&new, state),
            reason: ParkReason::KeyConflict,
            ..letter(&new)
        };
        assert_eq!(replay(&facts), Replay::Refused(Refusal::OtherBody));
        let renamed = Facts {
            new_key: true,
            ..facts
        };
        assert_eq!(replay(&renamed), Replay::Refused(Refusal::KeyTaken));
    }
}

#[test]
fn a_new_key_is_free_or_was_given_to_this_letter_before() {
    let new = side("new");
    let renamed = Facts {
        new_key: true,
        reason: ParkReason::KeyConflict,
        ..letter(&new)
    };
    assert_eq!(replay(&renamed), Replay::Publish);
    let again = Facts {
        claim: claim(&new, StateName::Failed),
        ..renamed.clone()
    };
    assert_eq!(replay(&again), Replay::Publish);
    // Where bodies are not compared nobody knows whose claim it is.
    let unknown = Facts {
        claim: claim(&new, StateName::Failed).map(|claim| Known {
            fingerprint: None,
            ..claim
        }),
        ..renamed
    };
    assert_eq!(replay(&unknown), Replay::Refused(Refusal::KeyTaken));
}

#[test]
fn a_claim_of_the_other_side_is_left_to_it() {
    let (new, old) = (side("new"), side("old"));
    for state in StateName::ALL {
        let facts = Facts {
            claim: claim(&old, state),
            ..letter(&new)
        };
        let side = old.clone();
        assert_eq!(
            replay(&facts),
            Replay::Refused(Refusal::OtherSide { side, state })
        );
        assert_eq!(drop_letter(&facts), Ok(()));
    }
}

#[test]
fn without_a_claim_effects_are_not_repeated_and_nothing_becomes_stale_in_silence() {
    let new = side("new");
    for reason in ParkReason::ALL {
        for (sequenced, new_key) in [(false, false), (false, true), (true, false), (true, true)] {
            let facts = Facts {
                reason,
                sequenced,
                new_key,
                ..letter(&new)
            };
            let expected = match (reason, sequenced, new_key) {
                (ParkReason::OutboxUndeliverable, _, false) => {
                    Replay::Refused(Refusal::EffectsStored)
                }
                (_, true, _) => Replay::Refused(Refusal::Sequenced),
                (_, false, _) => Replay::Publish,
            };
            assert_eq!(replay(&facts), expected, "{reason}");
        }
    }
}

#[test]
fn a_claim_that_ended_as_stale_is_told_apart_from_one_that_was_run() {
    let new = side("new");
    let facts = Facts {
        claim: claim(&new, StateName::Done).map(|claim| Known {
            stale: true,
            ..claim
        }),
        ..letter(&new)
    };
    assert_eq!(replay(&facts), Replay::Refused(Refusal::Stale));
}

#[test]
fn a_letter_is_dropped_unless_its_message_may_be_nowhere_else() {
    let new = side("new");
    for reason in ParkReason::ALL {
        let mut facts = Facts {
            reason,
            ..letter(&new)
        };
        assert_eq!(drop_letter(&facts), Ok(()), "no claim");
        for state in StateName::ALL {
            facts.claim = claim(&new, state);
            let open = !state.is_finished() && state != StateName::Parking;
            let expected = match open && reason.has_claim() {
                true => Err(Refusal::Unfinished(state)),
                false => Ok(()),
            };
            assert_eq!(drop_letter(&facts), expected, "{reason}, {state}");
        }
        facts.fingerprint = body("other");
        assert_eq!(drop_letter(&facts), Ok(()), "another message's claim");
    }
}
