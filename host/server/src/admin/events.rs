//! What happens, as server-sent events.
//!
//! `consumers`: all consumers with their counts, each second. `phase`: a
//! consumer that stands elsewhere than before. `plugins`: the plugins in
//! service, when they changed. `ready`: the readiness, when it changed.

use std::collections::{BTreeMap, VecDeque};
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use axum::extract::State;
use axum::http::StatusCode;
use axum::response::sse::{Event, Sse};
use futures_util::stream::{Stream, unfold};
use serde_json::{Value, json};
use tokio::sync::OwnedSemaphorePermit;
use tokio::time::{Interval, MissedTickBehavior, interval};

use super::problem::Problem;
use super::{Admin, consumers, health, shown};

/// Who listens at once at most.
pub(super) const LISTENERS: usize = 32;

/// A stream of events until the client leaves or the host ends.
pub(super) async fn stream(
    State(admin): State<Arc<Admin>>,
) -> Result<Sse<impl Stream<Item = Result<Event, Infallible>>>, Problem> {
    let Ok(permit) = Arc::clone(&admin.listeners).try_acquire_owned() else {
        let detail = format!("{LISTENERS} clients listen already");
        return Err(Problem::new(StatusCode::SERVICE_UNAVAILABLE, detail));
    };
    let mut tick = interval(Duration::from_secs(1));
    tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let listener = Listener {
        admin,
        tick,
        seen: Seen::default(),
        queue: VecDeque::new(),
        _permit: permit,
    };
    Ok(Sse::new(unfold(listener, Listener::next)))
}

struct Listener {
    admin: Arc<Admin>,
    tick: Interval,
    seen: Seen,
    queue: VecDeque<Event>,
    _permit: OwnedSemaphorePermit,
}

impl Listener {
    async fn next(mut self) -> Option<(Result<Event, Infallible>, Self)> {
        while self.queue.is_empty() {
            tokio::select! {
                () = self.admin.stop.cancelled() => return None,
                _ = self.tick.tick() => {}
            }
            let app = &self.admin.app;
            let now = Now {
                consumers: consumers::all(app).await,
                plugins: app.plugins.rows().iter().map(shown::plugin).collect(),
                ready: health::readiness(app).1,
            };
            for (name, data) in self.seen.changes(now) {
                self.queue
                    .push_back(Event::default().event(name).data(data.to_string()));
            }
        }
        let event = self.queue.pop_front()?;
        Some((Ok(event), self))
    }
}

/// What is to be seen at one moment.
struct Now {
    consumers: Value,
    plugins: Value,
    ready: Value,
}

/// What a listener was told last.
#[derive(Default)]
struct Seen {
    phases: BTreeMap<String, Value>,
    plugins: Value,
    ready: Value,
}

impl Seen {
    /// The events that tell what changed.
    fn changes(&mut self, now: Now) -> Vec<(&'static str, Value)> {
        let mut events = Vec::new();
        let mut phases = BTreeMap::new();
        for row in now.consumers.as_array().into_iter().flatten() {
            let name = row["name"].as_str().unwrap_or_default().to_owned();
            let phase = json!({
                "name": name, "phase": row["phase"], "why": row["why"], "epoch": row["epoch"],
            });
            if self.phases.get(&name) != Some(&phase) {
                events.push(("phase", phase.clone()));
            }
            phases.insert(name, phase);
        }
        self.phases = phases;
        events.push(("consumers", now.consumers));
        if self.plugins != now.plugins {
            self.plugins = now.plugins.clone();
            events.push(("plugins", now.plugins));
        }
        if self.ready != now.ready {
            self.ready = now.ready.clone();
            events.push(("ready", now.ready));
        }
        events
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(phase: &str, received: u64) -> Now {
        Now {
            consumers: json!([{"name": "orders", "phase": phase, "received": received}]),
            plugins: json!([]),
            ready: json!({"ready": phase == "consuming"}),
        }
    }

    fn names(seen: &mut Seen, now: Now) -> Vec<&'static str> {
        seen.changes(now)
            .into_iter()
            .map(|(name, _)| name)
            .collect()
    }

    #[test]
    fn counts_come_each_time_and_the_rest_when_it_changed() {
        let mut seen = Seen::default();
        let first = names(&mut seen, now("starting", 0));
        assert_eq!(first, ["phase", "consumers", "plugins", "ready"]);
        assert_eq!(names(&mut seen, now("starting", 5)), ["consumers"]);
        assert_eq!(
            names(&mut seen, now("consuming", 5)),
            ["phase", "consumers", "ready"]
        );
    }
}
