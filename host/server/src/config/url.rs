//! Server addresses, taken apart without ever being shown.

use std::net::{IpAddr, Ipv6Addr};

pub use holdfast_core::destination::Host;

/// What is wrong with an address. No variant holds any part of it.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum UrlError {
    /// There is no `scheme://`.
    #[error("it has no scheme, such as `amqp://` or `redis://`")]
    NoScheme,
    /// A space or a control character.
    #[error("it contains a space or a control character")]
    Space,
    /// An `@` after the first `/`, `?` or `#`.
    #[error("user or password contains a `/`, `?` or `#`; write them as %2f, %3f and %23")]
    RawDelimiter,
    /// A `%` without two hex digits.
    #[error("a `%` is not followed by two hex digits; a plain `%` is written %25")]
    BadPercent,
    /// Nothing between user and port.
    #[error("it names no host")]
    NoHost,
    /// The host is neither a name nor an address.
    #[error("its host is neither a name nor an address")]
    BadHost,
    /// The port is not one.
    #[error("its port is not a number from 1 to 65535")]
    BadPort,
    /// A slash inside the virtual host.
    #[error("a `/` in the virtual host is written %2f")]
    RawSlashInVhost,
    /// The database of a Redis address is not a number.
    #[error("its database is not a whole number")]
    BadDatabase,
}

/// The parts of an address; user and password are left out.
#[derive(Clone, PartialEq, Eq)]
pub(super) struct UrlParts {
    pub(super) scheme: String,
    pub(super) has_user: bool,
    pub(super) host: Option<Host>,
    pub(super) port: Option<u16>,
    pub(super) path: String,
    pub(super) query: Option<String>,
    pub(super) has_fragment: bool,
}

impl UrlParts {
    pub(super) fn parse(text: &str) -> Result<Self, UrlError> {
        if text.chars().any(|c| c.is_whitespace() || c.is_control()) {
            return Err(UrlError::Space);
        }
        let (scheme, rest) = text.split_once("://").ok_or(UrlError::NoScheme)?;
        let scheme_like = |c: char| c.is_ascii_alphanumeric() || c == '+';
        if scheme.is_empty() || !scheme.chars().all(scheme_like) {
            return Err(UrlError::NoScheme);
        }
        let scheme = scheme.to_ascii_lowercase();
        let (rest, has_fragment) = match rest.split_once('#') {
            Some((_, fragment)) if fragment.contains('@') => return Err(UrlError::RawDelimiter),
            Some((rest, _)) => (rest, true),
            None => (rest, false),
        };
        let (rest, query) = match rest.split_once('?') {
            Some((_, query)) if query.contains('@') => return Err(UrlError::RawDelimiter),
            Some((rest, query)) => (rest, Some(query.to_owned())),
            None => (rest, None),
        };
        let (authority, path) = rest.split_at(rest.find('/').unwrap_or(rest.len()));
        let socket_file = scheme == "unix" || scheme.ends_with("+unix");
        if path.contains('@') && !socket_file {
            return Err(UrlError::RawDelimiter);
        }
        let (user, server) = match authority.rsplit_once('@') {
            Some((user, server)) => (Some(user), server),
            None => (None, authority),
        };
        if !percents_are_whole(user.unwrap_or_default()) || !percents_are_whole(path) {
            return Err(UrlError::BadPercent);
        }
        let (host, port) = if socket_file {
            (None, None)
        } else {
            host_and_port(server)?
        };
        let path = path.to_owned();
        let has_user = user.is_some();
        Ok(Self {
            scheme,
            has_user,
            host,
            port,
            path,
            query,
            has_fragment,
        })
    }

    /// The value of a query parameter, as written.
    pub(super) fn parameter(&self, name: &str) -> Option<&str> {
        let pairs = self.query.as_deref()?.split('&');
        pairs
            .filter_map(|pair| pair.split_once('='))
            .find(|(key, _)| *key == name)
            .map(|(_, v)| v)
    }
}

pub(super) fn host_and_port(server: &str) -> Result<(Option<Host>, Option<u16>), UrlError> {
    let (host, port) = if let Some(rest) = server.strip_prefix('[') {
        let (inner, after) = rest.split_once(']').ok_or(UrlError::BadHost)?;
        let ip: Ipv6Addr = inner.parse().map_err(|_| UrlError::BadHost)?;
        let port = match after.strip_prefix(':') {
            Some(port) => Some(port),
            None if after.is_empty() => None,
            None => return Err(UrlError::BadHost),
        };
        (Host::Ip(IpAddr::V6(ip)), port)
    } else {
        let (name, port) = match server.split_once(':') {
            Some((name, port)) => (name, Some(port)),
            None => (server, None),
        };
        if name.is_empty() {
            return Err(UrlError::NoHost);
        }
        (Host::parse(name).ok_or(UrlError::BadHost)?, port)
    };
    let port = match port {
        None => None,
        Some(port) => match port.parse() {
            Ok(port) if port > 0 => Some(port),
            _ => return Err(UrlError::BadPort),
        },
    };
    Ok((Some(host), port))
}

fn percents_are_whole(text: &str) -> bool {
    let bytes = text.as_bytes();
    bytes
        .iter()
        .enumerate()
        .filter(|(_, b)| **b == b'%')
        .all(|(at, _)| {
            bytes
                .get(at + 1..at + 3)
                .is_some_and(|hex| hex.iter().all(u8::is_ascii_hexdigit))
        })
}
