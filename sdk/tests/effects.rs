//! What the test double makes of state and published messages: what a host
//! makes of them.

use holdfast_sdk::{
    Context, Failure, Level, Message, Outgoing, Target, TestContext, serde_json::json,
};

#[test]
fn a_change_is_seen_by_its_own_call_and_kept_for_the_next() {
    fn handle(_: Message, ctx: &Context) -> Result<(), Failure> {
        let state = ctx.state();
        let before = state.increment("n", 5)?;
        assert_eq!(state.get("n"), Some(before.to_string().into_bytes()));
        assert_eq!(state.increment("n", -2)?, before - 2);
        Ok(())
    }
    let test = TestContext::new();
    test.call(handle, Message::new("")).unwrap();
    test.call(handle, Message::new("")).unwrap();
    assert_eq!(test.value("n").as_deref(), Some(&b"6"[..]));
}

#[test]
fn a_call_that_fails_leaves_neither_state_nor_messages_but_its_log() {
    fn handle(_: Message, ctx: &Context) -> Result<(), Failure> {
        ctx.state().set("old", "changed");
        ctx.state().set("new", "made");
        ctx.publish("out", Outgoing::new("hello"))?;
        ctx.log().warn("about to fail");
        Err(Failure::retry("not today"))
    }
    let test = TestContext::new().state("old", "kept");
    test.call(handle, Message::new("")).unwrap_err();
    assert_eq!(test.value("old").as_deref(), Some(&b"kept"[..]));
    assert_eq!(test.value("new"), None);
    assert!(test.published().is_empty());
    assert_eq!(test.logs().len(), 1);
    assert_eq!(test.logs()[0].level, Level::Warn);
}

#[test]
fn a_deleted_value_is_gone_and_counts_from_nothing() {
    fn handle(_: Message, ctx: &Context) -> Result<(), Failure> {
        ctx.state().delete("n");
        ctx.state().delete("never there");
        assert_eq!(ctx.state().get("n"), None);
        assert_eq!(ctx.state().increment("n", 1)?, 1);
        Ok(())
    }
    let test = TestContext::new().state("n", "41");
    test.call(handle, Message::new("")).unwrap();
}

#[test]
fn a_value_that_is_not_a_whole_number_is_not_incremented() {
    for value in ["", "ten", "1.5", "99999999999999999999"] {
        let test = TestContext::new().state("n", value);
        let answer = test.call(
            |_: Message, ctx: &Context| -> Result<(), Failure> {
                ctx.state().increment("n", 1)?;
                Ok(())
            },
            Message::new(""),
        );
        let Err(Failure::Retry { reason, .. }) = answer else {
            panic!("{value:?} must not be incremented");
        };
        assert_eq!(
            reason,
            "failed to increment the state \"n\": it is not a whole number"
        );
        assert_eq!(test.value("n"), Some(value.into()));
    }
}

#[test]
fn a_sum_that_does_not_fit_is_an_error_and_the_value_stays() {
    let test = TestContext::new().state("n", i64::MAX.to_string());
    let answer = test.call(
        |_: Message, ctx: &Context| ctx.state().increment("n", 1).map(drop),
        Message::new(""),
    );
    assert!(answer.unwrap_err().to_string().contains("64 bits"));
    assert_eq!(test.value_json("n"), Some(i64::MAX));
}

#[test]
fn json_state_is_written_and_read_as_the_same_value() {
    fn handle(_: Message, ctx: &Context) -> Result<(), Failure> {
        let state = ctx.state();
        assert_eq!(state.get_json::<Vec<u8>>("list")?, None);
        state.set_json("list", &[1, 2])?;
        assert_eq!(state.get_json("list")?, Some(vec![1_u8, 2]));
        state.get_json::<String>("list")?;
        Ok(())
    }
    let answer = TestContext::new().call(handle, Message::new(""));
    let reason = answer.unwrap_err().to_string();
    assert!(
        reason.starts_with("failed to read the state \"list\": "),
        "{reason}"
    );
}

#[test]
fn messages_are_published_in_order_with_everything_they_carry() {
    fn handle(_: Message, ctx: &Context) -> Result<(), Failure> {
        let first = Outgoing::json(&json!({"n": 1}))?
            .with_header("tenant", "blue")
            .with_lane("red");
        ctx.publish("first", first)?;
        ctx.publish(Target::exchange("events", "paid"), "2")?;
        Ok(())
    }
    let test = TestContext::new();
    test.call(handle, Message::new("")).unwrap();

    let sent = test.published();
    assert_eq!(sent[0].to, Target::queue("first"));
    assert_eq!(sent[0].message.body, br#"{"n":1}"#);
    assert_eq!(
        sent[0].message.content_type.as_deref(),
        Some("application/json")
    );
    assert_eq!(sent[0].message.headers[0].value, b"blue");
    assert_eq!(sent[0].message.lane.as_deref(), Some("red"));
    assert_eq!(sent[1].to, Target::exchange("events", "paid"));
}

#[test]
fn a_refused_message_is_an_error_that_says_why() {
    fn handle(_: Message, ctx: &Context) -> Result<(), Failure> {
        ctx.publish("out", Outgoing::new("hello"))?;
        Ok(())
    }
    let test = TestContext::new().refuse_publishes("too many messages");
    assert_eq!(
        test.call(handle, Message::new("")),
        Err(Failure::retry("failed to publish: too many messages"))
    );
}
