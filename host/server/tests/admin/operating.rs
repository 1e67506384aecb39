//! What the interface changes.

use serde_json::json;

use crate::host::TestHost;

#[tokio::test(flavor = "multi_thread")]
async fn a_failed_claim_is_released_and_a_finished_one_is_not() {
    let host = TestHost::start().await;
    host.message("work", "k", r#"{"fail_times": 9}"#, "jobs/k", "failed")
        .await;
    let explained = host.get("/api/v1/explain/jobs/k").await.to_string();
    assert!(explained.contains("Attempt 1 of 3 failed"), "{explained}");

    let release = "POST /api/v1/claims/jobs/k/release";
    host.request(release)
        .body(r#"{"to": "No Side"}"#)
        .send()
        .await
        .is_problem(400);
    host.request(release)
        .body(r#"{"tu": "old"}"#)
        .send()
        .await
        .is_problem(400);
    let released = host.request(release).body(r#"{"to": "old"}"#).send().await;
    assert_eq!(released.status, 200, "{released:?}");
    assert_eq!(host.get("/api/v1/claims/jobs/k").await["side"], "old");

    host.message("work", "d", "{}", "jobs/d", "done").await;
    host.request("POST /api/v1/claims/jobs/d/release")
        .send()
        .await
        .is_problem(409);
    host.request("POST /api/v1/claims/jobs/none/release")
        .send()
        .await
        .is_problem(404);
}

/// Bad input: Admin | two racing changes | one of them 409
#[tokio::test(flavor = "multi_thread")]
async fn of_two_racing_changes_of_a_rule_one_is_a_conflict() {
    let host = TestHost::start().await;
    let path = "/api/v1/cutover/jobs";
    let revision = host.get(path).await["revision"].clone();
    let change = |percent: &str| {
        let body = format!(r#"{{"revision": {revision}, "percent": {percent}}}"#);
        host.request(&format!("PUT {path}")).body(body).send()
    };
    let (one, other) = tokio::join!(change("12.5"), change("\"33.33\""));
    let mut statuses = [one.status, other.status];
    statuses.sort_unstable();
    assert_eq!(statuses, [200, 409], "{one:?} {other:?}");
    let (winner, loser) = if one.status == 200 {
        (one, other)
    } else {
        (other, one)
    };
    loser.is_problem(409);
    assert_eq!(loser.json()["current"], winner.json());
    assert_eq!(host.get(path).await, winner.json());
}

/// Bad input: Admin | percent 1e309 | 400
#[tokio::test(flavor = "multi_thread")]
async fn a_rule_is_changed_only_by_what_is_written_exactly() {
    let host = TestHost::start().await;
    let path = "/api/v1/cutover/jobs";
    let before = host.get(path).await;
    let revision = &before["revision"];
    for percent in [
        "1e309", "1e1", "-1", "100.01", "0.001", "\"nan\"", "NaN", "[]", "true",
    ] {
        let body = format!(r#"{{"revision": {revision}, "percent": {percent}}}"#);
        let answer = host.request(&format!("PUT {path}")).body(body).send().await;
        answer.is_problem(400);
    }
    for body in [
        "",
        "[]",
        "{",
        "{}",
        r#"{"revision": 1, "percnt": 1}"#,
        r#"{"revision": "x"}"#,
    ] {
        host.request(&format!("PUT {path}"))
            .body(body)
            .send()
            .await
            .is_problem(400);
    }
    assert_eq!(host.get(path).await, before);

    let body = json!({"revision": revision, "enabled": false, "allow": ["b", "a"]});
    let answer = host
        .request(&format!("PUT {path}"))
        .body(body.to_string())
        .send()
        .await;
    let rule = answer.json();
    assert_eq!(
        rule["percent"], 100.0,
        "what is not named stays: {answer:?}"
    );
    assert_eq!(
        (&rule["enabled"], &rule["allow"]),
        (&json!(false), &json!(["a", "b"]))
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn sides_and_assign_timeout_of_a_rule_change_for_the_next_migration() {
    let host = TestHost::start().await;
    let path = "/api/v1/cutover/jobs";
    let before = host.get(path).await;
    let change = async |fields: serde_json::Value| {
        let mut body = fields;
        body["revision"] = before["revision"].clone();
        let put = host.request(&format!("PUT {path}"));
        put.body(body.to_string()).send().await
    };
    for refused in [
        json!({"to": "old"}),
        json!({"from": "new"}),
        json!({"from": "A/B"}),
        json!({"from": ""}),
        json!({"assign_timeout": "0s"}),
        json!({"assign_timeout": "31d"}),
        json!({"assign_timeout": "soon"}),
        json!({"assign_timeout": 60}),
    ] {
        change(refused).await.is_problem(400);
    }
    // The consumer of this host would never own a new key again.
    let stranded = change(json!({"from": "a", "to": "b"})).await;
    stranded.is_problem(400);
    let why = stranded.json()["detail"].to_string();
    assert!(
        why.contains("the consumer probe") && why.contains("side new"),
        "{why}"
    );
    assert_eq!(host.get(path).await, before);

    let next = json!({"from": "new", "to": "kafka", "percent": 0, "assign_timeout": "10m"});
    let answer = change(next).await;
    let rule = answer.json();
    assert_eq!(
        (&rule["from"], &rule["to"], &rule["assign_timeout"]),
        (&json!("new"), &json!("kafka"), &json!("10m")),
        "{answer:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_paused_consumer_is_ready_and_takes_nothing_until_it_is_resumed() {
    let host = TestHost::start().await;
    let phase = async || {
        let rows = host.get("/api/v1/consumers").await;
        let rows = rows.as_array().expect("a list").clone();
        rows.iter()
            .find(|row| row["name"] == "probe")
            .expect("it runs")["phase"]
            .clone()
    };
    let paused = host
        .request("POST /api/v1/consumers/probe/pause")
        .send()
        .await;
    assert_eq!(
        paused.json(),
        json!({"consumers": ["probe"], "paused": true})
    );
    host.until("it is paused", async || phase().await == "paused")
        .await;
    assert_eq!(host.get("/readyz").await["ready"], true);
    let queue = "work";
    let message = host
        .request(&format!("POST /api/v1/queues/{queue}/messages"))
        .header("Holdfast-Message-Id", "p");
    assert_eq!(message.body("{}").send().await.status, 202);
    host.request("GET /api/v1/claims/jobs/p")
        .send()
        .await
        .is_problem(404);

    let resumed = host
        .request("POST /api/v1/consumers/probe/resume")
        .send()
        .await;
    assert_eq!(resumed.status, 200, "{resumed:?}");
    host.until("it is handled", async || {
        host.request("GET /api/v1/claims/jobs/p")
            .send()
            .await
            .status
            == 200
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn only_a_halted_lane_and_with_a_known_word_is_resumed() {
    let host = TestHost::start().await;
    let resume = "POST /api/v1/consumers/probe/resume";
    for (body, status) in [
        (r#"{"lane": "l"}"#, 404),
        (r#"{"then": "later"}"#, 400),
        (r#"{"line": "l"}"#, 400),
        ("[]", 400),
    ] {
        let answer = host.request(resume).body(body).send().await;
        answer.is_problem(status);
    }
    let answer = host
        .request(resume)
        .body(r#"{"then": "skip"}"#)
        .send()
        .await;
    assert_eq!(
        answer.json(),
        json!({"consumers": ["probe"], "paused": false, "lanes": []})
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn a_leader_steps_down_and_a_consumer_without_a_lease_cannot() {
    let host = TestHost::start().await;
    host.until("it leads", async || {
        let leases = host.get("/api/v1/leases").await;
        leases[0]["consumer"] == "leased" && leases[0]["leader"]["here"] == true
    })
    .await;
    let epoch = host.get("/api/v1/leases").await[0]["leader"]["epoch"].as_u64();
    host.request("POST /api/v1/consumers/plain/step-down")
        .send()
        .await
        .is_problem(409);
    let down = host
        .request("POST /api/v1/consumers/leased/step-down")
        .send()
        .await;
    assert_eq!(down.status, 200, "{down:?}");
    // Nobody else is there, so it leads again, in a new term.
    host.until("a new epoch began", async || {
        let leases = host.get("/api/v1/leases").await;
        leases[0]["leader"]["epoch"].as_u64() > epoch
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_plugin_is_reloaded_refused_and_rolled_back() {
    let host = TestHost::start().await;
    let digest = async || {
        let rows = host.get("/api/v1/plugins").await;
        let rows = rows.as_array().expect("a list").clone();
        rows.iter()
            .find(|row| row["name"] == "echo")
            .expect("loaded")["sha256"]
            .clone()
    };
    let first = digest().await;
    host.request("POST /api/v1/plugins/echo/rollback")
        .send()
        .await
        .is_problem(409);

    host.replace("echo", b"not a component");
    let refused = host
        .request("POST /api/v1/plugins/echo/reload")
        .send()
        .await;
    refused.is_problem(422);
    assert_eq!(digest().await, first);

    host.replace("echo", &host.component("probe"));
    let reloaded = host
        .request("POST /api/v1/plugins/echo/reload")
        .send()
        .await;
    assert_eq!(reloaded.status, 200, "{reloaded:?}");
    assert_eq!(reloaded.json()["previous"], first);
    assert_ne!(digest().await, first);

    let back = host
        .request("POST /api/v1/plugins/echo/rollback")
        .send()
        .await;
    assert_eq!(back.json()["sha256"], first, "{back:?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_published_message_keeps_its_headers_but_not_the_hosts_own() {
    let host = TestHost::start().await;
    let message = host
        .request("POST /api/v1/queues/plain/messages")
        .header("Holdfast-Header-reply-to", "leased")
        .header("Holdfast-Header-x-holdfast-key", "forged")
        .header("Content-Type", "text/plain")
        .body("hello");
    let answer = message.send().await;
    assert_eq!(answer.status, 202, "{answer:?}");
    let id = answer.json()["id"].as_str().expect("a text").to_owned();
    assert_eq!(id.len(), 32);
    // The echo plugin sends it on to the queue that the header names.
    host.until("it is done", async || {
        let claim = host
            .request(&format!("GET /api/v1/claims/plain/{id}"))
            .send()
            .await;
        claim.status == 200 && claim.json()["state"] == "done"
    })
    .await;
    host.until("its echo arrived", async || {
        host.request(&format!("GET /api/v1/claims/leased/plain%2F{id}%2F1"))
            .send()
            .await
            .status
            == 200
    })
    .await;
}
