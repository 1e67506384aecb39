//! What the tests of this folder share: calls, guests written as text, a log
//! that can be looked at.
#![expect(
    dead_code,
    unreachable_pub,
    reason = "each test file uses a part of it"
)]

use std::path::PathBuf;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use holdfast_core::settle::CallFailure;
use holdfast_ports::message::{Header, Incoming, Snapshot};
use holdfast_ports::plugins::{Call, Interrupt, Outcome, Plugin, PluginSettings, Plugins};
use holdfast_wasm::{Line, LoadError, LogSink, Options, Registry};

/// One of the committed example components.
pub fn prebuilt(name: &str) -> Vec<u8> {
    let folder = PathBuf::from(env!("CARGO_MANIFEST_DIR")).join("../../plugins/prebuilt");
    let path = folder.join(format!("{name}.wasm"));
    std::fs::read(&path).unwrap_or_else(|error| panic!("{}: {error}", path.display()))
}

/// A host with a few threads and places.
pub fn host() -> Registry {
    with(Options::default())
}

pub fn with(options: Options) -> Registry {
    let options = Options {
        instances: options.instances.min(64),
        threads: options.threads.or(Some(2)),
        ..options
    };
    Registry::new(options).expect("an engine")
}

pub fn settings() -> PluginSettings {
    PluginSettings {
        timeout: Duration::from_secs(30),
        deadline: Duration::from_secs(60),
        ..PluginSettings::default()
    }
}

/// For guests that are expected to run into the time limit.
pub fn hasty() -> PluginSettings {
    PluginSettings {
        timeout: Duration::from_millis(300),
        ..settings()
    }
}

/// Loads and installs under a name, with the settings of the tests.
pub async fn serve(host: &Registry, name: &str, bytes: Vec<u8>) {
    serve_with(host, name, bytes, settings()).await;
}

pub async fn serve_with(host: &Registry, name: &str, bytes: Vec<u8>, settings: PluginSettings) {
    let loaded = host.load(name, bytes, settings).await;
    host.install(&loaded.unwrap_or_else(|error| panic!("{name}: {error}")));
}

/// Loads what is expected to be refused.
pub async fn refusal(host: &Registry, bytes: Vec<u8>) -> LoadError {
    refusal_with(host, bytes, settings()).await
}

pub async fn refusal_with(host: &Registry, bytes: Vec<u8>, settings: PluginSettings) -> LoadError {
    match host.load("refused", bytes, settings).await {
        Ok(_) => panic!("it was loaded"),
        Err(error) => error,
    }
}

pub fn call(body: &str) -> Call {
    Call {
        message: Arc::new(Incoming {
            id: Some("m-1".to_owned()),
            body: body.as_bytes().to_vec().into(),
            content_type: Some("application/json".to_owned()),
            headers: vec![Header::text("h", "v")],
            routing_key: "orders".to_owned(),
            ..Incoming::default()
        }),
        key: "k-1".to_owned(),
        encoded_key: "k-1".to_owned(),
        lane: None,
        consumer: "orders".into(),
        group: "orders".into(),
        side: "new".into(),
        attempt: 1,
        fence: 9,
        sequence: None,
        state: Snapshot::default(),
        brokers: Vec::from(["main".to_owned(), "other".to_owned()]).into(),
        interrupt: Interrupt::default(),
    }
}

pub fn plugin(host: &Registry, name: &str) -> Arc<dyn Plugin> {
    host.current(name)
        .unwrap_or_else(|| panic!("{name} does not serve"))
}

pub async fn handle(host: &Registry, name: &str, body: &str) -> Outcome {
    plugin(host, name).handle(call(body)).await
}

/// The text of a call that broke.
pub fn broken(outcome: &Outcome) -> &str {
    match &outcome.result {
        Err(CallFailure::Broken(text)) => text,
        other => panic!("it did not break: {other:?}"),
    }
}

/// A guest that does `body` for a message. It has a local `$message`, pages of
/// memory as named, and gives the place of its answer: zeros at 0 are success.
pub fn guest(pages: u32, body: &str) -> Vec<u8> {
    guest_with("", pages, body)
}

/// The same with more in front, such as imports.
pub fn guest_with(prelude: &str, pages: u32, body: &str) -> Vec<u8> {
    let text = format!(
        r#"(component
            {TYPES}
            {prelude}
            (core module $m
                (memory (export "memory") {pages})
                (global $free (mut i32) (i32.const 4096))
                (func $recurse (param i32) (result i32)
                    (i32.add (call $recurse (i32.add (local.get 0) (i32.const 1))) (i32.const 1)))
                (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                    (local $at i32)
                    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
                    (global.set $free (i32.add (local.get $at) (local.get 3)))
                    (local.get $at))
                (func (export "handle") (param $message i32) (result i32) (local $n i32)
                    {body}))
            (core instance $i (instantiate $m))
            (func $handle (param "message" $message) (result (result (error $failure)))
                (canon lift (core func $i "handle") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
            (instance $handler (export "handle" (func $handle)))
            (export "holdfast:consumer/handler@0.1.0" (instance $handler)))"#
    );
    component(&text)
}

/// A guest for batches; `answers` is how many successes it gives.
pub fn batch_guest(answers: u32) -> Vec<u8> {
    batch_guest_with("", answers)
}

/// The same with more in front, such as imports.
pub fn batch_guest_with(prelude: &str, answers: u32) -> Vec<u8> {
    let text = format!(
        r#"(component
            {TYPES}
            {prelude}
            (core module $m
                (memory (export "memory") 4)
                (global $free (mut i32) (i32.const 65536))
                (func (export "realloc") (param i32 i32 i32 i32) (result i32)
                    (local $at i32)
                    (local.set $at (i32.and (i32.add (global.get $free) (i32.const 15)) (i32.const -16)))
                    (global.set $free (i32.add (local.get $at) (local.get 3)))
                    (local.get $at))
                (func (export "handle") (param i32 i32) (result i32)
                    (i32.store (i32.const 0) (i32.const 64))
                    (i32.store (i32.const 4) (i32.const {answers}))
                    (i32.const 0)))
            (core instance $i (instantiate $m))
            (func $handle (param "messages" (list $message)) (result (list (result (error $failure))))
                (canon lift (core func $i "handle") (memory (core memory $i "memory")) (realloc (core func $i "realloc"))))
            (instance $handler (export "handle-batch" (func $handle)))
            (export "holdfast:consumer/batch-handler@0.1.0" (instance $handler)))"#
    );
    component(&text)
}

pub fn component(text: &str) -> Vec<u8> {
    wat::parse_str(text).unwrap_or_else(|error| panic!("{error}"))
}

pub const TYPES: &str = r#"
    (type $types (instance
        (type $h (record (field "name" string) (field "value" (list u8))))
        (export "header" (type $header (eq $h)))
        (type $m (record
            (field "key" string) (field "id" (option string)) (field "lane" (option string))
            (field "body" (list u8)) (field "content-type" (option string))
            (field "headers" (list $header)) (field "consumer" string) (field "side" string)
            (field "attempt" u32) (field "fence" u64) (field "sequence" (option u64))
            (field "timestamp-ms" (option u64)) (field "redelivered" bool)))
        (export "message" (type (eq $m)))
        (type $r (record (field "reason" string) (field "after-ms" (option u64))))
        (export "retry" (type $retry (eq $r)))
        (type $f (variant (case "retry" $retry) (case "reject" string)))
        (export "failure" (type (eq $f)))))
    (import "holdfast:consumer/types@0.1.0" (instance $types (type $types)))
    (alias export $types "message" (type $message))
    (alias export $types "failure" (type $failure))"#;

/// Answers success.
pub const OK: &str = "(i32.const 0)";

/// Rejects with `length` bytes of memory from 32768 on.
pub fn reject(length: u32) -> String {
    format!(
        "(i32.store8 (i32.const 0) (i32.const 1))
         (i32.store8 (i32.const 8) (i32.const 1))
         (i32.store (i32.const 16) (i32.const 32768))
         (i32.store (i32.const 20) (i32.const {length}))
         (i32.const 0)"
    )
}

/// Keeps the lines of guests.
#[derive(Default)]
pub struct Kept(pub Mutex<Vec<String>>);

impl LogSink for Kept {
    fn line(&self, line: &Line<'_>) {
        let mut kept = self.0.lock().expect("no test panics here");
        kept.push(format!("{:?} {}: {}", line.source, line.key, line.text));
    }
}

impl Kept {
    pub fn lines(&self) -> Vec<String> {
        self.0.lock().expect("no test panics here").clone()
    }

    pub fn bytes(&self) -> usize {
        let kept = self.0.lock().expect("no test panics here");
        kept.iter().map(String::len).sum()
    }
}
