//! The numbers that stand for park reasons in records. They are on disk: a new
//! reason gets a new number, none is used twice, none is above 30.

use holdfast_core::claim::ParkReason;

/// The number of a reason.
pub(crate) fn number(reason: ParkReason) -> u8 {
    match reason {
        ParkReason::Rejected => 1,
        ParkReason::AttemptsSpent => 2,
        ParkReason::KeyConflict => 3,
        ParkReason::NoKey => 4,
        ParkReason::NoLane => 5,
        ParkReason::BadSequence => 6,
        ParkReason::TooLarge => 7,
        ParkReason::BadRecord => 8,
        // record.lua knows this one.
        ParkReason::OutboxUndeliverable => 9,
    }
}

/// The reason with a number.
pub(crate) fn reason(wanted: u64) -> Option<ParkReason> {
    ParkReason::ALL
        .into_iter()
        .find(|reason| u64::from(number(*reason)) == wanted)
}
