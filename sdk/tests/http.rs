//! What the test double makes of requests.

use std::time::Duration;

use holdfast_sdk::http::{HttpError, Request, Response};
use holdfast_sdk::{Context, Failure, Message, TestContext};

fn fetch(_: Message, ctx: &Context) -> Result<(), Failure> {
    let answer = ctx.http().get("https://api.example.com/rates")?;
    let rates: Vec<u32> = answer.error_for_status()?.json()?;
    ctx.state().set("rates", rates.len().to_string());
    Ok(())
}

#[test]
fn answers_come_in_the_order_in_which_they_were_given() {
    let test = TestContext::new()
        .reply(Response::new(503).with_body("closed"))
        .reply_error(HttpError::Timeout)
        .reply(Response::new(200).with_json(&[1, 2, 3]).unwrap());
    let first = test.call(fetch, Message::new("")).unwrap_err();
    assert_eq!(
        first,
        Failure::retry("the answer has status 503: closed"),
        "a status that is no success is a retry"
    );
    let second = test.call(fetch, Message::new("")).unwrap_err();
    assert_eq!(second, Failure::retry("no whole answer came in time"));
    test.call(fetch, Message::new("")).unwrap();
    assert_eq!(test.value("rates").as_deref(), Some(&b"3"[..]));
    // A request is not staged: those of failed calls were made.
    assert_eq!(test.requests().len(), 3);
}

#[test]
fn an_answer_that_is_no_json_or_too_large_is_a_retry() {
    let test = TestContext::new().reply(Response::new(200).with_body("<html>"));
    let answer = test.call(fetch, Message::new(""));
    assert!(matches!(answer, Err(Failure::Retry { .. })), "{answer:?}");

    fn little(_: Message, ctx: &Context) -> Result<(), HttpError> {
        let request = Request::get("http://a.example.com").with_max_answer(3);
        ctx.http().send(request).map(drop)
    }
    let test = TestContext::new()
        .reply(Response::new(200).with_body("abc"))
        .reply(Response::new(200).with_body("abcd"));
    assert_eq!(test.call(little, Message::new("")), Ok(()));
    let answer = test.call(little, Message::new("")).unwrap_err();
    assert_eq!(answer.to_string(), "the answer is larger than 3 bytes");
}

#[test]
fn a_request_that_is_none_is_not_made() {
    fn wrong(_: Message, ctx: &Context) -> Result<(), HttpError> {
        ctx.http().get("api.example.com").map(drop)
    }
    let test = TestContext::new();
    let answer = test.call(wrong, Message::new("")).unwrap_err();
    assert!(answer.to_string().contains("http:// or https://"));
    assert!(test.requests().is_empty());
}

#[test]
#[should_panic(expected = "asks GET https://api.example.com/rates, and the test has no reply")]
fn a_request_without_an_answer_is_a_mistake_of_the_test() {
    let _ = TestContext::new().call(fetch, Message::new(""));
}

#[test]
fn errors_say_whether_the_other_side_may_have_acted() {
    for (error, may) in [
        (HttpError::Denied, false),
        (HttpError::InvalidRequest("no host".into()), false),
        (HttpError::Connection("refused".into()), false),
        (HttpError::Timeout, true),
        (HttpError::Interrupted("closed".into()), true),
        (HttpError::TooLarge(9), true),
        (HttpError::Status(Box::new(Response::new(500))), true),
    ] {
        assert_eq!(error.may_have_arrived(), may, "{error}");
    }
}

#[test]
fn a_request_says_all_that_was_asked_for() {
    let request = Request::put("http://a.example.com/b")
        .with_header("x-one", "1")
        .with_json(&"text")
        .unwrap()
        .with_timeout(Duration::from_secs(1))
        .with_connect_timeout(Duration::from_millis(200));
    assert_eq!(request.method, "PUT");
    assert_eq!(request.body, b"\"text\"");
    assert_eq!(request.headers[1].name, "content-type");
    assert_eq!(request.timeout, Duration::from_secs(1));
    assert_eq!(request.connect_timeout, Some(Duration::from_millis(200)));
}
