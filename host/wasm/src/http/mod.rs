//! Outbound HTTP of one instance: what it may ask for, what the host adds to
//! that, and how much of it there may be. The connections are in [`client`].
//!
//! A guest waits for a reply as a future of its own thread pool; the exchange
//! itself runs on the runtime's threads. Whatever is still open when its
//! instance goes away goes with it.

mod answer;
pub(crate) mod client;
mod errors;
mod notes;
mod ticket;

use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_core::destination::Destination;
use holdfast_ports::plugins::Call;
use hyper::header::{HeaderMap, HeaderName, HeaderValue};
use hyper::http::uri::{Authority, Scheme};
use hyper::{Method, Request, Response, Uri};
use wasmtime_wasi_http::{Error, RequestOptions, WasiBody, WasiHttpCtx, WasiHttpHooks};

use crate::guest::Work;
use crate::options::Limits;
use crate::plugin::Shared;
use crate::text::{escape, head};
use client::{Exchange, Route};
use notes::Notes;
use ticket::{Fate, Open};

/// Names the claim, so that a receiver can tell a repeat.
const IDEMPOTENCY_KEY: HeaderName = HeaderName::from_static("idempotency-key");

/// Grows with every attempt, so that a receiver can refuse a late one.
const FENCE: HeaderName = HeaderName::from_static("holdfast-fence");

/// Trace context, passed on from the message unless the guest has its own.
const TRACE: [HeaderName; 2] = [
    HeaderName::from_static("traceparent"),
    HeaderName::from_static("tracestate"),
];

/// How long looking up, connecting and agreeing on keys may take together,
/// unless the guest says otherwise.
const CONNECT: Duration = Duration::from_secs(10);

/// Longest path with query, in bytes.
const LONGEST_PATH: usize = 16 << 10;

/// What a future of `wasi:http` gives: the response, and what drives its
/// connection on while the body is read.
type Sent = Result<(Response<WasiBody>, Driven), Error>;
type Driven = Box<dyn Future<Output = Result<(), Error>> + Send>;

/// The state behind `wasi:http`, made when a guest first uses it.
pub(crate) struct Http {
    pub(crate) context: WasiHttpCtx,
    pub(crate) outbound: Outbound,
}

impl Http {
    pub(crate) fn new(shared: &Arc<Shared>, work: &Arc<Work>, deadline: Instant) -> Self {
        let mut context = WasiHttpCtx::new();
        context.set_field_size_limit(shared.limits.http_fields);
        Self {
            context,
            outbound: Outbound {
                shared: shared.clone(),
                work: work.clone(),
                deadline,
                open: Open::default(),
                notes: Notes::new(shared.clone(), work.clone()),
                sent: 0,
            },
        }
    }
}

/// The requests of one instance.
pub(crate) struct Outbound {
    shared: Arc<Shared>,
    work: Arc<Work>,
    deadline: Instant,
    open: Open,
    notes: Notes,
    sent: u32,
}

impl Outbound {
    /// Begins another call on the same instance.
    pub(crate) fn begin(&mut self, work: Arc<Work>, deadline: Instant) {
        self.notes = Notes::new(self.shared.clone(), work.clone());
        self.work = work;
        self.deadline = deadline;
        self.sent = 0;
    }

    /// Requests whose response is not there yet, or not read to its end and not
    /// dropped.
    pub(crate) fn open(&self) -> usize {
        self.open.count()
    }

    /// Says that requests are cut because the handler did not wait for them.
    pub(crate) fn note_cut(&self) {
        let open = self.open();
        if open > 0 {
            self.notes.warn(&format!(
                "the handler ended with {open} of its outbound requests still open; they are cut"
            ));
        }
    }

    /// Checks a request and makes it ready to be sent.
    fn prepare(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
    ) -> Result<Exchange, Error> {
        self.sent = self.sent.saturating_add(1);
        let ticket = self.open.enter(self.shared.name.clone());
        match self.check(request) {
            Ok((request, destination, tls)) => {
                let options = options.unwrap_or_default();
                let left = self.deadline.saturating_duration_since(Instant::now());
                let route = Route {
                    client: self.shared.http.clone(),
                    shared: self.shared.clone(),
                    notes: self.notes.clone(),
                    destination,
                    tls,
                    within: options.connect_timeout.unwrap_or(CONNECT).min(left),
                };
                Ok(Exchange {
                    route,
                    request,
                    first_byte: options.first_byte_timeout.unwrap_or(left),
                    between_bytes: options.between_bytes_timeout.unwrap_or(left),
                    deadline: self.deadline,
                    ticket,
                })
            }
            Err(error) => {
                ticket.ends(Fate::Refused);
                Err(error)
            }
        }
    }

    /// The request as it is sent, where it goes, and whether over TLS.
    fn check(
        &self,
        mut request: Request<WasiBody>,
    ) -> Result<(Request<WasiBody>, Destination, bool), Error> {
        self.room()?;
        if request.method() == Method::CONNECT {
            return Err(Error::HttpRequestMethodInvalid);
        }
        let tls = request.uri().scheme() == Some(&Scheme::HTTPS);
        let destination = self.destination(request.uri(), tls)?;
        let Some(call) = self.work.single() else {
            self.notes
                .warn("an outbound request was refused: no message is being handled");
            return Err(Error::HttpRequestDenied);
        };
        add_headers(request.headers_mut(), call)?;
        *request.uri_mut() = origin_form(request.uri())?;
        Ok((request, destination, tls))
    }

    /// Is there room for this request, which is counted already?
    fn room(&self) -> Result<(), Error> {
        let Limits {
            http_requests,
            http_at_once,
            ..
        } = self.shared.limits;
        let over = if self.sent > http_requests {
            format!("more than {http_requests} outbound requests")
        } else if self.open.count() > http_at_once {
            format!("more than {http_at_once} outbound requests at once")
        } else {
            return Ok(());
        };
        self.notes
            .warn(&format!("the handler makes {over}; this one is refused"));
        Err(Error::ConnectionLimitReached)
    }

    /// Where a request goes, if it may be looked up.
    fn destination(&self, uri: &Uri, tls: bool) -> Result<Destination, Error> {
        let authority = uri.authority().ok_or(Error::HttpRequestUriInvalid)?;
        if uri.path_and_query().map_or(0, |path| path.as_str().len()) > LONGEST_PATH {
            return Err(Error::HttpRequestUriTooLong);
        }
        // A user in an address is a password in somebody's log.
        if authority.as_str().contains('@') {
            return Err(Error::HttpRequestUriInvalid);
        }
        let port = port(authority, if tls { 443 } else { 80 });
        let port = port.ok_or(Error::HttpRequestUriInvalid)?;
        let Some(destination) = Destination::parse(authority.host(), port) else {
            let shown = escape(head(authority.host(), 128));
            self.notes.warn(&format!(
                "an outbound request was refused: {shown:?} is neither a host name nor an address"
            ));
            return Err(Error::HttpRequestDenied);
        };
        let admitted = destination.admit(&self.shared.settings.allow_hosts);
        admitted.map_err(|refusal| self.notes.refused(&refusal))?;
        Ok(destination)
    }
}

impl WasiHttpHooks for Outbound {
    fn send_request(
        &mut self,
        request: Request<WasiBody>,
        options: Option<RequestOptions>,
        _: Box<dyn Future<Output = Result<(), Error>> + Send>,
    ) -> Box<dyn Future<Output = Sent> + Send> {
        let exchange = self.prepare(request, options);
        Box::new(async move { exchange?.run().await })
    }

    fn p2_outgoing_body_chunk_size(&mut self) -> usize {
        self.shared.limits.http_chunk
    }
}

/// The port that an authority names; the scheme's own when it names none.
fn port(authority: &Authority, own: u16) -> Option<u16> {
    let rest = authority.as_str().strip_prefix(authority.host())?;
    if rest.is_empty() {
        return Some(own);
    }
    let digits = rest.strip_prefix(':')?;
    let good = !digits.is_empty() && digits.bytes().all(|digit| digit.is_ascii_digit());
    digits.parse().ok().filter(|port: &u16| good && *port > 0)
}

/// What goes into the request line: a server is told its path only.
fn origin_form(uri: &Uri) -> Result<Uri, Error> {
    let slash = if uri.path().starts_with('/') { "" } else { "/" };
    let (mark, query) = uri.query().map_or(("", ""), |query| ("?", query));
    let path = format!("{slash}{}{mark}{query}", uri.path());
    path.parse().map_err(|_| Error::HttpRequestUriInvalid)
}

/// Adds what only the host may say, whatever the guest said.
fn add_headers(headers: &mut HeaderMap, call: &Call) -> Result<(), Error> {
    let key = format!("{}/{}", call.group, call.encoded_key);
    let key = HeaderValue::try_from(key).map_err(|error| internal(&error))?;
    headers.insert(IDEMPOTENCY_KEY, key);
    headers.insert(FENCE, call.fence.into());
    // A connection serves one request, so that no failure can be another's.
    headers.insert(hyper::header::CONNECTION, HeaderValue::from_static("close"));
    if !headers.contains_key(&TRACE[0]) {
        headers.remove(&TRACE[1]);
        for name in TRACE {
            let value = call.message.header(name.as_str());
            if let Some(value) = value.and_then(|value| HeaderValue::from_bytes(value).ok()) {
                headers.insert(name, value);
            }
        }
    }
    Ok(())
}

fn internal(error: &dyn std::fmt::Display) -> Error {
    Error::InternalError(Some(error.to_string()))
}

#[cfg(test)]
mod tests;
