//! The benchmark's handler: reads an order and looks at one field.

use holdfast_sdk::{Failure, Json, handler};
use serde::Deserialize;

#[derive(Deserialize)]
struct Order {
    amount: i64,
}

#[handler]
fn handle(order: Json<Order>) -> Result<(), Failure> {
    if order.amount < 0 {
        return Err(Failure::reject("the amount is negative"));
    }
    Ok(())
}
