//! Dead letters and audits over HTTP.

use serde_json::{Value, json};

use crate::host::TestHost;

/// Two rejected messages, one of which has headers.
async fn two_dead() -> TestHost {
    let host = TestHost::start().await;
    for key in ["r1", "r/2"] {
        let body = r#"{"reject": "not today"}"#;
        let claim = format!("jobs/{}", key.replace('/', "%2F"));
        host.message("work", key, body, &claim, "parked").await;
    }
    host.until("the letters are there", async || {
        host.get("/api/v1/dead/probe").await["count"] == 2
    })
    .await;
    host
}

fn dids(answer: &Value) -> Vec<(String, String)> {
    let text = |value: &Value| value.as_str().expect("a text").to_owned();
    let letters = answer["letters"].as_array().expect("a list");
    letters
        .iter()
        .map(|letter| (text(&letter["key"]), text(&letter["did"])))
        .collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_counted_by_reason_and_shown_whole() {
    let host = two_dead().await;
    let found = host.get("/api/v1/dead/probe").await;
    assert_eq!(found["queues"], json!(["work.dead"]));
    assert_eq!(found["reasons"][0]["reason"], "rejected");
    assert_eq!(found["reasons"][0]["count"], 2);
    assert_eq!(found["reasons"][0]["error"], "not today");
    assert!(
        found["letters"][0]["body"].is_null(),
        "a list has no bodies"
    );

    let one = host.get("/api/v1/dead/probe?key=r%2F2&whole=true").await;
    let letter = &one["letters"][0];
    assert_eq!(one["letters"].as_array().map(Vec::len), Some(1));
    assert_eq!(
        (&letter["key"], &letter["id"]),
        (&json!("r/2"), &json!("r/2"))
    );
    assert_eq!(letter["body"], r#"{"reject": "not today"}"#);
    assert_eq!(
        (&letter["side"], &letter["attempts"]),
        (&json!("new"), &json!(1))
    );
    assert!(letter["dead_at"].as_str().expect("a time").ends_with('Z'));
    assert_eq!(letter["claim"]["state"], "parked");
    let steps = letter["claim"]["history"].as_array().expect("a list");
    let steps: Vec<&Value> = steps.iter().map(|step| &step["step"]).collect();
    assert_eq!(steps, ["begin", "park", "buried"]);

    let none = host.get("/api/v1/dead/probe?reason=no-key").await;
    assert_eq!((&none["reasons"], &none["count"]), (&json!([]), &json!(2)));
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_replayed_and_dropped() {
    let host = two_dead().await;
    let replay = host.request("POST /api/v1/dead/probe/replay");
    let told = replay
        .clone()
        .body(r#"{"dry_run": true}"#)
        .send()
        .await
        .json();
    let both = ["r1", "r/2"].map(|key| (key.to_owned(), "replayed".to_owned()));
    assert_eq!(
        (told["dry_run"].clone(), dids(&told)),
        (true.into(), both.to_vec())
    );
    assert_eq!(host.get("/api/v1/dead/probe").await["count"], 2);

    let one = replay.clone().body(r#"{"key": "r1"}"#).send().await;
    assert_eq!(one.status, 200, "{one:?}");
    assert_eq!(dids(&one.json()), both[..1]);
    assert_eq!(one.json()["letters"][0]["reopened"], true);
    // It is rejected once more, after one more call.
    host.until("it is given up again", async || {
        let claim = host.get("/api/v1/claims/jobs/r1").await;
        let history = claim["history"].as_array().expect("a list").clone();
        let calls = history
            .iter()
            .filter(|step| step["step"] == "begin")
            .count();
        claim["state"] == "parked" && calls == 2
    })
    .await;
    let explained = host.get("/api/v1/explain/jobs/r1").await.to_string();
    assert!(explained.contains("replayed once"), "{explained}");

    let drop = host.request("POST /api/v1/dead/probe/drop");
    let dropped = drop.body(r#"{"reason": "rejected"}"#).send().await.json();
    assert_eq!(
        (&dropped["dropped"], &dropped["refused"]),
        (&json!(2), &json!(0))
    );
    assert_eq!(host.get("/api/v1/dead/probe").await["count"], 0);
    assert_eq!(host.get("/api/v1/claims/jobs/r1").await["state"], "parked");
}

#[tokio::test(flavor = "multi_thread")]
async fn wrong_questions_about_letters_are_problems() {
    let host = two_dead().await;
    for (line, body, status) in [
        ("GET /api/v1/dead/none", "", 404),
        ("GET /api/v1/dead/probe?reason=bored", "", 400),
        ("GET /api/v1/dead/probe?colour=red", "", 400),
        ("GET /api/v1/dead/probe?key=", "", 400),
        ("GET /api/v1/dead/..%2fprobe", "", 404),
        ("GET /api/v1/dead/probe/replay", "", 405),
        ("GET /api/v1/dead/probe/drop", "", 405),
        ("POST /api/v1/dead/probe", "", 405),
        ("POST /api/v1/dead/none/replay", "{}", 404),
        ("POST /api/v1/dead/probe/replay", "[]", 400),
        ("POST /api/v1/dead/probe/replay", r#"{"dryrun": true}"#, 400),
        (
            "POST /api/v1/dead/probe/replay",
            r#"{"key": "unknown"}"#,
            404,
        ),
        ("POST /api/v1/dead/probe/replay", r#"{"new_key": "n"}"#, 400),
        (
            "POST /api/v1/dead/probe/drop",
            r#"{"key": "r1", "new_key": "n"}"#,
            400,
        ),
        (
            "POST /api/v1/dead/probe/drop",
            r#"{"reason": "bored"}"#,
            400,
        ),
    ] {
        let answer = host.request(line).body(body).send().await;
        assert_eq!(answer.status, status, "{line} {body}: {answer:?}");
        answer.is_problem(status);
    }
    assert_eq!(host.get("/api/v1/dead/probe").await["count"], 2);
}

#[tokio::test(flavor = "multi_thread")]
async fn letters_are_changed_with_the_token_only() {
    let host = TestHost::start_with("token = \"s3cret\"").await;
    for verb in ["replay", "drop"] {
        let line = format!("POST /api/v1/dead/probe/{verb}");
        host.request(&line).send().await.is_problem(401);
        let foreign = host.request(&line).header("Authorization", "Bearer s3cret");
        let foreign = foreign.header("Origin", "http://evil.example").send();
        foreign.await.is_problem(403);
        let right = host.request(&line).header("Authorization", "Bearer s3cret");
        assert_eq!(right.send().await.status, 200);
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn an_audit_tells_the_books_and_where_unfinished_messages_are() {
    let host = TestHost::start().await;
    host.message("work", "d", "{}", "jobs/d", "done").await;
    host.message("work", "f", r#"{"fail_times": 9}"#, "jobs/f", "failed")
        .await;
    let report = host.get("/api/v1/audit?wait=20s").await;
    assert_eq!(report["closes"], true, "{report}");
    assert_eq!(report["verdict"], "the books close");
    let books = report["books"].as_array().expect("a list");
    let probe = books.iter().find(|row| row["consumer"] == "probe");
    let probe = probe.expect("its books");
    assert_eq!(probe["received"], 2);
    // The other waits in the host, or in a delay queue by now.
    assert_eq!(probe["ended"]["completed"], 1);
    assert_eq!(probe["totals"]["completed"], 1);
    let jobs = host.get("/api/v1/audit?group=jobs&wait=20s").await;
    let groups = jobs["groups"].as_array().expect("a list");
    assert_eq!(groups.len(), 1);
    let found = &groups[0]["found"];
    let places = ["in flight here", "in a delay queue"];
    assert!(
        places.iter().any(|place| *found == json!({ *place: 1 })),
        "{found}"
    );
    for (line, status) in [
        ("GET /api/v1/audit?wait=soon", 400),
        ("GET /api/v1/audit?group=none", 404),
        ("GET /api/v1/audit?colour=red", 400),
        ("POST /api/v1/audit", 405),
    ] {
        host.request(line).send().await.is_problem(status);
    }
}
