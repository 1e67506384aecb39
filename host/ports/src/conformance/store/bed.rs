//! What the cases are written with: a group of their own, and messages that ask
//! for their claim.

use std::collections::hash_map::RandomState;
use std::hash::BuildHasher as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use holdfast_core::claim::steps::Shown;
use holdfast_core::claim::{
    BeginAnswer, BeginFacts, CommitAnswer, Fingerprint, ParkReason, ReleaseAnswer, StepAnswer,
    Token, UndeliverableAnswer,
};
use holdfast_core::key::{ClaimKey, Lane};
use holdfast_core::name::{Consumer, Group, Side};

use crate::message::{Effects, Outbox, Snapshot};
use crate::store::{Begin, ClaimView, Commit, LeaseAnswer, LeaseName, Place, Slot, Store};

/// How long a case waits for what must happen by itself.
const PATIENCE: Duration = Duration::from_secs(20);

/// A number that no other case, run or process uses.
pub(super) fn unique() -> u64 {
    static COUNT: AtomicU64 = AtomicU64::new(0);
    RandomState::new().hash_one((std::process::id(), COUNT.fetch_add(1, Ordering::Relaxed)))
}

/// Asks again and again until there is something, up to a deadline.
pub(super) async fn eventually<T>(what: &str, mut ask: impl AsyncFnMut() -> Option<T>) -> T {
    let start = Instant::now();
    loop {
        if let Some(found) = ask().await {
            return found;
        }
        assert!(start.elapsed() < PATIENCE, "{what} did not happen in time");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
}

pub(super) fn side(name: &str) -> Side {
    Side::new(name).expect("a side name")
}

/// A group that only one case uses.
#[derive(Clone)]
pub(super) struct Bed {
    pub(super) store: Arc<dyn Store>,
    pub(super) group: Group,
}

impl Bed {
    pub(super) fn new(store: Arc<dyn Store>) -> Self {
        let group = Group::new(&format!("case-{:016x}", unique())).expect("a group name");
        Self { store, group }
    }

    /// A message with this key, seen by side `new`, which also owns new keys.
    pub(super) fn message(&self, key: &str) -> Message {
        Message {
            store: self.store.clone(),
            at: Place {
                group: self.group.clone(),
                key: ClaimKey::from_known(key),
                slot: Slot::Group,
                lease: None,
                keep: Duration::from_secs(600),
            },
            facts: BeginFacts {
                side: side("new"),
                owner_if_new: side("new"),
                token: Token(unique()),
                fingerprint: None,
                lane: None,
                sequence: None,
                epoch: None,
                lock: Duration::from_secs(300),
                assign_timeout: Duration::from_secs(300),
                rule: None,
            },
            state: true,
        }
    }

    pub(super) fn lease(&self, consumer: &str) -> LeaseName {
        LeaseName {
            group: self.group.clone(),
            consumer: Consumer::new(consumer).expect("a consumer name"),
        }
    }

    /// Becomes leader and gives the epoch.
    pub(super) async fn lead(&self, consumer: &str, owner: u64, ttl: Duration) -> u64 {
        let answer = self
            .store
            .acquire(&self.lease(consumer), owner, ttl)
            .await
            .expect("acquire");
        match answer {
            LeaseAnswer::Ours { epoch } => epoch,
            other => panic!("the lease was free, but acquire answered {other:?}"),
        }
    }
}

/// A delivery of a message and the attempt that it stands for.
#[derive(Clone)]
pub(super) struct Message {
    pub(super) store: Arc<dyn Store>,
    pub(super) at: Place,
    pub(super) facts: BeginFacts,
    pub(super) state: bool,
}

/// What came with a grant.
#[derive(Debug)]
pub(super) struct Grant {
    pub(super) attempt: u32,
    pub(super) fence: u64,
    pub(super) error: Option<String>,
    pub(super) first_seen_ms: u64,
    pub(super) state: Snapshot,
}

impl Message {
    /// The same message, in another attempt: with a fresh token.
    pub(super) fn again(&self) -> Self {
        let mut other = self.clone();
        other.facts.token = Token(unique());
        other
    }

    /// Seen by another side, in another attempt; that side owns new keys.
    pub(super) fn on(&self, name: &str) -> Self {
        let mut other = self.again();
        other.facts.side = side(name);
        other.facts.owner_if_new = side(name);
        other
    }

    /// The cut-over rule gives a new key to this side.
    pub(super) fn given_to(mut self, name: &str) -> Self {
        self.facts.owner_if_new = side(name);
        self
    }

    /// The host takes the owner from the rule of this revision.
    pub(super) fn by_rule(mut self, revision: u64) -> Self {
        self.facts.rule = Some(revision);
        self
    }

    pub(super) fn body(mut self, body: &str) -> Self {
        self.facts.fingerprint = Some(Fingerprint::of(body.as_bytes()));
        self
    }

    pub(super) fn lane(mut self, lane: &str) -> Self {
        self.facts.lane = Some(Lane::from_known(lane));
        self
    }

    pub(super) fn sequence(mut self, sequence: u64) -> Self {
        self.facts.sequence = Some(sequence);
        self
    }

    pub(super) fn lock_ms(mut self, ms: u64) -> Self {
        self.facts.lock = Duration::from_millis(ms);
        self
    }

    pub(super) fn assign_timeout_ms(mut self, ms: u64) -> Self {
        self.facts.assign_timeout = Duration::from_millis(ms);
        self
    }

    pub(super) fn keep_ms(mut self, ms: u64) -> Self {
        self.at.keep = Duration::from_millis(ms);
        self
    }

    /// Handled under this epoch of the consumer's lease.
    pub(super) fn led(mut self, of: &LeaseName, epoch: u64) -> Self {
        self.at.lease = Some(of.consumer.clone());
        self.facts.epoch = Some(epoch);
        self
    }

    pub(super) fn shown(&self) -> Shown {
        Shown {
            token: self.facts.token,
            epoch: self.facts.epoch,
        }
    }

    pub(super) async fn begin(&self) -> BeginAnswer<Snapshot, Outbox> {
        let begin = Begin {
            at: self.at.clone(),
            facts: self.facts.clone(),
            state: self.state,
        };
        self.store.begin(begin).await.expect("begin")
    }

    /// Begins and must be allowed to.
    pub(super) async fn granted(&self) -> Grant {
        match self.begin().await {
            BeginAnswer::Granted {
                attempt,
                fence,
                error,
                first_seen_ms,
                state,
            } => Grant {
                attempt,
                fence,
                error,
                first_seen_ms,
                state,
            },
            other => panic!("begin was to be granted, but it answered {other:?}"),
        }
    }

    /// Begins and commits without effects.
    pub(super) async fn done(&self) {
        self.granted().await;
        assert_eq!(self.commit().await, CommitAnswer::Done);
    }

    /// Begins, is rejected and gets its dead letter.
    pub(super) async fn parked(&self) {
        self.granted().await;
        assert_eq!(self.park(ParkReason::Rejected).await, StepAnswer::Ok);
        assert_eq!(self.buried().await, StepAnswer::Ok);
    }

    pub(super) async fn commit(&self) -> CommitAnswer {
        self.commit_with(Effects::default()).await
    }

    pub(super) async fn commit_with(&self, effects: Effects) -> CommitAnswer {
        let commit = Commit {
            lane: self.facts.lane.clone(),
            sequence: self.facts.sequence,
            effects,
        };
        self.store
            .commit(&self.at, self.shown(), &commit)
            .await
            .expect("commit")
    }

    pub(super) async fn fail(&self, error: &str) -> StepAnswer {
        self.store
            .fail(&self.at, self.shown(), error)
            .await
            .expect("fail")
    }

    pub(super) async fn park(&self, reason: ParkReason) -> StepAnswer {
        self.store
            .park(&self.at, self.shown(), reason, Some("given up"))
            .await
            .expect("park")
    }

    pub(super) async fn abandon(&self) -> StepAnswer {
        self.store
            .abandon(&self.at, self.shown())
            .await
            .expect("abandon")
    }

    pub(super) async fn published(&self) -> StepAnswer {
        self.store.published(&self.at).await.expect("published")
    }

    /// Shows the fence that the claim has.
    pub(super) async fn buried(&self) -> StepAnswer {
        self.buried_under(self.last_fence().await).await
    }

    pub(super) async fn buried_under(&self, fence: u64) -> StepAnswer {
        self.store.buried(&self.at, fence).await.expect("buried")
    }

    pub(super) async fn last_fence(&self) -> u64 {
        self.show().await.map_or(0, |claim| claim.fence)
    }

    pub(super) async fn undeliverable(&self, limit: u32) -> UndeliverableAnswer {
        self.store
            .undeliverable(&self.at, "no queue took it", limit)
            .await
            .expect("undeliverable")
    }

    pub(super) async fn release(&self, to: Option<&str>, force: bool) -> ReleaseAnswer {
        let to = to.map(side);
        self.store
            .release(&self.at, to.as_ref(), force)
            .await
            .expect("release")
    }

    pub(super) async fn replay(&self) -> ReleaseAnswer {
        self.store.replay(&self.at).await.expect("replay")
    }

    pub(super) async fn show(&self) -> Option<ClaimView> {
        self.store.show(&self.at).await.expect("show")
    }
}
