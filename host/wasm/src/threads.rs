//! The threads that guests run on, apart from those that keep broker
//! connections and leases alive.
//!
//! A guest is a future that gives way at every tick. New work and guests that
//! were woken wait in one queue, guests that used up a turn in another, and
//! each thread spends as much time on the first as on the second: a guest that
//! spins slows the others down by half at most, however many spin.
//!
//! Nothing here is woken for each message under load. A thread that sleeps is
//! told of work when no other is awake, or when those that are would need too
//! long by what a turn took lately; should a turn take longer than that, the
//! clock that interrupts guests looks at every tick whether something waits.
//! Answers are handed over a few at a time.

mod answers;

use std::cell::Cell;
use std::collections::VecDeque;
use std::future::Future;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::pin::Pin;
use std::sync::atomic::{AtomicU8, Ordering};
use std::sync::{Arc, Condvar, Mutex, MutexGuard, PoisonError};
use std::task::{Context, Poll, Wake, Waker};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tokio::sync::oneshot;

use self::answers::Answers;

/// How long work may have to wait for a thread before another one is woken for
/// it. Waking costs both sides several microseconds, and threads that start
/// guests side by side slow each other down.
const PATIENCE: Duration = Duration::from_micros(100);

/// Work that gives a `T`.
pub(crate) type Work<T> = Pin<Box<dyn Future<Output = T> + Send>>;

/// A pool of threads.
pub(crate) struct Threads<T: Send + 'static> {
    shared: Arc<Shared<T>>,
    joins: Mutex<Vec<JoinHandle<()>>>,
}

struct Shared<T> {
    queues: Mutex<Queues<T>>,
    work: Condvar,
}

struct Queues<T> {
    ready: VecDeque<Arc<Task<T>>>,
    yielded: VecDeque<Arc<Task<T>>>,
    /// Threads that take work.
    awake: usize,
    sleeping: usize,
    woken: usize,
    closed: bool,
    /// How long a turn takes, of the last few.
    usual: Duration,
}

struct Task<T> {
    state: AtomicU8,
    running: Mutex<Option<Running<T>>>,
    shared: Arc<Shared<T>>,
}

struct Running<T> {
    work: Work<T>,
    answer: oneshot::Sender<T>,
    ran: Duration,
}

// The states of a task: waiting to be woken, in a queue, being polled, woken
// while being polled, finished.
const IDLE: u8 = 0;
const QUEUED: u8 = 1;
const POLLED: u8 = 2;
const WOKEN: u8 = 3;
const FINISHED: u8 = 4;

#[derive(Clone, Copy)]
struct Turn {
    before: Duration,
    since: Instant,
}

thread_local! {
    static TURN: Cell<Option<Turn>> = const { Cell::new(None) };
}

/// How long the guest that is running on this thread has run so far, without
/// the time it waited for a thread or for the host.
pub(crate) fn ran() -> Duration {
    TURN.get()
        .map_or(Duration::ZERO, |turn| turn.before + turn.since.elapsed())
}

impl<T: Send + 'static> Threads<T> {
    /// Starts `count` threads. Timers and sockets that guests wait for belong
    /// to `io`.
    pub(crate) fn start(count: usize, io: &tokio::runtime::Handle) -> std::io::Result<Self> {
        let shared = Arc::new(Shared {
            queues: Mutex::new(Queues {
                ready: VecDeque::new(),
                yielded: VecDeque::new(),
                awake: count.max(1),
                sleeping: 0,
                woken: 0,
                closed: false,
                usual: Duration::ZERO,
            }),
            work: Condvar::new(),
        });
        let pool = Self {
            shared,
            joins: Mutex::new(Vec::new()),
        };
        for index in 0..count.max(1) {
            let (shared, io) = (pool.shared.clone(), io.clone());
            let join = std::thread::Builder::new()
                .name(format!("guest-{index}"))
                .spawn(move || {
                    let _io = io.enter();
                    shared.serve();
                })?;
            lock(&pool.joins).push(join);
        }
        Ok(pool)
    }

    /// What has to be called at every tick while guests run.
    pub(crate) fn look(&self) -> impl Fn() + Send + 'static {
        let shared = self.shared.clone();
        move || shared.look()
    }

    /// Runs `work` to its end, whether or not anyone waits for the answer. The
    /// receiver fails only if the work panicked.
    pub(crate) fn run(&self, work: Work<T>) -> oneshot::Receiver<T> {
        let (answer, receiver) = oneshot::channel();
        let task = Arc::new(Task {
            state: AtomicU8::new(QUEUED),
            running: Mutex::new(Some(Running {
                work,
                answer,
                ran: Duration::ZERO,
            })),
            shared: self.shared.clone(),
        });
        self.shared.push(task, Queue::Ready);
        receiver
    }
}

impl<T: Send + 'static> Drop for Threads<T> {
    fn drop(&mut self) {
        lock(&self.shared.queues).closed = true;
        self.shared.work.notify_all();
        let me = std::thread::current().id();
        for join in lock(&self.joins).drain(..) {
            // The last owner may be a guest's own call; its thread ends by
            // itself after it.
            if join.thread().id() != me {
                let _ = join.join();
            }
        }
    }
}

#[derive(Clone, Copy, PartialEq, Eq)]
enum Queue {
    Ready,
    Yielded,
}

impl<T: Send + 'static> Shared<T> {
    fn push(&self, task: Arc<Task<T>>, queue: Queue) {
        let wake = {
            let mut queues = lock(&self.queues);
            match queue {
                Queue::Ready => queues.ready.push_back(task),
                Queue::Yielded => queues.yielded.push_back(task),
            }
            let waiting = queues.ready.len() + queues.yielded.len();
            behind(waiting, queues.awake, queues.usual) && queues.wake()
        };
        if wake {
            self.work.notify_one();
        }
    }

    /// One thread's life.
    fn serve(&self) {
        let mut answers = Answers::new();
        // Time spent on guests that used up their turn and not yet made good
        // to the others.
        let mut owed = Duration::ZERO;
        let mut last = Duration::ZERO;
        loop {
            let taken = {
                let mut queues = lock(&self.queues);
                queues.usual = (queues.usual * 7 + last) / 8;
                queues.take(owed)
            };
            let (task, queue) = match taken {
                Some(taken) => taken,
                None => {
                    answers.hand_over();
                    match self.wait(owed) {
                        Some(taken) => taken,
                        None => return,
                    }
                }
            };
            let spent = self.turn(task, &mut answers);
            last = spent;
            match queue {
                Queue::Ready => owed = owed.saturating_sub(spent),
                Queue::Yielded => owed = spent,
            }
        }
    }

    /// Sleeps until there is work. None when the pool is closed and empty.
    fn wait(&self, owed: Duration) -> Option<(Arc<Task<T>>, Queue)> {
        let mut queues = lock(&self.queues);
        loop {
            if let Some(taken) = queues.take(owed) {
                return Some(taken);
            }
            if queues.closed {
                return None;
            }
            queues.sleeping += 1;
            queues.awake -= 1;
            loop {
                queues = self
                    .work
                    .wait(queues)
                    .unwrap_or_else(PoisonError::into_inner);
                if queues.woken > 0 {
                    queues.woken -= 1;
                    break;
                }
                if queues.closed {
                    queues.sleeping = queues.sleeping.saturating_sub(1);
                    queues.awake += 1;
                    break;
                }
            }
        }
    }

    /// To be called now and then while a guest runs: work does not wait behind
    /// a long turn while a thread sleeps.
    fn look(&self) {
        let wake = {
            let mut queues = lock(&self.queues);
            let idle = queues.ready.is_empty() && queues.yielded.is_empty();
            !idle && queues.wake()
        };
        if wake {
            self.work.notify_one();
        }
    }

    /// Polls a task once and says how long that took.
    fn turn(&self, task: Arc<Task<T>>, answers: &mut Answers<T>) -> Duration {
        task.state.store(POLLED, Ordering::Release);
        let since = Instant::now();
        let mut slot = lock(&task.running);
        let Some(mut running) = slot.take() else {
            return Duration::ZERO;
        };
        TURN.set(Some(Turn {
            before: running.ran,
            since,
        }));
        let waker = Waker::from(task.clone());
        let polled = catch_unwind(AssertUnwindSafe(|| {
            running.work.as_mut().poll(&mut Context::from_waker(&waker))
        }));
        TURN.set(None);
        let now = Instant::now();
        let spent = now - since;
        match polled {
            Ok(Poll::Pending) => {
                running.ran += spent;
                *slot = Some(running);
                drop(slot);
                let idle =
                    task.state
                        .compare_exchange(POLLED, IDLE, Ordering::AcqRel, Ordering::Acquire);
                if idle.is_err() {
                    task.state.store(QUEUED, Ordering::Release);
                    self.push(task, Queue::Yielded);
                }
            }
            Ok(Poll::Ready(answer)) => {
                task.state.store(FINISHED, Ordering::Release);
                drop(slot);
                answers.add(running.answer, answer, now);
            }
            Err(_) => {
                task.state.store(FINISHED, Ordering::Release);
                drop(slot);
                // What is left of it may panic again.
                let _ = catch_unwind(AssertUnwindSafe(|| drop(running)));
            }
        }
        answers.hand_over_if_due(now);
        spent
    }
}

/// Whether the threads that are awake will not be through soon with what waits.
fn behind(waiting: usize, awake: usize, usual: Duration) -> bool {
    let count = |number| u32::try_from(number).unwrap_or(u32::MAX);
    usual.saturating_mul(count(waiting)) > PATIENCE.saturating_mul(count(awake)) || awake == 0
}

impl<T> Queues<T> {
    /// Has a sleeping thread wake up, if there is one.
    fn wake(&mut self) -> bool {
        if self.sleeping == 0 {
            return false;
        }
        self.sleeping -= 1;
        self.woken += 1;
        self.awake += 1;
        true
    }

    fn take(&mut self, owed: Duration) -> Option<(Arc<Task<T>>, Queue)> {
        let ready_first = self.yielded.is_empty() || !owed.is_zero();
        if ready_first && let Some(task) = self.ready.pop_front() {
            return Some((task, Queue::Ready));
        }
        if let Some(task) = self.yielded.pop_front() {
            return Some((task, Queue::Yielded));
        }
        self.ready.pop_front().map(|task| (task, Queue::Ready))
    }
}

impl<T: Send + 'static> Wake for Task<T> {
    fn wake(self: Arc<Self>) {
        let mut state = self.state.load(Ordering::Acquire);
        loop {
            let next = match state {
                IDLE => QUEUED,
                POLLED => WOKEN,
                _ => return,
            };
            match self
                .state
                .compare_exchange_weak(state, next, Ordering::AcqRel, Ordering::Acquire)
            {
                Ok(_) => break,
                Err(now) => state = now,
            }
        }
        if state == IDLE {
            let shared = self.shared.clone();
            shared.push(self, Queue::Ready);
        }
    }
}

/// No code panics while it holds one of these locks; should it ever, what they
/// guard is still whole.
fn lock<V>(mutex: &Mutex<V>) -> MutexGuard<'_, V> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// Runs `work` on this thread to its end, as one of the pool would.
pub(crate) fn run_here<T>(mut work: Work<T>) -> T {
    let waker = Waker::from(Arc::new(Unpark(std::thread::current())));
    let mut before = Duration::ZERO;
    loop {
        let since = Instant::now();
        TURN.set(Some(Turn { before, since }));
        let polled = work.as_mut().poll(&mut Context::from_waker(&waker));
        TURN.set(None);
        match polled {
            Poll::Ready(answer) => return answer,
            Poll::Pending => {
                before += since.elapsed();
                std::thread::park();
            }
        }
    }
}

struct Unpark(std::thread::Thread);

impl Wake for Unpark {
    fn wake(self: Arc<Self>) {
        self.0.unpark();
    }
}

#[cfg(test)]
#[path = "threads_tests.rs"]
mod tests;
