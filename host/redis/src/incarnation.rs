//! Which store this is. One server has one incarnation, which every script looks
//! at in the call itself. In a cluster each primary has one, all with the same
//! id, and none can be looked at together with a claim: they are watched, and
//! once one is not what it was nothing more is asked.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};

use futures_util::future::try_join_all;
use holdfast_core::incarnation::{Difference, Finding, Incarnation, judge, whole};
use holdfast_ports::error::PortError;
use holdfast_ports::store::{Open, Opened};
use redis::Value;

use crate::call::Call;
use crate::error::{fenced, unexpected};
use crate::script::Which;
use crate::store::RedisStore;

/// What is known of the primaries of a cluster.
#[derive(Debug, Default)]
pub(crate) struct Parts {
    /// What was last seen of each, by its lowest slot.
    seen: Mutex<BTreeMap<u16, Incarnation>>,
    /// One of them is not what it was.
    doubted: AtomicBool,
}

impl Parts {
    fn seen(&self) -> MutexGuard<'_, BTreeMap<u16, Incarnation>> {
        self.seen.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

const WHAT: &str = "see which store it is";

impl RedisStore {
    /// Fails when the cluster is known not to be the one we started with.
    pub(crate) fn must_trust(&self, what: &str) -> Result<(), PortError> {
        if self.parts.doubted.load(Ordering::Relaxed) {
            return Err(fenced(what));
        }
        Ok(())
    }

    pub(crate) async fn ask_open(&self, mode: Open) -> Result<Option<Opened>, PortError> {
        let fresh = Incarnation {
            id: format!("{:032x}", rand::random::<u128>()),
            pulse: 0,
        };
        match mode {
            Open::Look => {}
            Open::Create => {
                // The first decides which id it is, whoever else creates one.
                let mut given = fresh;
                for slot in self.slots().await? {
                    let made = self.open_part(slot, Some((&given, None))).await?;
                    given.id = made.ok_or_else(|| unexpected(WHAT))?.incarnation.id;
                }
            }
            Open::Accept(ids) => {
                let slots = self.slots().await?.into_iter();
                let give = Some((&fresh, Some(ids.as_slice())));
                try_join_all(slots.map(|slot| self.open_part(slot, give))).await?;
                self.parts.seen().clear();
            }
            Open::Expect(known) => {
                let found = self.look().await?;
                let same = judge(found.as_ref().map(|f| &f.incarnation), Some(&known));
                self.expect(&known, same == Finding::Same);
                return Ok(found);
            }
        }
        self.look().await
    }

    /// Looks at all parts.
    async fn look(&self) -> Result<Option<Opened>, PortError> {
        let slots = self.slots().await?.into_iter();
        let parts = try_join_all(slots.map(|slot| self.open_part(slot, None))).await?;
        let incarnations: Vec<_> = parts
            .iter()
            .map(|part| Some(part.as_ref()?.incarnation.clone()))
            .collect();
        let mut replaced: Vec<String> = Vec::new();
        for id in parts.into_iter().flatten().flat_map(|part| part.replaced) {
            if !replaced.contains(&id) {
                replaced.push(id);
            }
        }
        Ok(whole(&incarnations).map(|incarnation| Opened {
            incarnation,
            replaced,
        }))
    }

    pub(crate) async fn ask_pulse(
        &self,
        remembered: &Incarnation,
    ) -> Result<Option<Incarnation>, PortError> {
        let slots = self.slots().await?.into_iter();
        let beats = slots.map(|slot| self.raise_part(slot, remembered));
        let parts = try_join_all(beats).await?;
        let same =
            |part: &&Option<Incarnation>| judge(part.as_ref(), Some(remembered)) == Finding::Same;
        let found = match parts.iter().find(|part| !same(part)) {
            Some(other) => other.clone(),
            None => whole(&parts),
        };
        let is_same = same(&&found);
        self.expect(
            found.as_ref().filter(|_| is_same).unwrap_or(remembered),
            is_same,
        );
        Ok(found)
    }

    /// Raises one pulse, if this part is not behind what this process saw of it.
    async fn raise_part(
        &self,
        slot: Option<u16>,
        remembered: &Incarnation,
    ) -> Result<Option<Incarnation>, PortError> {
        let seen = slot.and_then(|slot| self.parts.seen().get(&slot).cloned());
        let is_more =
            |seen: &Incarnation| seen.id == remembered.id && seen.pulse > remembered.pulse;
        let least = seen
            .clone()
            .filter(is_more)
            .unwrap_or_else(|| remembered.clone());
        let [name, _] = self.keys.part(slot);
        let mut call = Call::new(Which::Pulse, &[&name]).arg(written(&least));
        // What is remembered has to be on the replicas, or one that follows in
        // order would look like an older copy.
        call.replicated = true;
        let mut found = read(self.ask_part(call).await?).ok_or_else(|| unexpected(WHAT))?;
        // Slots moved to a primary that this process had not seen.
        let is_new = slot.is_some() && seen.is_none() && !self.parts.seen().is_empty();
        if is_new && found.is_none() {
            let planted = self.open_part(slot, Some((remembered, None))).await?;
            found = planted.map(|part| part.incarnation);
        }
        match judge(found.as_ref(), Some(&least)) {
            Finding::Same | Finding::First => {
                if let (Some(slot), Some(found)) = (slot, &found) {
                    self.parts.seen().insert(slot, found.clone());
                }
            }
            // The whole is remembered by its lowest pulse; this part was higher.
            Finding::Different(Difference::Older { found: pulse, .. }) => {
                found = found.map(|part| Incarnation {
                    pulse: pulse.min(remembered.pulse.saturating_sub(1)),
                    ..part
                });
            }
            Finding::Different(_) => {}
        }
        Ok(found)
    }

    /// Looks at one part, after giving it an incarnation: where it has none, or
    /// in any case, in whose place these ids are accepted.
    async fn open_part(
        &self,
        slot: Option<u16>,
        give: Option<(&Incarnation, Option<&[String]>)>,
    ) -> Result<Option<Opened>, PortError> {
        let [name, replaced] = self.keys.part(slot);
        let mut call = Call::new(Which::Open, &[&name, &replaced]);
        call.replicated = true;
        match give {
            None => call.push(""),
            Some((given, None)) => call.push(written(given)),
            Some((given, Some(ids))) => {
                call.push(written(given));
                call.push("1");
                for id in ids {
                    call.push(id);
                }
            }
        }
        match self.ask_part(call).await? {
            Value::Nil => Ok(None),
            Value::Array(items) => opened(items).map(Some).ok_or_else(|| unexpected(WHAT)),
            _ => Err(unexpected(WHAT)),
        }
    }

    /// Also asked when nothing else is.
    async fn ask_part(&self, call: Call) -> Result<Value, PortError> {
        let answer = self.servers.call(call).await;
        answer.map_err(|error| error.into_port(WHAT))
    }

    /// The parts, by their lowest slots; one server is one part.
    async fn slots(&self) -> Result<Vec<Option<u16>>, PortError> {
        let primaries = self.servers.primaries().await;
        let primaries = primaries.map_err(|error| error.into_port(WHAT))?;
        Ok(match primaries {
            None => vec![None],
            Some(primaries) => primaries.iter().map(|primary| Some(primary.slot)).collect(),
        })
    }

    /// From now on calls are made for this store only; not at all while a
    /// cluster is not that.
    fn expect(&self, known: &Incarnation, is_same: bool) {
        if self.servers.is_cluster() {
            self.parts.doubted.store(!is_same, Ordering::Relaxed);
        } else {
            self.expect_text(&written(known));
        }
    }
}

/// An incarnation as it is kept: see `lua/same.lua`.
fn written(incarnation: &Incarnation) -> String {
    format!("{}:{:020}", incarnation.id, incarnation.pulse)
}

fn opened(items: Vec<Value>) -> Option<Opened> {
    let [incarnation, Value::Array(ids)] = <[Value; 2]>::try_from(items).ok()? else {
        return None;
    };
    let id = |value| match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        _ => None,
    };
    Some(Opened {
        incarnation: read(incarnation)??,
        replaced: ids.into_iter().map(id).collect::<Option<_>>()?,
    })
}

/// What is kept, if it is an incarnation or nothing.
fn read(value: Value) -> Option<Option<Incarnation>> {
    let bytes = match value {
        Value::Nil => return Some(None),
        Value::BulkString(bytes) => bytes,
        _ => return None,
    };
    let text = String::from_utf8(bytes).ok()?;
    let (id, pulse) = text.rsplit_once(':')?;
    Some(Some(Incarnation {
        id: id.to_owned(),
        pulse: pulse.parse().ok()?,
    }))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_incarnation_is_read_as_it_was_written() {
        let known = Incarnation {
            id: "a:b".into(),
            pulse: u64::MAX,
        };
        let value = |text: &str| Value::BulkString(text.as_bytes().to_vec());
        assert_eq!(read(value(&written(&known))), Some(Some(known)));
        assert_eq!(read(Value::Nil), Some(None));
        assert_eq!(read(value("no pulse")), None);
        assert_eq!(read(Value::Int(1)), None);
    }
}
