//! Whether a server is there, seen from outside.

use std::fs;

/// Whether the process exists and is more than an entry waiting to be reaped.
pub(crate) fn alive(pid: u32) -> bool {
    fs::read_to_string(format!("/proc/{pid}/stat"))
        .is_ok_and(|stat| !stat.contains(") Z ") && !stat.contains(") X "))
}
