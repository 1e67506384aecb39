//! The claim store on redb, or in memory.

mod claims;
mod decide;
mod groups;
#[doc(hidden)]
pub mod inputs;
mod keys;
mod leases;
mod records;
mod views;

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::path::PathBuf;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use holdfast_core::claim::steps::{self, Shown};
use holdfast_core::claim::{
    BeginAnswer, CommitAnswer, Look, ParkReason, ReleaseAnswer, StateName, StepAnswer,
    UndeliverableAnswer,
};
use holdfast_core::cutover::Rule;
use holdfast_core::incarnation::{Finding, judge};
use holdfast_core::name::{Group, Side};
use holdfast_ports::error::PortError;
use holdfast_ports::message::{Outbox, Snapshot};
use holdfast_ports::store::{
    Addition, Agreement, Begin, ClaimView, Commit, GroupRules, Incarnation, LeaseAnswer, LeaseName,
    LeaseView, Open, Opened, Place, Present, Store,
};
use tokio::sync::Notify;

use crate::clock::{self, Clock};
use crate::engine::Engine;

/// A claim store inside the host. Every decision is made by the claim rules
/// themselves, inside one transaction.
///
/// With a path, an answer is given once it is on the disk; calls that wait at
/// the same time share one transaction. Without, nothing outlives the value.
pub struct EmbeddedStore {
    engine: Engine,
    /// The incarnation that every call is checked against.
    expected: Mutex<Option<Incarnation>>,
    changed: Notify,
}

impl EmbeddedStore {
    /// Opens the file at this path, making it and its folder if need be; or a
    /// store in memory.
    ///
    /// # Errors
    /// Permanent, naming the path, when the file cannot be opened, is no store,
    /// or another process has it open.
    pub fn open(path: Option<PathBuf>) -> Result<Self, PortError> {
        Self::open_with(path, clock::system())
    }

    /// The same, deciding by this clock.
    ///
    /// # Errors
    /// As for [`EmbeddedStore::open`].
    pub fn open_with(path: Option<PathBuf>, clock: Clock) -> Result<Self, PortError> {
        Ok(Self {
            engine: Engine::open(path, clock, keys::companion)?,
            expected: Mutex::default(),
            changed: Notify::new(),
        })
    }

    fn expect(&self, known: Option<Incarnation>) {
        *self.expected.lock().unwrap_or_else(PoisonError::into_inner) = known;
    }
}

#[async_trait]
impl Store for EmbeddedStore {
    async fn begin(&self, begin: Begin) -> Result<BeginAnswer<Snapshot, Outbox>, PortError> {
        self.decide("begin a claim", move |rows, same_store| {
            claims::begin(rows, &begin, same_store)
        })
        .await
    }

    async fn look_at(
        &self,
        held: &[Place],
        side: &Side,
        assign_timeout: Duration,
    ) -> Result<Vec<Look>, PortError> {
        let (held, side) = (held.to_vec(), side.clone());
        self.only_here("look at claims of the other side", move |rows| {
            claims::look_at(rows, &held, &side, assign_timeout)
        })
        .await
    }

    async fn commit(
        &self,
        at: &Place,
        shown: Shown,
        commit: &Commit,
    ) -> Result<CommitAnswer, PortError> {
        let (at, commit) = (at.clone(), commit.clone());
        self.decide("commit a claim", move |rows, same_store| {
            claims::commit(rows, &at, shown, commit, same_store)
        })
        .await
    }

    async fn fail(&self, at: &Place, shown: Shown, error: &str) -> Result<StepAnswer, PortError> {
        let (at, error) = (at.clone(), error.to_owned());
        self.decide("record a failure", move |rows, same_store| {
            claims::step(rows, &at, shown.epoch, same_store, |record, scope| {
                steps::fail(record, shown, &error, scope)
            })
        })
        .await
    }

    async fn park(
        &self,
        at: &Place,
        shown: Shown,
        reason: ParkReason,
        error: Option<&str>,
    ) -> Result<StepAnswer, PortError> {
        let (at, error) = (at.clone(), error.map(str::to_owned));
        self.decide("park a claim", move |rows, same_store| {
            claims::step(rows, &at, shown.epoch, same_store, |record, scope| {
                steps::park(record, shown, reason, error.as_deref(), scope)
            })
        })
        .await
    }

    async fn abandon(&self, at: &Place, shown: Shown) -> Result<StepAnswer, PortError> {
        let at = at.clone();
        self.decide("abandon a claim", move |rows, same_store| {
            claims::step(rows, &at, shown.epoch, same_store, |record, scope| {
                steps::abandon(record, shown, scope)
            })
        })
        .await
    }

    async fn published(&self, at: &Place) -> Result<StepAnswer, PortError> {
        let at = at.clone();
        self.decide("close a published claim", move |rows, same_store| {
            claims::step(rows, &at, None, same_store, steps::published)
        })
        .await
    }

    async fn buried(&self, at: &Place, fence: u64) -> Result<StepAnswer, PortError> {
        let at = at.clone();
        self.decide("close a parked claim", move |rows, same_store| {
            claims::step(rows, &at, None, same_store, |record, scope| {
                steps::buried(record, fence, scope)
            })
        })
        .await
    }

    async fn undeliverable(
        &self,
        at: &Place,
        error: &str,
        limit: u32,
    ) -> Result<UndeliverableAnswer, PortError> {
        let (at, error) = (at.clone(), error.to_owned());
        self.decide("record a failed publish", move |rows, same_store| {
            claims::step(rows, &at, None, same_store, |record, scope| {
                steps::undeliverable(record, &error, limit, scope)
            })
        })
        .await
    }

    async fn release(
        &self,
        at: &Place,
        to: Option<&Side>,
        force: bool,
    ) -> Result<ReleaseAnswer, PortError> {
        let (at, to) = (at.clone(), to.cloned());
        let answer = self
            .decide("release a claim", move |rows, same_store| {
                claims::release(rows, &at, to.as_ref(), force, same_store)
            })
            .await;
        self.changed.notify_waiters();
        answer
    }

    async fn replay(&self, at: &Place) -> Result<ReleaseAnswer, PortError> {
        let at = at.clone();
        self.decide("replay a claim", move |rows, same_store| {
            claims::replay(rows, &at, same_store)
        })
        .await
    }

    async fn show(&self, at: &Place) -> Result<Option<ClaimView>, PortError> {
        let at = at.clone();
        self.look("show a claim", move |rows| views::show(rows, &at))
            .await
    }

    async fn list(
        &self,
        group: &Group,
        state: Option<StateName>,
        limit: usize,
    ) -> Result<Vec<ClaimView>, PortError> {
        let group = group.clone();
        self.look("list claims", move |rows| {
            views::list(rows, &group, state, limit)
        })
        .await
    }

    async fn agree(&self, group: &Group, rules: &GroupRules) -> Result<Agreement, PortError> {
        let (group, rules) = (group.clone(), rules.clone());
        self.only_here("compare the rules of a group", move |rows| {
            groups::agree(rows, &group, &rules)
        })
        .await
    }

    async fn acquire(
        &self,
        of: &LeaseName,
        owner: u64,
        ttl: Duration,
    ) -> Result<LeaseAnswer, PortError> {
        let of = of.clone();
        self.only_here("acquire a lease", move |rows| {
            leases::acquire(rows, &of, owner, ttl)
        })
        .await
    }

    async fn renew(
        &self,
        of: &LeaseName,
        owner: u64,
        ttl: Duration,
    ) -> Result<LeaseAnswer, PortError> {
        let of = of.clone();
        self.only_here("renew a lease", move |rows| {
            leases::renew(rows, &of, owner, ttl)
        })
        .await
    }

    async fn give_back(&self, of: &LeaseName, owner: u64) -> Result<LeaseAnswer, PortError> {
        let of = of.clone();
        let answer = self
            .only_here("give a lease back", move |rows| {
                leases::give_back(rows, &of, owner)
            })
            .await;
        self.changed.notify_waiters();
        answer
    }

    async fn leader(&self, of: &LeaseName) -> Result<Option<LeaseView>, PortError> {
        let of = of.clone();
        self.look("see who leads", move |rows| leases::leader(rows, &of))
            .await
    }

    async fn attend(
        &self,
        roster: &str,
        instance: u64,
        stay: Option<Duration>,
    ) -> Result<Vec<Present>, PortError> {
        let roster = roster.to_owned();
        let (there, news) = self
            .only_here("attend", move |rows| {
                leases::attend(rows, &roster, instance, stay)
            })
            .await?;
        if news {
            self.changed.notify_waiters();
        }
        Ok(there)
    }

    async fn rule(&self, group: &Group) -> Result<Option<Rule>, PortError> {
        let group = group.clone();
        self.look("read a cut-over rule", move |rows| {
            groups::rule(rows, &group)
        })
        .await
    }

    async fn set_rule(
        &self,
        group: &Group,
        rule: &Rule,
        expected: u64,
    ) -> Result<Result<Rule, Rule>, PortError> {
        let (group, rule) = (group.clone(), rule.clone());
        let answer = self
            .only_here("change a cut-over rule", move |rows| {
                groups::set_rule(rows, &group, &rule, expected)
            })
            .await;
        self.changed.notify_waiters();
        answer
    }

    async fn open(&self, mode: Open) -> Result<Option<Opened>, PortError> {
        if let Open::Expect(known) = &mode {
            self.expect(Some(known.clone()));
        }
        let random = RandomState::new();
        let fresh = format!("{:016x}{:016x}", random.hash_one(1), random.hash_one(2));
        self.engine
            .run("identify the store", move |rows| {
                groups::identify(rows, &mode, fresh)
            })
            .await
    }

    async fn pulse(&self, remembered: &Incarnation) -> Result<Option<Incarnation>, PortError> {
        let remembered = remembered.clone();
        self.engine
            .run("raise the pulse", {
                let remembered = remembered.clone();
                move |rows| groups::raise_pulse(rows, &remembered)
            })
            .await
            .inspect(|found| {
                if judge(found.as_ref(), Some(&remembered)) == Finding::Same {
                    self.expect(found.clone());
                }
            })
    }

    async fn set_flag(&self, name: &str, value: Option<&str>) -> Result<(), PortError> {
        let (name, value) = (name.to_owned(), value.map(str::to_owned));
        let answer = self
            .only_here("set a flag", move |rows| {
                groups::set_flag(rows, &name, value.as_deref())
            })
            .await;
        self.changed.notify_waiters();
        answer
    }

    async fn flags(&self, prefix: &str) -> Result<Vec<(String, String)>, PortError> {
        let prefix = prefix.to_owned();
        self.look("read flags", move |rows| groups::flags(rows, &prefix))
            .await
    }

    async fn add_totals(
        &self,
        name: &str,
        of: Addition,
        counts: &[(String, u64)],
    ) -> Result<(), PortError> {
        let (name, counts) = (name.to_owned(), counts.to_vec());
        self.only_here("add to the totals", move |rows| {
            groups::add_totals(rows, &name, of, &counts)
        })
        .await
    }

    async fn totals(&self, name: &str) -> Result<Vec<(String, u64)>, PortError> {
        let name = name.to_owned();
        self.look("read totals", move |rows| groups::totals(rows, &name))
            .await
    }

    async fn changed(&self) {
        self.changed.notified().await;
    }

    fn is_up(&self) -> bool {
        self.engine.is_up()
    }
}

impl std::fmt::Debug for EmbeddedStore {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("EmbeddedStore")
            .field("up", &self.is_up())
            .finish_non_exhaustive()
    }
}
