//! One connection for everybody, with the commands of many callers in one
//! write.
//!
//! Callers put commands into a queue. A task takes what waits there, up to
//! [`BATCH`] commands, and sends it as one pipeline; while the answers are on
//! their way the next batch fills. With nothing on its way a command is sent at
//! once, so an idle host never waits for a batch. There is one pipeline at a
//! time: a second one beside it would only make both smaller, and each costs
//! both sides a few system calls, however little is in it.
//!
//! ```text
//!           connected                  lost, or silent for too long
//! Connecting ───────► Serving ──────────────────────────────────► Connecting
//!      │ refused: those who wait are told, then a pause
//! ```

mod batch;
mod plain;
mod serve;
mod target;

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use redis::{Cmd, Value};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;

use crate::call::Call;
use crate::error::LinkError;
use crate::options::RedisOptions;
use crate::script::Which;

pub(crate) use self::plain::{Common, Plain};
pub(crate) use self::target::Target;

/// Most commands in one pipeline.
pub(crate) const BATCH: usize = 256;

/// Who waits for an answer.
type Reply = oneshot::Sender<Result<Value, LinkError>>;

/// Something asked, and who waits for the answer.
#[derive(Debug)]
struct Job {
    ask: Ask,
    reply: Reply,
}

#[derive(Clone, Debug)]
pub(crate) enum Ask {
    /// By a command of its own.
    Alone {
        command: Cmd,
        script: Option<Which>,
        /// The answer counts only when replicas have the write.
        replicated: bool,
    },
    /// Together with others of its kind.
    Plain(Plain),
}

impl From<Call> for Ask {
    fn from(call: Call) -> Self {
        Self::Alone {
            command: call.command,
            script: Some(call.which),
            replicated: call.replicated,
        }
    }
}

/// What the task needs to know.
#[derive(Debug)]
pub(crate) struct Settings {
    target: Target,
    /// The address without credentials, for the log.
    shown: String,
    response_timeout: Duration,
    wait_replicas: u32,
}

impl Settings {
    pub(crate) fn new(options: &RedisOptions, target: Target, shown: String) -> Self {
        Self {
            target,
            shown,
            response_timeout: options.response_timeout,
            wait_replicas: options.wait_replicas,
        }
    }
}

/// What the task tells about the server.
#[derive(Debug, Default)]
struct Status {
    up: AtomicBool,
    ping_micros: AtomicU64,
}

impl Status {
    fn set_up(&self, up: bool, shown: &str) {
        // One line for each change, however many calls fail meanwhile.
        if self.up.swap(up, Ordering::Relaxed) != up {
            if up {
                tracing::info!(store = shown, "Redis is reachable");
            } else {
                tracing::warn!(store = shown, "Redis does not answer");
            }
        }
    }
}

/// The connection. It ends when this value is dropped.
#[derive(Debug)]
pub(crate) struct Link {
    queue: mpsc::UnboundedSender<Job>,
    status: Arc<Status>,
    task: JoinHandle<()>,
}

impl Link {
    /// Starts connecting and goes on trying until it is dropped.
    pub(crate) fn start(settings: Settings) -> Self {
        let (queue, jobs) = mpsc::unbounded_channel();
        let status = Arc::new(Status::default());
        let task = tokio::spawn(serve::run(jobs, Arc::new(settings), Arc::clone(&status)));
        Self {
            queue,
            status,
            task,
        }
    }

    /// Sends one command that is no script and waits for its answer. An error as
    /// an answer is an error here.
    pub(crate) async fn send(&self, command: Cmd) -> Result<Value, LinkError> {
        self.ask(Ask::Alone {
            command,
            script: None,
            replicated: false,
        })
        .await
    }

    /// Asks, and waits for the answer.
    pub(crate) async fn ask(&self, ask: Ask) -> Result<Value, LinkError> {
        let (reply, answer) = oneshot::channel();
        let job = Job { ask, reply };
        self.queue.send(job).map_err(|_| LinkError::Closed)?;
        answer.await.map_err(|_| LinkError::Lost)?
    }

    /// Did the last exchange succeed?
    pub(crate) fn is_up(&self) -> bool {
        self.status.up.load(Ordering::Relaxed)
    }

    /// How long the last ping took; zero before the first.
    pub(crate) fn ping_time(&self) -> Duration {
        Duration::from_micros(self.status.ping_micros.load(Ordering::Relaxed))
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}
