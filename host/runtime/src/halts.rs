//! The lanes of one consumer that were halted, as the store has them.
//!
//! A mark is a flag in the store, so that it outlives the process and every
//! instance sees it. It is written by the instance that consumes, when it halts
//! a lane and when the lane has gone on, and by whoever an operator asks to
//! resume.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_core::halt::{Stand, Then};
use holdfast_core::key::Lane;
use holdfast_core::name::Consumer;
use holdfast_ports::error::PortError;
use holdfast_ports::store::SharedStore;
use metrics::{Gauge, gauge};
use serde_json::{Value, json};
use tokio::sync::{Mutex, watch};

/// What the names of all marks begin with.
pub(crate) const HALTED: &str = "halted/";

/// A lane; none is the one lane of a consumer with strict order.
pub type LaneName = Option<Lane>;

/// The marks of one consumer by lane.
pub type Marks = BTreeMap<LaneName, Mark>;

/// What stands beside a lane that was halted.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mark {
    /// What was decided.
    pub stand: Stand,
    /// The claim key of the message that halted the lane.
    pub key: String,
    /// Why that was given up.
    pub reason: String,
    /// Its last error.
    pub error: String,
    /// How often its handler was called.
    pub attempts: u32,
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
}

/// The marks of one consumer. Whoever reads or writes flags waits for his turn,
/// so that what is known here is never older than what was written here.
pub struct Halts {
    store: SharedStore,
    prefix: String,
    turn: Arc<Mutex<()>>,
    marks: watch::Sender<Arc<Marks>>,
    lanes: Gauge,
}

impl Halts {
    pub(crate) fn new(store: SharedStore, consumer: &Consumer, turn: Arc<Mutex<()>>) -> Self {
        let labels = [("consumer", consumer.to_string())];
        Self {
            store,
            prefix: format!("{HALTED}{consumer}/"),
            turn,
            marks: watch::Sender::default(),
            lanes: gauge!("holdfast_halted_lanes", &labels),
        }
    }

    /// As far as known.
    #[must_use]
    pub fn marks(&self) -> Arc<Marks> {
        Arc::clone(&self.marks.borrow())
    }

    /// How many lanes are halted, as far as known.
    #[must_use]
    pub fn halted(&self) -> usize {
        let marks = self.marks.borrow();
        marks
            .values()
            .filter(|mark| mark.stand == Stand::Halted)
            .count()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<Arc<Marks>> {
        self.marks.subscribe()
    }

    /// Takes what the store said; to be called in turn.
    pub(crate) fn seen(&self, flags: &[(String, String)]) {
        let marks = flags.iter().filter_map(|(name, value)| {
            name.strip_prefix(&self.prefix)?;
            let read = read(value);
            if read.is_none() {
                tracing::warn!(
                    flag = name,
                    value,
                    "the mark of a halted lane is not understood"
                );
            }
            read
        });
        self.know(marks.collect());
    }

    fn know(&self, marks: Marks) {
        let halted = marks.values().filter(|mark| mark.stand == Stand::Halted);
        #[expect(clippy::cast_precision_loss, reason = "few lanes are halted")]
        self.lanes.set(halted.count() as f64);
        self.marks.send_if_modified(|known| {
            let news = **known != marks;
            if news {
                *known = Arc::new(marks);
            }
            news
        });
    }

    /// Asks the store.
    ///
    /// # Errors
    /// [`PortError`] when it does not answer.
    pub(crate) async fn load(&self) -> Result<Arc<Marks>, PortError> {
        let _turn = self.turn.lock().await;
        self.seen(&self.store.flags(&self.prefix).await?);
        Ok(self.marks())
    }

    /// Writes or removes the mark of a lane.
    ///
    /// # Errors
    /// [`PortError`] when the store did not record it.
    pub(crate) async fn set(&self, lane: &LaneName, mark: Option<Mark>) -> Result<(), PortError> {
        let _turn = self.turn.lock().await;
        self.write(lane, mark).await
    }

    /// Writes the mark of a lane that has none in the store, whatever is known
    /// here.
    ///
    /// # Errors
    /// [`PortError`] when the store did not answer.
    pub(crate) async fn set_missing(&self, lane: &LaneName, mark: Mark) -> Result<(), PortError> {
        let _turn = self.turn.lock().await;
        self.seen(&self.store.flags(&self.prefix).await?);
        if self.marks().contains_key(lane) {
            return Ok(());
        }
        self.write(lane, Some(mark)).await
    }

    async fn write(&self, lane: &LaneName, mark: Option<Mark>) -> Result<(), PortError> {
        let encoded = lane.as_ref().map(Lane::encoded).unwrap_or_default();
        let name = format!("{}{encoded}", self.prefix);
        let value = mark.as_ref().map(|mark| written(lane, mark));
        self.store.set_flag(&name, value.as_deref()).await?;
        let mut marks = Marks::clone(&self.marks());
        match mark {
            Some(mark) => marks.insert(lane.clone(), mark),
            None => marks.remove(lane),
        };
        self.know(marks);
        Ok(())
    }

    /// An operator lets halted lanes go on: this one, or all. Gives those that
    /// were halted.
    ///
    /// # Errors
    /// [`PortError`] when the store did not record all of it; asking again does
    /// the rest.
    pub async fn resume(&self, lane: Option<&str>, then: Then) -> Result<Marks, PortError> {
        let _turn = self.turn.lock().await;
        self.seen(&self.store.flags(&self.prefix).await?);
        let lane = lane.map(Lane::from_known);
        let named = |of: &LaneName| lane.is_none() || lane == *of;
        let mut resumed = Marks::new();
        for (lane, mark) in self.marks().iter() {
            if mark.stand == Stand::Halted && named(lane) {
                let decided = Mark {
                    stand: Stand::Resumed(then),
                    ..mark.clone()
                };
                self.write(lane, Some(decided.clone())).await?;
                resumed.insert(lane.clone(), decided);
            }
        }
        Ok(resumed)
    }
}

pub(crate) fn written(lane: &LaneName, mark: &Mark) -> String {
    let (stand, then) = match mark.stand {
        Stand::Halted => ("halted", None),
        Stand::Resumed(then) => ("resumed", Some(then.as_str())),
        Stand::Retried => ("retried", None),
    };
    json!({
        "stand": stand,
        "then": then,
        "lane": lane.as_ref().map(Lane::as_str),
        "key": mark.key,
        "reason": mark.reason,
        "error": mark.error,
        "attempts": mark.attempts,
        "at_ms": mark.at_ms,
    })
    .to_string()
}

pub(crate) fn read(value: &str) -> Option<(LaneName, Mark)> {
    let value: Value = serde_json::from_str(value).ok()?;
    let text = |name: &str| value[name].as_str().map(str::to_owned);
    let stand = match value["stand"].as_str()? {
        "halted" => Stand::Halted,
        "resumed" => Stand::Resumed(Then::parse(value["then"].as_str()?)?),
        "retried" => Stand::Retried,
        _ => return None,
    };
    let mark = Mark {
        stand,
        key: text("key")?,
        reason: text("reason")?,
        error: text("error")?,
        attempts: u32::try_from(value["attempts"].as_u64()?).ok()?,
        at_ms: value["at_ms"].as_u64()?,
    };
    Some((text("lane").map(|lane| Lane::from_known(&lane)), mark))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_mark_is_read_as_it_was_written() {
        let stands = [Stand::Halted, Stand::Retried].into_iter();
        for stand in stands.chain(Then::ALL.map(Stand::Resumed)) {
            let mark = Mark {
                stand,
                key: "k/\"é\"".into(),
                reason: "rejected".into(),
                error: "no\nway".into(),
                attempts: 3,
                at_ms: 1_700_000_000_000,
            };
            for lane in [None, Some(Lane::from_known("a b/ü"))] {
                let read = read(&written(&lane, &mark));
                assert_eq!(read, Some((lane, mark.clone())));
            }
        }
    }

    #[test]
    fn nonsense_is_no_mark() {
        for value in ["", "{}", "1", r#"{"stand":"resumed","then":"up"}"#] {
            assert_eq!(read(value), None, "{value}");
        }
    }
}
