//! What the client library's errors mean to the host.

use holdfast_ports::error::{Kind, PortError};
use lapin::ErrorKind;

/// The reply codes that the host tells apart.
pub(crate) const ACCESS_REFUSED: u16 = 403;
pub(crate) const NOT_FOUND: u16 = 404;
pub(crate) const RESOURCE_LOCKED: u16 = 405;
pub(crate) const PRECONDITION_FAILED: u16 = 406;
const NOT_ALLOWED: u16 = 530;

/// The broker's reply code, when it was the broker that refused.
pub(crate) fn code(error: &lapin::Error) -> Option<u16> {
    match error.kind() {
        ErrorKind::ProtocolError(error) => Some(error.get_id()),
        _ => None,
    }
}

/// The broker's words, else the library's.
pub(crate) fn text(error: &lapin::Error) -> String {
    match error.kind() {
        ErrorKind::ProtocolError(error) => error.get_message().to_string(),
        _ => error.to_string(),
    }
}

/// Will the same call be refused again?
pub(crate) fn kind(error: &lapin::Error) -> Kind {
    match code(error) {
        // The node of a queue is down: it exists and will be back.
        Some(NOT_FOUND) if text(error).contains("down or inaccessible") => Kind::Transient,
        Some(ACCESS_REFUSED | NOT_FOUND | RESOURCE_LOCKED | PRECONDITION_FAILED | NOT_ALLOWED) => {
            Kind::Permanent
        }
        _ => Kind::Transient,
    }
}

/// The port's error; `what` completes the phrase "failed to …".
pub(crate) fn port(what: impl Into<String>, error: &lapin::Error) -> PortError {
    PortError::new(kind(error), what).because(text(error))
}

/// No answer in time.
pub(crate) fn late(what: impl Into<String>) -> PortError {
    PortError::transient(what).because("the broker did not answer in time")
}
