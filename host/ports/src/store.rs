//! What Holdfast needs of a claim store.

use std::sync::Arc;
use std::time::Duration;

use async_trait::async_trait;
use holdfast_core::claim::steps::Shown;
use holdfast_core::claim::{
    BeginAnswer, BeginFacts, CommitAnswer, Fingerprint, Look, ParkReason, ReleaseAnswer, StateName,
    StepAnswer, UndeliverableAnswer,
};
use holdfast_core::cutover::Rule;
use holdfast_core::key::{ClaimKey, Lane};
use holdfast_core::name::{Consumer, Group, Side};

use crate::error::PortError;
use crate::message::{Effects, Outbox, Snapshot};

mod agreement;

pub use agreement::{Agreement, GroupRules, Open, Opened};
pub use holdfast_core::incarnation::Incarnation;

/// A store of claims, leases, switches and state. Each call is one atomic
/// decision in the store, made on the store's own clock, and safe to repeat
/// with the same token when its answer was lost.
///
/// Every call fails as transient while the store is away, and as
/// [`Kind::Fenced`](crate::error::Kind::Fenced) or with a `Fenced` answer once
/// it is not the store that [`Store::open`] found.
#[async_trait]
pub trait Store: Send + Sync + 'static {
    /// May this side run this message now?
    ///
    /// # Errors
    /// [`PortError`]; a record that cannot be read is `BadRecord`.
    async fn begin(&self, begin: Begin) -> Result<BeginAnswer<Snapshot, Outbox>, PortError>;

    /// Looks at the claims of messages of one group that wait for the other
    /// side: one answer for each, in their order. Decides and writes nothing;
    /// cheap for hundreds at once.
    ///
    /// # Errors
    /// [`PortError`]
    async fn look_at(
        &self,
        held: &[Place],
        side: &Side,
        assign_timeout: Duration,
    ) -> Result<Vec<Look>, PortError>;

    /// Records success and stores the effects, all or nothing.
    ///
    /// # Errors
    /// [`PortError`]
    async fn commit(
        &self,
        at: &Place,
        shown: Shown,
        commit: &Commit,
    ) -> Result<CommitAnswer, PortError>;

    /// Records a failure; the claim is kept.
    ///
    /// # Errors
    /// [`PortError`]
    async fn fail(&self, at: &Place, shown: Shown, error: &str) -> Result<StepAnswer, PortError>;

    /// Gives the message up.
    ///
    /// # Errors
    /// [`PortError`]
    async fn park(
        &self,
        at: &Place,
        shown: Shown,
        reason: ParkReason,
        error: Option<&str>,
    ) -> Result<StepAnswer, PortError>;

    /// Undoes a `begin` whose handler was never called.
    ///
    /// # Errors
    /// [`PortError`]
    async fn abandon(&self, at: &Place, shown: Shown) -> Result<StepAnswer, PortError>;

    /// The outbox is published.
    ///
    /// # Errors
    /// [`PortError`]
    async fn published(&self, at: &Place) -> Result<StepAnswer, PortError>;

    /// The dead letter is safe. `fence` is that of the attempt that was given
    /// up, or what the answer `Parking` told.
    ///
    /// # Errors
    /// [`PortError`]
    async fn buried(&self, at: &Place, fence: u64) -> Result<StepAnswer, PortError>;

    /// The outbox has no target, once more; given up at `limit`.
    ///
    /// # Errors
    /// [`PortError`]
    async fn undeliverable(
        &self,
        at: &Place,
        error: &str,
        limit: u32,
    ) -> Result<UndeliverableAnswer, PortError>;

    /// An operator's release of an unfinished claim.
    ///
    /// # Errors
    /// [`PortError`]
    async fn release(
        &self,
        at: &Place,
        to: Option<&Side>,
        force: bool,
    ) -> Result<ReleaseAnswer, PortError>;

    /// Re-opens a given-up claim for a replay.
    ///
    /// # Errors
    /// [`PortError`]
    async fn replay(&self, at: &Place) -> Result<ReleaseAnswer, PortError>;

    /// The claim as it stands, for people. None when there is none.
    ///
    /// # Errors
    /// [`PortError`]
    async fn show(&self, at: &Place) -> Result<Option<ClaimView>, PortError>;

    /// Claims of a group that are not finished (or in this one state), at most
    /// `limit`. Not a consistent snapshot.
    ///
    /// # Errors
    /// [`PortError`]
    async fn list(
        &self,
        group: &Group,
        state: Option<StateName>,
        limit: usize,
    ) -> Result<Vec<ClaimView>, PortError>;

    /// Records the rules of a group, or says how those recorded differ.
    ///
    /// # Errors
    /// [`PortError`]
    async fn agree(&self, group: &Group, rules: &GroupRules) -> Result<Agreement, PortError>;

    /// Tries to become leader of a consumer; the epoch grows each time.
    ///
    /// # Errors
    /// [`PortError`]
    async fn acquire(
        &self,
        of: &LeaseName,
        owner: u64,
        ttl: Duration,
    ) -> Result<LeaseAnswer, PortError>;

    /// Extends a lease that is still ours.
    ///
    /// # Errors
    /// [`PortError`]
    async fn renew(
        &self,
        of: &LeaseName,
        owner: u64,
        ttl: Duration,
    ) -> Result<LeaseAnswer, PortError>;

    /// Gives a lease back if it is ours, and tells those who watch.
    ///
    /// # Errors
    /// [`PortError`]
    async fn give_back(&self, of: &LeaseName, owner: u64) -> Result<LeaseAnswer, PortError>;

    /// Who leads. None when nobody does.
    ///
    /// # Errors
    /// [`PortError`]
    async fn leader(&self, of: &LeaseName) -> Result<Option<LeaseView>, PortError>;

    /// Says that an instance is there, for as long as this from now on, or (with
    /// none) that it leaves. Gives all that are there, in no order, and tells
    /// those who watch when one came or left.
    ///
    /// # Errors
    /// [`PortError`]
    async fn attend(
        &self,
        roster: &str,
        instance: u64,
        stay: Option<Duration>,
    ) -> Result<Vec<Present>, PortError>;

    /// The cut-over rule of a group. None when it has none.
    ///
    /// # Errors
    /// [`PortError`]
    async fn rule(&self, group: &Group) -> Result<Option<Rule>, PortError>;

    /// Sets the rule if its revision is still `expected` (0: none exists yet).
    /// Gives the rule that holds afterwards: ours with the next revision, or
    /// the one that was there.
    ///
    /// # Errors
    /// [`PortError`]
    async fn set_rule(
        &self,
        group: &Group,
        rule: &Rule,
        expected: u64,
    ) -> Result<Result<Rule, Rule>, PortError>;

    /// Finds out which store this is, after what `mode` says was done. None when
    /// it has no incarnation.
    ///
    /// # Errors
    /// [`PortError`]
    async fn open(&self, mode: Open) -> Result<Option<Opened>, PortError>;

    /// Looks whether this is the store that is remembered, and only then raises
    /// its pulse by one, in one step
    /// ([`raised`](holdfast_core::incarnation::raised)). Gives what is there
    /// afterwards. When it was raised every call of this process is checked
    /// against that from now on, as with [`Open::Expect`].
    ///
    /// # Errors
    /// [`PortError`]
    async fn pulse(&self, remembered: &Incarnation) -> Result<Option<Incarnation>, PortError>;

    /// A small durable flag (a paused consumer, a halted lane). None deletes.
    ///
    /// # Errors
    /// [`PortError`]
    async fn set_flag(&self, name: &str, value: Option<&str>) -> Result<(), PortError>;

    /// All flags whose names begin with `prefix`.
    ///
    /// # Errors
    /// [`PortError`]
    async fn flags(&self, prefix: &str) -> Result<Vec<(String, String)>, PortError>;

    /// Adds to the totals of a consumer and side that survive the process: all
    /// of the counts or none, and once however often the same addition is made.
    /// Without counts the run is over and is forgotten.
    ///
    /// # Errors
    /// [`PortError`]
    async fn add_totals(
        &self,
        name: &str,
        of: Addition,
        counts: &[(String, u64)],
    ) -> Result<(), PortError>;

    /// The totals under a name.
    ///
    /// # Errors
    /// [`PortError`]
    async fn totals(&self, name: &str) -> Result<Vec<(String, u64)>, PortError>;

    /// Waits until something that others changed may be of interest: a lease
    /// given back, a rule set, a lane resumed. May also return for nothing.
    async fn changed(&self);

    /// Can it be reached now?
    fn is_up(&self) -> bool;
}

/// Where a record lives.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Place {
    /// The group.
    pub group: Group,
    /// The key.
    pub key: ClaimKey,
    /// The hash slot rule of the group.
    pub slot: Slot,
    /// The consumer's lease that a shown epoch belongs to, when it has one.
    pub lease: Option<Consumer>,
    /// How long the claim is remembered.
    pub keep: Duration,
}

/// What makes the hash slot of a claim in a clustered store.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Slot {
    /// `{group}`: everything of a group is together.
    #[default]
    Group,
    /// `{group:key}`: for unordered groups without a lease.
    Key,
}

/// A `begin` call.
#[derive(Clone, Debug)]
pub struct Begin {
    /// Where the record lives.
    pub at: Place,
    /// What the host says.
    pub facts: BeginFacts,
    /// Bring the state of the lane or key with a grant.
    pub state: bool,
}

/// What a commit stores.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Commit {
    /// The lane of the message: names the state that is changed. Without one
    /// the state belongs to the key.
    pub lane: Option<Lane>,
    /// The sequence of the message, raised to the lane's last applied one.
    pub sequence: Option<u64>,
    /// What the handler did.
    pub effects: Effects,
}

/// A claim, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClaimView {
    /// The key.
    pub key: ClaimKey,
    /// The owner.
    pub side: Side,
    /// Where it stands.
    pub state: StateName,
    /// Why it was given up, or `stale` for a claim that ended so.
    pub reason: Option<String>,
    /// Calls of the handler so far; 0 for a compacted claim.
    pub attempt: u32,
    /// The last fence; 0 for a compacted claim.
    pub fence: u64,
    /// The lane; none for a compacted claim.
    pub lane: Option<String>,
    /// The last error.
    pub error: Option<String>,
    /// Until when the lock is held, in milliseconds since 1970, while running.
    pub locked_until_ms: Option<u64>,
    /// The body's fingerprint.
    pub fingerprint: Option<Fingerprint>,
    /// Its transitions, oldest first; a finished claim has them for a while.
    pub history: Vec<TransitionView>,
}

/// One transition, for people.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TransitionView {
    /// When, in milliseconds since 1970.
    pub at_ms: u64,
    /// What happened.
    pub step: String,
    /// The side that did it.
    pub side: String,
    /// The attempt it belongs to.
    pub attempt: u32,
    /// More about it.
    pub detail: String,
}

/// Names one addition to totals. One whose number is not above the last one of
/// its run was made before.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Addition {
    /// A random number for each life of a host.
    pub run: u64,
    /// Grows with each addition of the run, from 1.
    pub number: u64,
}

/// Names a lease.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct LeaseName {
    /// The group, which decides the hash slot.
    pub group: Group,
    /// The consumer.
    pub consumer: Consumer,
}

/// The answer to a lease step.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum LeaseAnswer {
    /// It is ours under this epoch (given back: it was).
    Ours {
        /// The fence of the lease.
        epoch: u64,
    },
    /// Another has it, for at most this much longer.
    Held {
        /// Time left.
        left: Duration,
    },
    /// Nobody has it.
    Gone,
}

/// An instance that is there.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Present {
    /// Its random value.
    pub instance: u64,
    /// For how much longer, if it does not say so again.
    pub left: Duration,
}

/// Who leads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct LeaseView {
    /// The owner's random value.
    pub owner: u64,
    /// The fence of the lease.
    pub epoch: u64,
    /// For how much longer, at most.
    pub left: Duration,
}

/// Shared use of a store.
pub type SharedStore = Arc<dyn Store>;
