//! A look at the claim of a message that waits for the other side.

use std::time::Duration;

use super::record::{Record, State};
use crate::name::Side;
use crate::time::Micros;

/// What a look at a claim finds. It decides nothing: whoever may go on asks for
/// the claim again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Look {
    /// Asking for the claim will be answered otherwise than "wait": the other
    /// side is finished with it, never began it in time, or does not own it.
    Ask,
    /// The other side owns it and is not finished.
    Foreign {
        /// The time since the key was first seen.
        age: Duration,
        /// How long until it may be taken over; none once it was begun.
        overdue_in: Option<Duration>,
    },
}

/// Looks at a claim for this side. The times are those of [`begin()`](super::begin()).
#[must_use]
pub fn look(record: Option<&Record>, side: &Side, assign_timeout: Duration, now: Micros) -> Look {
    let Some(record) = record else {
        return Look::Ask;
    };
    if record.side == *side || record.state.name().is_finished() {
        return Look::Ask;
    }
    let overdue_in = match record.state {
        State::Assigned { since } => {
            let left = since.plus(assign_timeout).since(now);
            if left.is_zero() {
                return Look::Ask;
            }
            Some(left)
        }
        _ => None,
    };
    Look::Foreign {
        age: now.since(record.first_seen),
        overdue_in,
    }
}
