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
    /// The server is one of a cluster.
    pub cluster: bool,
    /// Further servers of the cluster, each as `host:port`.
    pub nodes: Vec<String>,
    /// Who knows the primary, each as `host:port`: then the host in `url` is the
    /// primary's name.
    pub sentinels: Vec<String>,
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
            cluster: false,
            nodes: Vec::new(),
            sentinels: Vec::new(),
            service: service.into(),
            response_timeout: Duration::from_secs(5),
            wait_replicas: 0,
        }
    }

    /// The server in the address.
    pub(crate) fn place(&self) -> Result<(String, u16), String> {
        let shown = self.shown_url();
        let (_, place) = shown.split_once("://").unwrap_or(("", &shown));
        address(place.split('/').next().unwrap_or_default())
    }

    /// The address of another server that is spoken to in the same way.
    pub(crate) fn url_at(&self, host: &str, port: u16) -> String {
        let (head, rest) = self.url.split_once("://").unwrap_or(("redis", &self.url));
        let (who, place) = match rest.rsplit_once('@') {
            Some((who, place)) => (format!("{who}@"), place),
            None => (String::new(), rest),
        };
        let tail = place.find(['/', '?', '#']).map_or("", |at| &place[at..]);
        format!("{head}://{who}{}{tail}", bracketed(host, port))
    }

    /// The address of a sentinel: encrypted like the server, without a database
    /// and without the server's password.
    pub(crate) fn sentinel_at(&self, host: &str, port: u16) -> String {
        let (head, _) = self.url.split_once("://").unwrap_or(("redis", ""));
        format!("{head}://{}", bracketed(host, port))
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

/// `host:port`, `[v6]:port`, or a host alone, which is at the usual port.
pub(crate) fn address(text: &str) -> Result<(String, u16), String> {
    let wrong = || format!("{text:?} is no address of a server; write host:port");
    let (host, port) = match text.rsplit_once(':') {
        Some((host, port)) if !port.ends_with(']') => (host, port.parse().map_err(|_| wrong())?),
        _ => (text, 6379),
    };
    let host = host
        .strip_prefix('[')
        .and_then(|h| h.strip_suffix(']'))
        .unwrap_or(host);
    if host.is_empty() || host.contains(['/', '@', '[', ']']) {
        return Err(wrong());
    }
    Ok((host.to_owned(), port))
}

fn bracketed(host: &str, port: u16) -> String {
    if host.contains(':') {
        format!("[{host}]:{port}")
    } else {
        format!("{host}:{port}")
    }
}

impl fmt::Debug for RedisOptions {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("RedisOptions")
            .field("url", &self.shown_url())
            .field("cluster", &self.cluster)
            .field("nodes", &self.nodes)
            .field("sentinels", &self.sentinels)
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
    fn another_server_is_spoken_to_in_the_same_way() {
        let at = |url: &str| RedisOptions::new(url, "s").url_at("10.0.0.2", 7001);
        assert_eq!(at("redis://h"), "redis://10.0.0.2:7001");
        assert_eq!(
            at("rediss://u:p@h:1/0?a=b"),
            "rediss://u:p@10.0.0.2:7001/0?a=b"
        );
        let options = RedisOptions::new("redis://:p@[::1]:7000/0", "s");
        assert_eq!(options.place(), Ok(("::1".to_owned(), 7000)));
        assert_eq!(options.url_at("::2", 1), "redis://:p@[::2]:1/0");
        assert_eq!(options.sentinel_at("a", 26379), "redis://a:26379");
        assert_eq!(
            RedisOptions::new("redis://m", "s").place(),
            Ok(("m".to_owned(), 6379))
        );
        for wrong in ["", ":1", "a:b", "a:70000", "u@h:1"] {
            assert!(address(wrong).is_err(), "{wrong}");
        }
    }

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
