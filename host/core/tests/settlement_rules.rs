//! What a store's answer allows the host to do with a delivery.

use std::time::Duration;

use holdfast_core::claim::{
    Asked, BeginAnswer, CommitAnswer, Committed, FencedBy, Next, OnForeign, ParkReason, Refused,
    StateName, StepAnswer, Token, buried, buried_without_claim, deferred, interpret, published,
};
use holdfast_core::key::ClaimKey;
use holdfast_core::name::{Group, Side};
use holdfast_core::settle::{Confirmed, Ending, Settlement};

type Answer = BeginAnswer<(), ()>;

fn old() -> Side {
    Side::new("old").unwrap()
}

fn next(answer: Answer, on_foreign: OnForeign) -> Next<(), ()> {
    let asked = Asked {
        group: Group::new("orders").unwrap(),
        key: ClaimKey::from_known("k"),
        side: Side::new("new").unwrap(),
        token: Token(1),
        epoch: Some(3),
        attempts: 5,
        on_foreign,
    };
    interpret(asked, answer)
}

fn granted(attempt: u32) -> Answer {
    BeginAnswer::Granted {
        attempt,
        fence: 9,
        error: Some("before".to_owned()),
        first_seen_ms: 7,
        state: (),
    }
}

/// The ending under which the delivery may be acknowledged at once.
fn acknowledged(answer: Answer, on_foreign: OnForeign) -> Option<Ending> {
    match next(answer, on_foreign) {
        Next::Ack(proof) => Some(Settlement::Ack(proof).ending()),
        _ => None,
    }
}

#[test]
fn only_what_has_ended_is_acknowledged_without_a_step_of_our_own() {
    let wait = Duration::from_secs(1);
    let reason = ParkReason::Rejected;
    let foreign = |state| BeginAnswer::Foreign { side: old(), state };
    let table = [
        (BeginAnswer::Done, Some(Ending::Duplicate)),
        (BeginAnswer::Parked { reason }, Some(Ending::DeadLettered)),
        (BeginAnswer::Stale { last: 1 }, Some(Ending::Stale)),
        (foreign(StateName::Done), Some(Ending::LeftToOwner)),
        (foreign(StateName::Parked), Some(Ending::LeftToOwner)),
        (foreign(StateName::Assigned), None),
        (foreign(StateName::Running), None),
        (foreign(StateName::Failed), None),
        (foreign(StateName::Committed), None),
        (foreign(StateName::Parking), None),
        (BeginAnswer::Assigned { side: old() }, None),
        (BeginAnswer::Busy { wait }, None),
        (BeginAnswer::Conflict, None),
        (BeginAnswer::Fenced(FencedBy::Epoch), None),
        (BeginAnswer::Fenced(FencedBy::Store), None),
        (granted(1), None),
    ];
    for (answer, ending) in table {
        let shown = format!("{answer:?}");
        assert_eq!(acknowledged(answer, OnForeign::Hold), ending, "{shown}");
    }
}

#[test]
fn a_consumer_that_drops_leaves_every_foreign_message_at_once() {
    for state in StateName::ALL {
        let answer = BeginAnswer::Foreign { side: old(), state };
        let ending = acknowledged(answer, OnForeign::Drop);
        assert_eq!(ending, Some(Ending::LeftToOwner), "{state}");
    }
    let assigned = BeginAnswer::Assigned { side: old() };
    let ending = acknowledged(assigned, OnForeign::Drop);
    assert_eq!(ending, Some(Ending::LeftToOwner));
}

/// Bad input: Messages | a message that always fails | dead-lettered after its attempts
#[test]
fn attempts_over_the_limit_are_given_up_without_a_call() {
    assert!(matches!(
        next(granted(5), OnForeign::Hold),
        Next::Run { .. }
    ));
    let Next::GiveUp { claim, error, .. } = next(granted(6), OnForeign::Hold) else {
        panic!("the attempts are spent");
    };
    assert_eq!((claim.attempt(), claim.fence()), (6, 9));
    assert_eq!(error.as_deref(), Some("before"));
    assert_eq!(claim.shown().epoch, Some(3));
}

#[test]
fn a_commit_proves_only_what_the_store_wrote() {
    let commit = |answer| match next(granted(1), OnForeign::Hold) {
        Next::Run { claim, .. } => claim.committed(answer),
        other => panic!("{other:?}"),
    };
    let Ok(Committed::Done(proof)) = commit(CommitAnswer::Done) else {
        panic!("it is done");
    };
    assert_eq!(proof.ending(), Ending::Completed);
    let minted = vec![Some(4)];
    let publish = commit(CommitAnswer::Committed { minted });
    assert!(matches!(publish, Ok(Committed::Publish(numbers)) if numbers == [Some(4)]));
    let again = commit(CommitAnswer::StateMoved);
    assert!(matches!(again, Ok(Committed::Again(claim)) if claim.attempt() == 1));
    assert_eq!(commit(CommitAnswer::Lost).unwrap_err(), Refused::Lost);
    let by = FencedBy::Epoch;
    let fenced = commit(CommitAnswer::Fenced(by)).unwrap_err();
    assert_eq!(fenced, Refused::Fenced(by));
}

#[test]
fn every_other_proof_needs_a_recorded_step_or_a_confirmed_copy() {
    let letter = Confirmed::by_broker;
    let ending = published(StepAnswer::Ok).unwrap().ending();
    assert_eq!(ending, Ending::Completed);
    assert_eq!(published(StepAnswer::Lost).unwrap_err(), Refused::Lost);
    let ending = buried(letter(), StepAnswer::Ok).unwrap().ending();
    assert_eq!(ending, Ending::DeadLettered);
    let lost = buried(letter(), StepAnswer::Lost).unwrap_err();
    assert_eq!(lost, Refused::Lost);
    assert_eq!(
        buried_without_claim(letter()).ending(),
        Ending::DeadLettered
    );
    assert_eq!(deferred(letter()).ending(), Ending::Deferred);
    assert_eq!(Settlement::Abandon.ending(), Ending::Abandoned);
}
