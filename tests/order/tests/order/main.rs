//! Hosts on embedded parts in paused time: what they do with lanes, leases and
//! partitions.

mod halting;
mod holding;
mod leading;
mod partitions;

use holdfast_order::Called;

/// The keys `lane-n` of these numbers.
fn keys(lane: &str, numbers: std::ops::Range<usize>) -> Vec<String> {
    numbers.map(|number| format!("{lane}-{number}")).collect()
}

fn attempts(calls: &[Called]) -> Vec<u32> {
    calls.iter().map(|call| call.attempt).collect()
}
