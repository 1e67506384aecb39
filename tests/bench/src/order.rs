//! The message, and the work its handler does. The same as the `bench-json`
//! plugin's, so that the variants differ in everything but this.

use anyhow::{Result, ensure};
use serde::Deserialize;
use serde_json::json;

/// The size of every message body, in bytes.
pub(crate) const SIZE: usize = 1024;

#[derive(Deserialize)]
struct Order {
    amount: i64,
}

/// An order of [`SIZE`] bytes: some fields, a list, and a long text.
pub(crate) fn body(number: usize) -> Vec<u8> {
    let render = |note: &str| {
        json!({
            "order_id": format!("{number:012}"),
            "customer": format!("customer-{}", number % 1000),
            "currency": "EUR",
            "amount": 1000 + number % 9000,
            "items": [
                {"sku": "A-1001", "name": "Copper kettle", "quantity": 1, "price": 4900},
                {"sku": "B-2040", "name": "Linen towel", "quantity": 4, "price": 1250},
                {"sku": "C-0007", "name": "Oak board", "quantity": 2, "price": 2300},
            ],
            "ship_to": {"street": "Harbour Lane 12", "city": "Kiel", "zip": "24103"},
            "express": number.is_multiple_of(2),
            "note": note,
        })
        .to_string()
        .into_bytes()
    };
    let rest = SIZE.saturating_sub(render("").len());
    render(&"n".repeat(rest))
}

/// What the handler does with a message.
pub(crate) fn handle(body: &[u8]) -> Result<()> {
    let order: Order = serde_json::from_slice(body)?;
    ensure!(order.amount >= 0, "the amount is negative");
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_order_has_the_same_size_and_is_accepted() {
        for number in [0, 7, 999, 50_000, 99_999_999] {
            let body = body(number);
            assert_eq!(body.len(), SIZE);
            handle(&body).unwrap();
        }
    }

    #[test]
    fn a_negative_amount_is_refused() {
        assert!(handle(br#"{"amount":-1}"#).is_err());
    }
}
