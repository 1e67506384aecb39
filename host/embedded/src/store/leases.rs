//! Leases, and which instances are there.

use std::time::Duration;

use holdfast_core::time::Micros;
use holdfast_ports::store::{LeaseAnswer, LeaseName, LeaseView, Present};

use super::keys;
use super::records::StoredLease;
use crate::rows::{Rows, Stop};

fn load(rows: &Rows<'_>, of: &LeaseName) -> Result<Option<StoredLease>, Stop> {
    rows.get(&keys::lease(of))
}

/// Only while its time runs.
fn live(rows: &Rows<'_>, of: &LeaseName) -> Result<Option<StoredLease>, Stop> {
    Ok(load(rows, of)?.filter(|lease| lease.until > rows.now().0))
}

fn left(rows: &Rows<'_>, lease: &StoredLease) -> Duration {
    Micros(lease.until).since(rows.now())
}

pub(super) fn current_epoch(rows: &Rows<'_>, of: &LeaseName) -> Result<Option<u64>, Stop> {
    Ok(live(rows, of)?.map(|lease| lease.epoch))
}

pub(super) fn acquire(
    rows: &mut Rows<'_>,
    of: &LeaseName,
    owner: u64,
    ttl: Duration,
) -> Result<LeaseAnswer, Stop> {
    let epoch = match load(rows, of)? {
        Some(lease) if lease.until > rows.now().0 => {
            if lease.owner != owner {
                let left = left(rows, &lease);
                return Ok(LeaseAnswer::Held { left });
            }
            // The same question again: its answer was lost.
            lease.epoch
        }
        Some(lease) => (lease.epoch + 1).max(rows.now().0),
        None => rows.now().0.max(1),
    };
    write(rows, of, owner, epoch, rows.now().plus(ttl))?;
    Ok(LeaseAnswer::Ours { epoch })
}

pub(super) fn renew(
    rows: &mut Rows<'_>,
    of: &LeaseName,
    owner: u64,
    ttl: Duration,
) -> Result<LeaseAnswer, Stop> {
    let until = rows.now().plus(ttl);
    if_ours(rows, of, owner, until)
}

pub(super) fn give_back(
    rows: &mut Rows<'_>,
    of: &LeaseName,
    owner: u64,
) -> Result<LeaseAnswer, Stop> {
    if_ours(rows, of, owner, Micros(0))
}

fn if_ours(
    rows: &mut Rows<'_>,
    of: &LeaseName,
    owner: u64,
    until: Micros,
) -> Result<LeaseAnswer, Stop> {
    match live(rows, of)? {
        None => Ok(LeaseAnswer::Gone),
        Some(lease) if lease.owner != owner => Ok(LeaseAnswer::Held {
            left: left(rows, &lease),
        }),
        Some(lease) => {
            write(rows, of, owner, lease.epoch, until)?;
            Ok(LeaseAnswer::Ours { epoch: lease.epoch })
        }
    }
}

fn write(
    rows: &mut Rows<'_>,
    of: &LeaseName,
    owner: u64,
    epoch: u64,
    until: Micros,
) -> Result<(), Stop> {
    let lease = StoredLease {
        owner,
        epoch,
        until: until.0,
    };
    rows.put(&keys::lease(of), &lease, None)
}

pub(super) fn leader(rows: &Rows<'_>, of: &LeaseName) -> Result<Option<LeaseView>, Stop> {
    Ok(live(rows, of)?.map(|lease| LeaseView {
        owner: lease.owner,
        epoch: lease.epoch,
        left: left(rows, &lease),
    }))
}

/// Notes or removes an instance; gives those that are there, and whether one
/// came or left.
pub(super) fn attend(
    rows: &mut Rows<'_>,
    roster: &str,
    instance: u64,
    stay: Option<Duration>,
) -> Result<(Vec<Present>, bool), Stop> {
    let key = keys::present(roster).numbered(instance);
    let was_there = rows.get::<u64>(&key)?.is_some();
    match stay {
        Some(stay) => rows.put(&key, &rows.now().plus(stay).0, Some(stay))?,
        None => {
            rows.delete(&key)?;
        }
    }
    let mut there = Vec::new();
    let now = rows.now();
    rows.scan(&keys::present(roster), |rest, until: u64| {
        // What follows the roster is a NUL and the number.
        if let Some(number) = rest.strip_prefix(&[0]).and_then(|n| n.try_into().ok()) {
            there.push(Present {
                instance: u64::from_be_bytes(number),
                left: Micros(until).since(now),
            });
        }
        Ok(true)
    })?;
    Ok((there, was_there == stay.is_none()))
}
