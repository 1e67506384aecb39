//! What this crate reads from outside, one function for each: any bytes go in,
//! and what must hold for all of them is asserted. `tests/inputs` calls them
//! with committed and with found inputs.

use crate::answers::{begun, committed};
use crate::reply::{Reply, hash};

/// An answer of a script as it comes over the wire (RESP).
///
/// # Panics
/// When an error does not say what failed.
pub fn reply(data: &[u8]) {
    let Ok(value) = redis::parse_redis_value(data) else {
        return;
    };
    let read = |what| Reply::new(value.clone(), what);
    if let Ok(reply) = read("begin") {
        let code = reply.code();
        match begun(reply) {
            Ok(answer) => assert!(code != 0, "{answer:?}"),
            Err(error) => assert!(!error.to_string().is_empty()),
        }
    }
    if let Ok(reply) = read("commit")
        && let Err(error) = committed(reply)
    {
        assert!(error.to_string().contains("commit"), "{error}");
    }
    let _ = hash(value, "look");
}
