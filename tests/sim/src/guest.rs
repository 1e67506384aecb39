//! Handlers that do what the plan says.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use holdfast_core::settle::CallFailure;
use holdfast_history::What;
use holdfast_ports::message::{Effects, Header, Staged, StateChange, Target};
use holdfast_ports::plugins::{Call, Outcome, Plugin, PluginInfo, Plugins, World as Kind};
use tokio::time::{Instant, sleep};

use crate::life::Life;
use crate::plan::Behaviour;
use crate::setup::{DEADLINE, EFFECTS};
use crate::world::World;

/// The name under which a lane's state keeps the keys that were applied.
pub(crate) const APPLIED: &str = "applied";

/// A running call looks this often whether it was interrupted.
const TICK: Duration = Duration::from_millis(20);

/// The plugins of one host: one.
pub(crate) struct Guests(pub(crate) Arc<Guest>);

impl Plugins for Guests {
    fn current(&self, _name: &str) -> Option<Arc<dyn Plugin>> {
        Some(Arc::clone(&self.0) as Arc<dyn Plugin>)
    }
}

pub(crate) struct Guest {
    world: Arc<World>,
    life: Arc<Life>,
    info: PluginInfo,
}

impl Guest {
    pub(crate) fn new(world: Arc<World>, life: Arc<Life>) -> Arc<Self> {
        let info = PluginInfo {
            name: "p".to_owned(),
            sha256: "d1".to_owned(),
            bytes: 0,
            version: String::new(),
            world: Kind::Consumer,
            uses_state: world.plan.setup.lanes,
            since_ms: 0,
        };
        Arc::new(Self { world, life, info })
    }

    async fn run(&self, call: &Call, of: Behaviour) -> Result<Effects, CallFailure> {
        if call.attempt <= of.kills {
            let after = self.world.dice().millis(0, 5);
            sleep(after).await;
            self.world
                .note(&self.life.name, format_args!("{} kills the host", call.key));
            self.life.kill();
            std::future::pending::<()>().await;
        }
        let end = Instant::now() + DEADLINE;
        let work = if of.hangs && call.attempt == 1 {
            DEADLINE * 4
        } else {
            of.work
        };
        let until = Instant::now() + work;
        loop {
            let now = Instant::now();
            if call.interrupt.is_set() {
                return Err(CallFailure::Broken("interrupted".to_owned()));
            }
            if now >= until {
                break;
            }
            if now >= end {
                return Err(CallFailure::Broken("it took too long".to_owned()));
            }
            sleep(TICK.min(until - now)).await;
        }
        if of.rejects {
            return Err(CallFailure::Reject("never".to_owned()));
        }
        if call.attempt <= of.fails {
            return Err(CallFailure::Retry {
                reason: "not yet".to_owned(),
                after: None,
            });
        }
        Ok(effects(call, of))
    }
}

fn effects(call: &Call, of: Behaviour) -> Effects {
    let mut effects = Effects::default();
    if call.lane.is_some() {
        let known = call.state.values.iter().find(|(name, _)| name == APPLIED);
        let mut applied = known.map_or_else(Vec::new, |(_, value)| value.clone());
        if !applied.is_empty() {
            applied.push(b' ');
        }
        applied.extend_from_slice(call.key.as_bytes());
        effects.state_version = Some(call.state.version);
        effects
            .state
            .push(StateChange::Set(APPLIED.to_owned(), applied));
    }
    let queue = if of.nowhere { "nowhere" } else { EFFECTS };
    // A group whose keys have hash slots of their own cannot count in lanes.
    let lane = call.lane.clone().filter(|_| of.in_lane);
    effects.outbox.push(Staged {
        broker: None,
        to: Target::Queue(queue.to_owned()),
        body: Vec::new(),
        content_type: None,
        headers: vec![
            Header::text("of", call.key.clone()),
            Header::text("fence", call.fence.to_string()),
        ],
        lane,
    });
    effects
}

#[async_trait]
impl Plugin for Guest {
    fn info(&self) -> &PluginInfo {
        &self.info
    }

    async fn handle(&self, call: Call) -> Outcome {
        self.life.point().await;
        let world = &self.world;
        world.known().calls += 1;
        world.note(
            &self.life.name,
            format_args!("calls {} (attempt {})", call.key, call.attempt),
        );
        world.happened(What::Called {
            key: call.key.clone(),
            side: call.side.to_string(),
            attempt: call.attempt,
            fence: call.fence,
        });
        let behaviour = world.plan.behaviours.get(&call.key);
        let (result, effects) = match self
            .run(&call, behaviour.copied().unwrap_or_default())
            .await
        {
            Ok(effects) => (Ok(()), effects),
            Err(failure) => {
                world.note(&self.life.name, format_args!("{} {failure:?}", call.key));
                world.happened(What::Failed {
                    key: call.key.clone(),
                    fence: call.fence,
                });
                (Err(failure), Effects::default())
            }
        };
        self.life.point().await;
        Outcome {
            result,
            effects,
            ran: Duration::ZERO,
            memory: 0,
            sha256: self.info.sha256.as_str().into(),
        }
    }

    async fn handle_batch(&self, calls: Vec<Call>) -> Vec<Outcome> {
        let mut outcomes = Vec::with_capacity(calls.len());
        for call in calls {
            outcomes.push(self.handle(call).await);
        }
        outcomes
    }
}
