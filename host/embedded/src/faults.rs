//! A store that misbehaves as a test tells it to.

use std::fmt;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;

use async_trait::async_trait;
use holdfast_core::claim::steps::Shown;
use holdfast_core::claim::{
    BeginAnswer, CommitAnswer, Look, ParkReason, ReleaseAnswer, StateName, StepAnswer,
    UndeliverableAnswer,
};
use holdfast_core::cutover::Rule;
use holdfast_core::name::{Group, Side};
use holdfast_ports::error::PortError;
use holdfast_ports::message::{Outbox, Snapshot};
use holdfast_ports::store::{
    Addition, Agreement, Begin, ClaimView, Commit, GroupRules, Incarnation, LeaseAnswer, LeaseName,
    LeaseView, Open, Opened, Place, Present, Store,
};

/// What will go wrong. Shared with the store that it belongs to.
#[derive(Clone, Default)]
pub struct Faults(Arc<Mutex<Script>>);

#[derive(Default)]
struct Script {
    instead: Option<Arc<dyn Store>>,
    down: bool,
    failing: u32,
    losing: u32,
    delay: Duration,
    calls: Vec<&'static str>,
}

impl fmt::Debug for Faults {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Faults").finish_non_exhaustive()
    }
}

impl Faults {
    fn script(&self) -> MutexGuard<'_, Script> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The next calls fail as transient and have no effect.
    pub fn fail_next(&self, calls: u32) {
        self.script().failing = calls;
    }

    /// The next calls take effect, but fail as transient.
    pub fn lose_replies(&self, calls: u32) {
        self.script().losing = calls;
    }

    /// Every call takes this much longer from now on.
    pub fn delay(&self, by: Duration) {
        self.script().delay = by;
    }

    /// Every call fails as transient, without effect, until this is undone.
    pub fn down(&self, down: bool) {
        self.script().down = down;
    }

    /// Calls go to another store from now on: an older copy, or an empty one.
    pub fn fail_over(&self, to: Arc<dyn Store>) {
        self.script().instead = Some(to);
    }

    fn instead(&self) -> Option<Arc<dyn Store>> {
        self.script().instead.clone()
    }

    /// The names of the calls so far, failed ones included.
    #[must_use]
    pub fn calls(&self) -> Vec<&'static str> {
        self.script().calls.clone()
    }

    /// What happens to the call that is being made.
    async fn before(&self, call: &'static str) -> Result<(), PortError> {
        let (refused, delay) = {
            let mut script = self.script();
            script.calls.push(call);
            let refused = script.down || script.failing > 0;
            script.failing = script.failing.saturating_sub(1);
            (refused, script.delay)
        };
        if !delay.is_zero() {
            tokio::time::sleep(delay).await;
        }
        if refused {
            return Err(PortError::transient(format!(
                "{call}: a fault was asked for"
            )));
        }
        Ok(())
    }

    /// What happens to its answer.
    fn after<T>(&self, call: &'static str, answer: Result<T, PortError>) -> Result<T, PortError> {
        let mut script = self.script();
        if script.losing == 0 {
            return answer;
        }
        script.losing -= 1;
        Err(PortError::transient(format!(
            "{call}: its answer was lost on purpose"
        )))
    }
}

/// A store with [`Faults`].
///
/// ```
/// use holdfast_embedded::{EmbeddedStore, FaultyStore};
/// use holdfast_ports::store::Store;
///
/// # #[tokio::main(flavor = "current_thread")]
/// # async fn main() -> Result<(), holdfast_ports::error::PortError> {
/// let store = FaultyStore::new(EmbeddedStore::open(None)?);
/// store.faults().lose_replies(1);
/// assert!(store.set_flag("paused", Some("yes")).await.is_err());
/// assert_eq!(store.flags("paused").await?.len(), 1);
/// # Ok(())
/// # }
/// ```
#[derive(Debug)]
pub struct FaultyStore<S> {
    inner: Arc<S>,
    faults: Faults,
}

impl<S: Store> FaultyStore<S> {
    /// Wraps a store; nothing goes wrong yet.
    #[must_use]
    pub fn new(inner: S) -> Self {
        Self {
            inner: Arc::new(inner),
            faults: Faults::default(),
        }
    }

    /// Another client of the same store, with faults of its own.
    #[must_use]
    pub fn client(&self) -> Self {
        Self {
            inner: Arc::clone(&self.inner),
            faults: Faults::default(),
        }
    }

    /// The handle that makes things go wrong.
    #[must_use]
    pub fn faults(&self) -> Faults {
        self.faults.clone()
    }
}

macro_rules! faulty {
    ($($name:ident($($arg:ident: $type:ty),*) -> $answer:ty;)*) => {
        #[async_trait]
        impl<S: Store> Store for FaultyStore<S> {
            $(async fn $name(&self, $($arg: $type),*) -> Result<$answer, PortError> {
                self.faults.before(stringify!($name)).await?;
                let answer = match self.faults.instead() {
                    Some(other) => other.$name($($arg),*).await,
                    None => self.inner.$name($($arg),*).await,
                };
                self.faults.after(stringify!($name), answer)
            })*

            async fn changed(&self) {
                self.inner.changed().await;
            }

            fn is_up(&self) -> bool {
                !self.faults.script().down && self.inner.is_up()
            }
        }
    };
}

faulty! {
    begin(begin: Begin) -> BeginAnswer<Snapshot, Outbox>;
    look_at(held: &[Place], side: &Side, assign_timeout: Duration) -> Vec<Look>;
    commit(at: &Place, shown: Shown, commit: &Commit) -> CommitAnswer;
    fail(at: &Place, shown: Shown, error: &str) -> StepAnswer;
    park(at: &Place, shown: Shown, reason: ParkReason, error: Option<&str>) -> StepAnswer;
    abandon(at: &Place, shown: Shown) -> StepAnswer;
    published(at: &Place) -> StepAnswer;
    buried(at: &Place, fence: u64) -> StepAnswer;
    undeliverable(at: &Place, error: &str, limit: u32) -> UndeliverableAnswer;
    release(at: &Place, to: Option<&Side>, force: bool) -> ReleaseAnswer;
    replay(at: &Place) -> ReleaseAnswer;
    show(at: &Place) -> Option<ClaimView>;
    list(group: &Group, state: Option<StateName>, limit: usize) -> Vec<ClaimView>;
    agree(group: &Group, rules: &GroupRules) -> Agreement;
    acquire(of: &LeaseName, owner: u64, ttl: Duration) -> LeaseAnswer;
    renew(of: &LeaseName, owner: u64, ttl: Duration) -> LeaseAnswer;
    give_back(of: &LeaseName, owner: u64) -> LeaseAnswer;
    leader(of: &LeaseName) -> Option<LeaseView>;
    attend(roster: &str, instance: u64, stay: Option<Duration>) -> Vec<Present>;
    rule(group: &Group) -> Option<Rule>;
    set_rule(group: &Group, rule: &Rule, expected: u64) -> Result<Rule, Rule>;
    open(mode: Open) -> Option<Opened>;
    pulse(remembered: &Incarnation) -> Option<Incarnation>;
    set_flag(name: &str, value: Option<&str>) -> ();
    flags(prefix: &str) -> Vec<(String, String)>;
    add_totals(name: &str, of: Addition, counts: &[(String, u64)]) -> ();
    totals(name: &str) -> Vec<(String, u64)>;
}
