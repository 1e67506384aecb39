//! Loopback ports that stay reserved over the kill and restart of a server.

use std::collections::hash_map::RandomState;
use std::fs::{self, File, OpenOptions, TryLockError};
use std::hash::BuildHasher;
use std::net::{Ipv4Addr, TcpListener};
use std::os::unix::fs::MetadataExt;
use std::path::PathBuf;

use anyhow::{Context, Result, bail};

/// Below the range from which systems take the ports of outgoing connections.
/// A client that keeps dialling a dead port inside that range can end up
/// connected to itself, and then the server cannot have the port back.
const RANGE: std::ops::Range<u16> = 10_000..32_000;

/// A port on 127.0.0.1 that no other process using this crate will pick while
/// the value lives, whether or not something listens on it at the moment.
#[derive(Debug)]
pub struct Port {
    number: u16,
    /// Locked; the system unlocks it when the process ends, however it ends.
    _reservation: File,
}

impl Port {
    /// Reserves a port on which nothing listens.
    ///
    /// # Errors
    /// Fails when none of many tried is free, or the reservation's file cannot
    /// be made.
    pub fn free() -> Result<Self> {
        let width = u64::from(RANGE.end - RANGE.start);
        for _ in 0..200 {
            let offset = u16::try_from(random() % width).context("port range")?;
            if let Some(port) = Self::reserve(RANGE.start + offset)? {
                return Ok(port);
            }
        }
        bail!("failed to find a free port on 127.0.0.1 in {RANGE:?}");
    }

    /// Reserves this very port.
    ///
    /// # Errors
    /// Fails when something listens on it or has it reserved.
    pub fn exactly(number: u16) -> Result<Self> {
        Self::reserve(number)?
            .with_context(|| format!("failed to reserve port {number} on 127.0.0.1: it is in use"))
    }

    /// The port's number.
    pub fn number(&self) -> u16 {
        self.number
    }

    fn reserve(number: u16) -> Result<Option<Self>> {
        let folder = reservations()?;
        let path = folder.join(number.to_string());
        let file = OpenOptions::new()
            .create(true)
            .truncate(false)
            .write(true)
            .open(&path)
            .with_context(|| format!("failed to open {}", path.display()))?;
        match file.try_lock() {
            Ok(()) => {}
            Err(TryLockError::WouldBlock) => return Ok(None),
            Err(TryLockError::Error(error)) => {
                return Err(error).with_context(|| format!("failed to lock {}", path.display()));
            }
        }
        let unused = TcpListener::bind((Ipv4Addr::LOCALHOST, number)).is_ok();
        Ok(unused.then_some(Self {
            number,
            _reservation: file,
        }))
    }
}

/// A number that differs from call to call and from process to process.
pub(crate) fn random() -> u64 {
    RandomState::new().hash_one(std::process::id())
}

/// One folder of lock files per user, shared by all their processes.
fn reservations() -> Result<PathBuf> {
    let user = fs::metadata("/proc/self")
        .context("failed to read the user's id from /proc/self")?
        .uid();
    let folder = std::env::temp_dir().join(format!("holdfast-ports-{user}"));
    fs::create_dir_all(&folder)
        .with_context(|| format!("failed to create {}", folder.display()))?;
    Ok(folder)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_reserved_port_is_not_given_twice() {
        let first = Port::free().unwrap();
        assert!(Port::reserve(first.number()).unwrap().is_none());
    }

    #[test]
    fn a_port_in_use_is_refused() {
        let port = Port::free().unwrap();
        let number = port.number();
        let _listener = TcpListener::bind((Ipv4Addr::LOCALHOST, number)).unwrap();
        drop(port);
        let refusal = Port::exactly(number).unwrap_err().to_string();
        assert!(refusal.contains("in use"), "{refusal}");
    }
}
