//! How to reach a store.

use std::fmt;
use std::path::PathBuf;
use std::time::Duration;

/// How to reach a store and what to ask of it.
#[derive(Clone, PartialEq, Eq)]
pub struct RedisOptions {
    /// `redis://[user[:password]@]host[:port][/database]`, or `rediss` for TLS. It is never printed
    /// with what stands before the `@`.
    pub url: String,
    /// A file with the certificates to trust (PEM), for `rediss`; the system's
    /// when none.
    pub ca: Option<PathBuf>,
    /// The prefix of every key: a name as holdfast-core checks them.
    pub service: String,
    /// How long to wait for an answer before the call fails as transient. The
    /// scripts take microseconds; this is for a frozen or unreachable server.
    pub response_timeout: Duration,
    /// A commit succeeds only when this many replicas have it; 0 waits for none.
    pub wait_replicas: u32,
}

impl RedisOptions {
    /// Five seconds for an answer, no replicas.
    pub fn new(url: impl Into<String>, service: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            ca: None,
            service: service.into(),
            response_timeout: Duration::from_secs(5),
            wait_replicas: 0,
        }
    }

    /// The address without credentials, for people.
    #[must_use]
    pub fn shown_url(&self) -> String {
        let (scheme, rest) = self.url.split_once("://").unwrap_or(("redis", &self.url));
        // A password may hold an '@', even a '/' where somebody forgot to
        // encode it: everything up to the last '@' is taken for a secret.
        let place = rest.rsplit_once('@').map_or(rest, |(_, place)| place);
        let place = place.split(['?', '#']).next().unwrap_or_default();
        format!("{scheme}://{place}")
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("url", &self.shown_url())
            .field("service", &self.service)
            .field("response_timeout", &self.response_timeout)
            .field("wait_replicas", &self.wait_replicas)
            .finish()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn credentials_are_never_shown() {
        for url in [
            "redis://user:secret@host:6379/0",
            "redis://:secret@host:6379/0",
            "redis://user:sec@ret/secret@host:6379/0?password=secret",
        ] {
            let options = RedisOptions::new(url, "orders");
            assert_eq!(options.shown_url(), "redis://host:6379/0");
            assert!(!format!("{options:?}").contains("secret"));
        }
    }
}
