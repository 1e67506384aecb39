//! How to reach the broker.

use std::fmt;
use std::time::Duration;

use holdfast_ports::error::PortError;
use lapin::tcp::OwnedTLSConfig;
use lapin::uri::AMQPUri;

/// How to reach the broker. Its `Debug` form does not show the password.
#[derive(Clone)]
pub struct Options {
    /// `amqp://user:password@host:port/vhost`, or `amqps://…`.
    pub url: String,
    /// Names the connections in the broker's own tools.
    pub service: String,
    /// A connection that is silent for twice this long is dead; in whole
    /// seconds, at least one. 10 s by default. A shorter one in the address
    /// counts, a longer one does not.
    pub heartbeat: Duration,
    /// How long a publish may wait for its confirmation. 10 s by default.
    pub publish_deadline: Duration,
    /// How long any other call may take. 10 s by default.
    pub call_deadline: Duration,
    /// Certificates in PEM form to trust for `amqps`; else the system's.
    pub ca: Option<String>,
}

impl Options {
    /// The defaults for this address.
    pub fn new(url: impl Into<String>, service: impl Into<String>) -> Self {
        Self {
            url: url.into(),
            service: service.into(),
            heartbeat: Duration::from_secs(10),
            publish_deadline: Duration::from_secs(10),
            call_deadline: Duration::from_secs(10),
            ca: None,
        }
    }

    pub(crate) fn tls(&self) -> OwnedTLSConfig {
        OwnedTLSConfig {
            identity: None,
            cert_chain: self.ca.clone(),
        }
    }

    /// The address in the library's form.
    ///
    /// # Errors
    /// Permanent when it is none; the text does not repeat it.
    pub(crate) fn uri(&self) -> Result<AMQPUri, PortError> {
        let mut uri: AMQPUri = self.url.parse().map_err(|reason: String| {
            PortError::permanent("read the broker's url").because(reason)
        })?;
        let ours = u16::try_from(self.heartbeat.as_secs()).unwrap_or(u16::MAX);
        let theirs = uri.query.heartbeat.filter(|seconds| *seconds > 0);
        uri.query.heartbeat = Some(theirs.map_or(ours, |theirs| theirs.min(ours)).max(1));
        Ok(uri)
    }
}

impl fmt::Debug for Options {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let url = self.uri().map_or("…".to_owned(), |uri| redacted(&uri));
        f.debug_struct("Options")
            .field("url", &url)
            .field("service", &self.service)
            .field("heartbeat", &self.heartbeat)
            .field("publish_deadline", &self.publish_deadline)
            .field("call_deadline", &self.call_deadline)
            .finish_non_exhaustive()
    }
}

/// The address without its password.
pub(crate) fn redacted(uri: &AMQPUri) -> String {
    let (user, at) = (&uri.authority.userinfo.username, &uri.authority);
    let (scheme, vhost) = (&uri.scheme, &uri.vhost);
    format!(
        "{scheme}://{user}:…@{}:{} (virtual host {vhost:?})",
        at.host, at.port
    )
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Hazard: lapin and RabbitMQ | the debug form of an address prints the password | never shown
    #[test]
    fn a_password_with_special_characters_is_understood_and_never_shown() {
        let options = Options::new("amqp://ann:s%40cr%2Fet@broker:5673/%2f", "shop");
        let uri = options.uri().expect("an address");
        assert_eq!(uri.authority.userinfo.password, "s@cr/et");
        let shown = format!("{options:?} {}", redacted(&uri));
        assert!(!shown.contains("cr"), "{shown}");
        assert!(shown.contains("amqp://ann:…@broker:5673"), "{shown}");
    }

    #[test]
    fn the_shorter_heartbeat_counts() {
        for (query, seconds) in [("", 2), ("?heartbeat=5", 2), ("?heartbeat=1", 1)] {
            let mut options = Options::new(format!("amqp://localhost/%2f{query}"), "shop");
            options.heartbeat = Duration::from_secs(2);
            let uri = options.uri().expect("an address");
            assert_eq!(uri.query.heartbeat, Some(seconds), "{query}");
        }
    }

    #[test]
    fn a_broken_address_is_refused_without_being_repeated() {
        for url in ["", "secret", "http://u:secret@h", "amqp://u:secret@h:x/"] {
            let error = Options::new(url, "shop").uri().expect_err("no address");
            assert!(!error.is_transient());
            assert!(!error.to_string().contains("secret"), "{error}");
        }
    }
}
