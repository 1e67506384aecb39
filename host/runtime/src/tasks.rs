//! Where the tasks of a host are started: in one place, so that a simulation can
//! stop all of them at once, as a crash or a freeze does.

use std::sync::Arc;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use tokio::task::JoinHandle;
use tokio_util::task::TaskTracker;

/// Starts tasks, and may keep hold of them.
pub trait Spawn: Send + Sync {
    /// Starts a task.
    fn spawn(&self, task: BoxFuture<'static, ()>) -> JoinHandle<()>;
}

/// Starts the tasks of one host: on the current tokio runtime, or through what
/// was handed in.
#[derive(Clone, Default)]
pub struct Tasks(Option<Arc<dyn Spawn>>);

impl Tasks {
    /// Tasks are started by this.
    #[must_use]
    pub fn started_by(spawn: Arc<dyn Spawn>) -> Self {
        Self(Some(spawn))
    }

    pub(crate) fn spawn(&self, task: impl Future<Output = ()> + Send + 'static) -> JoinHandle<()> {
        match &self.0 {
            None => tokio::spawn(task),
            Some(spawn) => spawn.spawn(task.boxed()),
        }
    }

    /// The same for a task that a tracker waits for.
    pub(crate) fn track(
        &self,
        tracker: &TaskTracker,
        task: impl Future<Output = ()> + Send + 'static,
    ) {
        // Boxed first: on its way into the scheduler a task is moved a few times,
        // and that of a message has some 3 KB.
        self.spawn(tracker.track_future(task.boxed()));
    }
}

impl std::fmt::Debug for Tasks {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Tasks")
    }
}
