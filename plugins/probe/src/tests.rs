use super::*;
use holdfast_sdk::http::{Request, Response};
use holdfast_sdk::{Target, TestContext, serde_json::Value};

fn run(test: &TestContext, body: &str) -> Result<(), Failure> {
    test.call(probe, Message::new(body))
}

#[test]
fn a_body_that_is_not_a_json_object_is_rejected_as_not_json() {
    for body in ["", "hello", "[1, 2]", "7", "{", "{\"spin\": tru"] {
        let answer = run(&TestContext::new(), body);
        assert_eq!(answer, Err(Failure::reject("not json")), "{body:?}");
    }
}

#[test]
fn a_field_of_the_wrong_type_is_rejected_by_its_place() {
    let Err(Failure::Reject(reason)) = run(&TestContext::new(), r#"{"busy_ms": "long"}"#) else {
        panic!("a wrong type must be rejected");
    };
    assert!(reason.contains("line 1 column"), "{reason}");
}

#[test]
fn an_empty_object_and_unknown_fields_do_nothing() {
    let test = TestContext::new();
    assert_eq!(run(&test, "{}"), Ok(()));
    assert_eq!(
        run(&test, r#"{"colour": "red", "deep": [{"a": 1}]}"#),
        Ok(())
    );
    assert!(test.published().is_empty() && test.logs().is_empty());
}

#[test]
fn log_bytes_writes_exactly_that_many() {
    let test = TestContext::new();
    run(&test, r#"{"log_bytes": 200000}"#).unwrap();
    let bytes: usize = test.logs().iter().map(|line| line.text.len()).sum();
    assert_eq!(bytes, 200_000);
}

#[test]
fn busy_ms_takes_that_long() {
    let start = Instant::now();
    run(&TestContext::new(), r#"{"busy_ms": 20}"#).unwrap();
    assert!(start.elapsed() >= Duration::from_millis(20));
}

#[test]
fn a_reject_comes_before_a_retry_and_both_before_any_effect() {
    let test = TestContext::new();
    let body = r#"{"publish_to": "out", "fail_times": 1, "reject": "bad"}"#;
    assert_eq!(run(&test, body), Err(Failure::reject("bad")));
    assert!(test.published().is_empty());
}

#[test]
fn fail_times_asks_for_a_retry_up_to_that_attempt() {
    let test = TestContext::new();
    let message = Message::new(r#"{"fail_times": 2}"#);
    for attempt in 1..=2 {
        let answer = test.call(probe, message.clone().with_attempt(attempt));
        assert!(matches!(answer, Err(Failure::Retry { after: None, .. })));
    }
    assert_eq!(test.call(probe, message.with_attempt(3)), Ok(()));
}

#[test]
fn the_report_has_every_field_and_the_count_of_the_state() {
    let test = TestContext::new().state("hits", "4");
    let message = Message::new(r#"{"state_incr": "hits", "publish_to": "out"}"#)
        .with_key("k-1")
        .with_lane("red")
        .with_sequence(9)
        .with_attempt(2);
    test.call(probe, message).unwrap();

    let sent = &test.published()[0];
    assert_eq!(sent.to, Target::queue("out"));
    assert_eq!(
        String::from_utf8_lossy(&sent.message.body),
        r#"{"key":"k-1","attempt":2,"fence":2,"side":"test","sequence":9,"lane":"red","count":5}"#
    );
}

#[test]
fn without_a_state_the_count_is_null() {
    let test = TestContext::new();
    run(&test, r#"{"publish_to": "out"}"#).unwrap();
    let report: Value = serde_json::from_slice(&test.published()[0].message.body).unwrap();
    assert_eq!(report["count"], Value::Null);
    assert_eq!(report["lane"], Value::Null);
}

#[test]
fn http_get_asks_once_and_a_failure_or_a_status_over_399_is_a_retry() {
    let body = r#"{"http_get": "http://example.com/x", "publish_to": "out"}"#;
    for status in [200, 204, 302, 399] {
        let test = TestContext::new().reply(Response::new(status));
        assert_eq!(run(&test, body), Ok(()), "{status}");
        assert_eq!(test.requests(), [Request::get("http://example.com/x")]);
        assert_eq!(test.published().len(), 1);
    }
    for status in [400, 404, 500] {
        let test = TestContext::new().reply(Response::new(status));
        let Err(Failure::Retry { reason, .. }) = run(&test, body) else {
            panic!("{status} must be a retry");
        };
        assert!(reason.contains(&status.to_string()), "{reason}");
        assert!(test.published().is_empty());
    }
    let test = TestContext::new().reply_error(HttpError::Denied);
    let answer = run(&test, body);
    assert!(matches!(answer, Err(Failure::Retry { .. })), "{answer:?}");
}

#[test]
fn http_get_comes_before_a_reject() {
    let test = TestContext::new().reply(Response::new(500));
    let answer = run(
        &test,
        r#"{"reject": "no", "http_get": "http://example.com"}"#,
    );
    assert!(matches!(answer, Err(Failure::Retry { .. })), "{answer:?}");
}
