//! What went wrong between us and Redis, and what the host is to do about it.

use std::time::Duration;

use holdfast_ports::error::{Kind, PortError};
use redis::{ErrorKind, RedisError, ServerError};

/// Why a command gave no answer. None of these shows the password.
#[derive(Clone, Debug, thiserror::Error)]
pub(crate) enum LinkError {
    /// The connection is gone or cannot be made; the command may have run.
    #[error("Redis is away: {0}")]
    Away(RedisError),
    /// The server does not let us in.
    #[error("Redis refused the log-in: {0}")]
    Refused(RedisError),
    /// No answer in time; the command may have run, or may run later.
    #[error("Redis did not answer within {0:?}")]
    TimedOut(Duration),
    /// An error as an answer.
    #[error("Redis answered {0}")]
    Server(ServerError),
    /// It ran, but too few replicas have it.
    #[error("{acknowledged} of {wanted} replicas have the commit")]
    Replicas {
        /// How many have it.
        acknowledged: i64,
        /// How many have to.
        wanted: u32,
    },
    /// The connection was given up while the answer was on its way; the command
    /// may have run.
    #[error("the connection to Redis was lost")]
    Lost,
    /// A cluster's server does not know where all slots are.
    #[error(
        "Redis does not say which server of the cluster has what; is it one (cluster-enabled), and whole?"
    )]
    NoMap,
    /// No sentinel names one.
    #[error("no sentinel knows a primary named {0}")]
    NoPrimary(String),
    /// The store is being closed.
    #[error("the store is closed")]
    Closed,
}

/// Codes of answers that pass: a full, loading, demoted or busy server.
const PASSING: &[&str] = &[
    "READONLY",
    "OOM",
    "LOADING",
    "MISCONF",
    "CLUSTERDOWN",
    "MOVED",
    "ASK",
    "MASTERDOWN",
    "NOREPLICAS",
    "TRYAGAIN",
    "BUSY",
    "NOSCRIPT",
    "UNKILLABLE",
];

/// Codes of answers about one key.
const RECORD: &[&str] = &["WRONGTYPE", "BADRECORD"];

impl LinkError {
    pub(crate) fn kind(&self) -> Kind {
        match self {
            Self::Away(_)
            | Self::TimedOut(_)
            | Self::Replicas { .. }
            | Self::Lost
            | Self::NoMap
            | Self::NoPrimary(_) => Kind::Transient,
            Self::Refused(_) | Self::Closed => Kind::Permanent,
            Self::Server(error) => server_kind(error.code(), error.details().unwrap_or_default()),
        }
    }

    /// As an error of the port; `what` completes "failed to …".
    pub(crate) fn into_port(self, what: &str) -> PortError {
        PortError::new(self.kind(), what).because(self)
    }

    /// Why no connection could be made.
    pub(crate) fn connecting(error: RedisError) -> Self {
        let text = error.code().unwrap_or_default();
        let refused = error.kind() == ErrorKind::AuthenticationFailed
            || matches!(text, "NOAUTH" | "WRONGPASS" | "NOPERM");
        if refused {
            Self::Refused(error)
        } else {
            Self::Away(error)
        }
    }
}

fn server_kind(code: &str, details: &str) -> Kind {
    // Before Redis 7 an error inside a script is an ERR with the real code
    // somewhere in its text.
    let is = |known: &&str| code == *known || (code == "ERR" && details.contains(*known));
    if RECORD.iter().any(is) {
        Kind::BadRecord
    } else if PASSING.iter().any(is) {
        Kind::Transient
    } else {
        Kind::Permanent
    }
}

/// An answer that no script gives.
pub(crate) fn unexpected(what: &str) -> PortError {
    PortError::permanent(format!("{what}: Redis gave an answer of an unknown shape"))
}

/// The answer of a call that has no other way to say so.
pub(crate) fn fenced(what: &str) -> PortError {
    PortError::new(
        Kind::Fenced,
        format!("{what}: the store is not the one the host started with"),
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Bad input: Store | READONLY, OOM, LOADING, MISCONF, WRONGTYPE | the first four are waited for, the last spoils one message
    #[test]
    fn answers_are_sorted_into_passing_lasting_and_of_one_record() {
        for (code, details, kind) in [
            ("READONLY", "", Kind::Transient),
            ("OOM", "command not allowed", Kind::Transient),
            ("LOADING", "", Kind::Transient),
            ("MISCONF", "", Kind::Transient),
            ("MASTERDOWN", "", Kind::Transient),
            ("WRONGTYPE", "", Kind::BadRecord),
            (
                "ERR",
                "Error running script: WRONGTYPE Operation",
                Kind::BadRecord,
            ),
            ("BADRECORD", "", Kind::BadRecord),
            ("NOAUTH", "", Kind::Permanent),
            ("NOPERM", "", Kind::Permanent),
            ("ERR", "unknown command", Kind::Permanent),
        ] {
            assert_eq!(server_kind(code, details), kind, "{code} {details}");
        }
    }
}
