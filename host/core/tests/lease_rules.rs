//! Who leads, when to ask, when to stop: told as what happens at which time.

use std::time::Duration;

use holdfast_core::lease::{Command, Input, Lease, Monotonic, Terms};

const TERMS: Terms = Terms {
    ttl: Duration::from_secs(15),
    renew: Duration::from_secs(5),
    retry: Duration::from_secs(1),
};

const HELD: Input = Input::Held {
    left: Duration::from_secs(10),
};

const fn at(ms: u64) -> Monotonic {
    Duration::from_millis(ms)
}

fn leader() -> Lease {
    let mut lease = Lease::new(at(0));
    assert_eq!(
        lease.handle(Input::Tick, at(0), &TERMS),
        Some(Command::Acquire)
    );
    let start = lease.handle(Input::Acquired { epoch: 7 }, at(100), &TERMS);
    assert_eq!(start, Some(Command::Start { epoch: 7 }));
    lease
}

#[test]
fn the_deadline_counts_from_before_the_question_was_sent() {
    let Lease::Leader {
        deadline, renew_at, ..
    } = leader()
    else {
        panic!("leads")
    };
    assert_eq!(deadline, at(14_850));
    assert_eq!(renew_at, at(5_000));
}

#[test]
fn a_leader_that_cannot_renew_stops_before_the_time_to_live_has_passed() {
    let mut lease = leader();
    assert_eq!(
        lease.handle(Input::Tick, at(5_000), &TERMS),
        Some(Command::Renew)
    );
    assert_eq!(lease.handle(Input::Unreachable, at(6_000), &TERMS), None);
    assert_eq!(
        lease.handle(Input::Tick, at(7_000), &TERMS),
        Some(Command::Renew)
    );
    assert_eq!(lease.next_timeout(), Some(at(14_850)));
    assert_eq!(
        lease.handle(Input::Tick, at(14_850), &TERMS),
        Some(Command::Stop)
    );
    assert_eq!(lease.handle(Input::Renewed, at(14_900), &TERMS), None);
}

#[test]
fn a_late_renewal_counts_from_when_it_was_sent() {
    let mut lease = leader();
    lease.handle(Input::Tick, at(5_000), &TERMS);
    lease.handle(Input::Renewed, at(9_000), &TERMS);
    let Lease::Leader { deadline, .. } = lease else {
        panic!("leads")
    };
    assert_eq!(deadline, at(19_850));
}

#[test]
fn a_follower_asks_at_once_when_the_owner_leaves() {
    let mut lease = Lease::new(at(0));
    lease.handle(Input::Tick, at(0), &TERMS);
    assert_eq!(lease.handle(HELD, at(10), &TERMS), None);
    assert_eq!(lease.handle(Input::Tick, at(20), &TERMS), None);
    assert_eq!(
        lease.handle(Input::Announced, at(30), &TERMS),
        Some(Command::Acquire)
    );
}

#[test]
fn stepping_down_drains_before_it_releases() {
    let mut lease = leader();
    assert_eq!(
        lease.handle(Input::StepDown, at(200), &TERMS),
        Some(Command::Drain)
    );
    assert_eq!(
        lease.handle(Input::Drained, at(300), &TERMS),
        Some(Command::Release { epoch: 7 })
    );
    assert!(matches!(lease, Lease::Follower { .. }));
}

#[test]
fn one_that_released_the_lease_stands_back_for_the_others() {
    let mut lease = leader();
    lease.handle(Input::StepDown, at(200), &TERMS);
    lease.handle(Input::Drained, at(300), &TERMS);
    let own = lease.handle(Input::Announced, at(301), &TERMS);
    assert_eq!(own, None, "its own announcement");
    assert_eq!(lease.handle(Input::Tick, at(2_299), &TERMS), None);
    assert_eq!(lease.next_timeout(), Some(at(2_300)));
    let again = lease.handle(Input::Tick, at(2_300), &TERMS);
    assert_eq!(again, Some(Command::Acquire));
}

#[test]
fn a_drain_that_takes_longer_than_the_lease_keeps_it() {
    let mut lease = leader();
    lease.handle(Input::StepDown, at(4_000), &TERMS);
    for at_ms in [5_000, 10_000, 15_000, 20_000] {
        assert_eq!(lease.next_timeout(), Some(at(at_ms)));
        let renew = lease.handle(Input::Tick, at(at_ms), &TERMS);
        assert_eq!(renew, Some(Command::Renew));
        assert_eq!(lease.handle(Input::Renewed, at(at_ms + 10), &TERMS), None);
    }
    let release = lease.handle(Input::Drained, at(24_000), &TERMS);
    assert_eq!(release, Some(Command::Release { epoch: 7 }));
}

#[test]
fn a_drain_that_cannot_renew_ends_at_its_deadline() {
    let mut lease = leader();
    lease.handle(Input::StepDown, at(4_000), &TERMS);
    lease.handle(Input::Tick, at(5_000), &TERMS);
    lease.handle(Input::Unreachable, at(14_000), &TERMS);
    let late = lease.handle(Input::Tick, at(14_850), &TERMS);
    assert_eq!(late, Some(Command::Stop));
}

#[test]
fn a_lease_that_runs_out_soon_is_asked_for_when_it_does() {
    let mut lease = Lease::new(at(0));
    lease.handle(Input::Tick, at(0), &TERMS);
    let left = Duration::from_millis(300);
    lease.handle(Input::Held { left }, at(10), &TERMS);
    assert_eq!(lease.next_timeout(), Some(at(312)));
}

#[test]
fn a_refusal_from_before_the_owner_left_is_not_believed() {
    let mut lease = Lease::new(at(0));
    lease.handle(Input::Tick, at(0), &TERMS);
    assert_eq!(lease.handle(Input::Announced, at(5), &TERMS), None);
    let again = lease.handle(HELD, at(6), &TERMS);
    assert_eq!(again, Some(Command::Acquire));
    assert_eq!(lease.handle(HELD, at(7), &TERMS), None);
    assert_eq!(lease.next_timeout(), Some(at(1_007)));
}

#[test]
fn losing_the_lease_stops_at_once() {
    let mut lease = leader();
    assert_eq!(
        lease.handle(Input::Gone, at(200), &TERMS),
        Some(Command::Stop)
    );
}

#[test]
fn a_lease_that_came_too_late_to_be_used_is_given_back() {
    let mut lease = Lease::new(at(0));
    lease.handle(Input::Tick, at(0), &TERMS);
    let answer = lease.handle(Input::Acquired { epoch: 1 }, at(20_000), &TERMS);
    assert_eq!(answer, Some(Command::Release { epoch: 1 }));
}
