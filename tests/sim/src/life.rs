//! The life of one host process: its tasks can be frozen together, and die
//! together at any await.

use std::any::Any;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Waker};

use futures_util::future::BoxFuture;
use holdfast_runtime::tasks::Spawn;
use tokio::task::{AbortHandle, JoinHandle};
use tokio_util::sync::CancellationToken;

/// Where something happens to a host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Spot {
    /// At the so-many-th place around a call of a port from now on: before it is
    /// made, after it took effect, after it was answered.
    AtCall(u64),
    /// After its tasks were polled so many times from now on.
    AtPoll(u64),
}

/// What happens there.
type Happens = Box<dyn FnOnce(&Life) + Send>;

/// One process.
pub(crate) struct Life {
    pub(crate) name: String,
    /// Cancelled when it is dead.
    pub(crate) over: CancellationToken,
    state: Mutex<State>,
}

#[derive(Default)]
struct State {
    planned: Option<(Spot, Happens)>,
    frozen: bool,
    /// Who is to be woken when it goes on.
    waiting: Vec<Waker>,
    tasks: Vec<AbortHandle>,
    /// Tidy the list of tasks at this length.
    tidy_at: usize,
    panicked: Option<String>,
}

impl Life {
    pub(crate) fn new(name: String) -> Arc<Self> {
        Arc::new(Self {
            name,
            over: CancellationToken::new(),
            state: Mutex::default(),
        })
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn is_over(&self) -> bool {
        self.over.is_cancelled()
    }

    /// Nothing of it runs any more, from the next await on.
    pub(crate) fn kill(&self) {
        self.over.cancel();
        let (tasks, planned) = {
            let mut state = self.state();
            (std::mem::take(&mut state.tasks), state.planned.take())
        };
        drop(planned);
        for task in tasks {
            task.abort();
        }
    }

    /// Something happens at a place that it has not reached yet.
    pub(crate) fn plan(&self, spot: Spot, happens: impl FnOnce(&Self) + Send + 'static) {
        self.state().planned = Some((spot, Box::new(happens)));
    }

    /// Counts a place; what is planned for it happens.
    fn reached(&self, call: bool) {
        let happens = {
            let mut state = self.state();
            let left = match &mut state.planned {
                Some((Spot::AtCall(left), _)) if call => left,
                Some((Spot::AtPoll(left), _)) if !call => left,
                _ => return,
            };
            if *left > 0 {
                *left -= 1;
                return;
            }
            state.planned.take()
        };
        if let Some((_, happens)) = happens
            && !self.is_over()
        {
            happens(self);
        }
    }

    /// Nothing of it runs until it is thawed.
    pub(crate) fn freeze(&self) {
        self.state().frozen = true;
    }

    pub(crate) fn thaw(&self) {
        let mut state = self.state();
        state.frozen = false;
        let waiting = std::mem::take(&mut state.waiting);
        drop(state);
        waiting.into_iter().for_each(Waker::wake);
    }

    /// Nothing is planned for it any more, and it runs.
    pub(crate) fn heal(&self) {
        self.state().planned = None;
        self.thaw();
    }

    pub(crate) fn is_frozen(&self) -> bool {
        self.state().frozen
    }

    /// What one of its tasks said when it panicked.
    pub(crate) fn panicked(&self) -> Option<String> {
        self.state().panicked.clone()
    }

    /// A place where it may die or freeze. When it dies, this never returns.
    pub(crate) async fn point(&self) {
        self.reached(true);
        if self.is_over() {
            std::future::pending::<()>().await;
        }
        if self.is_frozen() {
            tokio::task::yield_now().await;
        }
    }

    /// Starts something that lives as long as the process at most.
    pub(crate) fn start(
        self: &Arc<Self>,
        task: impl Future<Output = ()> + Send + 'static,
    ) -> JoinHandle<()> {
        Tasks(Arc::clone(self)).spawn(Box::pin(task))
    }
}

/// Starts the tasks of a host.
pub(crate) struct Tasks(pub(crate) Arc<Life>);

impl Spawn for Tasks {
    fn spawn(&self, task: BoxFuture<'static, ()>) -> JoinHandle<()> {
        let life = Arc::clone(&self.0);
        let mortal = Mortal {
            life: Arc::clone(&life),
            task,
        };
        let handle = tokio::spawn(mortal);
        let mut state = life.state();
        if life.is_over() {
            handle.abort();
            return handle;
        }
        if state.tasks.len() >= state.tidy_at {
            state.tasks.retain(|task| !task.is_finished());
            state.tidy_at = (state.tasks.len() * 2).max(64);
        }
        state.tasks.push(handle.abort_handle());
        drop(state);
        handle
    }
}

struct Mortal {
    life: Arc<Life>,
    task: BoxFuture<'static, ()>,
}

impl Future for Mortal {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, context: &mut Context<'_>) -> Poll<()> {
        if self.life.is_over() {
            return Poll::Pending;
        }
        {
            let mut state = self.life.state();
            if state.frozen {
                state.waiting.push(context.waker().clone());
                return Poll::Pending;
            }
        }
        let task = &mut self.task;
        let polled = catch_unwind(AssertUnwindSafe(|| task.as_mut().poll(context)));
        match polled {
            Ok(polled) => {
                self.life.reached(false);
                polled
            }
            Err(panic) => {
                self.life.state().panicked.get_or_insert(text(&*panic));
                Poll::Ready(())
            }
        }
    }
}

fn text(panic: &(dyn Any + Send)) -> String {
    if let Some(text) = panic.downcast_ref::<&str>() {
        (*text).to_owned()
    } else if let Some(text) = panic.downcast_ref::<String>() {
        text.clone()
    } else {
        "a panic without a text".to_owned()
    }
}
