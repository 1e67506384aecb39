//! The store and its calls.

use std::sync::{Arc, OnceLock, PoisonError, RwLock};
use std::time::Duration;

use async_trait::async_trait;
use holdfast_core::claim::steps::Shown;
use holdfast_core::claim::{
    BeginAnswer, CommitAnswer, Look, ParkReason, ReleaseAnswer, StateName, StepAnswer,
    UndeliverableAnswer,
};
use holdfast_core::cutover::Rule;
use holdfast_core::name::{Group, Side, check};
use holdfast_ports::error::PortError;
use holdfast_ports::message::{Outbox, Snapshot};
use holdfast_ports::store::{
    Addition, Agreement, Begin, ClaimView, Commit, GroupRules, Incarnation, LeaseAnswer, LeaseName,
    LeaseView, Open, Opened, Place, Present, Store,
};

use crate::incarnation::Parts;
use crate::keys::Keys;
use crate::link::Target;
use crate::options::RedisOptions;
use crate::servers::Servers;
use crate::watch::Watch;

/// A store in Redis. Its connections end when it is dropped.
#[derive(Debug)]
pub struct RedisStore {
    pub(crate) keys: Keys,
    pub(crate) servers: Servers,
    /// Who may be listened to for news.
    targets: Vec<Target>,
    /// The primaries of a cluster.
    pub(crate) parts: Parts,
    /// Does a record count only when replicas have it?
    pub(crate) replicated: bool,
    watch: OnceLock<Watch>,
    /// The incarnation that every call is checked against; empty for none.
    expected: RwLock<Arc<str>>,
}

impl RedisStore {
    /// Makes the store and starts connecting in the background, whether the
    /// server is there or not; until it is, calls fail as transient.
    ///
    /// # Errors
    /// Permanent when the address cannot be read or the service is no name.
    pub async fn connect(options: RedisOptions) -> Result<Self, PortError> {
        check(&options.service).map_err(|why| {
            let service = &options.service;
            PortError::permanent(format!("use the service name {service:?}")).because(why)
        })?;
        let (servers, targets) = Servers::new(&options)?;
        Ok(Self {
            keys: Keys::new(&options.service, options.cluster),
            servers,
            targets,
            parts: Parts::default(),
            replicated: options.wait_replicas > 0,
            watch: OnceLock::new(),
            expected: RwLock::new(Arc::from("")),
        })
    }

    /// How long the server took for the last ping (there is one each second
    /// while nothing else is sent); zero before the first.
    #[must_use]
    pub fn ping_time(&self) -> Duration {
        self.servers.ping_time()
    }

    pub(crate) fn expected(&self) -> Arc<str> {
        let guard = self.expected.read().unwrap_or_else(PoisonError::into_inner);
        Arc::clone(&guard)
    }

    pub(crate) fn expect_text(&self, written: &str) {
        *self
            .expected
            .write()
            .unwrap_or_else(PoisonError::into_inner) = written.into();
    }
}

#[async_trait]
impl Store for RedisStore {
    async fn begin(&self, begin: Begin) -> Result<BeginAnswer<Snapshot, Outbox>, PortError> {
        self.ask_begin(&begin).await
    }

    async fn look_at(
        &self,
        held: &[Place],
        side: &Side,
        assign_timeout: Duration,
    ) -> Result<Vec<Look>, PortError> {
        self.ask_look_at(held, side, assign_timeout).await
    }

    async fn commit(
        &self,
        at: &Place,
        shown: Shown,
        commit: &Commit,
    ) -> Result<CommitAnswer, PortError> {
        self.ask_commit(at, shown, commit).await
    }

    async fn fail(&self, at: &Place, shown: Shown, error: &str) -> Result<StepAnswer, PortError> {
        self.ask_fail(at, shown, error).await
    }

    async fn park(
        &self,
        at: &Place,
        shown: Shown,
        reason: ParkReason,
        error: Option<&str>,
    ) -> Result<StepAnswer, PortError> {
        self.ask_park(at, shown, reason, error).await
    }

    async fn abandon(&self, at: &Place, shown: Shown) -> Result<StepAnswer, PortError> {
        self.ask_abandon(at, shown).await
    }

    async fn published(&self, at: &Place) -> Result<StepAnswer, PortError> {
        self.ask_published(at).await
    }

    async fn buried(&self, at: &Place, fence: u64) -> Result<StepAnswer, PortError> {
        self.ask_buried(at, fence).await
    }

    async fn undeliverable(
        &self,
        at: &Place,
        error: &str,
        limit: u32,
    ) -> Result<UndeliverableAnswer, PortError> {
        self.ask_undeliverable(at, error, limit).await
    }

    async fn release(
        &self,
        at: &Place,
        to: Option<&Side>,
        force: bool,
    ) -> Result<ReleaseAnswer, PortError> {
        self.ask_release(at, to, force).await
    }

    async fn replay(&self, at: &Place) -> Result<ReleaseAnswer, PortError> {
        self.ask_replay(at).await
    }

    async fn show(&self, at: &Place) -> Result<Option<ClaimView>, PortError> {
        self.ask_show(at).await
    }

    async fn list(
        &self,
        group: &Group,
        state: Option<StateName>,
        limit: usize,
    ) -> Result<Vec<ClaimView>, PortError> {
        self.ask_list(group, state, limit).await
    }

    async fn agree(&self, group: &Group, rules: &GroupRules) -> Result<Agreement, PortError> {
        self.ask_agree(group, rules).await
    }

    async fn acquire(
        &self,
        of: &LeaseName,
        owner: u64,
        ttl: Duration,
    ) -> Result<LeaseAnswer, PortError> {
        self.ask_acquire(of, owner, ttl).await
    }

    async fn renew(
        &self,
        of: &LeaseName,
        owner: u64,
        ttl: Duration,
    ) -> Result<LeaseAnswer, PortError> {
        self.ask_renew(of, owner, ttl).await
    }

    async fn give_back(&self, of: &LeaseName, owner: u64) -> Result<LeaseAnswer, PortError> {
        self.ask_give_back(of, owner).await
    }

    async fn leader(&self, of: &LeaseName) -> Result<Option<LeaseView>, PortError> {
        self.ask_leader(of).await
    }

    async fn attend(
        &self,
        roster: &str,
        instance: u64,
        stay: Option<Duration>,
    ) -> Result<Vec<Present>, PortError> {
        self.ask_attend(roster, instance, stay).await
    }

    async fn rule(&self, group: &Group) -> Result<Option<Rule>, PortError> {
        self.ask_rule(group).await
    }

    async fn set_rule(
        &self,
        group: &Group,
        rule: &Rule,
        expected: u64,
    ) -> Result<Result<Rule, Rule>, PortError> {
        self.ask_set_rule(group, rule, expected).await
    }

    async fn open(&self, mode: Open) -> Result<Option<Opened>, PortError> {
        self.ask_open(mode).await
    }

    async fn pulse(&self, remembered: &Incarnation) -> Result<Option<Incarnation>, PortError> {
        self.ask_pulse(remembered).await
    }

    async fn set_flag(&self, name: &str, value: Option<&str>) -> Result<(), PortError> {
        self.ask_set_flag(name, value).await
    }

    async fn flags(&self, prefix: &str) -> Result<Vec<(String, String)>, PortError> {
        self.ask_flags(prefix).await
    }

    async fn add_totals(
        &self,
        name: &str,
        of: Addition,
        counts: &[(String, u64)],
    ) -> Result<(), PortError> {
        self.ask_add_totals(name, of, counts).await
    }

    async fn totals(&self, name: &str) -> Result<Vec<(String, u64)>, PortError> {
        self.ask_totals(name).await
    }

    async fn changed(&self) {
        let start = || Watch::start(self.targets.clone(), self.keys.changed.clone());
        self.watch.get_or_init(start).changed().await;
    }

    fn is_up(&self) -> bool {
        self.servers.is_up()
    }
}
