use super::*;
use holdfast_sdk::http::Response;
use holdfast_sdk::serde_json::{Value, json};
use holdfast_sdk::{Message, Target, TestContext};

const URL: &str = "https://rewards.example.com/pay";

fn third_party() -> TestContext {
    TestContext::new()
        .var("url", URL)
        .var("paid", "rewards.paid")
}

fn message() -> Message {
    Message::json(&json!({"customer": "ada", "points": 50})).with_key("r-1")
}

#[test]
fn a_reward_is_asked_for_once_and_told_of() {
    let test = third_party().reply(Response::new(201));
    test.call(reward, message()).unwrap();
    let asked = &test.requests()[0];
    assert_eq!((asked.method.as_str(), asked.url.as_str()), ("POST", URL));
    let expected = json!({"message": "r-1", "customer": "ada", "points": 50});
    let body: Value = holdfast_sdk::serde_json::from_slice(&asked.body).unwrap();
    assert_eq!(body, expected);
    assert_eq!(asked.timeout, Duration::from_secs(5));
    assert_eq!(test.published()[0].to, Target::queue("rewards.paid"));
}

#[test]
fn no_answer_in_time_is_a_retry_that_asks_again() {
    let test = third_party()
        .var("timeout_ms", "250")
        .reply_error(HttpError::Timeout)
        .reply(Response::new(200));
    let answer = test.call(reward, message());
    assert!(matches!(answer, Err(Failure::Retry { .. })), "{answer:?}");
    assert!(test.published().is_empty());
    test.call(reward, message().with_attempt(2)).unwrap();
    assert_eq!(test.requests().len(), 2);
    assert_eq!(test.requests()[0].timeout, Duration::from_millis(250));
    assert_eq!(test.published().len(), 1);
}

#[test]
fn what_the_third_party_will_never_pay_is_rejected_and_what_it_may_is_tried_again() {
    for (status, rejected) in [
        (400, true),
        (404, true),
        (422, true),
        (408, false),
        (409, false),
        (429, false),
        (302, false),
        (500, false),
        (503, false),
    ] {
        let test = third_party().reply(Response::new(status).with_body("because"));
        let answer = test.call(reward, message()).unwrap_err();
        assert_eq!(matches!(answer, Failure::Reject(_)), rejected, "{status}");
        assert!(answer.to_string().contains("because"), "{answer}");
    }
}

#[test]
fn a_reward_of_nothing_asks_nobody() {
    let test = third_party();
    let nothing = Message::json(&json!({"customer": "ada", "points": 0}));
    let answer = test.call(reward, nothing);
    assert!(matches!(answer, Err(Failure::Reject(_))), "{answer:?}");
    assert!(test.requests().is_empty());
}

#[test]
fn without_an_address_nobody_is_asked_and_the_message_waits_for_it() {
    let answer = TestContext::new().call(reward, message());
    assert!(matches!(answer, Err(Failure::Retry { .. })), "{answer:?}");
}
