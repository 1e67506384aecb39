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

#[tokio::test]
async fn a_head_without_end_is_refused_and_costs_no_memory() {
    let line = "x-filling: ".to_owned() + &"y".repeat(1000) + "\r\n";
    let server = raw(("HTTP/1.1 200 OK\r\n".to_owned() + &line.repeat(10_000)).into_bytes());
    let mut bed = Bed::new(&["127.0.0.1"], &[]);
    let error = bed.refused(&server.url("/")).await;
    assert!(
        matches!(error, Error::HttpResponseHeaderSectionSize(_)),
        "{error}"
    );
    let server = raw(("HTTP/1.1 200 OK\r\n".to_owned() + &"a: b\r\n".repeat(1000)).into_bytes());
    let error = bed.refused(&server.url("/")).await;
    assert!(
        matches!(error, Error::HttpResponseHeaderSectionSize(_)),
        "{error}"
    );
}

#[tokio::test]
async fn a_connection_that_is_closed_too_early_is_an_incomplete_answer() {
    let mut bed = Bed::new(&["127.0.0.1"], &[]);
    for (sent, incomplete) in [
        ("", true),
        ("HTTP/1.1 200 OK\r\ncontent-le", true),
        ("HTTP/1.1 200 OK\r\ncontent-length: 10\r\n\r\nhalf", true),
        (
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhel",
            true,
        ),
        ("HTTP/1.1 200 OK\r\n\r\nuntil the end", false),
    ] {
        let server = raw(sent.as_bytes().to_vec());
        let answer = bed.ask(&server.url("/")).await;
        match answer {
            Ok(_) => assert!(!incomplete, "{sent:?}"),
            Err(error) => assert!(
                incomplete
                    && matches!(
                        error,
                        Error::HttpResponseIncomplete | Error::ConnectionTerminated
                    ),
                "{sent:?}: {error}"
            ),
        }
        assert_eq!(bed.outbound.open(), 0, "{sent:?}");
    }
}

#[tokio::test]
async fn what_is_no_http_is_an_error() {
    let mut bed = Bed::new(&["127.0.0.1"], &[]);
    for sent in [
        "SSH-2.0-OpenSSH_9.2\r\n",
        "HTTP/1.1 99999 no\r\n\r\n",
        "HTTP/1.1 200 OK\r\nspace in: name\r\n\r\n",
        "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
        "HTTP/1.1 101 Switching Protocols\r\nupgrade: x\r\n\r\n",
    ] {
        let server = raw(sent.as_bytes().to_vec());
        bed.refused(&server.url("/")).await;
    }
    assert_eq!(bed.outbound.open(), 0);
}

#[tokio::test]
async fn nobody_listening_is_a_refused_connection() {
    let address = says("").address();
    let mut bed = Bed::new(&["127.0.0.1"], &[]);
    let error = bed.refused(&format!("http://{address}/")).await;
    assert!(matches!(error, Error::ConnectionRefused), "{error}");
}

/// Sends the head, then a byte now and then, for ever.
fn slow(head: &'static str, between: Duration) -> ThirdParty {
    let server = ThirdParty::start(move |_, socket| {
        use std::io::Write as _;
        socket.write_all(head.as_bytes())?;
        loop {
            std::thread::sleep(between);
            socket.write_all(b"x")?;
        }
    });
    server.expect("a server")
}

#[tokio::test]
async fn a_head_that_never_ends_is_given_up_in_time() {
    let server = slow("HTTP/1.1 200 OK\r\nx-slow: ", Duration::from_millis(20));
    let mut bed = Bed::new(&["127.0.0.1"], &[]);
    let options = RequestOptions {
        first_byte_timeout: Some(Duration::from_millis(200)),
        ..RequestOptions::default()
    };
    let Err(error) = bed.send_with(get(&server.url("/")), options).await else {
        panic!("there is no head");
    };
    assert!(matches!(error, Error::HttpResponseTimeout), "{error}");
}

#[tokio::test]
async fn a_body_that_pauses_for_too_long_is_given_up_in_time() {
    let head = "HTTP/1.1 200 OK\r\ncontent-length: 1000\r\n\r\n";
    let server = slow(head, Duration::from_secs(600));
    let mut bed = Bed::new(&["127.0.0.1"], &[]);
    let options = RequestOptions {
        between_bytes_timeout: Some(Duration::from_millis(100)),
        ..RequestOptions::default()
    };
    let sent = bed.send_with(get(&server.url("/")), options).await;
    let error = whole(sent.expect("a head")).await.expect_err("no body");
    assert!(matches!(error, Error::ConnectionReadTimeout), "{error}");
    assert_eq!(bed.outbound.open(), 0);
}

#[tokio::test]
async fn nothing_outlives_the_deadline_of_its_call_whatever_the_guest_asks_for() {
    let patient = RequestOptions {
        connect_timeout: Some(Duration::from_secs(600)),
        first_byte_timeout: Some(Duration::from_secs(600)),
        between_bytes_timeout: Some(Duration::from_secs(600)),
    };
    let deadline = Duration::from_millis(300);
    // A head without end, then a body of a byte now and then.
    let server = slow("HTTP/1.1 200 OK\r\nx-slow: ", Duration::from_millis(20));
    let mut bed = Bed::with(&["127.0.0.1"], &[], Limits::default(), deadline);
    let sent = bed.send_with(get(&server.url("/")), patient).await;
    assert!(matches!(sent, Err(Error::HttpResponseTimeout)));
    let server = slow("HTTP/1.1 200 OK\r\n\r\n", Duration::from_millis(20));
    let mut bed = Bed::with(&["127.0.0.1"], &[], Limits::default(), deadline);
    let sent = bed.send_with(get(&server.url("/")), patient).await;
    let error = whole(sent.expect("a head")).await.expect_err("no end");
    assert!(matches!(error, Error::ConnectionReadTimeout), "{error}");
}

#[tokio::test]
async fn only_so_many_requests_are_open_at_once_and_made_in_a_call() {
    let limits = Limits {
        http_at_once: 2,
        http_requests: 5,
        ..Limits::default()
    };
    let server = says("hello");
    let mut bed = Bed::with(&["127.0.0.1"], &[], limits, CALL);
    let (first, second) = (
        bed.send(get(&server.url("/"))),
        bed.send(get(&server.url("/"))),
    );
    let third = bed.send(get(&server.url("/"))).await;
    assert!(matches!(third, Err(Error::ConnectionLimitReached)));
    // An answer counts until it is read.
    let first = first.await.expect("an answer");
    assert_eq!(bed.outbound.open(), 2);
    whole(first).await.expect("a body");
    drop(second);
    assert_eq!(bed.outbound.open(), 0);
    for made in 4..=6 {
        assert_eq!(bed.ask(&server.url("/")).await.is_ok(), made <= 5, "{made}");
    }
    let work = bed.outbound.work.clone();
    bed.outbound.begin(work, Instant::now() + CALL);
    assert!(bed.ask(&server.url("/")).await.is_ok(), "another call");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_that_is_given_up_leaves_no_connection() {
    let (closed, hang_up) = std::sync::mpsc::channel();
    let server = ThirdParty::start(move |_, socket| {
        // Ends when the other side does.
        let read = std::io::Read::read(socket, &mut [0]);
        closed
            .send(read.is_ok_and(|read| read == 0))
            .map_err(std::io::Error::other)
    });
    let server = server.expect("a server");
    let mut bed = Bed::new(&["127.0.0.1"], &[]);
    let request = tokio::spawn(bed.send(get(&server.url("/"))));
    holdfast_servers::wait_for("the request", CALL, || {
        Ok((!server.asked().is_empty()).then_some(()))
    })
    .expect("a request");
    request.abort();
    let closed = tokio::task::spawn_blocking(move || hang_up.recv_timeout(CALL));
    assert_eq!(closed.await.expect("no panic"), Ok(true));
    assert_eq!(bed.outbound.open(), 0);
}

fn certificate(pem: &str) -> CertificateDer<'static> {
    CertificateDer::from_pem_slice(pem.as_bytes()).expect("a certificate")
}

/// Speaks TLS as `pay.example.com`, with a certificate of the test's authority.
async fn tls_server() -> SocketAddr {
    let chain = vec![certificate(include_str!("fixtures/pay.example.com.pem"))];
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("fixtures/pay.example.com.key"));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(chain, key.expect("a key"))
        .expect("a certificate");
    let acceptor = tokio_rustls::TlsAcceptor::from(Arc::new(config));
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a port");
    let address = listener.local_addr().expect("its address");
    tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        while let Ok((socket, _)) = listener.accept().await {
            // One that does not trust us hangs up.
            let Ok(mut stream) = acceptor.accept(socket).await else {
                continue;
            };
            let _ = stream.read(&mut [0; 4096]).await;
            let answer = b"HTTP/1.1 200 OK\r\ncontent-length: 4\r\n\r\nsafe";
            let _ = stream.write_all(answer).await;
            let _ = stream.shutdown().await;
        }
    });
    address
}

#[tokio::test]
async fn a_certificate_counts_only_for_its_name_and_from_a_trusted_authority() {
    let address = tls_server().await;
    let port = address.port();
    let allow = ["*.example.com", "127.0.0.1"];
    let mut bed = Bed::new(&allow, &[local()]);
    let mut roots = RootCertStore::empty();
    let authority = certificate(include_str!("fixtures/authority.pem"));
    roots.add(authority).expect("an authority");
    bed.outbound.shared.http.trust(roots);
    let answer = bed.ask(&format!("https://pay.example.com:{port}/")).await;
    assert_eq!(&answer.expect("an answer").1[..], b"safe");
    for other in ["api.example.com", "127.0.0.1"] {
        let error = bed.refused(&format!("https://{other}:{port}/")).await;
        assert!(
            matches!(error, Error::TlsCertificateError),
            "{other}: {error}"
        );
    }

    // The authorities of the system do not know ours.
    let mut bed = Bed::new(&allow, &[local()]);
    bed.outbound.shared.http.trust(RootCertStore::empty());
    let error = bed
        .refused(&format!("https://pay.example.com:{port}/"))
        .await;
    assert!(matches!(error, Error::TlsCertificateError), "{error}");
}

#[tokio::test]
async fn a_server_that_speaks_no_tls_is_never_spoken_to_without() {
    let listener = tokio::net::TcpListener::bind("127.0.0.1:0").await;
    let listener = listener.expect("a port");
    let port = listener.local_addr().expect("its address").port();
    let heard = tokio::spawn(async move {
        use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
        let (mut socket, _) = listener.accept().await.expect("a connection");
        let plain = b"HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok";
        socket.write_all(plain).await.expect("written");
        let mut heard = Vec::new();
        // Hangs up by itself, in whatever way.
        let _ = socket.read_to_end(&mut heard).await;
        heard
    });
    let mut bed = Bed::new(&["*.example.com", "127.0.0.1"], &[local()]);
    bed.outbound.shared.http.trust(RootCertStore::empty());
    let url = format!("https://pay.example.com:{port}/");
    let error = bed.refused(&url).await;
    assert!(matches!(error, Error::TlsProtocolError), "{error}");
    let heard = heard.await.expect("no panic");
    let words = String::from_utf8_lossy(&heard);
    assert!(!words.contains("GET"), "{words}");
}

#[test]
fn ports_are_those_that_are_written() {
    let of = |text: &str| port(&text.parse().expect("an authority"), 80);
    assert_eq!(of("example.com"), Some(80));
    assert_eq!(of("example.com:8080"), Some(8080));
    assert_eq!(of("[::1]"), Some(80));
    assert_eq!(of("[::1]:8080"), Some(8080));
    assert_eq!(of("example.com:0"), None);
    assert_eq!(of("example.com:70000"), None);
}

#[test]
fn a_server_is_told_its_path_only() {
    let of = |text: &str| origin_form(&text.parse().expect("a URI")).map(|uri| uri.to_string());
    for (url, path) in [
        ("http://a.example.com", "/"),
        ("http://a.example.com/x?y=z", "/x?y=z"),
        ("http://a.example.com?y=/z", "/?y=/z"),
        ("http://a.example.com//evil.net/x", "//evil.net/x"),
    ] {
        assert_eq!(of(url).expect("a path"), path, "{url}");
    }
}
