use super::*;
use holdfast_sdk::{Target, TestContext};

#[test]
fn the_body_goes_back_to_the_queue_that_the_message_names() {
    let test = TestContext::new();
    let message = Message::new("hello").with_header("reply-to", "answers");
    test.call(echo, message).unwrap();
    assert_eq!(test.published()[0].to, Target::queue("answers"));
    assert_eq!(test.published()[0].message.body, b"hello");
    assert_eq!(test.logs()[0].text, "5 bytes");
}

#[test]
fn a_message_that_names_no_queue_is_only_logged() {
    let test = TestContext::new();
    test.call(echo, Message::new("hello")).unwrap();
    assert!(test.published().is_empty());
    assert_eq!(test.logs()[0].text, "5 bytes");
}
