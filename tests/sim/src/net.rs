//! The way between one host and one server, and what becomes of a call on it.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tokio::sync::Notify;
use tokio_util::sync::CancellationToken;

use crate::dice::Dice;

/// How a way is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) enum Way {
    /// Calls arrive.
    #[default]
    Open,
    /// Calls are refused at once.
    Refused,
    /// Calls vanish, and so do answers.
    Swallowed,
}

/// A connection, which its two ends may give up at different times.
#[derive(Clone, Debug, Default)]
pub(crate) struct Connection {
    /// The host knows that it is gone.
    pub(crate) at_host: CancellationToken,
    /// The broker knows.
    pub(crate) at_broker: CancellationToken,
    /// What arrived before it was lost is still read.
    pub(crate) reads_to_the_end: bool,
}

impl Connection {
    pub(crate) fn cut(&self) {
        self.at_broker.cancel();
        self.at_host.cancel();
    }

    /// Does one of its ends know that it is gone?
    fn is_half_gone(&self) -> bool {
        self.at_host.is_cancelled() || self.at_broker.is_cancelled()
    }
}

/// A way that can be closed and opened.
#[derive(Debug, Default)]
pub(crate) struct Link {
    way: Mutex<Way>,
    opened: Notify,
    connection: Mutex<Option<Connection>>,
}

impl Link {
    pub(crate) fn way(&self) -> Way {
        *self.way.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(crate) fn set(&self, way: Way) {
        *self.way.lock().unwrap_or_else(PoisonError::into_inner) = way;
        if way == Way::Open {
            self.opened.notify_waiters();
        }
    }

    /// Returns when calls arrive.
    pub(crate) async fn open(&self) {
        loop {
            let opened = self.opened.notified();
            if self.way() == Way::Open {
                return;
            }
            opened.await;
        }
    }

    /// The connection that is in use, or a new one.
    pub(crate) fn connection(&self, dice: &mut Dice) -> Connection {
        let mut connection = self.used();
        match &*connection {
            Some(used) if !used.is_half_gone() => used.clone(),
            _ => {
                let fresh = Connection {
                    reads_to_the_end: dice.per_mille(500),
                    ..Connection::default()
                };
                connection.insert(fresh).clone()
            }
        }
    }

    /// The connection that is in use now, if any.
    pub(crate) fn current(&self) -> Option<Connection> {
        self.used().clone()
    }

    /// Ends the connection that is in use.
    pub(crate) fn cut(&self) {
        if let Some(connection) = &*self.used() {
            connection.cut();
        }
    }

    fn used(&self) -> std::sync::MutexGuard<'_, Option<Connection>> {
        self.connection
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}

/// What becomes of a call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Fate {
    /// It arrives after the first, its answer after the second.
    Fine(Duration, Duration),
    /// It is refused.
    Refused(Duration),
    /// It never arrives; the caller gives up.
    Lost(Duration),
    /// The caller gives up, and it arrives after the second.
    Late(Duration, Duration),
    /// It arrives, and its answer is lost.
    Unheard(Duration, Duration),
}

/// How long a caller waits for an answer.
pub(crate) const PATIENCE: Duration = Duration::from_millis(800);

/// Decides about one call; `odds` of a thousand go wrong although the way is
/// open.
pub(crate) fn fate(dice: &mut Dice, link: &Arc<Link>, odds: u64) -> Fate {
    match link.way() {
        Way::Refused => return Fate::Refused(Duration::from_millis(1)),
        Way::Swallowed => return Fate::Lost(PATIENCE),
        Way::Open => {}
    }
    let there = latency(dice);
    if !dice.per_mille(odds) {
        return Fate::Fine(there, latency(dice));
    }
    match dice.between(0, 3) {
        0 => Fate::Refused(there),
        1 => Fate::Lost(PATIENCE),
        2 => {
            // Sometimes later than a lock or a lease lasts.
            let most = *dice.one(&[900, 4_000, 12_000]);
            Fate::Late(PATIENCE, dice.millis(1, most))
        }
        _ => Fate::Unheard(there, PATIENCE),
    }
}

/// Mostly short, sometimes long.
pub(crate) fn latency(dice: &mut Dice) -> Duration {
    match dice.between(0, 99) {
        0..60 => Duration::ZERO,
        60..95 => dice.millis(1, 3),
        95..99 => dice.millis(4, 30),
        _ => dice.millis(31, 300),
    }
}

/// A wait that costs nothing when it is none.
pub(crate) async fn pass(time: Duration) {
    if !time.is_zero() {
        tokio::time::sleep(time).await;
    }
}
