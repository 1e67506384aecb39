//! The checker is checked: with any one rule switched off, it finds how a
//! promise breaks.

use holdfast_model::rules::Rule;
use holdfast_model::run::{Search, explore};
use holdfast_model::setup::{Fault as F, Message, Setup};

/// Shows what goes wrong without a rule: something of what is `likely`, or the
/// message is never ended. With the rule nothing does.
fn breaks(rule: Rule, setup: Setup, likely: &[&str]) {
    let kept = explore(setup.clone(), Search::Breadth, 1, Some(60_000));
    if let Some(found) = kept.counterexample {
        panic!("with {rule:?} {:?} breaks:\n{}", found.promise, found.trace);
    }
    let report = explore(setup.without(rule), Search::Breadth, 1, Some(3_000_000));
    let found = report.counterexample.unwrap_or_else(|| {
        panic!(
            "without {rule:?} nothing breaks in {} states of {:?}",
            report.states, report.name
        )
    });
    println!(
        "without {rule:?}: {} (likely: {likely:?})\n{}",
        found.promise, found.trace
    );
}

/// One message, twice in the queue of one side, for two hosts.
fn twins() -> Setup {
    Setup {
        queues: [vec![0, 0], vec![]],
        hosts: vec![0, 0],
        ..Setup::new("twins")
    }
}

/// One message and one host.
fn alone() -> Setup {
    Setup {
        queues: [vec![0], vec![]],
        hosts: vec![0],
        ..Setup::new("alone")
    }
}

/// One message on both brokers, a host on each.
fn two_sides() -> Setup {
    Setup {
        hosts: vec![0, 1],
        ..Setup::new("two sides")
    }
}

/// Two messages of a lane, and two hosts that want to lead.
fn candidates() -> Setup {
    Setup {
        messages: vec![Message::new(0, 0), Message::new(1, 0)],
        queues: [vec![0, 1], vec![]],
        hosts: vec![0, 0],
        ordered: true,
        leased: [true, false],
        ticks: 6,
        ..Setup::new("candidates")
    }
}

/// Two messages of a lane at one host.
fn lane() -> Setup {
    Setup {
        messages: vec![Message::new(0, 0), Message::new(1, 0)],
        queues: [vec![0, 1], vec![]],
        hosts: vec![0],
        ordered: true,
        ..Setup::new("lane")
    }
}

fn numbered(key: u8, sequence: u8) -> Message {
    Message {
        sequence: Some(sequence),
        ..Message::new(key, 0)
    }
}

const TWICE: &str = "no key has two committed effects";
const UNRECORDED: &str = "nothing is acknowledged without a recorded ending";
const SKIPPED: &str = "no message is skipped by everyone";
const FORGOTTEN: &str = "a failed claim is never forgotten";
const STALE: &str = "a stale token or epoch commits nothing";
const FENCE: &str = "no older attempt passes a receiver that compares fences";
const ORDER: &str = "commits of one lane are in order";
const STATE: &str = "no commit rests on state that has changed since";
const SIDES: &str = "a key that was begun changes sides only when released";
const OVERLAP: &str = "attempts of one key overlap only after a standstill";
const CALLS: &str = "no handler is called more often than allowed";
const EARLY: &str = "nothing is given up before its attempts are spent";
const LEADER: &str = "one host leads a consumer";
const CONTENT: &str = "only what was committed is published";
const DONE: &str = "what is done is published";
const LETTER: &str = "what is parked has its letter";

macro_rules! mutants {
    ($($name:ident: $rule:ident, $setup:expr, [$($promise:expr),+];)*) => {
        $(#[test]
        fn $name() {
            breaks(Rule::$rule, $setup, &[$($promise),+]);
        })*

        #[test]
        fn every_rule_is_switched_off_once() {
            let tried = [$(Rule::$rule),*];
            let missing: Vec<_> = Rule::ALL
                .iter()
                .filter(|rule| !tried.contains(rule))
                .collect();
            assert!(missing.is_empty(), "{missing:?}");
        }
    };
}

mutants! {
    an_owner_that_is_decided_again_lets_the_other_side_try:
        OwnerDecidedOnce, two_sides().with(&[(F::Retry, 1), (F::Flip, 1)]), [SIDES];
    a_letter_that_counts_for_another_giving_up_is_taken_for_its_own:
        LetterOfItsAttempt, twins().with(&[
            (F::Reject, 2), (F::Slow, 1), (F::Replay, 1), (F::Crash, 1),
        ]), [UNRECORDED, SKIPPED];
    a_claim_that_a_failure_deletes_is_forgotten:
        ClaimKeptOnFailure, two_sides().with(&[(F::Retry, 1)]), [FORGOTTEN];
    a_token_that_is_not_compared_lets_a_stale_attempt_commit:
        TokenCompared, twins().with(&[(F::Pause, 1)]), [STALE];
    an_epoch_that_is_not_compared_lets_a_deposed_leader_commit:
        EpochCompared, candidates().with(&[(F::Pause, 1)]), [STALE];
    a_side_that_does_not_stick_lets_the_other_try:
        SideSticks, two_sides().with(&[(F::Retry, 1)]), [SIDES];
    a_key_that_was_begun_must_not_be_taken_over:
        TakenOverOnlyIfNotBegun, two_sides().with(&[(F::Retry, 1)]), [SIDES];
    an_attempt_that_is_stored_late_is_not_counted_when_the_host_dies:
        AttemptStoredFirst, alone().with(&[(F::Crash, 2)]), [CALLS];
    a_lock_that_is_not_respected_lets_a_twin_run:
        LockRespected, twins(), [OVERLAP];
    a_decision_in_two_steps_is_made_by_both_twins:
        DecidedInOneStep, twins(), [OVERLAP, TWICE, STALE];
    a_new_token_for_a_repeated_call_wastes_an_attempt:
        SameTokenAgain, alone().with(&[(F::Lost, 1), (F::Retry, 1)]), [EARLY];
    a_commit_that_cannot_be_repeated_is_made_twice:
        CommitRepeatable, alone().with(&[(F::Lost, 1)]), [TWICE];
    a_fence_that_does_not_grow_stops_nobody:
        FenceGrows, twins().with(&[(F::Pause, 1)]), [FENCE];
    a_body_that_is_not_compared_is_taken_for_another:
        BodyCompared, conflict(), [UNRECORDED];
    a_sequence_that_is_not_compared_lets_an_older_message_in:
        SequenceCompared, backwards(), [ORDER];
    a_message_that_is_overtaken_while_it_runs_is_out_of_order:
        SequenceComparedAtCommit, crossed(), [ORDER];
    a_sequence_before_the_claim_drops_what_is_committed:
        ClaimBeforeSequence, Setup { outbox: true, ..backwards() }.with(&[(F::Crash, 1)]), [SKIPPED, UNRECORDED];
    state_that_is_not_compared_is_overwritten:
        StateCompared, shared_state(), [STATE];
    a_finished_claim_that_is_released_runs_again:
        ReleaseRefused, twins().with(&[(F::Release, 1)]), [TWICE];
    a_store_that_is_not_compared_may_have_forgotten:
        StoreCompared, twins().with(&[(F::Flush, 1)]), [TWICE, STALE];
    a_pulse_that_is_not_compared_may_be_old:
        PulseCompared, twins().with(&[(F::Rollback, 1)]), [TWICE, STALE];
    a_pulse_that_is_raised_first_hides_that_it_was_old:
        PulseRaisedAfterLook, twins().with(&[(F::Rollback, 1)]), [TWICE, STALE];
    a_notice_that_dies_with_its_host_is_lost:
        NoticeKept, twins().with(&[(F::Rollback, 1), (F::Crash, 1)]), [TWICE, STALE];
    an_acknowledgement_before_the_commit_is_unrecorded:
        AckAfterCommit, alone(), [UNRECORDED];
    attempts_without_a_limit_go_on:
        AttemptsLimited, alone().with(&[(F::Retry, 2)]), [CALLS];
    a_claim_that_is_done_first_may_never_be_published:
        PublishedBeforeDone, Setup { outbox: true, ..alone() }, [DONE];
    a_fresh_outbox_is_not_what_was_committed:
        StoredOutboxPublished, Setup { outbox: true, ..twins() }.with(&[(F::Reload, 1)]), [CONTENT];
    a_claim_that_is_parked_first_may_have_no_letter:
        LetterBeforeParked, alone().with(&[(F::Reject, 1)]), [LETTER];
    a_deferred_message_that_is_acknowledged_first_is_lost:
        CopyBeforeAck, Setup { delay_queue: true, ..alone() }.with(&[(F::Retry, 1)]), [UNRECORDED, SKIPPED];
    a_message_of_the_other_side_that_is_not_held_is_lost_when_that_side_has_none:
        ForeignHeld, two_sides(), [UNRECORDED];
    an_acknowledgement_on_the_next_channel_hits_another_message:
        OldAcksVoid, channels(), [UNRECORDED, SKIPPED];
    lanes_that_do_not_wait_are_out_of_order:
        LanesInOrder, lane(), [ORDER];
    a_lane_that_goes_on_without_its_head_is_out_of_order:
        LaneHandedBackWhole, lane().with(&[(F::Release, 1)]), [ORDER];
    two_active_consumers_are_out_of_order:
        SingleActive, candidates().with(&[(F::Pause, 1)]), [ORDER];
    a_deposed_leader_that_keeps_its_head_message_is_out_of_order:
        ChannelClosedOnLoss, candidates().with(&[(F::Slow, 2)]), [ORDER];
    a_deadline_that_counts_from_the_answer_is_too_late:
        DeadlineFromBefore, candidates().with(&[(F::Slow, 2)]), [LEADER];
    a_lease_that_is_given_back_too_early_is_out_of_order:
        DrainedBeforeRelease, candidates().with(&[(F::StepDown, 1)]), [ORDER, OVERLAP, STALE];
}

fn conflict() -> Setup {
    let other = Message {
        body: 7,
        ..Message::new(0, 0)
    };
    Setup {
        messages: vec![Message::new(0, 0), other],
        queues: [vec![0, 1], vec![]],
        ..alone()
    }
}

fn backwards() -> Setup {
    Setup {
        messages: vec![numbered(0, 1), numbered(1, 2)],
        queues: [vec![1, 0], vec![]],
        ..lane()
    }
}

/// Two queues that have a lane in different orders.
fn crossed() -> Setup {
    Setup {
        messages: vec![numbered(0, 1), numbered(1, 2)],
        queues: [vec![0, 1], vec![1, 0]],
        hosts: vec![0, 1],
        ordered: true,
        ..Setup::new("crossed")
    }
    .with(&[(F::Flip, 1)])
}

fn shared_state() -> Setup {
    Setup {
        messages: vec![Message::new(0, 0), Message::new(1, 0)],
        queues: [vec![0, 1], vec![]],
        stateful: true,
        ..twins()
    }
}

fn channels() -> Setup {
    Setup {
        messages: vec![Message::new(0, 0), Message::new(1, 1)],
        queues: [vec![0, 1], vec![]],
        ..twins()
    }
    .with(&[(F::Cut, 1)])
}
