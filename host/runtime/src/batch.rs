//! Puts the calls of a consumer together for plugins of the batch world.

use std::sync::Arc;
use std::time::Duration;

use holdfast_core::settle::CallFailure;
use holdfast_ports::message::Effects;
use holdfast_ports::plugins::{Call, Outcome, Plugin, World};
use tokio::sync::{mpsc, oneshot};

use crate::spec::Batch;
use crate::tasks::Tasks;

type Waiting = (Arc<dyn Plugin>, Call, oneshot::Sender<Outcome>);

/// Hands calls to a plugin, one by one or in batches, as its world asks.
#[derive(Debug)]
pub(crate) struct Batcher {
    queue: mpsc::UnboundedSender<Waiting>,
}

impl Batcher {
    /// Starts the collecting task; it ends when the batcher is dropped.
    pub(crate) fn start(batch: Batch, tasks: &Tasks) -> Self {
        let (queue, waiting) = mpsc::unbounded_channel();
        tasks.spawn(collect(waiting, batch, tasks.clone()));
        Self { queue }
    }

    /// Calls the plugin and returns what came of it.
    pub(crate) async fn call(&self, plugin: Arc<dyn Plugin>, call: Call) -> Outcome {
        if plugin.info().world != World::BatchConsumer {
            return plugin.handle(call).await;
        }
        let (answer, answered) = oneshot::channel();
        let digest = plugin.info().sha256.clone();
        if self.queue.send((plugin, call, answer)).is_ok()
            && let Ok(outcome) = answered.await
        {
            return outcome;
        }
        Outcome {
            result: Err(CallFailure::Broken("the batch was not run".into())),
            effects: Effects::default(),
            ran: Duration::ZERO,
            memory: 0,
            sha256: digest.into(),
        }
    }
}

/// Collects up to `max` calls, waiting for at most `wait` after the first, and
/// runs them in a task of their own. A plugin swapped meanwhile starts a batch
/// of its own.
async fn collect(mut waiting: mpsc::UnboundedReceiver<Waiting>, batch: Batch, tasks: Tasks) {
    let mut kept = None;
    loop {
        let Some(first) = (match kept.take() {
            Some(first) => Some(first),
            None => waiting.recv().await,
        }) else {
            return;
        };
        let until = tokio::time::Instant::now() + batch.wait;
        let plugin = Arc::clone(&first.0);
        let mut calls = vec![first];
        while calls.len() < batch.max {
            match tokio::time::timeout_at(until, waiting.recv()).await {
                Ok(Some(next)) if Arc::ptr_eq(&next.0, &plugin) => calls.push(next),
                Ok(Some(next)) => {
                    kept = Some(next);
                    break;
                }
                Ok(None) | Err(_) => break,
            }
        }
        tasks.spawn(run(plugin, calls));
    }
}

async fn run(plugin: Arc<dyn Plugin>, calls: Vec<Waiting>) {
    let (calls, answers): (Vec<Call>, Vec<_>) = calls
        .into_iter()
        .map(|(_, call, answer)| (call, answer))
        .unzip();
    let outcomes = plugin.handle_batch(calls).await;
    for (answer, outcome) in answers.into_iter().zip(outcomes) {
        // A receiver that is gone belongs to a session that ended; its claim
        // keeps the message safe.
        let _ = answer.send(outcome);
    }
}
