//! The demo's handler: checks an order, adds it to the customer's running
//! total, and confirms it.
//!
//! State belongs to the lane, which the demo's consumer takes from the
//! customer (`order.key = "json:/customer"`): one total per customer.

use holdfast_sdk::{Context, Failure, Json, OrReject, Outgoing, handler};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Order {
    id: String,
    customer: String,
    amount_cents: i64,
    currency: String,
    /// Lets an order misbehave, to show what the host makes of it.
    simulate: Option<Misbehaviour>,
}

#[derive(Clone, Copy, Deserialize)]
#[serde(rename_all = "kebab-case")]
enum Misbehaviour {
    FailTwice,
    Loop,
}

#[derive(Serialize)]
struct Confirmation<'a> {
    order: &'a str,
    customer: &'a str,
    amount_cents: i64,
    currency: &'a str,
    /// Everything this customer ordered, this order included.
    total_cents: i64,
}

#[handler]
fn handle(order: Json<Order>, ctx: &Context) -> Result<(), Failure> {
    order.check(ctx.var("currency").as_deref())?;
    order.misbehave(ctx.message().attempt)?;

    let total_cents = ctx
        .state()
        .increment("total_cents", order.amount_cents)
        .or_reject("the total cannot be kept")?;

    let confirmations = ctx.var("confirmations");
    let confirmation = Confirmation {
        order: &order.id,
        customer: &order.customer,
        amount_cents: order.amount_cents,
        currency: &order.currency,
        total_cents,
    };
    ctx.publish(
        confirmations.as_deref().unwrap_or("confirmations"),
        Outgoing::json(&confirmation)?.with_lane(&order.customer),
    )?;
    ctx.log().debug(format_args!(
        "order {} confirmed, {} has ordered {total_cents} cents in all",
        order.id, order.customer
    ));
    Ok(())
}

impl Order {
    /// Another attempt would not change any of this: rejected.
    fn check(&self, currency: Option<&str>) -> Result<(), Failure> {
        if self.id.is_empty() {
            return Err(Failure::reject("the order has no id"));
        }
        if self.customer.is_empty() {
            return Err(Failure::reject("the order has no customer"));
        }
        if self.amount_cents <= 0 {
            return Err(Failure::reject(format!(
                "the amount must be positive, not {} cents",
                self.amount_cents
            )));
        }
        match currency {
            Some(ours) if ours != self.currency => Err(Failure::reject(format!(
                "the currency must be {ours}, not {}",
                self.currency
            ))),
            _ => Ok(()),
        }
    }

    fn misbehave(&self, attempt: u32) -> Result<(), Failure> {
        match self.simulate {
            Some(Misbehaviour::FailTwice) if attempt <= 2 => {
                Err(Failure::retry("the warehouse does not answer (simulated)"))
            }
            Some(Misbehaviour::Loop) => loop {
                std::hint::spin_loop();
            },
            Some(Misbehaviour::FailTwice) | None => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests;
