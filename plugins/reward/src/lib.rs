//! Has a third party pay out a reward, over HTTP.
//!
//! The third party knows nothing of claims. If it does not answer in time it
//! may have paid all the same, and the next attempt asks it again. What holds
//! then is not up to this code: every attempt is made by the one side that owns
//! the message, one after another, under one `Idempotency-Key` and with a
//! growing `Holdfast-Fence`. A receiver that looks at either pays once.
//!
//! Variables: `url` is where rewards are paid; `timeout_ms`, how long to wait
//! for the answer (5 000); `paid`, a queue that is told of every reward.

use std::time::Duration;

use holdfast_sdk::http::{HttpError, Request};
use holdfast_sdk::{Context, Failure, Json, Outgoing, handler};
use serde::{Deserialize, Serialize};

#[derive(Deserialize)]
struct Reward {
    customer: String,
    points: u32,
}

/// What the third party is asked for, and what is told once it has answered.
#[derive(Serialize)]
struct Payment<'a> {
    message: &'a str,
    customer: &'a str,
    points: u32,
}

#[handler]
fn reward(reward: Json<Reward>, ctx: &Context) -> Result<(), Failure> {
    if reward.points == 0 {
        return Err(Failure::reject("a reward of nothing"));
    }
    let payment = Payment {
        message: &ctx.message().key,
        customer: &reward.customer,
        points: reward.points,
    };
    pay(&payment, ctx)?;
    if let Some(queue) = ctx.var("paid") {
        ctx.publish(queue, Outgoing::json(&payment)?)?;
    }
    Ok(())
}

fn pay(payment: &Payment<'_>, ctx: &Context) -> Result<(), Failure> {
    let url = ctx
        .var("url")
        .ok_or_else(|| Failure::retry("the variable `url` is not set"))?;
    let timeout: u64 = match ctx.var("timeout_ms") {
        Some(text) => text.parse()?,
        None => 5_000,
    };
    let request = Request::post(url)
        .with_json(payment)?
        .with_timeout(Duration::from_millis(timeout));

    match ctx.http().send(request)?.error_for_status() {
        Ok(_) => Ok(()),
        // Asking again would change nothing, but for the few that say so.
        Err(HttpError::Status(answer)) if is_final(answer.status) => {
            Err(Failure::reject(HttpError::Status(answer).to_string()))
        }
        Err(error) => Err(error.into()),
    }
}

fn is_final(status: u16) -> bool {
    (400..500).contains(&status) && !matches!(status, 408 | 409 | 425 | 429)
}

#[cfg(test)]
mod tests;
