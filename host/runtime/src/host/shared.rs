//! What the hosts of a service share through the store: who is paused, totals,
//! and what each has in hand when an audit asks.

use std::collections::BTreeSet;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use holdfast_ports::error::PortError;

use super::{Host, Running};
use crate::audit::muster;
use crate::books::Books;
use crate::consumer::{Consumer, Phase};
use crate::session::Context;
use crate::totals::{self, Shelf};

/// Flags of paused consumers in the store.
const PAUSED: &str = "paused/";

/// How long the last totals may hold up the end of a process.
const LAST_TOTALS: Duration = Duration::from_secs(2);

impl Host {
    /// The consumers that are paused; none when that is not known.
    pub(super) async fn paused(&self) -> Option<BTreeSet<String>> {
        match self.parts.store.flags(PAUSED).await {
            Ok(flags) => Some(paused_in(flags)),
            Err(error) => {
                tracing::warn!(%error, "paused consumers are not known yet");
                None
            }
        }
    }

    /// Another host, or the one before a restart, may have paused a consumer or
    /// resumed a lane.
    pub(super) async fn refresh_flags(&self) -> Result<(), PortError> {
        let _turn = self.flags.lock().await;
        let flags = self.parts.store.flags("").await?;
        for (name, running) in &*self.consumers() {
            let flag = format!("{PAUSED}{name}");
            let paused = flags.iter().any(|(name, _)| *name == flag);
            running.consumer.set_paused(paused);
            running.consumer.context().halts.seen(&flags);
        }
        Ok(())
    }

    /// Pauses or resumes a consumer here and in the store, so that it stays so
    /// over a restart, and is so in every host within a second. False when there
    /// is no such consumer.
    ///
    /// # Errors
    /// [`PortError`] when the store did not record it; the consumer is as it was.
    pub async fn set_paused(&self, name: &str, paused: bool) -> Result<bool, PortError> {
        let Some(consumer) = self.consumer(name) else {
            return Ok(false);
        };
        let _turn = self.flags.lock().await;
        let flag = format!("{PAUSED}{name}");
        self.parts
            .store
            .set_flag(&flag, paused.then_some("by an operator"))
            .await?;
        consumer.set_paused(paused);
        Ok(true)
    }

    /// A number that tells this process from other hosts of the service.
    #[must_use]
    pub fn id(&self) -> u64 {
        self.id
    }

    /// The books of every consumer and side that this process had, by their
    /// names.
    #[must_use]
    pub fn books(&self) -> Vec<(String, String, Arc<Books>)> {
        let books = self.books.lock().unwrap_or_else(PoisonError::into_inner);
        let row = |((consumer, side), books): (&(String, String), &Arc<Books>)| {
            (consumer.clone(), side.clone(), Arc::clone(books))
        };
        books.iter().map(row).collect()
    }

    fn shelf(&self) -> Shelf {
        let books = self.books().into_iter();
        books
            .map(|(consumer, side, books)| (totals::name(&consumer, &side), books))
            .collect()
    }

    /// Adds to the totals in the store what ended since the last time.
    ///
    /// # Errors
    /// [`PortError`] of the store; it is added later then.
    pub async fn write_totals(&self) -> Result<(), PortError> {
        let store = self.parts.store.as_ref();
        self.totals.write(store, &self.shelf()).await
    }

    pub(super) async fn add_totals(&self) {
        loop {
            tokio::select! {
                biased;
                () = self.stop.cancelled() => return,
                () = tokio::time::sleep(totals::EVERY) => {}
            }
            if let Err(error) = self.write_totals().await {
                tracing::debug!(%error, "totals are added later");
            }
        }
    }

    /// What this host says when an audit asks: also about consumers that drain.
    pub(super) fn in_hand(&self) -> Vec<serde_json::Value> {
        let say = |context: &Context, consumes: bool| {
            let spec = &context.spec;
            let held = context.books.held().keys();
            let (group, side) = (spec.group.as_str(), spec.side.as_str());
            muster::about(group, side, &spec.queue, consumes, &held)
        };
        let running = self.status();
        let draining = self.draining();
        let running = running
            .iter()
            .map(|(consumer, status)| say(consumer.context(), status.phase == Phase::Consuming));
        let draining = draining
            .iter()
            .map(|consumer| say(consumer.context(), false));
        running.chain(draining).collect()
    }

    /// Consumers that were told to end are still asked what they have in hand.
    pub(super) fn remember_draining(&self, one: &Running) {
        let mut draining = self.draining.lock().unwrap_or_else(PoisonError::into_inner);
        draining.retain(|known| known.strong_count() > 0);
        draining.push(Arc::downgrade(&one.consumer));
    }

    fn draining(&self) -> Vec<Arc<Consumer>> {
        let draining = self.draining.lock().unwrap_or_else(PoisonError::into_inner);
        draining
            .iter()
            .filter_map(std::sync::Weak::upgrade)
            .collect()
    }

    /// The last additions to the totals, when nothing runs any more.
    pub(super) async fn finish_totals(&self) {
        let shelf = self.shelf();
        let last = self.totals.finish(self.parts.store.as_ref(), &shelf);
        match tokio::time::timeout(LAST_TOTALS, last).await {
            Ok(Ok(())) => {}
            Ok(Err(error)) => tracing::warn!(%error, "the last totals are not in the store"),
            Err(_) => tracing::warn!("the store did not take the last totals in time"),
        }
    }
}

/// The names in flags of paused consumers.
fn paused_in(flags: Vec<(String, String)>) -> BTreeSet<String> {
    let names = flags
        .into_iter()
        .filter_map(|(name, _)| name.strip_prefix(PAUSED).map(str::to_owned));
    names.collect()
}
