//! One connection, kept by a task of its own: connected when it is first needed
//! and again whenever it is lost. The library's own recovery is off, since it
//! hides that deliveries became void.

use std::sync::Arc;
use std::time::Duration;

use backon::{BackoffBuilder as _, ExponentialBuilder};
use futures_util::StreamExt as _;
use holdfast_ports::error::{Kind, PortError};
use lapin::{Channel, Connection, ConnectionProperties, Event};
use tokio::sync::{Notify, watch};
use tokio::task::JoinHandle;
use tokio::time::{interval, sleep, timeout};

use crate::error;
use crate::options::{Options, redacted};

/// The shortest time between two attempts, however many callers wait.
const SHORTEST_PAUSE: Duration = Duration::from_millis(100);
const LONGEST_PAUSE: Duration = Duration::from_secs(5);

/// How often a connection is looked at, besides listening to its events.
const LOOK: Duration = Duration::from_millis(500);

/// How long a connection may take to say goodbye.
const GOODBYE: Duration = Duration::from_secs(5);

#[derive(Clone)]
enum State {
    /// Nobody needed it yet.
    Idle,
    /// On its way, after this many attempts that failed; the last one's reason.
    Down(u64, Option<Failure>),
    Up(Arc<Connection>),
    Closed,
}

#[derive(Clone)]
struct Failure {
    kind: Kind,
    text: String,
}

/// One connection to the broker.
pub(crate) struct Link {
    options: Arc<Options>,
    purpose: &'static str,
    state: watch::Receiver<State>,
    shared: Arc<Shared>,
    task: JoinHandle<()>,
}

struct Shared {
    state: watch::Sender<State>,
    /// Somebody needs the connection now.
    needed: Notify,
}

impl Link {
    /// Does not connect yet. `purpose` is shown by the broker's own tools.
    pub(crate) fn new(options: Arc<Options>, purpose: &'static str) -> Self {
        let (sender, state) = watch::channel(State::Idle);
        let shared = Arc::new(Shared {
            state: sender,
            needed: Notify::new(),
        });
        let task = tokio::spawn(keep(options.clone(), purpose, shared.clone()));
        Self {
            options,
            purpose,
            state,
            shared,
            task,
        }
    }

    /// Connects without waiting for it.
    pub(crate) fn start(&self) {
        self.shared.needed.notify_one();
    }

    /// Is it connected, or not needed so far?
    pub(crate) fn is_fine(&self) -> bool {
        match &*self.state.borrow() {
            State::Idle => true,
            State::Up(connection) => connection.status().connected(),
            State::Down(..) | State::Closed => false,
        }
    }

    /// Is it connected?
    pub(crate) fn is_up(&self) -> bool {
        matches!(&*self.state.borrow(), State::Up(connection) if connection.status().connected())
    }

    /// The connection; when it is away, the outcome of the next attempt.
    pub(crate) async fn connection(&self) -> Result<Arc<Connection>, PortError> {
        let limit = self.options.call_deadline;
        match timeout(limit, self.next_connection()).await {
            Ok(answer) => answer,
            Err(_) => Err(error::late("connect to the broker")),
        }
    }

    async fn next_connection(&self) -> Result<Arc<Connection>, PortError> {
        let mut state = self.state.clone();
        let failed_before = match &*state.borrow() {
            State::Down(attempts, _) => *attempts,
            State::Idle | State::Up(_) | State::Closed => 0,
        };
        self.start();
        loop {
            match &*state.borrow_and_update() {
                State::Up(connection) if connection.status().connected() => {
                    return Ok(connection.clone());
                }
                State::Down(attempts, Some(failure)) if *attempts > failed_before => {
                    let text = failure.text.clone();
                    return Err(PortError::new(failure.kind, "connect to the broker").because(text));
                }
                State::Closed => return Err(closed()),
                State::Idle | State::Down(..) | State::Up(_) => {}
            }
            state.changed().await.map_err(|_| closed())?;
        }
    }

    /// How long one call may take.
    pub(crate) fn call_deadline(&self) -> Duration {
        self.options.call_deadline
    }

    /// A new channel.
    pub(crate) async fn channel(&self) -> Result<Channel, PortError> {
        let connection = self.connection().await?;
        let what = || format!("open a channel ({})", self.purpose);
        self.within(what(), connection.create_channel()).await
    }

    /// Waits for the broker's answer for a bounded time.
    pub(crate) async fn within<T>(
        &self,
        what: String,
        call: impl Future<Output = lapin::Result<T>>,
    ) -> Result<T, PortError> {
        match self.answer(&what, call).await? {
            Ok(answer) => Ok(answer),
            Err(error) => Err(error::port(what, &error)),
        }
    }

    /// Waits for the broker's answer, be it a refusal, for a bounded time, and
    /// no longer than there is a connection: the library forgets some calls that
    /// are made while it dies.
    pub(crate) async fn answer<T>(
        &self,
        what: &str,
        call: impl Future<Output = lapin::Result<T>>,
    ) -> Result<lapin::Result<T>, PortError> {
        tokio::select! {
            biased;
            answer = timeout(self.options.call_deadline, call) => {
                answer.map_err(|_| error::late(what))
            }
            () = self.lost() => {
                Err(PortError::transient(what).because("the connection was lost"))
            }
        }
    }

    /// Returns when the connection of now is gone. A channel does not always
    /// say so: one that was opened while its connection died may look alive.
    pub(crate) fn lost(&self) -> impl Future<Output = ()> + Send + 'static {
        let mut state = self.state.clone();
        let now = state.borrow_and_update().clone();
        async move {
            let same = |later: &State| match (&now, later) {
                (State::Up(now), State::Up(later)) => Arc::ptr_eq(now, later),
                _ => false,
            };
            while same(&state.borrow_and_update()) && state.changed().await.is_ok() {}
        }
    }

    /// Closes the connection; it is not made again. Idempotent.
    pub(crate) async fn close(&self) {
        let before = self.shared.state.send_replace(State::Closed);
        self.task.abort();
        if let State::Up(connection) = before {
            let goodbye = timeout(GOODBYE, connection.close(200, "OK".into())).await;
            tracing::debug!(purpose = self.purpose, ?goodbye, "connection closed");
        }
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn closed() -> PortError {
    PortError::transient("reach the broker").because("this client was closed")
}

impl Shared {
    /// False when it was closed meanwhile.
    fn set(&self, state: State) -> bool {
        self.state.send_if_modified(|now| {
            let open = !matches!(now, State::Closed);
            if open {
                *now = state;
            }
            open
        })
    }
}

async fn keep(options: Arc<Options>, purpose: &'static str, shared: Arc<Shared>) {
    shared.needed.notified().await;
    let mut attempts = 0;
    let mut pauses = pauses().build();
    while shared.set(State::Down(attempts, None)) {
        // The last failure stays visible while the next attempt is made.
        match connect(&options, purpose).await {
            Ok(connection) => {
                let connection = Arc::new(connection);
                tracing::info!(purpose, "connected to the broker");
                pauses = self::pauses().build();
                shared.set(State::Up(connection.clone()));
                let reason = lost(&connection).await;
                tracing::warn!(purpose, reason, "lost the connection to the broker");
            }
            Err(failure) => {
                attempts += 1;
                let (kind, reason) = (failure.kind, failure.text.as_str());
                tracing::warn!(purpose, ?kind, reason, "cannot connect to the broker");
                shared.set(State::Down(attempts, Some(failure)));
                let pause = pauses.next().unwrap_or(LONGEST_PAUSE);
                sleep(SHORTEST_PAUSE).await;
                tokio::select! {
                    () = sleep(pause) => {}
                    () = shared.needed.notified() => {}
                }
            }
        }
    }
}

fn pauses() -> ExponentialBuilder {
    ExponentialBuilder::default()
        .with_min_delay(SHORTEST_PAUSE)
        .with_max_delay(LONGEST_PAUSE)
        .with_jitter()
        .without_max_times()
}

async fn connect(options: &Options, purpose: &'static str) -> Result<Connection, Failure> {
    let uri = options.uri().map_err(|error| Failure {
        kind: error.kind,
        text: error.to_string(),
    })?;
    let address = redacted(&uri);
    let name = format!("holdfast {} ({purpose})", options.service);
    let properties = ConnectionProperties::default()
        .with_connection_name(name.into())
        .with_client_property("product".into(), "holdfast".into())
        .with_client_property("version".into(), env!("CARGO_PKG_VERSION").into());
    let runtime = lapin::runtime::default_runtime().map_err(|error| Failure {
        kind: Kind::Permanent,
        text: error.to_string(),
    })?;
    let attempt = Connection::connect_uri_with_config(uri, properties, options.tls(), runtime);
    match timeout(options.call_deadline, attempt).await {
        Ok(Ok(connection)) => Ok(connection),
        Ok(Err(error)) => Err(Failure {
            kind: error::kind(&error),
            text: format!("{address}: {}", error::text(&error)),
        }),
        Err(_) => Err(Failure {
            kind: Kind::Transient,
            text: format!("{address}: no answer in time"),
        }),
    }
}

/// Returns when the connection is no more, with the reason.
async fn lost(connection: &Connection) -> String {
    let mut events = std::pin::pin!(connection.events_listener());
    let mut look = interval(LOOK);
    loop {
        tokio::select! {
            event = events.next() => match event {
                Some(Event::ConnectionBlocked(reason)) => {
                    tracing::warn!(reason, "the broker takes no publishes at the moment");
                }
                Some(Event::ConnectionUnblocked) => {
                    tracing::info!("the broker takes publishes again");
                }
                Some(Event::Error(error)) if !connection.status().connected() => {
                    return error::text(&error);
                }
                Some(_) => {}
                None => return "the connection ended".to_owned(),
            },
            _ = look.tick() => if !connection.status().connected() {
                return "the connection is closed".to_owned();
            },
        }
    }
}
