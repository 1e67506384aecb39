//! What the answers of the longer steps mean.

use std::time::Duration;

use holdfast_core::claim::{BeginAnswer, CommitAnswer, ParkReason};
use holdfast_ports::error::PortError;
use holdfast_ports::message::{Outbox, Snapshot};

use crate::reason;
use crate::reply::Reply;

/// The scripts' word for a token that is no longer the claim's.
pub(crate) const LOST: i64 = 4;

pub(crate) fn begun(mut reply: Reply) -> Result<BeginAnswer<Snapshot, Outbox>, PortError> {
    if let Some(by) = reply.fenced() {
        return Ok(BeginAnswer::Fenced(by));
    }
    Ok(match reply.code() {
        1 => BeginAnswer::Granted {
            attempt: reply.count()?,
            fence: reply.number()?,
            first_seen_ms: reply.number()?,
            error: reply.optional_text()?,
            state: reply.snapshot()?,
        },
        2 => BeginAnswer::Foreign {
            side: reply.side()?,
            state: reply.state()?,
        },
        3 => BeginAnswer::Assigned {
            side: reply.side()?,
        },
        4 => BeginAnswer::Done,
        5 => BeginAnswer::Committed {
            tries: reply.count()?,
            attempt: reply.count()?,
            outbox: reply.outbox()?,
        },
        6 => BeginAnswer::Parking {
            reason: park_reason(&mut reply)?,
            error: reply.optional_text()?,
            attempt: reply.count()?,
            first_seen_ms: reply.number()?,
            fence: reply.number()?,
            outbox: reply.outbox()?,
        },
        7 => BeginAnswer::Parked {
            reason: park_reason(&mut reply)?,
        },
        8 => BeginAnswer::Busy {
            wait: Duration::from_micros(reply.number()?),
        },
        9 => BeginAnswer::Conflict,
        11 => BeginAnswer::RuleMoved,
        10 => BeginAnswer::Stale {
            last: reply.number()?,
        },
        // A fence is a time, so it is larger than any of the numbers above.
        fence if fence > 1_000_000 => {
            let fence = fence.unsigned_abs();
            BeginAnswer::Granted {
                attempt: 1,
                fence,
                first_seen_ms: fence / 1000,
                error: None,
                state: Snapshot::default(),
            }
        }
        _ => return Err(reply.unexpected()),
    })
}

pub(crate) fn committed(mut reply: Reply) -> Result<CommitAnswer, PortError> {
    if let Some(by) = reply.fenced() {
        return Ok(CommitAnswer::Fenced(by));
    }
    Ok(match reply.code() {
        1 => CommitAnswer::Done,
        2 => CommitAnswer::Committed {
            minted: reply.minted()?,
        },
        3 => CommitAnswer::StateMoved,
        LOST => CommitAnswer::Lost,
        _ => return Err(reply.unexpected()),
    })
}

fn park_reason(reply: &mut Reply) -> Result<ParkReason, PortError> {
    let number = reply.number()?;
    reason::reason(number).ok_or_else(|| {
        PortError::bad_record(format!("read a claim: no reason has the number {number}"))
    })
}
