//! The primaries of a Redis Cluster, each behind a [`Link`] of its own, and which
//! of them has which slot.
//!
//! ```text
//!            MOVED, or a primary does not answer
//!   Known ─────────────────────────────────────► Stale
//!     ▲                                            │
//!     └── whoever answers first says who has what ─┘  before the next call
//! ```
//!
//! A call goes to the primary of its slot. One that went to the wrong place was
//! refused there, so it is made again at the right one. While slots move or a
//! primary is replaced calls fail as transient, and whoever asked asks again.

pub(crate) mod slots;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, PoisonError, RwLock};
use std::time::Duration;

use futures_util::future::{FutureExt as _, select_ok};
use redis::Value;

use self::slots::{Address, Range, ranges};
use crate::error::LinkError;
use crate::link::{Ask, Link};

/// How often a call follows slots that moved.
const MOVES: u32 = 5;

/// Makes the link to the server at an address.
type Connect = dyn Fn(&str, u16) -> Result<Link, LinkError> + Send + Sync;

/// The primaries, as far as they are known.
pub(crate) struct Cluster {
    connect: Box<Connect>,
    /// Where to ask when nobody else answers.
    seeds: Vec<(String, u16, Arc<Link>)>,
    map: RwLock<Arc<Map>>,
    stale: AtomicBool,
    turn: tokio::sync::Mutex<()>,
}

#[derive(Debug, Default)]
struct Map {
    ranges: Vec<Range>,
    links: BTreeMap<Address, Arc<Link>>,
}

/// One primary.
#[derive(Clone, Debug)]
pub(crate) struct Primary {
    /// The lowest of its slots, by which it is known to all hosts.
    pub(crate) slot: u16,
    pub(crate) link: Arc<Link>,
}

impl Map {
    fn link_of(&self, slot: u16) -> Option<Arc<Link>> {
        let after = self.ranges.partition_point(|range| range.last < slot);
        let range = self.ranges.get(after)?;
        self.links.get(&range.primary).cloned()
    }
}

impl Cluster {
    /// Nothing is asked yet.
    pub(crate) fn new(
        seeds: &[(String, u16)],
        connect: impl Fn(&str, u16) -> Result<Link, LinkError> + Send + Sync + 'static,
    ) -> Result<Self, LinkError> {
        let seeds = seeds
            .iter()
            .map(|(host, port)| Ok((host.clone(), *port, Arc::new(connect(host, *port)?))))
            .collect::<Result<_, LinkError>>()?;
        Ok(Self {
            connect: Box::new(connect),
            seeds,
            map: RwLock::default(),
            stale: AtomicBool::new(true),
            turn: tokio::sync::Mutex::default(),
        })
    }

    /// Asks the primary of a slot.
    pub(crate) async fn ask(&self, slot: u16, ask: Ask) -> Result<Value, LinkError> {
        let mut moves = 0;
        loop {
            let link = self.fresh().await?.link_of(slot);
            let Some(link) = link else {
                return Err(LinkError::Lost);
            };
            let answer = link.ask(ask.clone()).await;
            let Err(error) = &answer else { return answer };
            match error {
                LinkError::Server(error) if error.code() == "MOVED" => {
                    self.stale.store(true, Ordering::Relaxed);
                    moves += 1;
                    if moves > MOVES {
                        return answer;
                    }
                }
                LinkError::Server(error) if error.code() != "CLUSTERDOWN" => return answer,
                LinkError::Replicas { .. } => return answer,
                _ => {
                    self.stale.store(true, Ordering::Relaxed);
                    return answer;
                }
            }
        }
    }

    /// All primaries.
    pub(crate) async fn primaries(&self) -> Result<Vec<Primary>, LinkError> {
        let map = self.fresh().await?;
        let mut primaries: Vec<(&Address, Primary)> = Vec::new();
        for range in &map.ranges {
            if !primaries.iter().any(|(at, _)| **at == range.primary)
                && let Some(link) = map.links.get(&range.primary)
            {
                let (slot, link) = (range.first, Arc::clone(link));
                primaries.push((&range.primary, Primary { slot, link }));
            }
        }
        Ok(primaries.into_iter().map(|(_, primary)| primary).collect())
    }

    /// Do all primaries answer?
    pub(crate) fn is_up(&self) -> bool {
        let map = self.map();
        !map.ranges.is_empty() && map.links.values().all(|link| link.is_up())
    }

    /// The longest ping.
    pub(crate) fn ping_time(&self) -> Duration {
        let pings = self.map();
        let pings = pings.links.values().map(|link| link.ping_time());
        pings.max().unwrap_or_default()
    }

    /// The map, looked at anew when it may be out of date.
    async fn fresh(&self) -> Result<Arc<Map>, LinkError> {
        if !self.stale.load(Ordering::Relaxed) {
            return Ok(self.map());
        }
        let _turn = self.turn.lock().await;
        if !self.stale.load(Ordering::Relaxed) {
            return Ok(self.map());
        }
        let looked = self.look().await?;
        // Not before: until then others wait for their turn.
        self.stale.store(false, Ordering::Relaxed);
        Ok(looked)
    }

    async fn look(&self) -> Result<Arc<Map>, LinkError> {
        let old = self.map();
        let known = old.links.iter().map(|(at, link)| (at.host.clone(), link));
        let seeds = self.seeds.iter();
        let seeds = seeds.map(|(host, _, link)| (Some(host.clone()), link));
        let asked: Vec<_> = known
            .chain(seeds)
            .map(|(host, link)| who_has_what(host, Arc::clone(link)).boxed())
            .collect();
        let (ranges, _) = select_ok(asked).await?;
        let mut links = BTreeMap::new();
        for range in &ranges {
            let at = &range.primary;
            if links.contains_key(at) {
                continue;
            }
            let host = at.host.as_deref().unwrap_or_default();
            let mut seeds = self.seeds.iter();
            let seed = seeds.find(|(name, port, _)| name == host && *port == at.port);
            let link = match (old.links.get(at), seed) {
                (Some(link), _) | (None, Some((_, _, link))) => Arc::clone(link),
                (None, None) => Arc::new((self.connect)(host, at.port)?),
            };
            links.insert(at.clone(), link);
        }
        let map = Arc::new(Map { ranges, links });
        *self.map.write().unwrap_or_else(PoisonError::into_inner) = Arc::clone(&map);
        Ok(map)
    }

    fn map(&self) -> Arc<Map> {
        Arc::clone(&self.map.read().unwrap_or_else(PoisonError::into_inner))
    }
}

/// Asks one server for the map.
async fn who_has_what(host: Option<String>, link: Arc<Link>) -> Result<Vec<Range>, LinkError> {
    let mut command = redis::cmd("CLUSTER");
    command.arg("SLOTS");
    let answer = link.send(command).await?;
    let mut ranges = ranges(&answer).ok_or(LinkError::NoMap)?;
    for range in &mut ranges {
        if range.primary.host.is_none() {
            range.primary.host.clone_from(&host);
        }
    }
    Ok(ranges)
}

impl fmt::Debug for Cluster {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Cluster")
            .field("map", &self.map())
            .finish_non_exhaustive()
    }
}
