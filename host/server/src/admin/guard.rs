//! Who may talk to the admin interface.
//!
//! A page of another site can make a browser send requests here, under the
//! name it was itself loaded from (DNS rebinding) or as a plain cross-site
//! request. The `Host` and `Origin` checks refuse both; the token is for
//! everyone else.

use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;

use axum::extract::{Request, State};
use axum::http::header::{AUTHORIZATION, HOST, ORIGIN, WWW_AUTHENTICATE};
use axum::http::{HeaderMap, HeaderValue, Method, StatusCode};
use axum::middleware::Next;
use axum::response::{IntoResponse as _, Response};
use sha2::{Digest as _, Sha256};

use super::Admin;
use super::problem::Problem;
use crate::config::valid;

/// Lets a request pass, or answers it.
pub(super) async fn check(
    State(admin): State<Arc<Admin>>,
    request: Request,
    next: Next,
) -> Response {
    let reads = matches!(*request.method(), Method::GET | Method::HEAD);
    let path = request.uri().path();
    let probe = reads && matches!(path, "/livez" | "/readyz" | "/metrics");
    let mut response = if probe {
        next.run(request).await
    } else {
        let config = admin.app.config.load();
        let rules = Rules {
            listen: admin.listen,
            hosts: &config.valid.admin.hosts,
        };
        let authority = request
            .uri()
            .authority()
            .map(|authority| authority.as_str());
        let allowed = rules
            .host(request.headers(), authority)
            .and_then(|host| rules.origin(request.headers(), host));
        match allowed {
            Err(problem) => problem.into_response(),
            Ok(()) if !authorized(&config.valid.admin, admin.listen, reads, request.headers()) => {
                unauthorized(reads && path == "/")
            }
            Ok(()) => next.run(request).await,
        }
    };
    let headers = response.headers_mut();
    let set = |headers: &mut HeaderMap, name: &'static str, value: &'static str| {
        headers
            .entry(name)
            .or_insert(HeaderValue::from_static(value));
    };
    set(headers, "x-content-type-options", "nosniff");
    set(headers, "x-frame-options", "DENY");
    set(headers, "referrer-policy", "no-referrer");
    set(headers, "cache-control", "no-store");
    response
}

/// Which names this listener has.
struct Rules<'a> {
    listen: SocketAddr,
    hosts: &'a [String],
}

impl Rules<'_> {
    /// The host that a request names, if it is ours. A name may carry any port:
    /// there may be a forwarded port in between.
    fn host<'r>(
        &self,
        headers: &'r HeaderMap,
        authority: Option<&'r str>,
    ) -> Result<&'r str, Problem> {
        let mut all = headers.get_all(HOST).iter();
        let header = match (all.next(), all.next()) {
            (_, Some(_)) => return Err(Problem::bad("there are several Host headers")),
            (header, None) => header.map(|host| host.to_str().unwrap_or_default()),
        };
        let Some(host) = authority.or(header) else {
            return Err(Problem::bad("there is no Host header"));
        };
        if self.is_ours(host) && header.is_none_or(|header| self.is_ours(header)) {
            Ok(host)
        } else {
            Err(Problem::forbidden(
                "this host does not answer to that Host; admin.hosts can name further ones",
            ))
        }
    }

    /// A browser says where a request comes from: it has to be this interface.
    fn origin(&self, headers: &HeaderMap, host: &str) -> Result<(), Problem> {
        let foreign = || Err(Problem::forbidden("requests of another origin are refused"));
        for origin in headers.get_all(ORIGIN) {
            let origin = origin.to_str().unwrap_or_default();
            let Some((scheme, authority)) = origin.split_once("://") else {
                return foreign();
            };
            let scheme_is_web = matches!(scheme, "http" | "https");
            let same = authority.eq_ignore_ascii_case(host);
            let port = port_of(authority).unwrap_or(if scheme == "https" { 443 } else { 80 });
            let here = port == self.listen.port() && self.is_ours(authority);
            if !(scheme_is_web && (same || here || self.is_configured(authority))) {
                return foreign();
            }
        }
        Ok(())
    }

    fn is_ours(&self, authority: &str) -> bool {
        let name = name_of(authority);
        let ip = name
            .trim_start_matches('[')
            .trim_end_matches(']')
            .parse::<IpAddr>();
        let own = match ip {
            Ok(ip) => ip.to_canonical().is_loopback() || ip == self.listen.ip(),
            Err(_) => name.eq_ignore_ascii_case("localhost"),
        };
        own || self.is_configured(authority)
    }

    fn is_configured(&self, authority: &str) -> bool {
        let name = name_of(authority);
        self.hosts
            .iter()
            .any(|host| host.eq_ignore_ascii_case(name) || host.eq_ignore_ascii_case(authority))
    }
}

/// An authority without its port.
fn name_of(authority: &str) -> &str {
    match authority.rsplit_once(':') {
        Some((name, port)) if port.bytes().all(|b| b.is_ascii_digit()) => name,
        _ => authority,
    }
}

fn port_of(authority: &str) -> Option<u16> {
    authority
        .strip_prefix(name_of(authority))?
        .strip_prefix(':')?
        .parse()
        .ok()
}

/// Every change needs the token where there is one; reads need it where the
/// interface listens beyond this machine.
fn authorized(admin: &valid::Admin, listen: SocketAddr, reads: bool, headers: &HeaderMap) -> bool {
    let near = listen.ip().to_canonical().is_loopback();
    let Some(token) = &admin.token else {
        return near;
    };
    if reads && near {
        return true;
    }
    let shown = headers.get(AUTHORIZATION).map(|value| value.as_bytes());
    let shown = shown.and_then(|value| {
        let at = value.iter().position(|byte| *byte == b' ')?;
        Some((&value[..at], value[at + 1..].trim_ascii()))
    });
    match shown {
        Some((scheme, value)) if scheme.eq_ignore_ascii_case(b"bearer") => {
            same(value, token.expose().as_bytes())
        }
        // A browser that opens the dashboard can only ask for a password; the
        // token is the password. Never for changes: a browser would send it
        // along with requests that no one meant.
        Some((scheme, value)) if reads && scheme.eq_ignore_ascii_case(b"basic") => {
            password(value).is_some_and(|password| same(&password, token.expose().as_bytes()))
        }
        _ => false,
    }
}

/// Compares in a time that does not tell where two texts differ.
fn same(shown: &[u8], token: &[u8]) -> bool {
    let (shown, token) = (Sha256::digest(shown), Sha256::digest(token));
    let differ = shown
        .iter()
        .zip(token.iter())
        .fold(0, |all, (a, b)| all | (a ^ b));
    std::hint::black_box(differ) == 0
}

/// The password of Basic credentials: base64 of `user:password`.
fn password(encoded: &[u8]) -> Option<Vec<u8>> {
    let encoded = encoded
        .strip_suffix(b"==")
        .or(encoded.strip_suffix(b"="))
        .unwrap_or(encoded);
    let mut decoded = Vec::with_capacity(encoded.len());
    let (mut bits, mut held) = (0u32, 0);
    for byte in encoded {
        let value = match byte {
            b'A'..=b'Z' => byte - b'A',
            b'a'..=b'z' => byte - b'a' + 26,
            b'0'..=b'9' => byte - b'0' + 52,
            b'+' => 62,
            b'/' => 63,
            _ => return None,
        };
        bits = (bits << 6 | u32::from(value)) & 0xff_ffff;
        held += 6;
        if held >= 8 {
            held -= 8;
            decoded.push((bits >> held & 0xff) as u8);
        }
    }
    let at = decoded.iter().position(|byte| *byte == b':')?;
    Some(decoded.split_off(at + 1))
}

fn unauthorized(page: bool) -> Response {
    let detail = "this needs the header Authorization: Bearer with the value of admin.token";
    let mut response = Problem::new(StatusCode::UNAUTHORIZED, detail).into_response();
    let how = if page {
        "Basic realm=\"holdfast\""
    } else {
        "Bearer"
    };
    let how = HeaderValue::from_static(how);
    response.headers_mut().insert(WWW_AUTHENTICATE, how);
    response
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::Secret;

    fn rules<'a>(listen: &str, hosts: &'a [String]) -> Rules<'a> {
        let listen = listen.parse().expect("an address");
        Rules { listen, hosts }
    }

    fn headers(all: &[(&'static str, &str)]) -> HeaderMap {
        let mut map = HeaderMap::new();
        for (name, value) in all {
            map.append(*name, value.parse().expect("a value"));
        }
        map
    }

    #[test]
    fn a_listener_answers_to_loopback_its_address_and_configured_names_only() {
        let hosts = ["ops.example.com".to_owned()];
        let rules = rules("10.0.0.5:7070", &hosts);
        for host in [
            "localhost:7070",
            "LOCALHOST",
            "127.0.0.1:7070",
            "127.8.0.1",
            "[::1]:7070",
            "10.0.0.5:7070",
            "10.0.0.5",
            "Ops.Example.com:8443",
        ] {
            assert!(
                rules.host(&headers(&[("host", host)]), None).is_ok(),
                "{host}"
            );
        }
        for host in [
            "evil.example",
            "10.0.0.6",
            "localhost.evil.example",
            "127.0.0.1.evil.example",
            "",
            "localhost@evil.example",
            "ops.example.com.evil.example",
            "0.0.0.0",
        ] {
            assert!(
                rules.host(&headers(&[("host", host)]), None).is_err(),
                "{host}"
            );
        }
        assert!(rules.host(&headers(&[]), None).is_err());
        let two = headers(&[("host", "localhost"), ("host", "evil.example")]);
        assert!(rules.host(&two, None).is_err());
        let other = headers(&[("host", "localhost")]);
        assert!(rules.host(&other, Some("evil.example")).is_err());
    }

    #[test]
    fn only_the_interface_itself_is_no_foreign_origin() {
        let hosts = ["ops.example.com".to_owned()];
        let rules = rules("127.0.0.1:7070", &hosts);
        let refused = |origin: &str| {
            rules
                .origin(&headers(&[("origin", origin)]), "127.0.0.1:7070")
                .is_err()
        };
        for origin in [
            "http://127.0.0.1:7070",
            "http://localhost:7070",
            "https://ops.example.com",
        ] {
            assert!(!refused(origin), "{origin}");
        }
        for origin in [
            "null",
            "http://evil.example",
            "http://localhost:3000",
            "http://127.0.0.1",
            "file://127.0.0.1:7070",
            "",
        ] {
            assert!(refused(origin), "{origin}");
        }
        assert!(rules.origin(&headers(&[]), "127.0.0.1:7070").is_ok());
    }

    fn admin(token: Option<&str>) -> valid::Admin {
        valid::Admin {
            listen: "127.0.0.1:0".parse().expect("an address"),
            token: token.map(Secret::new),
            hosts: Vec::new(),
        }
    }

    #[test]
    fn the_token_is_needed_for_changes_and_beyond_loopback_for_reads_too() {
        let near: SocketAddr = "127.0.0.1:7070".parse().expect("an address");
        let far: SocketAddr = "0.0.0.0:7070".parse().expect("an address");
        let none = headers(&[]);
        let right = headers(&[("authorization", "Bearer s3cret")]);
        let wrong = headers(&[("authorization", "Bearer s3cres")]);
        let with = admin(Some("s3cret"));
        assert!(authorized(&with, near, true, &none));
        assert!(!authorized(&with, near, false, &none));
        assert!(!authorized(&with, far, true, &none));
        for listen in [near, far] {
            assert!(authorized(&with, listen, false, &right));
            assert!(!authorized(&with, listen, false, &wrong));
        }
        assert!(authorized(&admin(None), near, false, &none));
        assert!(!authorized(&admin(None), far, true, &none));
    }

    #[test]
    fn a_browsers_password_opens_reads_but_no_changes() {
        let far: SocketAddr = "0.0.0.0:7070".parse().expect("an address");
        let with = admin(Some("s3cret"));
        // user:s3cret
        let basic = headers(&[("authorization", "Basic dXNlcjpzM2NyZXQ=")]);
        assert!(authorized(&with, far, true, &basic));
        assert!(!authorized(&with, far, false, &basic));
        for wrong in [
            "Basic dXNlcjpzM2NyZXM=",
            "Basic ?",
            "Basic",
            "Basic dXNlcg==",
        ] {
            let wrong = headers(&[("authorization", wrong)]);
            assert!(!authorized(&with, far, true, &wrong));
        }
    }
}
