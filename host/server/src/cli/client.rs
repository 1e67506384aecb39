//! Talks to a running host over its admin interface.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr, SocketAddr};
use std::time::Duration;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::Value;
use ureq::http::{Response, StatusCode};
use ureq::{Agent, Body};

use super::args::Global;
use super::failure::Failure;
use crate::config::{self, Loaded};

/// Where the token is looked for when no configuration has it.
const TOKEN: &str = "HOLDFAST_ADMIN_TOKEN";
/// A host that is there takes a connection at once.
const CONNECT: Duration = Duration::from_secs(5);
/// The longest call compiles a plugin.
const WHOLE: Duration = Duration::from_secs(90);

const SEGMENT: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// One segment of a path, so that no text can be mistaken for another path.
pub(super) fn segment(text: &str) -> String {
    utf8_percent_encode(text, SEGMENT).to_string()
}

/// Reads the configuration that the command line means.
pub(super) fn configuration(global: &Global) -> Result<Loaded, Failure> {
    Ok(config::load(&global.config_file(), &|name| {
        std::env::var(name).ok()
    })?)
}

/// A running host.
#[derive(Clone)]
pub(super) struct Client {
    base: String,
    token: Option<String>,
    help: String,
    agent: Agent,
}

/// What the host answered when it did not do what was asked.
#[derive(Debug)]
pub(super) struct Refusal {
    /// The status.
    pub(super) status: StatusCode,
    /// What it says.
    pub(super) detail: String,
}

impl Client {
    /// The host that `--url` names, else the one of the configuration.
    pub(super) fn find(global: &Global) -> Result<Self, Failure> {
        let file = global.config_file();
        let token = || std::env::var(TOKEN).ok().filter(|token| !token.is_empty());
        let (base, token, help) = match &global.url {
            Some(url) => {
                let loaded = config::load(&file, &|name| std::env::var(name).ok()).ok();
                let token = token().or_else(|| loaded.as_ref().and_then(configured_token));
                (base(url)?, token, "check --url".to_owned())
            }
            None => {
                let loaded = configuration(global)?;
                let listen = loaded.valid.admin.listen;
                let token = configured_token(&loaded).or_else(token);
                let help = format!(
                    "start it with `holdfast run --config {}`, or name another with --url",
                    file.display()
                );
                (reachable(listen)?, token, help)
            }
        };
        let agent = Agent::config_builder()
            .http_status_as_error(false)
            .proxy(None)
            .max_redirects(0)
            .timeout_connect(Some(CONNECT))
            .timeout_global(Some(WHOLE))
            .max_idle_connections_per_host(32)
            .max_idle_connections(32)
            .build()
            .into();
        Ok(Self {
            base,
            token,
            help,
            agent,
        })
    }

    /// A path below `/api/v1`, made of these segments.
    fn at(&self, segments: &[&str]) -> String {
        let path: String = segments
            .iter()
            .flat_map(|part| ["/".to_owned(), segment(part)])
            .collect();
        format!("{}/api/v1{path}", self.base)
    }

    /// Reads; a refusal is given to the caller.
    pub(super) fn ask(
        &self,
        segments: &[&str],
        query: &[(&str, &str)],
    ) -> Result<Result<Value, Refusal>, Failure> {
        let request = self.agent.get(self.at(segments));
        let request = query.iter().fold(request, |r, (k, v)| r.query(k, v));
        self.answer(self.authorized(request).call())
    }

    /// Reads.
    pub(super) fn get(&self, segments: &[&str], query: &[(&str, &str)]) -> Result<Value, Failure> {
        self.ask(segments, query)?.map_err(Failure::from)
    }

    /// Reads what may take this long to be found out, and a little more.
    pub(super) fn get_within(
        &self,
        segments: &[&str],
        query: &[(&str, &str)],
        wait: Duration,
    ) -> Result<Value, Failure> {
        let request = self.agent.get(self.at(segments));
        let request = request.config().timeout_global(Some(wait + WHOLE)).build();
        let request = query.iter().fold(request, |r, (k, v)| r.query(k, v));
        self.answer(self.authorized(request).call())?
            .map_err(Failure::from)
    }

    /// Changes something.
    pub(super) fn post(&self, segments: &[&str], body: &Value) -> Result<Value, Failure> {
        let request = self.authorized(self.agent.post(self.at(segments)));
        self.answer(request.send_json(body))?.map_err(Failure::from)
    }

    /// Replaces something; a refusal is given to the caller.
    pub(super) fn put(
        &self,
        segments: &[&str],
        body: &Value,
    ) -> Result<Result<Value, Refusal>, Failure> {
        let request = self.authorized(self.agent.put(self.at(segments)));
        self.answer(request.send_json(body))
    }

    /// Publishes a message; a refusal is given to the caller.
    pub(super) fn publish(
        &self,
        queue: &str,
        broker: Option<&str>,
        headers: &[(String, String)],
        body: &[u8],
    ) -> Result<Result<Value, Refusal>, Failure> {
        let request = self.agent.post(self.at(&["queues", queue, "messages"]));
        let request = broker
            .into_iter()
            .fold(request, |r, b| r.query("broker", b));
        let request = headers
            .iter()
            .fold(request, |r, (k, v)| r.header(k.as_str(), v.as_bytes()));
        self.answer(self.authorized(request).send(body))
    }

    fn authorized<B>(&self, request: ureq::RequestBuilder<B>) -> ureq::RequestBuilder<B> {
        match &self.token {
            Some(token) => request.header("Authorization", format!("Bearer {token}")),
            None => request,
        }
    }

    fn answer(
        &self,
        sent: Result<Response<Body>, ureq::Error>,
    ) -> Result<Result<Value, Refusal>, Failure> {
        let unreachable = |error: ureq::Error| {
            Failure::Failed(format!(
                "failed to reach a host at {}: {error}\nhelp: {}",
                self.base, self.help
            ))
        };
        let mut response = match sent {
            Err(ureq::Error::Http(error)) => {
                return Err(Failure::Usage(format!("this cannot be sent: {error}")));
            }
            sent => sent.map_err(unreachable)?,
        };
        let status = response.status();
        let text = response.body_mut().with_config().limit(256 << 20);
        let text = text.read_to_string().map_err(unreachable)?;
        let body = serde_json::from_str::<Value>(&text);
        match (status.is_success(), body) {
            (true, Ok(body)) => Ok(Ok(body)),
            (false, Ok(problem)) if problem["detail"].is_string() => Ok(Err(Refusal {
                status,
                detail: problem["detail"].as_str().unwrap_or_default().to_owned(),
            })),
            _ => Err(Failure::Failed(format!(
                "failed to understand what answers at {} ({status}); is it a Holdfast host?\n\
                 help: {}",
                self.base, self.help
            ))),
        }
    }
}

impl From<Refusal> for Failure {
    fn from(refusal: Refusal) -> Self {
        let detail = refusal.detail;
        match refusal.status {
            StatusCode::UNPROCESSABLE_ENTITY => Self::Wrong(detail),
            StatusCode::UNAUTHORIZED => Self::Failed(format!(
                "{detail}\nhelp: set admin.token in the configuration, or {TOKEN}"
            )),
            _ => Self::Failed(detail),
        }
    }
}

fn configured_token(loaded: &Loaded) -> Option<String> {
    let token = loaded.valid.admin.token.as_ref()?;
    Some(token.expose().to_owned())
}

/// The address of a host as a person writes it.
fn base(url: &str) -> Result<String, Failure> {
    let (scheme, rest) = url.split_once("://").unwrap_or(("http", url));
    let rest = rest.trim_end_matches('/');
    if !scheme.eq_ignore_ascii_case("http") {
        return Err(Failure::Usage(format!(
            "--url begins with http://; {scheme} is not spoken here"
        )));
    }
    if rest.is_empty() || rest.contains(['/', '?', '#', '@', ' ']) {
        return Err(Failure::Usage(
            "--url is made of a host and a port, such as http://127.0.0.1:7070".to_owned(),
        ));
    }
    Ok(format!("http://{rest}"))
}

/// Where a listener is reached from this machine.
fn reachable(listen: SocketAddr) -> Result<String, Failure> {
    if listen.port() == 0 {
        return Err(Failure::Usage(
            "admin.listen has port 0, so the host chose one when it started; name it with --url"
                .to_owned(),
        ));
    }
    let ip = match listen.ip() {
        IpAddr::V4(ip) if ip.is_unspecified() => IpAddr::V4(Ipv4Addr::LOCALHOST),
        IpAddr::V6(ip) if ip.is_unspecified() => IpAddr::V6(Ipv6Addr::LOCALHOST),
        ip => ip,
    };
    Ok(format!("http://{}", SocketAddr::new(ip, listen.port())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_host_is_named_by_an_address_with_or_without_scheme() {
        for url in [
            "127.0.0.1:7070",
            "http://127.0.0.1:7070",
            "http://127.0.0.1:7070/",
        ] {
            assert_eq!(base(url).expect(url), "http://127.0.0.1:7070");
        }
        for url in ["https://a:1", "http://", "http://a/b", "http://u@a", ""] {
            assert!(matches!(base(url), Err(Failure::Usage(_))), "{url}");
        }
    }

    #[test]
    fn a_listener_on_all_addresses_is_reached_over_loopback() {
        let at = |listen: &str| reachable(listen.parse().expect("an address")).ok();
        assert_eq!(at("0.0.0.0:7070").as_deref(), Some("http://127.0.0.1:7070"));
        assert_eq!(at("[::]:7070").as_deref(), Some("http://[::1]:7070"));
        assert_eq!(at("10.1.2.3:1").as_deref(), Some("http://10.1.2.3:1"));
        assert_eq!(at("127.0.0.1:0"), None);
    }

    #[test]
    fn a_segment_never_leaves_its_place() {
        assert_eq!(segment("a/b?c#d%20é"), "a%2Fb%3Fc%23d%2520%C3%A9");
    }
}
