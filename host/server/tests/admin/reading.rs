//! What the interface shows.

use holdfast_core::incarnation::{Difference, Incarnation};

use crate::host::TestHost;

#[tokio::test(flavor = "multi_thread")]
async fn probes_version_and_metrics_answer_and_readiness_names_what_is_wrong() {
    let host = TestHost::start().await;
    assert_eq!(host.get("/livez").await["live"], true);
    assert_eq!(host.get("/version").await["name"], "holdfast");
    let ready = host.get("/readyz").await;
    assert_eq!(ready["ready"], true);
    assert_eq!(ready["store"]["state"], "open");
    assert_eq!(ready["consumers"].as_array().expect("a list").len(), 3);

    host.app.refused.set(Some("line 7 is wrong".into()));
    let refused = host.request("GET /readyz").send().await;
    assert_eq!(refused.status, 200, "the old configuration serves");
    assert!(refused.body.contains("line 7 is wrong"));

    let first = Incarnation {
        id: "first".into(),
        pulse: 1,
    };
    let other = Difference::Other {
        expected: "first".into(),
        found: "second".into(),
    };
    host.app.host.guard().halt(&other, &first, "");
    host.until("it is not ready", async || {
        host.request("GET /readyz").send().await.status == 503
    })
    .await;
    let halted = host.request("GET /readyz").send().await;
    assert!(
        halted.json()["wrong"][0]
            .as_str()
            .expect("a text")
            .contains("another store")
    );
    let accepted = host.request("POST /api/v1/store/accept").send().await;
    assert_eq!(accepted.json()["accepted"], true);
    host.until("it is ready again", async || {
        host.request("GET /readyz").send().await.status == 200
    })
    .await;

    host.app.draining.cancel();
    let draining = host.request("GET /readyz").send().await;
    assert_eq!(
        (draining.status, &draining.json()["wrong"][0]),
        (503, &"draining".into())
    );
    assert_eq!(host.get("/livez").await["draining"], true);
    let metrics = host.request("GET /metrics").send().await;
    assert!(
        metrics.head.contains("text/plain; version=0.0.4"),
        "{metrics:?}"
    );
}

#[tokio::test(flavor = "multi_thread")]
async fn the_dashboard_is_one_page_that_loads_nothing_from_elsewhere() {
    let host = TestHost::start().await;
    let page = host.request("GET /").send().await;
    assert_eq!(page.status, 200);
    assert!(page.head.contains("default-src 'none'"), "{}", page.head);
    assert!(!page.body.contains("{{"));
    assert!(!page.body.contains("http://") && !page.body.contains("https://"));
    let again = host.request("GET /").send().await;
    assert_ne!(page.body, again.body, "every page has a nonce of its own");
}

#[tokio::test(flavor = "multi_thread")]
async fn events_tell_counts_phases_plugins_and_readiness() {
    let host = TestHost::start().await;
    let events = host.request("GET /events");
    let wanted = [
        "text/event-stream",
        "event: consumers",
        "event: phase",
        "event: plugins",
        "event: ready",
    ];
    events.send_until(&wanted).await;
}

#[tokio::test(flavor = "multi_thread")]
async fn a_claim_with_a_slash_in_its_key_is_shown_listed_and_explained() {
    let host = TestHost::start().await;
    host.message("work", "a/b c%", "{}", "jobs/a%2Fb%20c%25", "done")
        .await;
    let claim = host.get("/api/v1/claims/jobs/a%2Fb%20c%25").await;
    assert_eq!(claim["key"], "a/b c%");
    assert_eq!(claim["group"], "jobs");
    assert_eq!(claim["side"], "new");
    assert_eq!(claim["attempt"], 1, "known from the history");
    assert_eq!(claim["history"][0]["step"], "begin");
    assert!(
        claim["history"][0]["at"]
            .as_str()
            .expect("a time")
            .ends_with('Z')
    );

    let listed = host.get("/api/v1/claims?group=jobs&state=done").await;
    assert_eq!(listed[0]["key"], "a/b c%");
    assert!(host.get("/api/v1/claims?group=plain&state=done").await[0].is_null());

    let explained = host.get("/api/v1/explain/jobs/a%2Fb%20c%25").await;
    assert!(
        explained["explanation"][0]
            .as_str()
            .expect("a text")
            .contains("It was run")
    );
    let unknown = host.get("/api/v1/explain/jobs/unknown").await;
    assert!(unknown["claim"].is_null());
    assert!(
        unknown["explanation"][0]
            .as_str()
            .expect("a text")
            .contains("No claim")
    );
    host.request("GET /api/v1/claims/jobs/unknown")
        .send()
        .await
        .is_problem(404);
}

#[tokio::test(flavor = "multi_thread")]
async fn consumers_show_their_books_and_their_queues() {
    let host = TestHost::start().await;
    let body = r#"{"reject": "not today"}"#;
    host.message("work", "1", body, "jobs/1", "parked").await;
    let explained = host.get("/api/v1/explain/jobs/1").await.to_string();
    assert!(explained.contains("the handler rejected it"), "{explained}");
    host.until("the letter is counted", async || {
        let rows = host.get("/api/v1/consumers").await;
        let probe = rows
            .as_array()
            .expect("a list")
            .iter()
            .find(|row| row["name"] == "probe");
        let probe = probe.expect("it runs");
        probe["ended"]["dead_lettered"] == 1
            && probe["received"] == 1
            && probe["depth"]["dead"] == 1
            && probe["depth"]["ready"] == 0
    })
    .await;
}
