use super::*;
use holdfast_sdk::serde_json::{self, Value, json};
use holdfast_sdk::{Message, Target, TestContext};

fn order() -> Value {
    json!({"id": "A-1", "customer": "ada", "amount_cents": 1250, "currency": "EUR"})
}

fn shop() -> TestContext {
    TestContext::new().var("currency", "EUR")
}

/// The order with one field replaced.
fn order_with(field: &str, value: impl Into<Value>) -> Message {
    let mut order = order();
    order[field] = value.into();
    Message::json(&order)
}

fn rejection(message: Message) -> String {
    match shop().call(handle, message) {
        Err(Failure::Reject(reason)) => reason,
        other => panic!("the order must be rejected, not {other:?}"),
    }
}

#[test]
fn an_order_is_added_to_the_total_and_confirmed_in_the_customers_lane() {
    let shop = shop().state("total_cents", "750");
    shop.call(handle, Message::json(&order())).unwrap();

    assert_eq!(shop.value_json("total_cents"), Some(2000));
    let sent = &shop.published()[0];
    assert_eq!(sent.to, Target::queue("confirmations"));
    assert_eq!(sent.message.lane.as_deref(), Some("ada"));
    let body: Value = serde_json::from_slice(&sent.message.body).unwrap();
    assert_eq!(
        body,
        json!({
            "order": "A-1", "customer": "ada", "amount_cents": 1250,
            "currency": "EUR", "total_cents": 2000,
        })
    );
}

#[test]
fn the_confirmations_go_where_the_configuration_says() {
    let shop = shop().var("confirmations", "mail");
    shop.call(handle, Message::json(&order())).unwrap();
    assert_eq!(shop.published()[0].to, Target::queue("mail"));
}

#[test]
fn an_order_in_another_currency_is_rejected_unless_none_is_configured() {
    let dollars = order_with("currency", "USD");
    assert!(rejection(dollars.clone()).contains("EUR, not USD"));
    assert_eq!(TestContext::new().call(handle, dollars), Ok(()));
}

#[test]
fn an_order_that_can_never_be_right_is_rejected() {
    assert!(rejection(order_with("id", "")).contains("no id"));
    assert!(rejection(order_with("customer", "")).contains("no customer"));
    assert!(rejection(order_with("amount_cents", 0)).contains("positive, not 0"));
    assert!(rejection(order_with("amount_cents", -5)).contains("positive, not -5"));
    assert!(rejection(order_with("amount_cents", "free")).contains("parse"));
    assert!(rejection(Message::new("an order, please")).contains("parse"));
}

#[test]
fn an_order_that_fails_twice_succeeds_at_the_third_attempt_and_counts_once() {
    let shop = shop();
    let message = order_with("simulate", "fail-twice");
    for attempt in 1..=2 {
        let answer = shop.call(handle, message.clone().with_attempt(attempt));
        assert!(matches!(answer, Err(Failure::Retry { .. })), "{answer:?}");
    }
    shop.call(handle, message.with_attempt(3)).unwrap();

    assert_eq!(shop.value_json("total_cents"), Some(1250));
    assert_eq!(shop.published().len(), 1);
}

#[test]
fn a_total_that_does_not_fit_is_rejected_and_stays() {
    let full = i64::MAX.to_string();
    let shop = shop().state("total_cents", full.as_str());
    let answer = shop.call(handle, Message::json(&order()));
    assert!(matches!(answer, Err(Failure::Reject(_))), "{answer:?}");
    assert_eq!(shop.value("total_cents"), Some(full.into_bytes()));
}
