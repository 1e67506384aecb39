//! How handlers are called, and what their answers mean.

use std::fmt;
use std::time::Duration;

use holdfast_sdk::{
    BatchContext, Context, Failure, Json, Message, OrReject, TestContext, batch_handler, handler,
};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Order {
    id: String,
}

/// The macro leaves a function that tests call like any other.
#[handler]
fn with_context(order: Json<Order>, ctx: &Context) -> Result<(), Failure> {
    ctx.state().set("last", &order.id);
    Ok(())
}

mod batch {
    use super::*;

    #[batch_handler]
    pub(crate) fn rejects_the_empty(
        messages: Vec<Message>,
        ctx: &BatchContext,
    ) -> Vec<Result<(), Failure>> {
        let reason = ctx.var("reason").unwrap_or_default();
        messages
            .iter()
            .map(|message| match message.body.is_empty() {
                true => Err(Failure::reject(&reason)),
                false => Ok(()),
            })
            .collect()
    }
}

#[derive(Debug)]
struct Outer(std::num::ParseIntError);

impl fmt::Display for Outer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("failed to read the amount")
    }
}

impl std::error::Error for Outer {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        Some(&self.0)
    }
}

fn amount(text: &str) -> Result<u8, Outer> {
    text.parse().map_err(Outer)
}

#[test]
fn a_handler_with_a_context_reads_json_and_leaves_state() {
    let test = TestContext::new();
    test.call(with_context, Message::new(r#"{"id": "A-1", "more": [1]}"#))
        .unwrap();
    assert_eq!(test.value("last").as_deref(), Some(&b"A-1"[..]));
}

#[test]
fn a_body_that_does_not_parse_is_rejected_with_its_place_and_the_handler_never_runs() {
    let test = TestContext::new();
    let answer = test.call(with_context, Message::new("{\"id\": 7}"));
    let Err(Failure::Reject(reason)) = answer else {
        panic!("a body that does not parse must be rejected, not {answer:?}");
    };
    assert!(
        reason.starts_with("failed to parse the body as JSON: "),
        "{reason}"
    );
    assert!(reason.ends_with("line 1 column 8"), "{reason}");
    assert_eq!(test.value("last"), None);
}

#[test]
fn a_question_mark_on_an_error_is_a_retry_with_all_its_causes() {
    fn handle(message: Message) -> Result<(), Failure> {
        amount(&String::from_utf8_lossy(&message.body))?;
        Ok(())
    }
    assert_eq!(
        TestContext::new().call(handle, Message::new("ten")),
        Err(Failure::Retry {
            reason: "failed to read the amount: invalid digit found in string".into(),
            after: None,
        })
    );
}

#[test]
fn a_handler_may_return_an_error_type_of_its_own() {
    fn handle(_: Message) -> Result<(), Outer> {
        amount("ten").map(drop)
    }
    let answer = TestContext::new().call(handle, Message::new(""));
    assert!(matches!(answer, Err(Failure::Retry { .. })), "{answer:?}");
}

#[test]
fn or_reject_makes_the_same_error_final() {
    assert_eq!(
        amount("ten").or_reject("no amount"),
        Err(Failure::reject(
            "no amount: failed to read the amount: invalid digit found in string"
        ))
    );
}

#[test]
fn a_wait_asked_for_is_kept_as_it_is() {
    let wait = Duration::from_micros(1);
    assert_eq!(
        Failure::retry_after("soon", wait),
        Failure::Retry {
            reason: "soon".into(),
            after: Some(wait),
        }
    );
}

#[test]
fn a_message_in_a_test_starts_at_the_first_attempt_and_its_fence_grows_with_later_ones() {
    let message = Message::new("x");
    assert_eq!((message.attempt, message.redelivered), (1, false));
    let later = message.clone().with_attempt(3);
    assert!(later.fence > message.fence && later.redelivered);
    assert_eq!(message.attempt, 1, "the first message stays as it was");
}

#[test]
fn a_header_is_found_by_name_and_only_when_it_is_text() {
    let message = Message::new("")
        .with_header("tenant", "blue")
        .with_header("tenant", "red")
        .with_header("picture", vec![0xff, 0xd8]);
    assert_eq!(message.header("tenant"), Some("blue"));
    assert_eq!(message.header("picture"), None);
    assert_eq!(message.header("Tenant"), None);
}

#[test]
fn a_batch_answers_each_message_in_its_place() {
    let test = TestContext::new().var("reason", "empty");
    let messages = ["a", "", "b"].map(Message::new).to_vec();
    assert_eq!(
        test.call_batch(batch::rejects_the_empty, messages),
        [Ok(()), Err(Failure::reject("empty")), Ok(())]
    );
}

#[test]
#[should_panic(expected = "one answer for each message")]
fn a_batch_with_too_few_answers_is_noticed() {
    fn forgetful(_: Vec<Message>) -> Vec<Result<(), Failure>> {
        vec![Ok(())]
    }
    TestContext::new().call_batch(forgetful, vec![Message::new("a"), Message::new("b")]);
}
