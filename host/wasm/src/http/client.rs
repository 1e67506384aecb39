//! Looks up, checks, connects, sends. One connection for each request: what
//! happens to it happened to that request and to no other.

use std::io;
use std::net::{IpAddr, ToSocketAddrs as _};
use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_core::destination::{Checked, Destination, Host};
use http_body_util::BodyExt as _;
use hyper::body::Incoming;
use hyper::client::conn::http1;
use hyper::{Request, Response, StatusCode};
use rustls::pki_types::ServerName;
use rustls::{ClientConfig, RootCertStore};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::{OnceCell, OwnedSemaphorePermit, Semaphore};
use tokio::time::{Instant as Clock, timeout, timeout_at};
use tokio_rustls::TlsConnector;
use wasmtime_wasi::runtime::{spawn, spawn_blocking};
use wasmtime_wasi_http::io::TokioIo;
use wasmtime_wasi_http::{Error, WasiBody};

use super::answer::Answer;
use super::notes::Notes;
use super::ticket::{Fate, Ticket};
use super::{Driven, Sent, errors, internal};
use crate::plugin::Shared;

/// Names that may be looked up at once: each takes a thread for as long as the
/// name server does.
const LOOK_UPS: usize = 32;

/// Header lines of a response at most.
const HEADERS: usize = 128;

/// Finds the addresses of a name.
type Resolver = dyn Fn(&str) -> io::Result<Vec<IpAddr>> + Send + Sync;

/// What all plugins share to reach others.
pub(crate) struct Client {
    connections: Arc<Semaphore>,
    look_ups: Arc<Semaphore>,
    resolver: Arc<Resolver>,
    tls: OnceCell<TlsConnector>,
    /// Largest head of a response, in bytes.
    head: usize,
}

impl Client {
    pub(crate) fn new(connections: usize, head: usize) -> Self {
        Self::with_resolver(connections, head, Arc::new(system))
    }

    pub(super) fn with_resolver(connections: usize, head: usize, resolver: Arc<Resolver>) -> Self {
        Self {
            connections: Arc::new(Semaphore::new(connections)),
            look_ups: Arc::new(Semaphore::new(LOOK_UPS)),
            resolver,
            tls: OnceCell::new(),
            head,
        }
    }

    #[cfg(test)]
    pub(super) fn trust(&self, roots: RootCertStore) {
        let connector = trusting(roots).expect("a connector");
        self.tls
            .set(connector)
            .ok()
            .expect("nothing was trusted yet");
    }

    async fn resolve(&self, name: &str) -> Result<Vec<IpAddr>, Error> {
        let permit = self.look_ups.clone().acquire_owned().await;
        let permit = permit.map_err(|error| internal(&error))?;
        let (name, resolver) = (name.to_owned(), self.resolver.clone());
        // The system's look-up cannot be broken off: it keeps its permit until
        // it ends by itself, so that there are never many.
        let found = spawn_blocking(move || {
            let found = resolver(&name);
            drop(permit);
            found
        });
        found.await.map_err(|error| Error::DnsError {
            rcode: Some(error.to_string()),
            info_code: None,
        })
    }

    async fn tls(&self) -> Result<&TlsConnector, Error> {
        let made = self.tls.get_or_try_init(|| spawn_blocking(connector));
        made.await.map_err(|text| {
            tracing::warn!(text, "outbound requests over TLS fail");
            Error::ConfigurationError
        })
    }
}

/// As the system looks names up: its hosts file, then its name servers.
fn system(name: &str) -> io::Result<Vec<IpAddr>> {
    let addresses = (name, 0).to_socket_addrs()?;
    Ok(addresses.map(|address| address.ip()).collect())
}

/// Trusts the authorities that the system trusts.
fn connector() -> Result<TlsConnector, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (taken, _) = roots.add_parsable_certificates(found.certs);
    if taken == 0 {
        let why = found.errors.first().map(|error| format!(": {error}"));
        return Err(format!(
            "the system has no certificates of authorities{}; install ca-certificates, or name a file with SSL_CERT_FILE",
            why.unwrap_or_default()
        ));
    }
    trusting(roots)
}

fn trusting(roots: RootCertStore) -> Result<TlsConnector, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let mut config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    config.alpn_protocols = vec![b"http/1.1".to_vec()];
    Ok(TlsConnector::from(Arc::new(config)))
}

/// A request on its way.
pub(super) struct Exchange {
    pub(super) route: Route,
    pub(super) request: Request<WasiBody>,
    pub(super) first_byte: Duration,
    pub(super) between_bytes: Duration,
    pub(super) deadline: Instant,
    pub(super) ticket: Ticket,
}

/// Where it goes, and what it takes to get there.
pub(super) struct Route {
    pub(super) client: Arc<Client>,
    pub(super) shared: Arc<Shared>,
    pub(super) notes: Notes,
    pub(super) destination: Destination,
    pub(super) tls: bool,
    /// How long being connected may take.
    pub(super) within: Duration,
}

impl Exchange {
    pub(super) async fn run(mut self) -> Sent {
        let began = Instant::now();
        let sent = self.exchange().await;
        let Route {
            shared,
            destination,
            ..
        } = &self.route;
        let (plugin, took) = (&shared.name, began.elapsed());
        match sent {
            Ok((response, driver)) => {
                let status = response.status().as_u16();
                tracing::debug!(%plugin, %destination, status, ?took, "answered");
                self.ticket.answered();
                let response = response.map(|incoming| {
                    Answer::new(incoming, self.between_bytes, self.deadline, self.ticket)
                        .boxed_unsync()
                });
                Ok((response, driver))
            }
            Err(error) => {
                tracing::debug!(%plugin, %destination, %error, ?took, "not answered");
                self.ticket.ends(match error {
                    Error::HttpRequestDenied => Fate::Refused,
                    _ => Fate::Failed,
                });
                Err(error)
            }
        }
    }

    /// Connects, sends the request and waits for the head of the response.
    async fn exchange(&mut self) -> Result<(Response<Incoming>, Driven), Error> {
        let (stream, permit) = self.route.connected().await?;
        let handshake = http1::Builder::new()
            .max_buf_size(self.route.client.head)
            .max_headers(HEADERS)
            .handshake(TokioIo::new(stream));
        let (mut sender, connection) = handshake.await.map_err(|error| errors::exchange(&error))?;
        // Ends with the exchange, also when that is dropped.
        let driver = spawn(async move {
            let _permit = permit;
            let ended = connection.await;
            ended.map_err(|error| errors::exchange(&error))
        });
        let now = Instant::now();
        let until = now.checked_add(self.first_byte).unwrap_or(self.deadline);
        let until = Clock::from_std(until.min(self.deadline));
        let request = std::mem::take(&mut self.request);
        let response = timeout_at(until, sender.send_request(request)).await;
        let response = response.map_err(|_| Error::HttpResponseTimeout)?;
        let response = response.map_err(|error| errors::exchange(&error))?;
        // Nobody asked for another protocol.
        if response.status() == StatusCode::SWITCHING_PROTOCOLS {
            return Err(Error::HttpUpgradeFailed);
        }
        Ok((response, Box::new(driver)))
    }
}

impl Route {
    /// A connection to a checked address, with keys agreed on where asked for.
    async fn connected(&self) -> Result<(Stream, OwnedSemaphorePermit), Error> {
        let until = Clock::now() + self.within;
        let permit = timeout_at(until, self.client.connections.clone().acquire_owned());
        let permit = permit.await.map_err(|_| Error::ConnectionLimitReached)?;
        let permit = permit.map_err(|error| internal(&error))?;
        let addresses = match self.destination.host() {
            Host::Ip(ip) => vec![*ip],
            Host::Name(name) => timeout_at(until, self.client.resolve(name))
                .await
                .map_err(|_| Error::DnsTimeout)??,
        };
        let stream = tcp(&self.checked(&addresses)?, until).await?;
        // A small request is one packet that waits for nothing.
        stream.set_nodelay(true).map_err(|e| errors::connect(&e))?;
        if !self.tls {
            return Ok((Box::new(stream), permit));
        }
        let name = match self.destination.host() {
            Host::Ip(ip) => ServerName::from(*ip),
            Host::Name(name) => {
                ServerName::try_from(name.clone()).map_err(|_| Error::HttpRequestUriInvalid)?
            }
        };
        let shaken = async {
            let tls = self.client.tls().await?;
            tls.connect(name, stream).await.map_err(|e| errors::tls(&e))
        };
        let stream = timeout_at(until, shaken).await;
        let stream = stream.map_err(|_| Error::ConnectionTimeout)??;
        Ok((Box::new(stream), permit))
    }

    /// The addresses that may be connected to. Those that may not are passed
    /// over; when none is left the first says why.
    fn checked(&self, addresses: &[IpAddr]) -> Result<Vec<Checked>, Error> {
        let entries = &self.shared.settings.allow_hosts;
        let (mut checked, mut first) = (Vec::new(), None);
        for address in addresses {
            match self.destination.reach(entries, *address) {
                Ok(address) => checked.push(address),
                Err(refusal) => first = first.or(Some(refusal)),
            }
        }
        match first {
            _ if !checked.is_empty() => Ok(checked),
            None => Err(Error::DestinationNotFound),
            Some(refusal) => Err(self.notes.refused(&refusal)),
        }
    }
}

type Stream = Box<dyn Duplex>;

trait Duplex: AsyncRead + AsyncWrite + Send + Unpin {}

impl<T: AsyncRead + AsyncWrite + Send + Unpin> Duplex for T {}

/// Tries one address after the other, each for its share of the time that is
/// left, so that one that is silent leaves some to the next.
async fn tcp(addresses: &[Checked], until: Clock) -> Result<TcpStream, Error> {
    let mut last = Error::DestinationNotFound;
    for (at, address) in (0..).zip(addresses) {
        let others = u32::try_from(addresses.len()).unwrap_or(u32::MAX) - at;
        let share = until.saturating_duration_since(Clock::now()) / others;
        match timeout(share, TcpStream::connect(address.address())).await {
            Ok(Ok(stream)) => return Ok(stream),
            Ok(Err(error)) => last = errors::connect(&error),
            Err(_) => last = Error::ConnectionTimeout,
        }
    }
    Err(last)
}
