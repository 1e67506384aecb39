//! Who is answered, and how the rest is refused.

use crate::host::TestHost;

/// Bad input: Admin | a foreign Host or Origin | 403
#[tokio::test(flavor = "multi_thread")]
async fn a_foreign_host_or_origin_is_refused_and_probes_answer_to_any() {
    let host = TestHost::start_with("hosts = [\"ops.example.com\"]").await;
    for path in ["/", "/version", "/events", "/api/v1/consumers", "/nowhere"] {
        let line = format!("GET {path}");
        host.request(&line)
            .host("evil.example")
            .send()
            .await
            .is_problem(403);
    }
    let post = "POST /api/v1/consumers/plain/pause";
    host.request(post)
        .host("evil.example")
        .send()
        .await
        .is_problem(403);
    for origin in ["http://evil.example", "null", "http://localhost:1"] {
        host.request(post)
            .header("Origin", origin)
            .send()
            .await
            .is_problem(403);
    }
    assert_eq!(host.get("/api/v1/consumers").await[1]["phase"], "consuming");

    for path in ["/livez", "/readyz", "/metrics"] {
        let probe = host.request(&format!("GET {path}")).host("evil.example");
        assert_eq!(
            probe
                .header("Origin", "http://evil.example")
                .send()
                .await
                .status,
            200
        );
    }
    for name in ["ops.example.com:8443", "localhost"] {
        assert_eq!(
            host.request("GET /version").host(name).send().await.status,
            200
        );
    }
    let own = format!("http://{}", host.at);
    assert_eq!(
        host.request(post)
            .header("Origin", &own)
            .send()
            .await
            .status,
        200
    );
}

/// Bad input: Admin | no token, or a wrong one | 401
#[tokio::test(flavor = "multi_thread")]
async fn a_change_needs_the_token_and_a_read_on_loopback_does_not() {
    let host = TestHost::start_with("token = \"s3cret\"").await;
    for line in [
        "POST /api/v1/consumers/plain/pause",
        "PUT /api/v1/cutover/jobs",
        "POST /api/v1/queues/plain/messages",
        "POST /api/v1/store/accept",
        "POST /api/v1/plugins/echo/reload",
        "POST /nowhere",
    ] {
        let none = host.request(line).send().await;
        none.is_problem(401);
        assert!(none.head.contains("www-authenticate: bearer"), "{none:?}");
        let wrong = host.request(line).header("Authorization", "Bearer s3cre");
        wrong.send().await.is_problem(401);
    }
    let right = host.request("POST /api/v1/consumers/plain/pause");
    let right = right.header("Authorization", "bearer s3cret").send().await;
    assert_eq!(right.status, 200, "{right:?}");
    host.get("/api/v1/consumers").await;
}

/// Bad input: Admin | a change by GET, or a path with `..%2f` | 405 or 404
#[tokio::test(flavor = "multi_thread")]
async fn wrong_paths_and_methods_are_problems() {
    let host = TestHost::start().await;
    for line in [
        "GET /nowhere",
        "GET /api/v1/nowhere",
        "GET /..%2f..%2fetc/passwd",
        "GET /api/v1/claims/..%2f/a",
        "GET /api/v1/claims/jobs/..%2f",
        "GET /api/v1/claims/nogroup/a",
        "GET /api/v1/cutover/plain",
        "GET /api/v1/cutover/..%2f",
        "POST /api/v1/plugins/..%2fecho/reload",
        "POST /api/v1/plugins/none/rollback",
        "POST /api/v1/consumers/none/pause",
        "POST /api/v1/consumers/..%2f/resume",
        "POST /api/v1/queues/none/messages",
        "POST /api/v1/queues/..%2f/messages",
        "POST /api/v1/queues/plain/messages?broker=none",
    ] {
        host.request(line).send().await.is_problem(404);
    }
    for line in [
        "GET /api/v1/consumers/plain/pause",
        "GET /api/v1/claims/jobs/a/release",
        "GET /api/v1/store/accept",
        "GET /api/v1/queues/plain/messages",
        "GET /api/v1/plugins/echo/reload",
        "POST /api/v1/cutover/jobs",
        "DELETE /api/v1/consumers",
        "POST /livez",
    ] {
        host.request(line).send().await.is_problem(405);
    }
    for line in [
        "GET /api/v1/claims?state=lost",
        "GET /api/v1/claims?limit=many",
        "GET /api/v1/claims?unknown=1",
        "GET /api/v1/claims/jobs/%ff",
    ] {
        host.request(line).send().await.is_problem(400);
    }
}

/// Bad input: Admin | an oversized or slow body | 413 or 408
#[tokio::test(flavor = "multi_thread")]
async fn an_oversized_or_slow_body_is_refused() {
    let host = TestHost::start().await;
    let message = "POST /api/v1/queues/plain/messages";
    host.request(message)
        .promising(1 << 30)
        .send()
        .await
        .is_problem(413);
    let change = host.request("PUT /api/v1/cutover/jobs");
    change
        .body(vec![b' '; (1 << 20) + 1])
        .send()
        .await
        .is_problem(413);
    host.request(message)
        .body("a")
        .promising(10)
        .send()
        .await
        .is_problem(408);
}
