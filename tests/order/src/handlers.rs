//! Handlers that do what the message says.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use holdfast_core::settle::CallFailure;
use holdfast_ports::message::{Effects, Staged, Target};
use holdfast_ports::plugins::{Call, Outcome, Plugin, PluginInfo, Plugins, World};
use tokio::time::{Instant, sleep};

use crate::EFFECTS;

/// How often a call looks whether it was interrupted.
const TICK: Duration = Duration::from_millis(1);

/// Serves under every name. The body of a message is a list of words:
/// `take MS` runs that long, `fail N` asks for a retry at the first N attempts,
/// `reject` gives up, `after MS` says when to try again. A handler that succeeds
/// publishes its key.
pub struct Handlers {
    host: String,
    start: Instant,
    info: PluginInfo,
    told: Arc<Mutex<Told>>,
}

#[derive(Default)]
struct Told {
    calls: Vec<Called>,
    mended: bool,
}

/// One call of a handler.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Called {
    /// The claim key.
    pub key: String,
    /// The attempt.
    pub attempt: u32,
    /// When, since the world began.
    pub at: Duration,
    /// When it ended, and whether it was interrupted.
    pub ended: Option<(Duration, bool)>,
}

impl Handlers {
    pub(crate) fn new(host: &str, start: Instant) -> Self {
        Self {
            host: host.to_owned(),
            start,
            info: PluginInfo {
                name: "scripted".into(),
                sha256: "0".repeat(64),
                bytes: 0,
                version: String::new(),
                world: World::Consumer,
                uses_state: false,
                since_ms: 0,
            },
            told: Arc::default(),
        }
    }

    /// Every call so far, in the order of their beginnings.
    #[must_use]
    pub fn calls(&self) -> Vec<Called> {
        self.told().calls.clone()
    }

    /// The calls for one key.
    #[must_use]
    pub fn calls_for(&self, key: &str) -> Vec<Called> {
        let mut calls = self.calls();
        calls.retain(|call| call.key == key);
        calls
    }

    /// From now on nothing fails and nothing is rejected.
    pub fn mend(&self) {
        self.told().mended = true;
    }

    fn told(&self) -> MutexGuard<'_, Told> {
        self.told.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plugins for Handlers {
    fn current(&self, _name: &str) -> Option<Arc<dyn Plugin>> {
        Some(Arc::new(Self {
            host: self.host.clone(),
            start: self.start,
            info: self.info.clone(),
            told: Arc::clone(&self.told),
        }))
    }
}

/// What a body says.
#[derive(Default)]
struct Script {
    take: u64,
    fail: u64,
    after: Option<u64>,
    reject: bool,
}

impl Script {
    fn read(body: &[u8]) -> Self {
        let text = String::from_utf8_lossy(body).into_owned();
        let mut words = text.split_whitespace();
        let mut script = Self::default();
        while let Some(word) = words.next() {
            let mut number = || words.next().and_then(|n| n.parse().ok()).unwrap_or(0);
            match word {
                "take" => script.take = number(),
                "fail" => script.fail = number(),
                "after" => script.after = Some(number()),
                "reject" => script.reject = true,
                _ => {}
            }
        }
        script
    }
}

#[async_trait]
impl Plugin for Handlers {
    fn info(&self) -> &PluginInfo {
        &self.info
    }

    async fn handle(&self, call: Call) -> Outcome {
        let script = Script::read(&call.message.body);
        let begun = self.start.elapsed();
        let (at, mended) = {
            let mut told = self.told();
            told.calls.push(Called {
                key: call.key.clone(),
                attempt: call.attempt,
                at: begun,
                ended: None,
            });
            (told.calls.len() - 1, told.mended)
        };
        let until = Instant::now() + Duration::from_millis(script.take);
        while Instant::now() < until && !call.interrupt.is_set() {
            sleep(TICK).await;
        }
        let interrupted = call.interrupt.is_set();
        let ended = self.start.elapsed();
        self.told().calls[at].ended = Some((ended, interrupted));
        let result = if interrupted {
            Err(CallFailure::Broken("interrupted".into()))
        } else if mended {
            Ok(())
        } else if script.reject {
            Err(CallFailure::Reject("told to".into()))
        } else if u64::from(call.attempt) <= script.fail {
            Err(CallFailure::Retry {
                reason: "told to".into(),
                after: script.after.map(Duration::from_millis),
            })
        } else {
            Ok(())
        };
        let effect = Staged {
            broker: None,
            to: Target::Queue(EFFECTS.into()),
            body: call.key.into(),
            content_type: None,
            headers: Vec::new(),
            lane: None,
        };
        Outcome {
            result,
            effects: Effects {
                outbox: vec![effect],
                ..Effects::default()
            },
            ran: ended - begun,
            memory: 0,
            sha256: self.info.sha256.as_str().into(),
        }
    }

    async fn handle_batch(&self, calls: Vec<Call>) -> Vec<Outcome> {
        let mut outcomes = Vec::new();
        for call in calls {
            outcomes.push(self.handle(call).await);
        }
        outcomes
    }
}
