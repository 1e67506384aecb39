//! What the host keeps for one instance while it runs: small, because a new
//! one is made for every message.

use std::sync::Arc;
use std::time::{Duration, Instant};

use holdfast_ports::message::Effects;
use holdfast_ports::plugins::Call;
use wasmtime::{ResourceLimiter, StoreContextMut, UpdateDeadline};

use crate::host::wasi::Wasi;
use crate::http::Http;
use crate::log::CallLog;
use crate::options::Limits;
use crate::plugin::Shared;
use crate::stage::Stage;
use crate::text::size;
use crate::threads;

/// What an instance was called for.
pub(crate) enum Work {
    /// One message.
    One(Call),
    /// A batch, of at least one message.
    Many(Vec<Call>),
    /// Nothing: it is only started, to see that it can be.
    Nothing,
}

impl Work {
    /// The message, or the first of the batch.
    pub(crate) fn first(&self) -> Option<&Call> {
        match self {
            Self::One(call) => Some(call),
            Self::Many(calls) => calls.first(),
            Self::Nothing => None,
        }
    }

    /// The message, if it is a single one.
    pub(crate) fn single(&self) -> Option<&Call> {
        match self {
            Self::One(call) => Some(call),
            Self::Many(_) | Self::Nothing => None,
        }
    }
}

/// The host's side of one instance.
pub(crate) struct Guest {
    pub(crate) shared: Arc<Shared>,
    pub(crate) work: Arc<Work>,
    pub(crate) memory: Memory,
    pub(crate) stage: Stage,
    pub(crate) wasi: Option<Box<Wasi>>,
    pub(crate) http: Option<Box<Http>>,
    /// Bytes of messages that a `wasi:messaging` guest has the host keep.
    pub(crate) messages: usize,
    deadline: Instant,
    host_calls: u32,
    log: Option<CallLog>,
}

/// Why the host ended a call.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum Stop {
    #[error("it ran longer than its time limit of {0:?}")]
    Timeout(Duration),
    #[error("it was not finished within its deadline of {0:?}")]
    Deadline(Duration),
    #[error("it was interrupted: the consumer is no longer the one that leads")]
    Interrupted,
    #[error("it made more than {0} calls to the host")]
    HostCalls(u32),
    #[error("it used {0} while no message was being handled")]
    NoMessage(&'static str),
    #[error("{0}")]
    State(String),
    #[error("it makes the host keep more than {0} bytes of messages")]
    Held(usize),
}

impl Guest {
    pub(crate) fn new(shared: Arc<Shared>, work: Arc<Work>, deadline: Instant) -> Self {
        let memory = Memory::new(shared.settings.memory, shared.limits.table_elements);
        Self {
            shared,
            work,
            memory,
            stage: Stage::default(),
            wasi: None,
            http: None,
            messages: 0,
            deadline,
            host_calls: 0,
            log: None,
        }
    }

    /// Begins another call on the same instance.
    pub(crate) fn begin(&mut self, work: Arc<Work>, deadline: Instant) {
        if let Some(log) = &self.log {
            log.begin(work.clone());
        }
        if let Some(http) = &mut self.http {
            http.outbound.begin(work.clone(), deadline);
        }
        self.work = work;
        self.deadline = deadline;
        self.stage = Stage::default();
        self.host_calls = 0;
        self.memory.refused = false;
    }

    /// What the call staged.
    pub(crate) fn effects(&mut self) -> Effects {
        let version = self.work.single().map_or(0, |call| call.state.version);
        std::mem::take(&mut self.stage).into_effects(version)
    }

    /// Ends the call: what was printed without a line break is given on.
    pub(crate) fn end(&self) {
        if let Some(log) = &self.log {
            log.end();
        }
    }

    /// Are all its outbound requests over?
    pub(crate) fn asks_nobody(&self) -> bool {
        let http = self.http.as_ref();
        http.is_none_or(|http| http.outbound.open() == 0)
    }

    pub(crate) fn limits(&self) -> &Limits {
        &self.shared.limits
    }

    /// The log of the call, made when it is first used.
    pub(crate) fn log(&mut self) -> &CallLog {
        let (shared, work) = (&self.shared, &self.work);
        self.log.get_or_insert_with(|| {
            CallLog::new(
                shared.log.clone(),
                shared.name.clone(),
                work.clone(),
                shared.limits.log,
            )
        })
    }

    /// Counts a call of one of our imports.
    pub(crate) fn count(&mut self) -> Result<(), Stop> {
        self.host_calls += 1;
        let limit = self.shared.limits.host_calls;
        if self.host_calls > limit {
            Err(Stop::HostCalls(limit))
        } else {
            Ok(())
        }
    }

    /// Must the call end now? Asked at every tick while the guest runs, and
    /// while it waits for the host.
    pub(crate) fn must_stop(&self) -> Option<Stop> {
        let settings = &self.shared.settings;
        if threads::ran() > settings.timeout {
            Some(Stop::Timeout(settings.timeout))
        } else if Instant::now() > self.deadline {
            Some(Stop::Deadline(settings.deadline))
        } else if self
            .work
            .first()
            .is_some_and(|call| call.interrupt.is_set())
        {
            Some(Stop::Interrupted)
        } else {
            None
        }
    }

    /// Until when the call may wait.
    pub(crate) fn deadline(&self) -> Instant {
        self.deadline
    }
}

/// Runs at every tick: ends the call or lets others have a turn.
pub(crate) fn on_tick(store: StoreContextMut<'_, Guest>) -> wasmtime::Result<UpdateDeadline> {
    match store.data().must_stop() {
        Some(stop) => Err(stop.into()),
        None => Ok(UpdateDeadline::Yield(1)),
    }
}

/// Keeps count of the linear memory of an instance.
pub(crate) struct Memory {
    limit: u64,
    table_elements: usize,
    used: u64,
    /// The guest asked for more than it may have.
    pub(crate) refused: bool,
}

impl Memory {
    fn new(limit: u64, table_elements: usize) -> Self {
        Self {
            limit,
            table_elements,
            used: 0,
            refused: false,
        }
    }

    /// Bytes in use, over all memories of the instance.
    pub(crate) fn used(&self) -> u64 {
        self.used
    }

    /// The limit, for people.
    pub(crate) fn limit_text(&self) -> String {
        size(self.limit)
    }
}

impl ResourceLimiter for Memory {
    fn memory_growing(
        &mut self,
        current: usize,
        desired: usize,
        maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        let grown = self.used + (desired - current) as u64;
        if grown > self.limit {
            self.refused = true;
            return Ok(false);
        }
        if maximum.is_none_or(|maximum| desired <= maximum) {
            self.used = grown;
        }
        Ok(true)
    }

    fn table_growing(
        &mut self,
        _current: usize,
        desired: usize,
        _maximum: Option<usize>,
    ) -> wasmtime::Result<bool> {
        Ok(desired <= self.table_elements)
    }
}
