//! The benchmark's handler for batches: the same work as `bench-json`, many
//! messages to a call.

use holdfast_sdk::{Failure, Message, batch_handler};
use serde::Deserialize;

#[derive(Deserialize)]
struct Order {
    amount: i64,
}

#[batch_handler]
fn handle(messages: Vec<Message>) -> Vec<Result<(), Failure>> {
    messages.iter().map(check).collect()
}

fn check(message: &Message) -> Result<(), Failure> {
    let order: Order = message.parse_json()?;
    if order.amount < 0 {
        return Err(Failure::reject("the amount is negative"));
    }
    Ok(())
}
