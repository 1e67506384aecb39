mod answers;

use std::net::{IpAddr, SocketAddr};
use std::pin::Pin;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};

use bytes::Bytes;
use holdfast_core::destination::AllowHost;
use holdfast_ports::message::{Header, Incoming, Snapshot};
use holdfast_ports::plugins::{Interrupt, PluginSettings};
use holdfast_servers::{ThirdParty, answer};
use http_body_util::{BodyExt as _, Empty};
use rustls::RootCertStore;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::client::Client;
use super::*;
use crate::log::{Line, LogSink};
use crate::lookout::Lookout;

#[derive(Default)]
struct Kept(Mutex<Vec<String>>);

impl LogSink for Kept {
    fn line(&self, line: &Line<'_>) {
        let mut kept = self.0.lock().expect("no test panics here");
        kept.push(format!("{:?} {}", line.level, line.text));
    }
}

/// The requests of one call, names that lead where the test says, and a log.
struct Bed {
    outbound: Outbound,
    log: Arc<Kept>,
    look_ups: Arc<AtomicUsize>,
}

/// How long a call of these tests may take.
const CALL: Duration = Duration::from_secs(60);

fn call() -> Call {
    Call {
        message: Arc::new(Incoming {
            headers: vec![Header::text("traceparent", "00-aa-bb-01")],
            ..Incoming::default()
        }),
        key: "a/b".to_owned(),
        encoded_key: "a%2Fb".to_owned(),
        lane: None,
        consumer: "orders".into(),
        group: "shop".into(),
        side: "new".into(),
        attempt: 1,
        fence: 77,
        sequence: None,
        state: Snapshot::default(),
        brokers: Vec::new().into(),
        interrupt: Interrupt::default(),
    }
}

impl Bed {
    fn new(allow: &[&str], addresses: &[IpAddr]) -> Self {
        Self::with(allow, addresses, Limits::default(), CALL)
    }

    fn with(allow: &[&str], addresses: &[IpAddr], limits: Limits, deadline: Duration) -> Self {
        let (log, look_ups) = (Arc::new(Kept::default()), Arc::new(AtomicUsize::new(0)));
        let (counted, addresses) = (look_ups.clone(), addresses.to_vec());
        let resolver = move |_: &str| {
            counted.fetch_add(1, Ordering::SeqCst);
            Ok(addresses.clone())
        };
        let client = Client::with_resolver(4, limits.http_head, Arc::new(resolver));
        let entries = allow.iter().map(|text| AllowHost::parse(text));
        let shared = Arc::new(Shared {
            name: "pays".into(),
            settings: PluginSettings {
                allow_hosts: entries.collect::<Result<_, _>>().expect("entries"),
                ..PluginSettings::default()
            },
            limits,
            log: log.clone(),
            http: Arc::new(client),
            lookout: Lookout::default(),
        });
        let work = Arc::new(Work::One(call()));
        let outbound = Http::new(&shared, &work, Instant::now() + deadline).outbound;
        Self {
            outbound,
            log,
            look_ups,
        }
    }

    fn send(&mut self, request: Request<WasiBody>) -> Pin<Box<dyn Future<Output = Sent> + Send>> {
        self.send_with(request, RequestOptions::default())
    }

    fn send_with(
        &mut self,
        request: Request<WasiBody>,
        options: RequestOptions,
    ) -> Pin<Box<dyn Future<Output = Sent> + Send>> {
        let nothing = Box::new(async { Ok(()) });
        Pin::from(self.outbound.send_request(request, Some(options), nothing))
    }

    async fn ask(&mut self, url: &str) -> Result<(u16, Bytes), Error> {
        whole(self.send(get(url)).await?).await
    }

    async fn refused(&mut self, url: &str) -> Error {
        match self.ask(url).await {
            Ok(answer) => panic!("{url} was answered: {answer:?}"),
            Err(error) => error,
        }
    }

    fn lines(&self) -> Vec<String> {
        self.log.0.lock().expect("no test panics here").clone()
    }

    fn look_ups(&self) -> usize {
        self.look_ups.load(Ordering::SeqCst)
    }
}

/// Reads a response to its end.
async fn whole((response, driver): (Response<WasiBody>, Driven)) -> Result<(u16, Bytes), Error> {
    let status = response.status().as_u16();
    let driver = tokio::spawn(Pin::from(driver));
    let body = response.into_body().collect().await;
    driver.abort();
    Ok((status, body?.to_bytes()))
}

/// A request as `wasi:http` makes it of what a guest says.
fn get(url: &str) -> Request<WasiBody> {
    let body = Empty::new().map_err(|never| match never {}).boxed_unsync();
    let host = url.parse::<Uri>().ok();
    let host = host.and_then(|url| url.authority().map(ToString::to_string));
    let request = Request::get(url).header("host", host.unwrap_or_default());
    let request = request.body(body);
    request.unwrap_or_else(|error| panic!("{url}: {error}"))
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

fn local() -> IpAddr {
    ip("127.0.0.1")
}

fn says(text: &'static str) -> ThirdParty {
    ThirdParty::start(move |_, socket| answer(socket, 200, text)).expect("a server")
}

/// Sends these bytes to whoever asks and hangs up.
fn raw(bytes: Vec<u8>) -> ThirdParty {
    ThirdParty::start(move |_, socket| std::io::Write::write_all(socket, &bytes)).expect("a server")
}

#[tokio::test]
async fn a_listed_address_answers() {
    let server = says("hello");
    let mut bed = Bed::new(&[&server.address().to_string()], &[]);
    let (status, body) = bed.ask(&server.url("/a?b=c")).await.expect("an answer");
    assert_eq!((status, &body[..]), (200, &b"hello"[..]));
    let asked = &server.asked()[0];
    assert_eq!(
        (asked.method.as_str(), asked.path.as_str()),
        ("GET", "/a?b=c")
    );
    assert_eq!(bed.look_ups(), 0);
    assert_eq!(bed.outbound.open(), 0);
    assert!(bed.lines().is_empty(), "{:?}", bed.lines());
}

#[tokio::test]
async fn nothing_is_listed_by_default_and_what_is_not_listed_is_not_even_looked_up() {
    let server = says("secret");
    let mut bed = Bed::new(&[], &[local()]);
    for url in [
        server.url("/"),
        format!("http://localhost:{}/", server.address().port()),
        "https://api.example.com/".to_owned(),
        "http://169.254.169.254/latest/meta-data/".to_owned(),
    ] {
        let error = bed.refused(&url).await;
        assert!(matches!(error, Error::HttpRequestDenied), "{url}: {error}");
    }
    assert_eq!((server.connections(), bed.look_ups()), (0, 0));
    assert_eq!(bed.outbound.open(), 0);
    let lines = bed.lines();
    assert_eq!(
        lines[2],
        "Warn an outbound request was refused: api.example.com:443 is not listed; \
         to allow it, add \"api.example.com:443\" to plugins.pays.allow-hosts"
    );
}

/// Bad input: Plugins | a request to a loopback, link-local or private address behind a listed name | refused
#[tokio::test]
async fn a_listed_name_that_leads_to_this_machine_or_its_network_is_refused() {
    let server = says("secret");
    let port = server.address().port();
    for address in [
        "127.0.0.1",
        "169.254.169.254",
        "10.0.0.7",
        "::1",
        "::ffff:127.0.0.1",
    ] {
        let mut bed = Bed::new(&["api.example.com"], &[ip(address)]);
        let error = bed
            .refused(&format!("http://api.example.com:{port}/"))
            .await;
        assert!(
            matches!(error, Error::HttpRequestDenied),
            "{address}: {error}"
        );
        let line = &bed.lines()[0];
        assert!(line.contains("needs an entry of its own"), "{line}");
        let entry = ip(address).to_canonical();
        let entry = SocketAddr::new(entry, port).to_string();
        assert!(line.contains(&format!("add \"{entry}\"")), "{line}");
    }
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn localhost_as_a_name_needs_its_address_listed_too() {
    let server = says("here");
    let url = format!("http://localhost:{}/", server.address().port());
    // The system's own look-up.
    let system = Arc::new(Client::new(4, 32 << 10));
    for (allow, answered) in [
        (vec!["localhost"], false),
        (vec!["localhost", "127.0.0.1"], true),
        (vec!["127.0.0.1"], false),
    ] {
        let mut bed = Bed::new(&allow, &[]);
        let Shared {
            name,
            settings,
            limits,
            log,
            lookout,
            ..
        } = &*bed.outbound.shared;
        bed.outbound.shared = Arc::new(Shared {
            name: name.clone(),
            settings: settings.clone(),
            limits: *limits,
            log: log.clone(),
            http: system.clone(),
            lookout: lookout.clone(),
        });
        assert_eq!(bed.ask(&url).await.is_ok(), answered, "{allow:?}");
    }
}

#[tokio::test]
async fn what_was_checked_is_what_is_connected_to_and_nothing_is_looked_up_twice() {
    let server = says("the right one");
    let port = server.address().port();
    let allow = ["api.example.com", "127.0.0.1"];
    // The first address is not allowed, the second is.
    let mut bed = Bed::new(&allow, &[ip("169.254.169.254"), local()]);
    let url = format!("http://api.example.com:{port}/");
    for round in 1..=3 {
        assert!(bed.ask(&url).await.is_ok());
        assert_eq!((bed.look_ups(), server.connections()), (round, round));
    }
    let host = format!("api.example.com:{port}");
    assert_eq!(server.asked()[0].header("host"), [host.as_str()]);
}

#[tokio::test]
async fn the_next_address_is_tried_when_one_does_not_answer() {
    let server = says("second");
    let port = server.address().port();
    let mut bed = Bed::new(
        &["api.example.com", "127.0.0.0/8"],
        &[ip("127.0.0.9"), local()],
    );
    assert!(
        bed.ask(&format!("http://api.example.com:{port}/"))
            .await
            .is_ok()
    );
}

#[tokio::test]
async fn odd_addresses_are_refused_without_a_look_up() {
    let mut bed = Bed::new(&["0.0.0.0/0", "::/0", "*.example.com"], &[local()]);
    for url in [
        "http://2130706433/",
        "http://0x7f000001/",
        "http://0177.0.0.1/",
        "http://127.1/",
        "http://127.0.0.1/",
        "http://0.0.0.0/",
        "http://[::1]/",
        "http://[::ffff:127.0.0.1]/",
        "http://[::ffff:7f00:1]/",
        "http://[fe80::1]/",
        "http://[64:ff9b::7f00:1]/",
        "http://169.254.169.254/",
        "http://example.com/",
        "http://example.com.evil.net/",
    ] {
        let error = bed.refused(url).await;
        assert!(matches!(error, Error::HttpRequestDenied), "{url}: {error}");
    }
    for url in [
        "http://user:secret@a.example.com/",
        "http://a.example.com@127.0.0.1/",
        "http://a.example.com:0/",
        "http://a.example.com:99999/",
    ] {
        let error = bed.refused(url).await;
        assert!(
            matches!(error, Error::HttpRequestUriInvalid),
            "{url}: {error}"
        );
    }
    assert_eq!((bed.look_ups(), bed.outbound.open()), (0, 0));
    let lines = bed.lines();
    assert!(
        !lines.iter().any(|line| line.contains("secret")),
        "{lines:?}"
    );
    assert_eq!(lines.len(), 8, "a guest in a loop does not fill the log");
}

#[tokio::test]
async fn a_tunnel_is_not_opened() {
    let server = says("");
    let mut bed = Bed::new(&["127.0.0.1"], &[]);
    let mut request = get(&server.url("/"));
    *request.method_mut() = Method::CONNECT;
    let Err(error) = bed.send(request).await else {
        panic!("it was sent");
    };
    assert!(matches!(error, Error::HttpRequestMethodInvalid), "{error}");
    assert_eq!(server.connections(), 0);
}

#[tokio::test]
async fn the_host_names_claim_and_fence_and_the_guest_cannot() {
    let server = says("");
    let mut bed = Bed::new(&["127.0.0.1"], &[]);
    let mut request = get(&server.url("/pay"));
    for value in ["forged", "again"] {
        let value = HeaderValue::from_static(value);
        request
            .headers_mut()
            .append("idempotency-key", value.clone());
        request.headers_mut().append("Holdfast-Fence", value);
    }
    drop(bed.send(request).await.expect("an answer"));
    let asked = &server.asked()[0];
    assert_eq!(asked.header("idempotency-key"), ["shop/a%2Fb"]);
    assert_eq!(asked.header("holdfast-fence"), ["77"]);
    assert_eq!(asked.header("connection"), ["close"]);
    assert_eq!(asked.header("traceparent"), ["00-aa-bb-01"]);
}

#[tokio::test]
async fn a_trace_of_the_guests_own_is_left_alone() {
    let server = says("");
    let mut bed = Bed::new(&["127.0.0.1"], &[]);
    let mut request = get(&server.url("/"));
    let own = HeaderValue::from_static("00-cc-dd-00");
    request.headers_mut().insert("traceparent", own);
    drop(bed.send(request).await.expect("an answer"));
    assert_eq!(server.asked()[0].header("traceparent"), ["00-cc-dd-00"]);
}

#[tokio::test]
async fn headers_that_belong_to_the_connection_are_not_the_guests() {
    let mut bed = Bed::new(&[], &[]);
    for name in [
        "host",
        "connection",
        "transfer-encoding",
        "upgrade",
        "keep-alive",
    ] {
        let name = HeaderName::from_static(name);
        assert!(bed.outbound.is_forbidden_header(&name), "{name}");
    }
    assert!(
        !bed.outbound
            .is_forbidden_header(&hyper::header::AUTHORIZATION)
    );
}

#[tokio::test]
async fn a_redirect_is_an_answer_and_leads_nowhere() {
    let inside = says("secret");
    let to = inside.url("/");
    let server = raw(
        format!("HTTP/1.1 302 Found\r\nlocation: {to}\r\ncontent-length: 0\r\n\r\n").into_bytes(),
    );
    let mut bed = Bed::new(&["127.0.0.1"], &[]);
    let (status, _) = bed.ask(&server.url("/")).await.expect("an answer");
    assert_eq!((status, inside.connections()), (302, 0));
}
