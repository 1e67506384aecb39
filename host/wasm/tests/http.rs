//! Outbound HTTP of whole guests: waiting costs nothing, and ends when it must.

#[path = "support/asker.rs"]
mod asker;
mod support;

use std::sync::{Arc, Condvar, Mutex};
use std::time::{Duration, Instant};

use asker::asker;
use holdfast_core::destination::AllowHost;
use holdfast_core::settle::CallFailure;
use holdfast_ports::plugins::{Instances, Interrupt, Outcome, PluginSettings};
use holdfast_servers::{ThirdParty, answer};
use holdfast_wasm::{Options, Registry};
use support::*;

/// Longer than anything here takes on a loaded machine.
const PATIENCE: Duration = Duration::from_secs(60);

fn allowing(hosts: &[&str]) -> PluginSettings {
    let entries = hosts.iter().map(|text| AllowHost::parse(text));
    PluginSettings {
        allow_hosts: entries.collect::<Result<_, _>>().expect("entries"),
        ..settings()
    }
}

/// A gate that holds whoever comes until it is opened.
#[derive(Default)]
struct Gate(Mutex<(usize, bool)>, Condvar);

impl Gate {
    fn pass(&self) {
        let mut state = self.0.lock().expect("no test panics here");
        state.0 += 1;
        self.1.notify_all();
        let opened = self.1.wait_while(state, |state| !state.1);
        drop(opened.expect("no test panics here"));
    }

    /// Waits until so many stand in front of it.
    fn await_crowd(&self, crowd: usize) {
        let state = self.0.lock().expect("no test panics here");
        let waited = self
            .1
            .wait_timeout_while(state, PATIENCE, |state| state.0 < crowd);
        let (state, _) = waited.expect("no test panics here");
        assert_eq!(state.0, crowd, "so many came");
    }

    fn open(&self) {
        self.0.lock().expect("no test panics here").1 = true;
        self.1.notify_all();
    }
}

/// A server whose answers wait for the gate.
fn gated() -> (ThirdParty, Arc<Gate>) {
    let gate = Arc::new(Gate::default());
    let held = gate.clone();
    let server = ThirdParty::start(move |_, socket| {
        held.pass();
        answer(socket, 200, "late")
    });
    (server.expect("a server"), gate)
}

fn fetch(url: &str) -> String {
    format!(r#"{{"http_get": "{url}"}}"#)
}

fn retry(outcome: &Outcome) -> &str {
    match &outcome.result {
        Err(CallFailure::Retry { reason, .. }) => reason,
        other => panic!("it asked for no retry: {other:?}"),
    }
}

fn calls(host: &Arc<Registry>, body: &str, count: usize) -> Vec<tokio::task::JoinHandle<Outcome>> {
    let calls = (0..count).map(|_| {
        let (plugin, call) = (plugin(host, "probe"), call(body));
        tokio::spawn(async move { plugin.handle(call).await })
    });
    calls.collect()
}

/// A host with room for sixty-four calls of one plugin, and two threads.
fn roomy() -> Arc<Registry> {
    let options = Options {
        instances: 96,
        threads: Some(2),
        ..Options::default()
    };
    Arc::new(Registry::new(options).expect("an engine"))
}

#[tokio::test]
async fn sixty_four_slow_calls_wait_at_once_on_two_threads() {
    let (server, gate) = gated();
    let host = roomy();
    let address = server.address().to_string();
    serve_with(&host, "probe", prebuilt("probe"), allowing(&[&address])).await;
    serve(&host, "other", prebuilt("echo")).await;
    let waiting = calls(&host, &fetch(&server.url("/slow")), 64);
    let at_the_gate = gate.clone();
    let crowd = tokio::task::spawn_blocking(move || at_the_gate.await_crowd(64));
    crowd.await.expect("all of them wait");
    assert!(waiting.iter().all(|call| !call.is_finished()));
    // And the threads are free for others.
    assert_eq!(handle(&host, "other", "{}").await.result, Ok(()));
    gate.open();
    for call in waiting {
        assert_eq!(call.await.expect("no panic").result, Ok(()));
    }
}

#[tokio::test]
async fn waiting_for_an_answer_is_not_running() {
    let server = ThirdParty::start(|_, socket| {
        std::thread::sleep(Duration::from_millis(1500));
        answer(socket, 200, "late")
    });
    let server = server.expect("a server");
    let host = host();
    let settings = PluginSettings {
        timeout: Duration::from_secs(1),
        ..allowing(&["127.0.0.1"])
    };
    serve_with(&host, "probe", prebuilt("probe"), settings).await;
    let outcome = handle(&host, "probe", &fetch(&server.url("/"))).await;
    assert_eq!(outcome.result, Ok(()));
    assert!(outcome.ran < Duration::from_secs(1), "{outcome:?}");
}

#[tokio::test]
async fn a_call_that_waits_for_an_answer_ends_at_its_deadline() {
    let (server, _closed) = gated();
    let host = host();
    let settings = PluginSettings {
        deadline: Duration::from_millis(400),
        ..allowing(&["127.0.0.1"])
    };
    serve_with(&host, "probe", prebuilt("probe"), settings).await;
    let began = Instant::now();
    let outcome = handle(&host, "probe", &fetch(&server.url("/"))).await;
    assert!(outcome.result.is_err(), "{outcome:?}");
    assert!(began.elapsed() >= Duration::from_millis(400));
    assert!(began.elapsed() < Duration::from_secs(15), "{outcome:?}");
}

#[tokio::test]
async fn an_interrupted_call_stops_waiting_for_its_answer() {
    let (server, gate) = gated();
    let host = roomy();
    serve_with(&host, "probe", prebuilt("probe"), allowing(&["127.0.0.1"])).await;
    let interrupt = Interrupt::default();
    let mut one = call(&fetch(&server.url("/")));
    one.interrupt = interrupt.clone();
    let plugin = plugin(&host, "probe");
    let waiting = tokio::spawn(async move { plugin.handle(one).await });
    let crowd = tokio::task::spawn_blocking(move || gate.await_crowd(1));
    crowd.await.expect("it asks");
    interrupt.set();
    let outcome = tokio::time::timeout(Duration::from_secs(15), waiting).await;
    let outcome = outcome.expect("at once").expect("no panic");
    assert!(broken(&outcome).contains("interrupted"), "{outcome:?}");
}

/// Bad input: Plugins | a request to a server that is not listed | refused; the log names the setting
#[tokio::test]
async fn a_server_that_is_not_listed_is_not_asked_and_the_log_names_the_setting() {
    let server = ThirdParty::start(|_, socket| answer(socket, 200, "secret"));
    let server = server.expect("a server");
    let kept = Arc::new(Kept::default());
    let host = with(Options {
        log: kept.clone(),
        ..Options::default()
    });
    serve_with(&host, "probe", prebuilt("probe"), allowing(&["localhost"])).await;
    let port = server.address().port();
    for address in [
        "127.0.0.1",
        "localhost",
        "[::ffff:127.0.0.1]",
        "[::1]",
        "0.0.0.0",
    ] {
        let outcome = handle(&host, "probe", &fetch(&format!("http://{address}:{port}/"))).await;
        assert!(retry(&outcome).contains("allow-hosts"), "{outcome:?}");
    }
    assert_eq!(server.connections(), 0);
    let lines = kept.lines();
    let wanted = format!("add \"127.0.0.1:{port}\" to plugins.probe.allow-hosts");
    assert!(lines[0].starts_with("Host k-1: "), "{lines:?}");
    assert!(lines[0].contains(&wanted), "{lines:?}");
    assert!(lines[1].contains("localhost"), "{lines:?}");
}

#[tokio::test]
async fn addresses_that_are_none_never_leave_the_host() {
    let host = host();
    serve_with(
        &host,
        "probe",
        prebuilt("probe"),
        allowing(&["127.0.0.1", "*.test"]),
    )
    .await;
    for url in [
        "http://user:secret@127.0.0.1/",
        "http://2130706433/",
        "http://0x7f.1/",
        "http://0177.0.0.1/",
        "http://127.0.0.1:99999/",
        "http://127.0.0.1/a\\r\\nx-forged: 1",
        "http://exa mple.test/",
        "ftp://127.0.0.1/",
        "file:///etc/passwd",
        "127.0.0.1",
        "",
    ] {
        let outcome = handle(&host, "probe", &fetch(url)).await;
        assert!(!retry(&outcome).contains("secret"), "{outcome:?}");
    }
}

#[tokio::test]
async fn an_answer_without_end_is_cut_off_and_costs_no_memory() {
    let server = ThirdParty::start(|_, socket| {
        use std::io::Write as _;
        socket.write_all(b"HTTP/1.1 200 OK\r\n\r\n")?;
        let megabyte = vec![b'x'; 1 << 20];
        loop {
            socket.write_all(&megabyte)?;
        }
    });
    let server = server.expect("a server");
    let host = host();
    let patient = PluginSettings {
        timeout: Duration::from_secs(20),
        ..allowing(&["127.0.0.1"])
    };
    serve_with(&host, "probe", prebuilt("probe"), patient).await;
    let before = resident();
    for _ in 0..4 {
        let outcome = handle(&host, "probe", &fetch(&server.url("/"))).await;
        assert!(
            retry(&outcome).contains("larger than 4194304"),
            "{outcome:?}"
        );
    }
    let grown = resident().saturating_sub(before);
    assert!(grown < 64 << 20, "{grown} bytes more");
}

#[tokio::test]
async fn a_status_over_399_is_a_retry_and_a_redirect_is_not_followed() {
    let server = ThirdParty::start(|asked, socket| match asked.path.as_str() {
        "/302" => std::io::Write::write_all(
            socket,
            b"HTTP/1.1 302 Found\r\nlocation: /secret\r\ncontent-length: 0\r\n\r\n",
        ),
        path => answer(socket, path[1..].parse().unwrap_or(500), "no"),
    });
    let server = server.expect("a server");
    let host = host();
    serve_with(&host, "probe", prebuilt("probe"), allowing(&["127.0.0.1"])).await;
    for (status, good) in [(200, true), (302, true), (404, false), (503, false)] {
        let outcome = handle(&host, "probe", &fetch(&server.url(&format!("/{status}")))).await;
        assert_eq!(outcome.result.is_ok(), good, "{outcome:?}");
    }
    assert_eq!(server.connections(), 4);
    let asked = &server.asked()[0];
    assert_eq!(asked.header("idempotency-key"), ["orders/k-1"]);
    assert_eq!(asked.header("holdfast-fence"), ["9"]);
    assert!(asked.header("content-length").is_empty(), "{asked:?}");
}

#[tokio::test]
async fn a_reused_instance_asks_under_the_claim_of_each_message() {
    let server = ThirdParty::start(|_, socket| answer(socket, 200, "fine"));
    let server = server.expect("a server");
    let host = host();
    let settings = PluginSettings {
        instances: Instances::Reuse,
        ..allowing(&["127.0.0.1"])
    };
    serve_with(&host, "probe", prebuilt("probe"), settings).await;
    for fence in [5, 6, 7] {
        let mut call = call(&fetch(&server.url("/")));
        call.encoded_key = format!("k-{fence}");
        call.fence = fence;
        assert_eq!(plugin(&host, "probe").handle(call).await.result, Ok(()));
    }
    let asked = server.asked();
    let keys: Vec<_> = asked.iter().map(|a| a.header("idempotency-key")).collect();
    assert_eq!(keys, [["orders/k-5"], ["orders/k-6"], ["orders/k-7"]]);
    let fences: Vec<_> = asked.iter().map(|a| a.header("holdfast-fence")).collect();
    assert_eq!(fences, [["5"], ["6"], ["7"]]);
}

#[tokio::test]
async fn a_guest_that_writes_into_a_request_it_never_sends_ends_at_its_deadline() {
    let host = host();
    let settings = PluginSettings {
        deadline: Duration::from_millis(300),
        ..settings()
    };
    serve_with(&host, "stuck", stuck(), settings).await;
    let began = Instant::now();
    let outcome = handle(&host, "stuck", "{}").await;
    assert!(
        broken(&outcome).contains("deadline of 300ms"),
        "{outcome:?}"
    );
    assert!(began.elapsed() < Duration::from_secs(30));
    assert!(outcome.ran < Duration::from_millis(300), "{outcome:?}");
}

#[tokio::test]
async fn a_request_that_the_handler_does_not_wait_for_is_cut_and_said() {
    let (server, gate) = gated();
    let kept = Arc::new(Kept::default());
    for instances in [Instances::Fresh, Instances::Reuse] {
        let host = with(Options {
            log: kept.clone(),
            ..Options::default()
        });
        let settings = PluginSettings {
            instances,
            ..allowing(&["127.0.0.1"])
        };
        serve_with(&host, "hasty", hasty(server.address().port()), settings).await;
        for _ in 0..2 {
            let outcome = handle(&host, "hasty", "{}").await;
            assert_eq!(outcome.result, Ok(()));
        }
    }
    let lines = kept.lines();
    assert_eq!(lines.len(), 4, "{lines:?}");
    let cut = "1 of its outbound requests still open";
    assert!(lines.iter().all(|line| line.contains(cut)), "{lines:?}");
    gate.open();
}

#[tokio::test]
async fn a_batch_handler_may_not_ask_and_nobody_may_be_asked_by_handlers() {
    let outgoing = r#"(import "wasi:http/outgoing-handler@0.2.0" (instance))"#;
    let text = refusal(&host(), batch_guest_with(outgoing, 1)).await;
    let text = text.to_string();
    assert!(text.contains("could not name its message"), "{text}");
    let incoming = r#"(import "wasi:http/incoming-handler@0.2.0" (instance))"#;
    let text = refusal(&host(), guest_with(incoming, 1, OK)).await;
    let text = text.to_string();
    assert!(text.contains("serve none"), "{text}");
    let later = r#"(import "wasi:http/client@0.3.0" (instance))"#;
    let text = refusal(&host(), guest_with(later, 1, OK)).await;
    let text = text.to_string();
    assert!(text.contains("speaks wasi:http 0.2"), "{text}");
    let odd = r#"(import "wasi:http/outgoing-handler@0.2.0" (instance
        (export "handle" (func (param "url" string)))))"#;
    let text = refusal(&host(), guest_with(odd, 1, OK)).await;
    let text = text.to_string();
    assert!(text.contains("outgoing-handler"), "{text}");
}

/// Resident memory of this process in bytes.
fn resident() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|line| line.starts_with("VmRSS:"));
    let kib = line.and_then(|line| line.split_whitespace().nth(1)?.parse::<usize>().ok());
    kib.unwrap_or(0) << 10
}

/// Makes the body of a request and writes into it for ever; nobody reads.
fn stuck() -> Vec<u8> {
    asker(
        r#"(call $body (local.get $request) (i32.const 64))
        (call $write (i32.load (i32.const 68)) (i32.const 64))
        (local.set $stream (i32.load (i32.const 68)))
        (loop $again
            (call $push (local.get $stream) (i32.const 1024) (i32.const 1024) (i32.const 64))
            (br $again))
        unreachable"#,
        "",
    )
}

/// Sends a request and does not wait for the answer.
fn hasty(port: u16) -> Vec<u8> {
    let authority = format!("127.0.0.1:{port}");
    let length = authority.len();
    asker(
        &format!(
            r#"(i32.store8 (i32.const 2304) (i32.const 47))
            (drop (call $authority (local.get $request) (i32.const 1) (i32.const 2048) (i32.const {length})))
            (drop (call $path (local.get $request) (i32.const 1) (i32.const 2304) (i32.const 1)))
            (drop (call $scheme (local.get $request) (i32.const 1) (i32.const 0) (i32.const 0) (i32.const 0)))
            (call $handle (local.get $request) (i32.const 0) (i32.const 0) (i32.const 64))
            (i32.const 0)"#
        ),
        &authority,
    )
}
