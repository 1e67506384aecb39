//! Between the numbers of the model and those of core.

use std::time::Duration;

use holdfast_core::claim::{BeginAnswer, State};
use holdfast_core::time::Micros;

use crate::setup::TICK;

pub(crate) const TICK_MICROS: u64 = 1_000_000;

/// The fence of an answer as the model keeps it: its order is that of the
/// grants, and the ticks in it say nothing more.
pub(crate) fn small_fence(fence: u64) -> u8 {
    u8::try_from(fence % TICK_MICROS).unwrap_or(u8::MAX)
}

pub(crate) fn ticks(now: u8) -> Micros {
    // From 1, so that no time looks like none.
    Micros((u64::from(now) + 1) * TICK_MICROS)
}

/// The store's clock only grows within a tick, so whole ticks compare alike.
pub(crate) fn whole_ticks(state: State) -> State {
    let whole = |at: Micros| Micros(at.0 / TICK_MICROS * TICK_MICROS);
    match state {
        State::Assigned { since } => State::Assigned {
            since: whole(since),
        },
        State::Running { lock_until, epoch } => State::Running {
            lock_until: whole(lock_until),
            epoch,
        },
        other => other,
    }
}

/// How long a wait is, in ticks, at least one.
pub(crate) fn whole(wait: Duration) -> u8 {
    u8::try_from(wait.as_micros().div_ceil(TICK.as_micros())).unwrap_or(u8::MAX)
}

pub(crate) fn with_outbox(answer: BeginAnswer, outbox: Option<u8>) -> BeginAnswer<(), Option<u8>> {
    use BeginAnswer as A;
    match answer {
        A::Granted {
            attempt,
            fence,
            error,
            first_seen_ms,
            state,
        } => A::Granted {
            attempt,
            fence,
            error,
            first_seen_ms,
            state,
        },
        A::Committed { tries, attempt, .. } => A::Committed {
            outbox,
            tries,
            attempt,
        },
        A::Parking {
            reason,
            error,
            attempt,
            first_seen_ms,
            fence,
            ..
        } => A::Parking {
            reason,
            error,
            attempt,
            first_seen_ms,
            fence,
            outbox,
        },
        A::Foreign { side, state } => A::Foreign { side, state },
        A::Assigned { side } => A::Assigned { side },
        A::RuleMoved => A::RuleMoved,
        A::Done => A::Done,
        A::Parked { reason } => A::Parked { reason },
        A::Busy { wait } => A::Busy { wait },
        A::Conflict => A::Conflict,
        A::Stale { last } => A::Stale { last },
        A::Fenced(by) => A::Fenced(by),
    }
}
