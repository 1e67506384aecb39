//! `invoke`: one message through a plugin, without a broker or a store.

use std::io::{self, Write as _};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use holdfast_core::key::ClaimKey;
use holdfast_core::settle::CallFailure;
use holdfast_ports::message::{Header, Incoming, Snapshot, StateChange};
use holdfast_ports::plugins::{Call, Interrupt, Outcome, Plugins as _, World};
use holdfast_runtime::route::route;
use holdfast_wasm::{Line, LogSink, Options, Registry};
use serde_json::{Value, json};

use super::args::{Global, Invoke};
use super::client::configuration;
use super::failure::Failure;
use super::output::{self, shown};
use super::{lines, on_runtime};
use crate::config::Valid;
use crate::wire;

/// The id of a message that has no other.
const ID: &str = "invoke";

/// `invoke`. Exit code 1 when the handler fails.
pub(super) fn invoke(global: &Global, invoke: &Invoke) -> Result<(), Failure> {
    let loaded = configuration(global)?;
    let body = lines::read(&invoke.body)?;
    let message = Incoming {
        id: Some(ID.to_owned()),
        body: Bytes::from(body),
        headers: invoke
            .headers
            .iter()
            .map(|(k, v)| Header::text(k, v))
            .collect(),
        ..Incoming::default()
    };
    let call = call(&loaded.valid, invoke, message);
    let outcome = on_runtime(run(&loaded.valid, &invoke.plugin, call.clone()))??;
    if global.json {
        output::json(&as_json(&outcome))?;
    } else {
        print(&call, &outcome)?;
    }
    match outcome.result {
        Ok(()) => Ok(()),
        Err(failure) => Err(Failure::Failed(format!(
            "the handler failed: {}",
            told(&failure)
        ))),
    }
}

/// The call as a consumer of this plugin would make it; with its own names when
/// there is none.
fn call(config: &Valid, invoke: &Invoke, message: Incoming) -> Call {
    let specs = wire::consumers(config).unwrap_or_default();
    let spec = specs.iter().find(|spec| spec.plugin == invoke.plugin);
    let place = spec.map(|spec| route(spec, &message));
    if let Some(Err(refusal)) = &place {
        let what = shown(&refusal.error);
        output::notice(&format!(
            "a host would park this message ({}): {what}",
            refusal.reason
        ));
    }
    let place = place.and_then(Result::ok);
    let key = place
        .as_ref()
        .map_or_else(|| ClaimKey::from_known(ID), |place| place.key.clone());
    let name = |of: Option<&str>| -> Arc<str> { of.unwrap_or(&invoke.plugin).into() };
    Call {
        key: key.as_str().to_owned(),
        encoded_key: key.encoded(),
        lane: place
            .as_ref()
            .and_then(|place| place.lane.as_ref())
            .map(ToString::to_string),
        consumer: name(spec.map(|spec| spec.name.as_str())),
        group: name(spec.map(|spec| spec.group.as_str())),
        side: name(spec.map(|spec| spec.side.as_str())),
        attempt: invoke.attempt,
        fence: u64::from(invoke.attempt),
        sequence: place.as_ref().and_then(|place| place.sequence),
        state: Snapshot::default(),
        brokers: config.brokers.keys().cloned().collect(),
        interrupt: Interrupt::default(),
        message: Arc::new(message),
    }
}

async fn run(config: &Valid, name: &str, call: Call) -> Result<Outcome, Failure> {
    let options = Options {
        instances: 16,
        log: Arc::new(ToStderr),
        ..Options::default()
    };
    let plugins = Registry::new(options).map_err(|error| Failure::Failed(error.to_string()))?;
    let settings = wire::plugin_settings(&config.plugin(name));
    let file = config.plugin_file(name);
    let loaded = plugins
        .load_file(name, &file, settings)
        .await
        .map_err(|error| {
            Failure::Wrong(format!(
                "the plugin {name} ({}) cannot be used: {error}",
                file.display()
            ))
        })?;
    let world = plugins.install(&loaded).world;
    let Some(plugin) = plugins.current(name) else {
        return Err(Failure::Failed(format!(
            "the plugin {name} is not in service"
        )));
    };
    if world != World::BatchConsumer {
        return Ok(plugin.handle(call).await);
    }
    let mut outcomes = plugin.handle_batch(vec![call]).await;
    outcomes
        .pop()
        .ok_or_else(|| Failure::Failed(format!("the plugin {name} gave no answer")))
}

/// What the guest says is not data.
struct ToStderr;

impl LogSink for ToStderr {
    fn line(&self, line: &Line<'_>) {
        let level = format!("{:?}", line.level).to_lowercase();
        // A closed standard error is no reason to fail.
        let _ = writeln!(io::stderr(), "{level:5} {}", line.text);
    }
}

fn told(failure: &CallFailure) -> String {
    match failure {
        CallFailure::Retry {
            reason,
            after: None,
        } => format!("retry: {}", shown(reason)),
        CallFailure::Retry {
            reason,
            after: Some(after),
        } => {
            format!("retry after {}: {}", seconds(*after), shown(reason))
        }
        CallFailure::Reject(reason) => format!("reject: {}", shown(reason)),
        CallFailure::Broken(reason) => format!("broken: {}", shown(reason)),
    }
}

fn seconds(time: Duration) -> String {
    match time.as_micros() {
        micros @ 0..1_000 => format!("{micros} µs"),
        micros @ 1_000..1_000_000 => format!("{}.{} ms", micros / 1_000, micros % 1_000 / 100),
        _ => format!("{:.2} s", time.as_secs_f64()),
    }
}

fn print(call: &Call, outcome: &Outcome) -> Result<(), Failure> {
    let ended = match &outcome.result {
        Ok(()) => "success".to_owned(),
        Err(failure) => told(failure),
    };
    output::pairs([
        ("outcome", ended),
        ("key", shown(&call.key)),
        ("lane", call.lane.as_deref().map_or("-".to_owned(), shown)),
        ("time", seconds(outcome.ran)),
        ("memory", format!("{} KiB", outcome.memory.div_ceil(1024))),
        ("digest", outcome.sha256.to_string()),
    ])?;
    let kept = if outcome.result.is_ok() {
        ""
    } else {
        " (dropped, because it failed)"
    };
    for change in &outcome.effects.state {
        output::line(&match change {
            StateChange::Set(name, value) => {
                format!("state{kept}: {} = {}", shown(name), preview(value))
            }
            StateChange::Delete(name) => format!("state{kept}: {} deleted", shown(name)),
        })?;
    }
    for staged in &outcome.effects.outbox {
        let broker = staged
            .broker
            .as_deref()
            .map_or(String::new(), |broker| format!(" of {broker}"));
        output::line(&format!(
            "publish{kept}: to {}{broker}: {}",
            staged.to,
            preview(&staged.body)
        ))?;
    }
    Ok(())
}

/// The beginning of some bytes, as text where they are text.
fn preview(bytes: &[u8]) -> String {
    const LONGEST: usize = 200;
    let Ok(text) = std::str::from_utf8(bytes) else {
        return format!("{} bytes", bytes.len());
    };
    let start: String = text.chars().take(LONGEST).collect();
    let cut = if start.len() < text.len() {
        format!("… ({} bytes)", bytes.len())
    } else {
        String::new()
    };
    format!(
        "{}{cut}",
        start.escape_debug().to_string().replace("\\\"", "\"")
    )
}

fn as_json(outcome: &Outcome) -> Value {
    let (name, reason, after) = match &outcome.result {
        Ok(()) => ("success", None, None),
        Err(CallFailure::Retry { reason, after }) => ("retry", Some(reason), *after),
        Err(CallFailure::Reject(reason)) => ("reject", Some(reason), None),
        Err(CallFailure::Broken(reason)) => ("broken", Some(reason), None),
    };
    let state: Vec<Value> = outcome
        .effects
        .state
        .iter()
        .map(|change| match change {
            StateChange::Set(name, value) => json!({"name": name, "value": text(value)}),
            StateChange::Delete(name) => json!({"name": name, "value": null}),
        })
        .collect();
    let published: Vec<Value> = outcome.effects.outbox.iter().map(|staged| json!({
        "broker": staged.broker,
        "to": staged.to.to_string(),
        "body": text(&staged.body),
        "content_type": staged.content_type,
        "headers": staged.headers.iter().map(|h| json!([h.name, text(&h.value)])).collect::<Vec<_>>(),
        "lane": staged.lane,
    })).collect();
    json!({
        "outcome": name,
        "reason": reason,
        "after_ms": after.map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
        "state": state,
        "published": published,
        "ran_us": u64::try_from(outcome.ran.as_micros()).unwrap_or(u64::MAX),
        "memory": outcome.memory,
        "sha256": &*outcome.sha256,
    })
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}
