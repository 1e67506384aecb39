//! The copies of the store's incarnation that the brokers keep.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use futures_util::future::join_all;
use holdfast_core::incarnation::Incarnation;
use holdfast_ports::broker::{Broker, Keep};
use holdfast_ports::error::PortError;

/// The brokers of a host, and with which of them the store was compared.
pub(super) struct Copies {
    service: String,
    brokers: BTreeMap<String, Arc<dyn Broker>>,
    confirmed: Mutex<BTreeSet<String>>,
}

type Answer = Result<Option<Incarnation>, PortError>;

impl Copies {
    pub(super) fn new(service: &str, brokers: BTreeMap<String, Arc<dyn Broker>>) -> Self {
        Self {
            service: service.to_owned(),
            brokers,
            confirmed: Mutex::default(),
        }
    }

    pub(super) fn is_confirmed(&self, name: &str) -> bool {
        self.confirmed().contains(name)
    }

    pub(super) fn confirm(&self, name: &str) {
        self.confirmed().insert(name.to_owned());
    }

    /// Each is to be compared again.
    pub(super) fn forget_confirmed(&self) {
        self.confirmed().clear();
    }

    /// The copies of the brokers that can be reached, by the broker's name. One
    /// that cannot is asked before its first message is handled; but one at
    /// least must answer.
    pub(super) async fn look(&self) -> Result<Vec<(String, Incarnation)>, PortError> {
        let mut found = Vec::new();
        let mut failed = None;
        let answers = self.tell_all(&Keep::Look).await;
        let none = !answers.is_empty() && answers.iter().all(|(_, answer)| answer.is_err());
        for (name, answer) in answers {
            match answer {
                Ok(copy) => found.extend(copy.map(|copy| (name.clone(), copy))),
                Err(error) => failed = Some(error),
            }
        }
        match failed {
            Some(error) if none => Err(error),
            _ => Ok(found),
        }
    }

    /// The ids in all copies that can be read.
    pub(super) async fn look_all(&self) -> BTreeSet<String> {
        let answers = self.tell_all(&Keep::Look).await.into_iter();
        let copies = answers.filter_map(|(_, answer)| answer.ok().flatten());
        copies.map(|copy| copy.id).collect()
    }

    /// Leaves what is remembered with all brokers that can be reached.
    pub(super) async fn renew_all(&self, remembered: &Incarnation) {
        self.tell_all(&Keep::Renew(remembered.clone())).await;
    }

    /// All brokers that can be reached keep this store from now on.
    pub(super) async fn replace_all(&self, accepted: &Incarnation) {
        self.tell_all(&Keep::Replace(accepted.clone())).await;
    }

    /// Brings the copies up to date with which the store was compared.
    pub(super) async fn renew_confirmed(&self, remembered: &Incarnation) {
        let confirmed = self.confirmed().clone();
        let keep = Keep::Renew(remembered.clone());
        let told = self
            .brokers
            .iter()
            .filter(|(name, _)| confirmed.contains(*name));
        join_all(told.map(|(name, broker)| self.tell(name, broker, &keep))).await;
    }

    /// Tells one broker; gives what it keeps then.
    pub(super) async fn put(&self, name: &str, keep: Keep) -> Answer {
        match self.brokers.get(name) {
            Some(broker) => self.tell(name, broker, &keep).await,
            None => Ok(None),
        }
    }

    async fn tell_all(&self, keep: &Keep) -> Vec<(&String, Answer)> {
        let told = self
            .brokers
            .iter()
            .map(|(name, broker)| async move { (name, self.tell(name, broker, keep).await) });
        join_all(told).await
    }

    async fn tell(&self, name: &str, broker: &Arc<dyn Broker>, keep: &Keep) -> Answer {
        let answer = broker.incarnation(&self.service, keep.clone()).await;
        answer.inspect_err(|error| {
            tracing::debug!(broker = name, %error, "its copy of the store's incarnation was not reached");
        })
    }

    fn confirmed(&self) -> MutexGuard<'_, BTreeSet<String>> {
        self.confirmed
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
    }
}
