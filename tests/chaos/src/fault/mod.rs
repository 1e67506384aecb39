//! Making faults, and undoing them.

mod host;
mod kind;
mod operator;
mod server;

use std::time::{Duration, Instant};

use anyhow::Result;

pub use kind::{Family, Kind};

use crate::dice::Dice;
use crate::stand::Stand;

/// What was done, and what is left to be done about it.
pub(crate) struct Done {
    /// To what, in words.
    pub(crate) target: String,
    /// When it is to be undone.
    pub(crate) until: Instant,
    pub(crate) undo: Undo,
    /// What a host did that it must not do.
    pub(crate) wrong: Vec<String>,
}

/// How a fault is undone.
#[derive(Clone, Debug)]
pub(crate) enum Undo {
    Nothing,
    StartHost(usize),
    ThawHost(usize),
    RestartBroker(usize),
    ThawBroker(usize),
    UnblockBroker(usize),
    RestartRedis,
    ThawRedis,
    EmptyRedis,
    PromoteRedis,
    /// These hosts' ways to a server.
    FreeWays(Vec<usize>, usize),
    Resume(&'static str),
}

impl Done {
    fn new(target: impl Into<String>, lasts: Duration, undo: Undo) -> Self {
        Self {
            target: target.into(),
            until: Instant::now() + lasts,
            undo,
            wrong: Vec::new(),
        }
    }

    fn at_once(target: impl Into<String>) -> Self {
        Self::new(target, Duration::ZERO, Undo::Nothing)
    }
}

/// Makes a fault. With `alone` it is the only one, so that hosts have to do all
/// that they do in peace.
pub(crate) fn make(stand: &mut Stand, kind: Kind, alone: bool, dice: &mut Dice) -> Result<Done> {
    match kind.family() {
        Family::Host => host::make(stand, kind, alone, dice),
        Family::Broker => server::broker(stand, kind, dice),
        Family::Store => server::store(stand, kind, dice),
        Family::Operator => operator::make(stand, kind, dice),
    }
}

/// Ends it.
pub(crate) fn undo(stand: &mut Stand, undo: &Undo) -> Result<()> {
    match undo {
        Undo::Nothing => Ok(()),
        Undo::StartHost(place) => stand.places[*place].start(),
        Undo::ThawHost(place) => stand.places[*place].host()?.thaw(),
        Undo::RestartBroker(place) => stand.brokers[*place].restart(),
        Undo::ThawBroker(place) => stand.brokers[*place].thaw(),
        Undo::UnblockBroker(place) => {
            let words = ["set_vm_memory_high_watermark", "absolute", "2GB"];
            stand.brokers[*place].ctl(&words)?;
            Ok(())
        }
        Undo::RestartRedis => stand.redis.restart(),
        Undo::ThawRedis => stand.redis.thaw(),
        Undo::EmptyRedis => redis(stand, &["CONFIG", "SET", "maxmemory", "0"]),
        Undo::PromoteRedis => redis(stand, &["REPLICAOF", "NO", "ONE"]),
        Undo::FreeWays(places, server) => {
            for place in places {
                stand.places[*place].ways[*server].delay(Duration::ZERO);
                stand.places[*place].ways[*server].restore();
            }
            Ok(())
        }
        Undo::Resume(consumer) => operator::resume(stand, consumer),
    }
}

fn redis(stand: &Stand, words: &[&str]) -> Result<()> {
    stand.redis.cli(words)?;
    Ok(())
}

/// A while of so many milliseconds at least and at most.
fn lasts(dice: &mut Dice, low: u64, high: u64) -> Duration {
    Duration::from_millis(dice.between(low, high))
}
