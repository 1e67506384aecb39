//! The cut-over rule of one group, as this host knows it.
//!
//! The store has the rule; a host keeps a copy, reads it again each second and
//! whenever the store says that something changed, and shows its revision when
//! a new key is claimed. A copy that is out of date decides nothing: the store
//! answers that the rule moved, and it is read again.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use arc_swap::ArcSwapOption;
use holdfast_core::cutover::Rule;
use holdfast_core::name::{Group, Side};
use holdfast_ports::error::PortError;
use holdfast_ports::store::SharedStore;

/// The rule of one group. All consumers of the group in this host share it.
pub struct GroupRule {
    group: Group,
    store: SharedStore,
    /// What the configuration says, for a store that has no rule yet.
    first: ArcSwapOption<Rule>,
    current: ArcSwapOption<Rule>,
    /// It was read, so that "no rule" is known to be none.
    known: AtomicBool,
    /// What the configuration says differently has been reported.
    told: AtomicBool,
    reading: tokio::sync::Mutex<()>,
}

impl GroupRule {
    /// The rule of this group, not read yet.
    #[must_use]
    pub fn new(group: Group, store: SharedStore) -> Self {
        Self {
            group,
            store,
            first: ArcSwapOption::empty(),
            current: ArcSwapOption::empty(),
            known: AtomicBool::new(false),
            told: AtomicBool::new(false),
            reading: tokio::sync::Mutex::default(),
        }
    }

    /// What the configuration gives as the first value, if anything.
    pub(crate) fn set_first(&self, first: Rule) {
        let first = Arc::new(first);
        let before = self.first.swap(Some(Arc::clone(&first)));
        if before.is_none_or(|before| before != first) {
            self.told.store(false, Ordering::Relaxed);
        }
    }

    /// The rule as it was last read; none when the group has none.
    #[must_use]
    pub fn current(&self) -> Option<Arc<Rule>> {
        self.current.load_full()
    }

    /// How long the owner of an assigned key has until another side may take it
    /// over.
    pub(crate) fn assign_timeout(&self) -> Duration {
        let rule = self.current.load();
        rule.as_ref()
            .map_or(Duration::from_mins(1), |rule| rule.assign_timeout)
    }

    /// Reads the rule if it is not known yet.
    ///
    /// # Errors
    /// [`PortError`] when the store does not answer.
    pub(crate) async fn known(&self) -> Result<(), PortError> {
        if self.known.load(Ordering::Acquire) {
            return Ok(());
        }
        self.read().await
    }

    /// Reads the rule, and sets the first value where there is none.
    ///
    /// # Errors
    /// [`PortError`] when the store does not answer; the copy stays as it was.
    pub(crate) async fn read(&self) -> Result<(), PortError> {
        let _one_at_a_time = self.reading.lock().await;
        self.take_in().await
    }

    /// Reads the rule again after the store said that revision `seen` is not the
    /// current one. Of many who ask at once, one reads.
    ///
    /// # Errors
    /// As for [`GroupRule::read`].
    pub(crate) async fn read_after(&self, seen: Option<u64>) -> Result<(), PortError> {
        let _one_at_a_time = self.reading.lock().await;
        if self.current().map(|rule| rule.revision) != seen {
            return Ok(());
        }
        self.take_in().await
    }

    async fn take_in(&self) -> Result<(), PortError> {
        let first = self.first.load_full();
        let rule = match (self.store.rule(&self.group).await?, &first) {
            (Some(rule), _) => Some(rule),
            (None, None) => None,
            (None, Some(first)) => match self.store.set_rule(&self.group, first, 0).await? {
                Ok(rule) | Err(rule) => Some(rule),
            },
        };
        if let Some(rule) = &rule
            && !self.told.swap(true, Ordering::Relaxed)
        {
            report(&self.group, rule, first.as_deref());
        }
        self.current.store(rule.map(Arc::new));
        self.known.store(true, Ordering::Release);
        Ok(())
    }

    /// Why a consumer of this side cannot take part, if it cannot.
    pub(crate) fn refusal(&self, side: &Side) -> Option<String> {
        let rule = self.current()?;
        let group = &self.group;
        (*side != rule.from && *side != rule.to).then(|| {
            format!(
                "the cut-over rule of the group {group} moves from {from} to {to}, and this \
                 consumer's side is {side}: no new key would ever be its own; give it one of \
                 these sides, or name others with `holdfast cutover set {group} --from SIDE --to \
                 SIDE`",
                from = rule.from,
                to = rule.to,
            )
        })
    }
}

/// Says how the rule that holds differs from what the configuration begins with.
fn report(group: &Group, rule: &Rule, first: Option<&Rule>) {
    let Some(first) = first else {
        tracing::warn!(
            %group, from = %rule.from, to = %rule.to, enabled = rule.enabled, percent = %rule.percent,
            revision = rule.revision,
            "the store has a cut-over rule for this group; it holds, although the configuration \
             has none"
        );
        return;
    };
    let same = Rule {
        revision: rule.revision,
        ..first.clone()
    } == *rule;
    if !same {
        tracing::info!(
            %group, from = %rule.from, to = %rule.to, enabled = rule.enabled, percent = %rule.percent,
            allowed = rule.allow.len(), assign_timeout = ?rule.assign_timeout, revision = rule.revision,
            "the cut-over rule in the store holds; what the configuration says differently is only \
             its first value and is ignored"
        );
    }
}

impl std::fmt::Debug for GroupRule {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("GroupRule")
            .field("group", &self.group)
            .field("current", &self.current())
            .finish_non_exhaustive()
    }
}
