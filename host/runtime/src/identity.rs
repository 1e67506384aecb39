//! Watches whether the store is the one we started with.
//!
//! A copy of the store's incarnation is kept in each durable broker, so that a
//! host that starts afresh notices an exchanged store too. When anything does
//! not fit, the gate closes, every consumer stops, and an operator decides
//! (`holdfast store accept`).

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use holdfast_core::incarnation::{self, Finding, judge};
use holdfast_ports::broker::{Broker, Incarnation};
use holdfast_ports::error::PortError;
use holdfast_ports::store::{Identity, Open, SharedStore};
use tokio::sync::watch;
use tokio::time::{Instant, interval};
use tokio_util::sync::CancellationToken;

/// May messages be handled?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Gate {
    /// The store has not been seen yet.
    Unknown,
    /// Yes.
    Open,
    /// No, and why.
    Halted(String),
}

/// How often the brokers' copies are brought up to date.
const COPY_EVERY: Duration = Duration::from_secs(10);

/// Watches one store for one process.
pub struct Guard {
    store: SharedStore,
    service: String,
    brokers: BTreeMap<String, Arc<dyn Broker>>,
    gate: watch::Sender<Gate>,
    known: Mutex<Known>,
}

#[derive(Default)]
struct Known {
    current: Option<incarnation::Incarnation>,
    confirmed: BTreeSet<String>,
}

impl Guard {
    /// A guard that has not looked yet.
    #[must_use]
    pub fn new(
        store: SharedStore,
        service: &str,
        brokers: BTreeMap<String, Arc<dyn Broker>>,
    ) -> Self {
        let (gate, _) = watch::channel(Gate::Unknown);
        Self {
            store,
            service: service.to_owned(),
            brokers,
            gate,
            known: Mutex::default(),
        }
    }

    /// The gate that consumers watch.
    #[must_use]
    pub fn gate(&self) -> watch::Receiver<Gate> {
        self.gate.subscribe()
    }

    /// Looks once a second until cancelled.
    pub async fn watch(&self, stop: &CancellationToken) {
        let mut tick = interval(Duration::from_secs(1));
        let mut copied = Instant::now();
        loop {
            tokio::select! {
                biased;
                () = stop.cancelled() => return,
                _ = tick.tick() => {}
            }
            let seen = self.gate.borrow().clone();
            let result = match seen {
                Gate::Unknown => self.first_look().await,
                Gate::Open => self.beat().await,
                Gate::Halted(_) => Ok(()),
            };
            if let Err(error) = result {
                tracing::debug!(%error, "the store was not looked at");
            }
            if copied.elapsed() >= COPY_EVERY {
                copied = Instant::now();
                self.copy_to_brokers().await;
            }
        }
    }

    async fn first_look(&self) -> Result<(), PortError> {
        let Some(mut found) = self.store.open(Open::Look).await? else {
            // Nothing is known here; the brokers may remember another store.
            for (name, broker) in &self.brokers {
                if let Some(copy) = broker.incarnation(&self.service, None).await? {
                    self.compare(None, &copy, name);
                    return Ok(());
                }
            }
            let made = self.store.open(Open::Create).await?;
            return match made {
                Some(identity) => self.adopt(identity).await,
                None => Err(PortError::transient(
                    "create an incarnation id in the store",
                )),
            };
        };
        found.pulse = found.pulse.max(1);
        self.adopt(found).await
    }

    async fn adopt(&self, identity: Identity) -> Result<(), PortError> {
        self.store.open(Open::Expect(identity.id.clone())).await?;
        tracing::info!(
            id = identity.id,
            pulse = identity.pulse,
            "this is the store"
        );
        let mut known = self.known();
        known.current = Some(incarnation::Incarnation {
            id: identity.id,
            pulse: identity.pulse,
        });
        drop(known);
        self.gate.send_replace(Gate::Open);
        Ok(())
    }

    async fn beat(&self) -> Result<(), PortError> {
        let pulse = self.store.pulse().await?;
        let known = self.known().current.clone();
        let found = match pulse {
            Some(pulse) => known.as_ref().map(|known| incarnation::Incarnation {
                id: known.id.clone(),
                pulse,
            }),
            None => self
                .store
                .open(Open::Look)
                .await?
                .map(|i| incarnation::Incarnation {
                    id: i.id,
                    pulse: i.pulse,
                }),
        };
        match judge(found.as_ref(), known.as_ref()) {
            Finding::Different(why) => self.halt(&why.to_string()),
            Finding::First | Finding::Same => self.known().current = found,
        }
        Ok(())
    }

    /// Compares a broker's copy before its first message is handled.
    ///
    /// # Errors
    /// [`PortError`] when the broker cannot be asked.
    pub async fn confirm(&self, name: &str) -> Result<(), PortError> {
        if self.known().confirmed.contains(name) {
            return Ok(());
        }
        let Some(broker) = self.brokers.get(name) else {
            return Ok(());
        };
        let current = self.known().current.clone();
        let Some(current) = current else {
            return Err(PortError::transient("know the store yet"));
        };
        match broker.incarnation(&self.service, None).await? {
            Some(copy) => {
                if !self.compare(Some(&current), &copy, name) {
                    return Ok(());
                }
            }
            None => {
                let copy = Incarnation {
                    id: current.id,
                    pulse: current.pulse,
                };
                broker.incarnation(&self.service, Some(&copy)).await?;
            }
        }
        self.known().confirmed.insert(name.to_owned());
        Ok(())
    }

    fn compare(
        &self,
        store: Option<&incarnation::Incarnation>,
        copy: &Incarnation,
        broker: &str,
    ) -> bool {
        let remembered = incarnation::Incarnation {
            id: copy.id.clone(),
            pulse: copy.pulse,
        };
        match judge(store, Some(&remembered)) {
            Finding::Different(why) => {
                self.halt(&format!("{why} (remembered by the broker {broker})"));
                false
            }
            Finding::First | Finding::Same => true,
        }
    }

    async fn copy_to_brokers(&self) {
        let (current, confirmed) = {
            let known = self.known();
            (known.current.clone(), known.confirmed.clone())
        };
        if *self.gate.borrow() != Gate::Open {
            return;
        }
        let Some(current) = current else { return };
        let copy = Incarnation {
            id: current.id,
            pulse: current.pulse,
        };
        for name in confirmed {
            if let Some(broker) = self.brokers.get(&name)
                && let Err(error) = broker.incarnation(&self.service, Some(&copy)).await
            {
                tracing::debug!(broker = name, %error, "the copy of the store's incarnation was not renewed");
            }
        }
    }

    /// Closes the gate.
    pub fn halt(&self, why: &str) {
        let text = format!(
            "{why}; nothing is handled until an operator accepts this store: holdfast store accept"
        );
        let halted = Gate::Halted(text.clone());
        if self.gate.send_replace(halted.clone()) != halted {
            tracing::error!("{text}");
        }
    }

    /// An operator accepts the store as it is.
    ///
    /// # Errors
    /// [`PortError`] when the store cannot be reached; nothing has changed then.
    pub async fn accept(&self) -> Result<Identity, PortError> {
        let made = self.store.open(Open::Create).await?;
        let Some(identity) = made else {
            return Err(PortError::transient(
                "create an incarnation id in the store",
            ));
        };
        let copy = Incarnation {
            id: identity.id.clone(),
            pulse: identity.pulse,
        };
        for broker in self.brokers.values() {
            broker.incarnation(&self.service, Some(&copy)).await?;
        }
        self.adopt(identity.clone()).await?;
        Ok(identity)
    }

    fn known(&self) -> std::sync::MutexGuard<'_, Known> {
        self.known.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
