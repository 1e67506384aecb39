//! Answers that are late, broken, too large or not to be trusted.

use super::*;

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
    let chain = vec![certificate(include_str!("../fixtures/pay.example.com.pem"))];
    let key = PrivateKeyDer::from_pem_slice(include_bytes!("../fixtures/pay.example.com.key"));
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
    let authority = certificate(include_str!("../fixtures/authority.pem"));
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
