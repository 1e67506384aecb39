//! The setups that are explored. Each is small enough to be explored whole, and
//! together they have every actor, fault and rule.

use holdfast_core::claim::OnForeign;

use crate::setup::{Fault as F, Message, Setup};

/// The setups of the ordinary test run.
#[must_use]
pub fn ordinary() -> Vec<Setup> {
    vec![
        migration(),
        standstill(),
        dropping(),
        one_side_only(),
        forced(),
        conflict(),
        duplicates(),
        shared_state(),
        publishing(),
        undeliverable(),
        letters(),
        delayed(),
        lanes(),
        lane_moves(),
        sequence(),
        crossed(),
        leased(),
        stepping_down(),
        rolled_back(),
        flushed(),
    ]
}

/// A key on both brokers, while the rule is flipped and hosts die.
#[must_use]
pub fn migration() -> Setup {
    Setup {
        ticks: 3,
        ..Setup::new("migration")
    }
    .with(&[(F::Crash, 1), (F::Lost, 1), (F::Retry, 1), (F::Flip, 1)])
}

/// A host stands still, or the store does, for longer than a lock is held.
#[must_use]
pub fn standstill() -> Setup {
    Setup {
        queues: [vec![0, 0], vec![0]],
        ..Setup::new("standstill")
    }
    .with(&[(F::Pause, 1), (F::Slow, 1), (F::Twice, 1)])
}

/// What the other side owns is dropped at once.
#[must_use]
pub fn dropping() -> Setup {
    Setup {
        on_foreign: OnForeign::Drop,
        messages: vec![Message::new(0, 0), Message::new(1, 1)],
        queues: [vec![0, 1], vec![0, 1]],
        hosts: vec![0, 1],
        shares: vec![0, 5_000, 10_000],
        ticks: 3,
        ..Setup::new("dropping")
    }
    .with(&[(F::Crash, 1), (F::Flip, 2), (F::Retry, 1)])
}

/// A message that only one broker has, given to the other side.
#[must_use]
pub fn one_side_only() -> Setup {
    Setup {
        queues: [vec![0], vec![]],
        shares: vec![10_000, 0],
        ..Setup::new("one side only")
    }
    .with(&[(F::Crash, 1), (F::Retry, 1), (F::Cut, 1), (F::Twice, 1)])
}

/// An operator releases claims by force, whatever they are doing.
#[must_use]
pub fn forced() -> Setup {
    Setup::new("forced release").with(&[
        (F::Release, 1),
        (F::Retry, 1),
        (F::Twice, 1),
        (F::Flip, 1),
    ])
}

/// Two messages of one key that differ.
#[must_use]
pub fn conflict() -> Setup {
    let other = Message {
        body: 7,
        ..Message::new(0, 0)
    };
    Setup {
        messages: vec![Message::new(0, 0), other],
        queues: [vec![0, 1], vec![]],
        hosts: vec![0, 0],
        ..Setup::new("conflict")
    }
    .with(&[(F::Crash, 1), (F::Retry, 1), (F::Lost, 1)])
}

/// Copies of one message, connections that are lost, acknowledgements that come
/// too late.
#[must_use]
pub fn duplicates() -> Setup {
    Setup {
        messages: vec![Message::new(0, 0), Message::new(1, 1)],
        queues: [vec![0, 0, 1], vec![]],
        hosts: vec![0, 0],
        ticks: 2,
        ..Setup::new("duplicates")
    }
    .with(&[(F::Cut, 2), (F::Retry, 1)])
}

/// Two messages that change the same state, side by side.
#[must_use]
pub fn shared_state() -> Setup {
    Setup {
        messages: vec![Message::new(0, 0), Message::new(1, 0)],
        queues: [vec![0, 1], vec![]],
        hosts: vec![0, 0],
        stateful: true,
        ..Setup::new("shared state")
    }
    .with(&[(F::Crash, 1), (F::Lost, 1), (F::Twice, 1)])
}

/// Handlers that publish, while plugins are exchanged.
#[must_use]
pub fn publishing() -> Setup {
    Setup {
        queues: [vec![0, 0], vec![]],
        hosts: vec![0, 0],
        outbox: true,
        ..Setup::new("publishing")
    }
    .with(&[(F::Crash, 2), (F::Lost, 1), (F::Reload, 1), (F::Retry, 1)])
}

/// What was published has no target, at first or for good.
#[must_use]
pub fn undeliverable() -> Setup {
    Setup {
        queues: [vec![0, 0], vec![]],
        hosts: vec![0, 0],
        outbox: true,
        ..Setup::new("undeliverable")
    }
    .with(&[
        (F::NoTarget, 2),
        (F::Crash, 1),
        (F::Lost, 1),
        (F::Replay, 1),
    ])
}

/// Messages that are given up, and replayed.
#[must_use]
pub fn letters() -> Setup {
    Setup {
        hosts: vec![0, 1],
        ..Setup::new("letters")
    }
    .with(&[
        (F::Retry, 2),
        (F::Reject, 1),
        (F::Crash, 1),
        (F::Lost, 1),
        (F::Replay, 1),
    ])
}

/// Waits are spent in a delay queue.
#[must_use]
pub fn delayed() -> Setup {
    Setup {
        hosts: vec![0, 0, 1],
        delay_queue: true,
        ticks: 3,
        ..Setup::new("delayed")
    }
    .with(&[(F::Retry, 1), (F::Crash, 1), (F::Lost, 1), (F::Flip, 1)])
}

/// Two messages of one lane and one of another, at one host.
#[must_use]
pub fn lanes() -> Setup {
    Setup {
        messages: vec![Message::new(0, 0), Message::new(1, 0), Message::new(2, 1)],
        queues: [vec![0, 1, 2], vec![]],
        hosts: vec![0],
        ordered: true,
        ..Setup::new("lanes")
    }
    .with(&[
        (F::Retry, 1),
        (F::Crash, 1),
        (F::Cut, 1),
        (F::Lost, 1),
        (F::Release, 1),
    ])
}

/// A lane moves to the other side in the middle.
#[must_use]
pub fn lane_moves() -> Setup {
    Setup {
        messages: vec![Message::new(0, 0), Message::new(1, 0)],
        queues: [vec![0, 1], vec![0, 1]],
        hosts: vec![0, 1],
        ordered: true,
        ..Setup::new("lane moves")
    }
    .with(&[(F::Flip, 1), (F::Retry, 1), (F::Crash, 1), (F::Lost, 1)])
}

/// Numbered messages that come in the wrong order, and twice.
#[must_use]
pub fn sequence() -> Setup {
    let numbered = |key: u8, sequence: u8| Message {
        sequence: Some(sequence),
        ..Message::new(key, 0)
    };
    Setup {
        messages: vec![numbered(0, 1), numbered(1, 2)],
        queues: [vec![1, 0, 1], vec![]],
        hosts: vec![0],
        ordered: true,
        outbox: true,
        ..Setup::new("sequence")
    }
    .with(&[
        (F::Crash, 1),
        (F::Lost, 1),
        (F::Retry, 1),
        (F::Cut, 1),
        (F::Twice, 1),
    ])
}

/// The queues of two sides have a lane in different orders, and the rule gives
/// each side what the other has first.
#[must_use]
pub fn crossed() -> Setup {
    let numbered = |key: u8, sequence: u8| Message {
        sequence: Some(sequence),
        ..Message::new(key, 0)
    };
    Setup {
        messages: vec![numbered(0, 1), numbered(1, 2)],
        queues: [vec![0, 1], vec![1, 0]],
        hosts: vec![0, 1],
        ordered: true,
        ticks: 3,
        ..Setup::new("crossed")
    }
    .with(&[(F::Flip, 1), (F::Lost, 1), (F::Retry, 1)])
}

/// Two hosts and one lease.
#[must_use]
pub fn leased() -> Setup {
    Setup {
        messages: vec![Message::new(0, 0), Message::new(1, 0)],
        queues: [vec![0, 1], vec![]],
        hosts: vec![0, 0],
        ordered: true,
        leased: [true, false],
        ticks: 6,
        ..Setup::new("leased")
    }
    .with(&[(F::Pause, 1), (F::Slow, 1), (F::Lost, 1)])
}

/// A leader steps down while it works, and another takes over.
#[must_use]
pub fn stepping_down() -> Setup {
    Setup {
        ticks: 5,
        ..leased_both("stepping down")
    }
    .with(&[(F::StepDown, 1), (F::Crash, 1), (F::Retry, 1)])
}

fn leased_both(name: &'static str) -> Setup {
    Setup {
        messages: vec![Message::new(0, 0), Message::new(1, 0)],
        queues: [vec![0, 1], vec![]],
        hosts: vec![0, 0],
        ordered: true,
        leased: [true, false],
        ..Setup::new(name)
    }
}

/// The store goes back to an older copy of itself.
#[must_use]
pub fn rolled_back() -> Setup {
    Setup {
        queues: [vec![0, 0], vec![]],
        hosts: vec![0, 0],
        ticks: 3,
        ..Setup::new("rolled back")
    }
    .with(&[(F::Rollback, 1), (F::Crash, 1), (F::Pause, 1)])
}

/// The store is emptied.
#[must_use]
pub fn flushed() -> Setup {
    Setup {
        queues: [vec![0, 0], vec![]],
        hosts: vec![0, 0],
        ticks: 3,
        ..Setup::new("flushed")
    }
    .with(&[(F::Flush, 1), (F::Crash, 1), (F::Pause, 1), (F::Lost, 1)])
}
