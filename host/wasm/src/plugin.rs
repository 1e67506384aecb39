//! A loaded plugin, and one in service.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use async_trait::async_trait;
use holdfast_core::settle::CallFailure;
use holdfast_ports::message::Effects;
use holdfast_ports::plugins::{
    Call, Instances, Outcome, Plugin, PluginInfo, PluginSettings, World,
};
use tokio::sync::Semaphore;
use wasmtime::component::Component;

use crate::bindings::batch::BatchConsumerPre;
use crate::bindings::consumer::ConsumerPre;
use crate::bindings::messaging::MessagingCorePre;
use crate::engine::Host;
use crate::guest::{Guest, Work};
use crate::http::client::Client;
use crate::log::LogSink;
use crate::lookout::Lookout;
use crate::options::Limits;
use crate::run::{self, Finished, Live};
use crate::threads;

/// What all instances of a plugin have in common.
pub(crate) struct Shared {
    pub(crate) name: Arc<str>,
    pub(crate) settings: PluginSettings,
    pub(crate) limits: Limits,
    pub(crate) log: Arc<dyn LogSink>,
    pub(crate) http: Arc<Client>,
    pub(crate) lookout: Lookout,
}

/// The handler of a component, ready to be instantiated.
pub(crate) enum Handler {
    Consumer(ConsumerPre<Guest>),
    Batch(BatchConsumerPre<Guest>),
    Messaging(MessagingCorePre<Guest>),
}

/// A checked and compiled plugin that is not in service yet.
pub struct Loaded {
    pub(crate) host: Arc<Host>,
    pub(crate) shared: Arc<Shared>,
    pub(crate) handler: Handler,
    pub(crate) component: Component,
    pub(crate) info: PluginInfo,
    pub(crate) sha256: Arc<str>,
    /// Places in the pool that one instance takes.
    pub(crate) weight: u32,
    pub(crate) share: Arc<Semaphore>,
    idle: Mutex<Vec<Live>>,
}

impl Loaded {
    pub(crate) fn new(
        host: Arc<Host>,
        shared: Arc<Shared>,
        handler: Handler,
        component: Component,
        info: PluginInfo,
        weight: u32,
    ) -> Arc<Self> {
        let share = Arc::new(Semaphore::new(host.share().max(weight) as usize));
        let loaded = Arc::new(Self {
            sha256: info.sha256.as_str().into(),
            idle: Mutex::new(Vec::new()),
            host,
            shared,
            handler,
            component,
            info,
            weight,
            share,
        });
        if loaded.reuses() {
            loaded.host.keeps_instances(&loaded);
        }
        loaded
    }

    /// What is known about it.
    #[must_use]
    pub fn info(&self) -> &PluginInfo {
        &self.info
    }

    /// Its settings.
    #[must_use]
    pub fn settings(&self) -> &PluginSettings {
        &self.shared.settings
    }

    pub(crate) fn reuses(&self) -> bool {
        self.shared.settings.instances == Instances::Reuse
    }

    pub(crate) fn take_idle(&self) -> Option<Live> {
        if self.reuses() {
            self.idle().pop()
        } else {
            None
        }
    }

    pub(crate) fn keep_idle(&self, live: Live) {
        self.idle().push(live);
    }

    pub(crate) fn drop_idle(&self) {
        let idle = std::mem::take(&mut *self.idle());
        drop(idle);
    }

    fn idle(&self) -> std::sync::MutexGuard<'_, Vec<Live>> {
        self.idle.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Runs work on the threads for guests, to its end even when the caller
    /// goes away.
    pub(crate) async fn run(self: &Arc<Self>, work: Work) -> Option<Finished> {
        let deadline = self.deadline();
        let call = run::call(self.clone(), Arc::new(work), deadline);
        self.host.threads.run(Box::pin(call)).await.ok()
    }

    fn deadline(&self) -> Instant {
        // A deadline that no clock can show is none.
        let now = Instant::now();
        now.checked_add(self.shared.settings.deadline)
            .unwrap_or_else(|| now + Duration::from_secs(365 * 24 * 3600))
    }

    pub(crate) fn broken(&self, text: String) -> Outcome {
        Outcome {
            result: Err(CallFailure::Broken(text)),
            effects: Effects::default(),
            ran: Duration::ZERO,
            memory: 0,
            sha256: self.sha256.clone(),
        }
    }
}

/// A plugin in service.
pub struct Serving {
    pub(crate) loaded: Arc<Loaded>,
    info: PluginInfo,
}

const BUG: &str = "the host failed while it ran the handler; this is a bug of the host";

impl Serving {
    pub(crate) fn new(loaded: Arc<Loaded>, since_ms: u64) -> Self {
        let info = PluginInfo {
            since_ms,
            ..loaded.info.clone()
        };
        Self { loaded, info }
    }

    /// The loaded plugin.
    #[must_use]
    pub fn loaded(&self) -> &Arc<Loaded> {
        &self.loaded
    }

    /// Like [`Plugin::handle`], on the calling thread and blocking it: for
    /// measurements, and for tools that run one message.
    #[must_use]
    pub fn handle_here(&self, call: Call) -> Outcome {
        match self.here(Work::One(call)) {
            Finished::One(outcome) => outcome,
            Finished::Many(_) | Finished::Started(_) => self.loaded.broken(BUG.to_owned()),
        }
    }

    /// Like [`Plugin::handle_batch`], on the calling thread and blocking it.
    #[must_use]
    pub fn handle_batch_here(&self, calls: Vec<Call>) -> Vec<Outcome> {
        let count = calls.len();
        match self.here(Work::Many(calls)) {
            Finished::Many(outcomes) => outcomes,
            Finished::One(_) | Finished::Started(_) => {
                vec![self.loaded.broken(BUG.to_owned()); count]
            }
        }
    }

    fn here(&self, work: Work) -> Finished {
        let loaded = self.loaded.clone();
        let deadline = loaded.deadline();
        threads::run_here(Box::pin(run::call(loaded, Arc::new(work), deadline)))
    }
}

#[async_trait]
impl Plugin for Serving {
    fn info(&self) -> &PluginInfo {
        &self.info
    }

    async fn handle(&self, call: Call) -> Outcome {
        if self.info.world == World::BatchConsumer {
            return self.loaded.broken(format!(
                "the plugin {} handles batches; its consumer hands it single messages",
                self.info.name
            ));
        }
        match self.loaded.run(Work::One(call)).await {
            Some(Finished::One(outcome)) => outcome,
            _ => self.loaded.broken(BUG.to_owned()),
        }
    }

    async fn handle_batch(&self, calls: Vec<Call>) -> Vec<Outcome> {
        let count = calls.len();
        if count == 0 {
            return Vec::new();
        }
        if self.info.world != World::BatchConsumer {
            let text = format!(
                "the plugin {} handles single messages; its consumer hands it batches",
                self.info.name
            );
            return vec![self.loaded.broken(text); count];
        }
        match self.loaded.run(Work::Many(calls)).await {
            Some(Finished::Many(outcomes)) => outcomes,
            _ => vec![self.loaded.broken(BUG.to_owned()); count],
        }
    }
}
