//! The commands of the binary against a running host.

use std::io::Write as _;
use std::process::{Output, Stdio};

use serde_json::Value;
use tokio::task::spawn_blocking;

use crate::host::TestHost;

/// Runs the binary against a host, with this on its standard input.
async fn run(host: &TestHost, line: &str, input: &'static str) -> Output {
    let mut command = std::process::Command::new(env!("CARGO_BIN_EXE_holdfast"));
    command
        .args(line.split_whitespace())
        .arg("--url")
        .arg(host.at.to_string())
        .env("HOLDFAST_ADMIN_TOKEN", "s3cret")
        .current_dir(std::env::temp_dir())
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped());
    spawn_blocking(move || {
        let mut child = command.spawn().expect("it runs");
        let mut stdin = child.stdin.take().expect("piped");
        // A command that refuses its arguments reads nothing.
        let _ = stdin.write_all(input.as_bytes());
        drop(stdin);
        child.wait_with_output().expect("it ends")
    })
    .await
    .expect("no panic")
}

/// Its standard output, after exit code 0.
async fn said(host: &TestHost, line: &str, input: &'static str) -> String {
    let done = run(host, line, input).await;
    let errors = String::from_utf8_lossy(&done.stderr);
    assert_eq!(done.status.code(), Some(0), "{line}: {errors}");
    String::from_utf8(done.stdout).expect("UTF-8")
}

/// Its data, after exit code 0.
async fn data(host: &TestHost, line: &str) -> Value {
    let text = said(host, &format!("{line} --json"), "").await;
    serde_json::from_str(&text).unwrap_or_else(|error| panic!("{line}: {error}: {text}"))
}

/// Its errors, after this exit code and no output.
async fn refused(host: &TestHost, line: &str, code: i32) -> String {
    let done = run(host, line, "").await;
    let errors = String::from_utf8(done.stderr).expect("UTF-8");
    assert_eq!(done.status.code(), Some(code), "{line}: {errors}");
    assert!(done.stdout.is_empty(), "{line}");
    errors
}

#[tokio::test(flavor = "multi_thread")]
async fn published_messages_are_handled_and_their_claims_are_found_by_the_key_alone() {
    let host = TestHost::start_with("token = \"s3cret\"").await;
    let id = said(&host, "publish work - --id a/b", "{}").await;
    assert_eq!(id, "a/b\n");
    let lines = "{}\n\n{\"reject\": \"no\"}\n{}\n";
    let many = said(&host, "publish work --lines - --id n --json", lines).await;
    let many: Value = serde_json::from_str(&many).expect("JSON");
    assert_eq!(many["confirmed"], 3);
    host.until("all are finished", async || {
        let done = host.get("/api/v1/claims?state=done").await;
        let parked = host.get("/api/v1/claims?state=parked").await;
        done.as_array().map(Vec::len) == Some(3) && parked.as_array().map(Vec::len) == Some(1)
    })
    .await;
    assert_eq!(
        data(&host, "claims list --state parked").await[0]["key"],
        "n-3"
    );
    assert_eq!(data(&host, "claims show a/b").await["state"], "done");
    let told = said(&host, "explain a/b", "").await;
    assert!(
        told.contains("It was run") && told.contains("commit"),
        "{told}"
    );

    assert!(
        refused(&host, "claims show unknown", 1)
            .await
            .contains("no claim has the key")
    );
    assert!(
        refused(&host, "claims release a/b", 1)
            .await
            .contains("done")
    );
    let nowhere = refused(&host, "publish nowhere -", 1).await;
    assert!(nowhere.contains("nowhere"), "{nowhere}");
}

#[tokio::test(flavor = "multi_thread")]
async fn the_switches_are_set_from_the_command_line() {
    let host = TestHost::start_with("token = \"s3cret\"").await;
    let set = "cutover set jobs --percent 0.29 --allow a --allow b";
    assert_eq!(data(&host, set).await["percent"], 0.29);
    let rule = data(&host, "cutover set jobs --disable --disallow a").await;
    assert_eq!(
        (&rule["enabled"], &rule["allow"][0]),
        (&false.into(), &"b".into())
    );
    assert_eq!(rule["percent"], 0.29);
    let outdated = refused(&host, "cutover set jobs --enable --expect 1", 1).await;
    assert!(outdated.contains("the current revision is"), "{outdated}");
    assert!(said(&host, "cutover show jobs", "").await.contains("0.29"));

    assert!(
        said(&host, "pause plain", "")
            .await
            .starts_with("plain: paused")
    );
    assert_eq!(said(&host, "resume plain", "").await, "plain: resumed\n");
    refused(&host, "pause none", 1).await;
    assert_eq!(data(&host, "lease show").await[0]["consumer"], "leased");
    assert_eq!(data(&host, "store accept").await["accepted"], true);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_that_is_refused_is_exit_code_78() {
    let host = TestHost::start_with("token = \"s3cret\"").await;
    let list = said(&host, "plugins list", "").await;
    assert!(
        list.contains("echo.wasm") && list.contains("probe.wasm"),
        "{list}"
    );
    host.replace("echo", b"not a component");
    refused(&host, "plugins reload echo", 78).await;
    refused(&host, "plugins rollback echo", 1).await;
    host.replace("echo", &host.component("probe"));
    assert!(
        said(&host, "plugins reload echo", "")
            .await
            .contains("is in service")
    );
    assert!(
        said(&host, "plugins rollback echo", "")
            .await
            .contains("is in service")
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn dead_letters_are_looked_at_replayed_and_dropped() {
    let host = TestHost::start_with("token = \"s3cret\"").await;
    let lines = "{\"reject\": \"no\"}\n{\"reject\": \"no\"}\n";
    said(&host, "publish work --lines - --id d", lines).await;
    host.until("both are given up", async || {
        let parked = host.get("/api/v1/claims?state=parked").await;
        parked.as_array().map(Vec::len) == Some(2)
    })
    .await;
    let list = said(&host, "dead list probe", "").await;
    assert!(list.contains("rejected  2"), "{list}");
    let one = said(&host, "dead show probe --key d-1", "").await;
    for part in ["rejected", "{\"reject\": \"no\"}", "buried", "side new"] {
        assert!(one.contains(part), "{part}: {one}");
    }
    let dry = said(&host, "dead replay probe --dry-run", "").await;
    assert!(dry.contains("nothing was done: 2 replayed"), "{dry}");
    let replayed = data(&host, "dead replay probe --key d-1").await;
    assert_eq!(replayed["replayed"], 1);
    host.until("it is given up again", async || {
        host.get("/api/v1/dead/probe").await["count"] == 2
    })
    .await;
    let dropped = said(&host, "dead drop probe", "").await;
    assert!(dropped.contains("2 dropped, 0 refused"), "{dropped}");
    let list = said(&host, "dead list probe", "").await;
    assert_eq!(list.lines().count(), 1, "{list}");

    let none = refused(&host, "dead show probe --key d-1", 1).await;
    assert!(none.contains("no dead letter"), "{none}");
    refused(&host, "dead replay none", 1).await;
    refused(&host, "dead replay probe --new-key n", 2).await;
    refused(&host, "dead list probe --reason bored", 2).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_is_exit_code_0_when_the_books_close() {
    let host = TestHost::start_with("token = \"s3cret\"").await;
    said(&host, "publish work - --id a", "{}").await;
    host.until("it is done", async || {
        let claim = host.request("GET /api/v1/claims/jobs/a").send().await;
        claim.status == 200 && claim.json()["state"] == "done"
    })
    .await;
    let told = said(&host, "audit --wait 20s", "").await;
    assert!(told.contains("the books close"), "{told}");
    assert_eq!(data(&host, "audit --group jobs").await["closes"], true);
    refused(&host, "audit --group none", 1).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_table_of_the_consumers_is_printed_without_escape_codes() {
    let host = TestHost::start_with("token = \"s3cret\"").await;
    let table = said(&host, "top --once --every 100ms", "").await;
    let head = table.lines().next().expect("a head");
    for column in ["CONSUMER", "PHASE", "RATE/S", "IN FLIGHT", "DEAD", "LEASE"] {
        assert!(head.contains(column), "{head}");
    }
    assert_eq!(table.lines().count(), 4, "{table}");
    assert!(
        table.contains("leads") && !table.contains('\x1b'),
        "{table}"
    );
    let rows = data(&host, "top --once --every 100ms").await;
    assert_eq!(rows[0]["rate"], 0.0);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_list_of_claims_says_when_it_is_not_the_whole() {
    let host = TestHost::start_with("token = \"s3cret\"").await;
    said(&host, "publish work --lines - --id n", "{}\n{}\n{}\n").await;
    host.until("all are done", async || {
        let done = host.get("/api/v1/claims?state=done").await;
        done.as_array().map(Vec::len) == Some(3)
    })
    .await;
    let some = run(&host, "claims list --state done --limit 2", "").await;
    let (told, notice) = (
        String::from_utf8_lossy(&some.stdout),
        String::from_utf8_lossy(&some.stderr),
    );
    assert_eq!(told.lines().count(), 3, "a head and two claims: {told}");
    assert!(notice.contains("2 of more claims"), "{notice}");
    let all = run(&host, "claims list --state done --limit 3", "").await;
    assert!(all.stderr.is_empty());
}
