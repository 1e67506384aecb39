//! Does what the body of the message says, so that a host can be tested from
//! outside. The body is a JSON object; its fields are those of [`Script`].

use std::hint::{black_box, spin_loop};
use std::time::{Duration, Instant};

use holdfast_sdk::http::HttpError;
use holdfast_sdk::serde_json::{self, error::Category};
use holdfast_sdk::{Context, Failure, Message, Outgoing, handler};
use serde::{Deserialize, Serialize};

/// What to do, in this order. Every field is optional, unknown ones are ignored.
#[derive(Default, Deserialize)]
#[serde(default)]
struct Script {
    /// Writes this many bytes of log.
    log_bytes: u64,
    /// Allocates and touches this many MiB.
    grow_mib: usize,
    /// Spins this long by the monotonic clock.
    busy_ms: u64,
    /// Fetches an address; a failure or a status over 399 is a retry.
    http_get: Option<String>,
    /// Spins for ever.
    spin: bool,
    /// Traps.
    trap: bool,
    /// Rejects the message for this reason.
    reject: Option<String>,
    /// Asks for a retry at this many first attempts.
    fail_times: u32,
    /// Adds one to this state.
    state_incr: Option<String>,
    /// Publishes a [`Report`] to this queue.
    publish_to: Option<String>,
}

/// What the probe saw of the message.
#[derive(Serialize)]
struct Report<'a> {
    key: &'a str,
    attempt: u32,
    fence: u64,
    side: &'a str,
    sequence: Option<u64>,
    lane: Option<&'a str>,
    /// The value of `state_incr`.
    count: Option<i64>,
}

#[handler]
fn probe(message: Message, ctx: &Context) -> Result<(), Failure> {
    let script = Script::parse(&message.body)?;
    write_log(ctx, script.log_bytes);
    let _held = grow(script.grow_mib);
    busy(Duration::from_millis(script.busy_ms));
    if let Some(url) = script.http_get {
        fetch(ctx, url)?;
    }
    if script.spin {
        loop {
            spin_loop();
        }
    }
    if script.trap {
        std::process::abort();
    }
    if let Some(why) = script.reject {
        return Err(Failure::reject(why));
    }
    if message.attempt <= script.fail_times {
        return Err(Failure::retry(format!(
            "attempt {} of {} that fail",
            message.attempt, script.fail_times
        )));
    }
    let count = match script.state_incr {
        Some(name) => Some(ctx.state().increment(&name, 1)?),
        None => None,
    };
    if let Some(queue) = script.publish_to {
        let report = Report {
            key: &message.key,
            attempt: message.attempt,
            fence: message.fence,
            side: &message.side,
            sequence: message.sequence,
            lane: message.lane.as_deref(),
            count,
        };
        ctx.publish(queue, Outgoing::json(&report)?)?;
    }
    Ok(())
}

impl Script {
    fn parse(body: &[u8]) -> Result<Script, Failure> {
        // A list of values would count as a Script too: a struct may be
        // written as its fields in order.
        if body.trim_ascii_start().first() != Some(&b'{') {
            return Err(Failure::reject("not json"));
        }
        serde_json::from_slice(body).map_err(|error| match error.classify() {
            Category::Data => Failure::reject(format!("a field has the wrong type: {error}")),
            Category::Syntax | Category::Eof | Category::Io => Failure::reject("not json"),
        })
    }
}

fn write_log(ctx: &Context, mut bytes: u64) {
    const LINE: usize = 64 * 1024;
    let line = "x".repeat(usize::try_from(bytes).map_or(LINE, |bytes| bytes.min(LINE)));
    while bytes > 0 {
        let now = bytes.min(LINE as u64);
        ctx.log().info(&line[..now as usize]);
        bytes -= now;
    }
}

fn grow(mib: usize) -> Vec<Vec<u8>> {
    (0..mib).map(|_| black_box(vec![1; 1024 * 1024])).collect()
}

fn busy(time: Duration) {
    if time.is_zero() {
        return;
    }
    let start = Instant::now();
    while start.elapsed() < time {
        spin_loop();
    }
}

fn fetch(ctx: &Context, url: String) -> Result<(), Failure> {
    let answer = ctx.http().get(url)?;
    if answer.status > 399 {
        return Err(Failure::retry(
            HttpError::Status(Box::new(answer)).to_string(),
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests;
