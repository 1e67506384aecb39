//! Watches whether the store is the one we started with.
//!
//! ```text
//!            looked at, no broker says otherwise        not the one remembered
//!  Unknown ─────────────────────────────────────► Open ───────────────────────► Halted
//!     │                                            ▲                               │
//!     └── a broker remembers another one ───────►──┼───────────────────────────────┤
//!                                                  └── an operator accepted it ────┘
//! ```
//!
//! Each durable broker keeps a copy of what the hosts remember. A host that
//! starts afresh compares the store with the copies before it raises the pulse
//! for the first time, and one that halts leaves there what it remembers, so a
//! restart is no way around it. When the gate closes every consumer stops, and
//! what they have in hand is neither committed nor acknowledged. An operator
//! decides (`holdfast store accept`): that gives the store a new id, which says
//! whose place it takes, and halted hosts find it there.

mod copies;

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_core::incarnation::{Difference, Finding, Incarnation, is_accepted, judge};
use holdfast_ports::broker::{Broker, Keep};
use holdfast_ports::error::PortError;
use holdfast_ports::store::{Open, Opened, SharedStore};
use tokio::sync::watch;
use tokio::time::{MissedTickBehavior, interval, sleep};
use tokio_util::sync::CancellationToken;

use self::copies::Copies;

/// May messages be handled?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// The store has not been seen yet; and why, once that was tried.
    Unknown(String),
    /// Yes.
    Open,
    /// No, and why.
    Halted(String),
}

/// How often the store is looked at.
const LOOK_EVERY: Duration = Duration::from_secs(1);

/// How often the brokers' copies are brought up to date.
const COPY_EVERY: Duration = Duration::from_secs(10);

/// Watches one store for one process.
pub struct Guard {
    store: SharedStore,
    copies: Copies,
    gate: watch::Sender<Gate>,
    known: Mutex<Known>,
    /// Held while the store is looked at or accepted, so that no look that began
    /// before an operator's word ends after it.
    turn: tokio::sync::Mutex<()>,
}

#[derive(Default)]
struct Known {
    /// The store as it was seen last.
    current: Option<Incarnation>,
    /// What this host remembered when it lost its trust.
    distrusted: Option<Incarnation>,
}

impl Known {
    fn ids(&self) -> Vec<String> {
        let remembered = self.distrusted.iter().chain(&self.current);
        remembered.map(|known| known.id.clone()).collect()
    }
}

impl Guard {
    /// A guard that has not looked yet.
    #[must_use]
    pub fn new(
        store: SharedStore,
        service: &str,
        brokers: BTreeMap<String, Arc<dyn Broker>>,
    ) -> Self {
        let (gate, _) = watch::channel(Gate::Unknown(String::new()));
        Self {
            store,
            copies: Copies::new(service, brokers),
            gate,
            known: Mutex::default(),
            turn: tokio::sync::Mutex::default(),
        }
    }

    /// The gate that consumers watch.
    #[must_use]
    pub fn gate(&self) -> watch::Receiver<Gate> {
        self.gate.subscribe()
    }

    /// Looks once a second until cancelled.
    pub async fn watch(&self, stop: &CancellationToken) {
        let looking = async {
            let mut tick = interval(LOOK_EVERY);
            tick.set_missed_tick_behavior(MissedTickBehavior::Delay);
            loop {
                tick.tick().await;
                if let Err(error) = self.look().await {
                    tracing::debug!(%error, "the store was not looked at");
                }
            }
        };
        // Beside it, since a broker that is away must not delay a look.
        let copying = async {
            loop {
                sleep(COPY_EVERY).await;
                self.renew_copies().await;
            }
        };
        tokio::select! {
            biased;
            () = stop.cancelled() => {}
            () = looking => {}
            () = copying => {}
        }
    }

    /// Looks at the store now.
    ///
    /// # Errors
    /// [`PortError`] when the store cannot be reached; nothing is known then.
    pub async fn look(&self) -> Result<(), PortError> {
        let _turn = self.turn.lock().await;
        let gate = self.gate.borrow().clone();
        match gate {
            Gate::Unknown(_) => {
                let looked = self.first_look().await;
                if let Err(error) = &looked {
                    self.gate.send_replace(Gate::Unknown(error.to_string()));
                }
                looked
            }
            Gate::Open => self.beat().await,
            Gate::Halted(_) => self.look_again().await,
        }
    }

    /// Compares with what the brokers remember, and only then raises the pulse.
    async fn first_look(&self) -> Result<(), PortError> {
        // The copies first: what they name the store had before.
        let copies = self.copies.look().await?;
        let found = self.store.open(Open::Look).await?;
        for (broker, copy) in &copies {
            if !self.compare(found.as_ref(), copy, broker) {
                return Ok(());
            }
        }
        let found = match found {
            Some(found) => found,
            None => {
                let made = self.store.open(Open::Create).await?;
                made.ok_or_else(|| PortError::transient("create an incarnation id in the store"))?
            }
        };
        self.adopt(&found.incarnation).await
    }

    /// This is the store, unless it changed since it was seen like this.
    async fn adopt(&self, seen: &Incarnation) -> Result<(), PortError> {
        let found = self.store.pulse(seen).await?;
        match (judge(found.as_ref(), Some(seen)), found) {
            (Finding::Same, Some(current)) => {
                tracing::info!(id = current.id, pulse = current.pulse, "this is the store");
                *self.known() = Known {
                    current: Some(current),
                    distrusted: None,
                };
                self.gate.send_replace(Gate::Open);
            }
            (Finding::Different(why), _) => self.halt(&why, seen, ""),
            (Finding::First | Finding::Same, _) => {}
        }
        Ok(())
    }

    async fn beat(&self) -> Result<(), PortError> {
        let Some(known) = self.current() else {
            return Ok(());
        };
        let found = self.store.pulse(&known).await?;
        match judge(found.as_ref(), Some(&known)) {
            Finding::Different(why) => {
                self.halt(&why, &known, "");
                self.look_again().await?;
            }
            Finding::First | Finding::Same => self.known().current = found,
        }
        Ok(())
    }

    /// Was the store accepted at another host? Leaves what this one remembers at
    /// the brokers, for whoever starts next.
    async fn look_again(&self) -> Result<(), PortError> {
        let Some(distrusted) = self.known().distrusted.clone() else {
            return Ok(());
        };
        if let Some(found) = self.store.open(Open::Look).await?
            && is_accepted(&found.incarnation, &found.replaced, &distrusted)
        {
            tracing::warn!(id = found.incarnation.id, "an operator accepted this store");
            self.copies.forget_confirmed();
            return self.adopt(&found.incarnation).await;
        }
        self.copies.renew_all(&distrusted).await;
        Ok(())
    }

    /// Compares a broker's copy before its first message is handled.
    ///
    /// # Errors
    /// [`PortError`] when the broker or the store cannot be asked.
    pub async fn confirm(&self, name: &str) -> Result<(), PortError> {
        if self.copies.is_confirmed(name) {
            return Ok(());
        }
        let Some(seen) = self.current() else {
            return Err(PortError::transient("know the store yet"));
        };
        // Written only where nothing was kept, or less of the same store.
        let copy = self.copies.put(name, Keep::Renew(seen.clone())).await?;
        let _turn = self.turn.lock().await;
        if let Some(copy) = copy {
            let found = self.store.open(Open::Look).await?;
            if !self.compare(found.as_ref(), &copy, name) {
                return Ok(());
            }
            if let Some(found) = found.filter(|found| found.incarnation.id != copy.id) {
                let accepted = Keep::Replace(found.incarnation);
                self.copies.put(name, accepted).await?;
            }
        }
        self.copies.confirm(name);
        Ok(())
    }

    /// Does the store agree with a broker's copy? Halts if not.
    fn compare(&self, store: Option<&Opened>, copy: &Incarnation, broker: &str) -> bool {
        match judge(store.map(|store| &store.incarnation), Some(copy)) {
            Finding::Different(why) => {
                let accepted = store
                    .is_some_and(|store| is_accepted(&store.incarnation, &store.replaced, copy));
                if !accepted {
                    self.halt(&why, copy, &format!(" (remembered by the broker {broker})"));
                }
                accepted
            }
            Finding::First | Finding::Same => true,
        }
    }

    /// Tells the brokers what this host remembers, as far as they can be reached.
    pub async fn renew_copies(&self) {
        let open = *self.gate.borrow() == Gate::Open;
        if let Some(current) = self.current().filter(|_| open) {
            self.copies.renew_confirmed(&current).await;
        }
    }

    /// A step was told that this is not the store: looks what it is. Until that
    /// can be seen each further step is told the same.
    pub async fn doubt(&self) {
        if let Err(error) = self.look().await {
            tracing::debug!(%error, "the store was not looked at");
        }
    }

    /// Closes the gate: the store is not what is remembered, and by whom.
    pub fn halt(&self, why: &Difference, remembered: &Incarnation, by: &str) {
        let text = format!(
            "{why}{by}; nothing is handled until an operator accepts this store: holdfast store accept"
        );
        self.known().distrusted = Some(remembered.clone());
        let halted = Gate::Halted(text.clone());
        if self.gate.send_replace(halted.clone()) != halted {
            tracing::error!("{text}");
        }
    }

    /// An operator accepts the store as it is, for all hosts of the service: it
    /// gets a new id and remembers whose place it takes, so that halted hosts,
    /// which go on looking, see that it was accepted.
    ///
    /// # Errors
    /// [`PortError`] when the store cannot be reached. It may be accepted all the
    /// same then; accepting again does no harm.
    pub async fn accept(&self) -> Result<Incarnation, PortError> {
        let _turn = self.turn.lock().await;
        let mut stands_for = self.copies.look_all().await;
        stands_for.extend(self.known().ids());
        let accept = Open::Accept(stands_for.into_iter().collect());
        let Some(accepted) = self.store.open(accept).await? else {
            return Err(PortError::transient("give the store a new incarnation id"));
        };
        let accepted = accepted.incarnation;
        // A broker that is away is told when it is asked the next time.
        self.copies.forget_confirmed();
        self.copies.replace_all(&accepted).await;
        self.adopt(&accepted).await?;
        Ok(accepted)
    }

    fn current(&self) -> Option<Incarnation> {
        self.known().current.clone()
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
