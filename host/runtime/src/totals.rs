//! Totals that outlive the process.
//!
//! A delivery is added once it has ended: `received` and the ways of ending grow
//! in one step of the store, so that the totals close by themselves, whenever a
//! process dies. What ended since the last addition is then missing on both
//! sides, and what was in flight ends in another process.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use holdfast_core::settle::Ending;
use holdfast_ports::error::PortError;
use holdfast_ports::store::{Addition, Store};

use crate::books::Books;

/// How often totals are added to; as much is lost when the process is killed.
pub(crate) const EVERY: Duration = Duration::from_secs(5);

/// The name of the count of deliveries.
pub(crate) const RECEIVED: &str = "received";

/// Books by the name of their totals.
pub(crate) type Shelf = BTreeMap<String, Arc<Books>>;

/// The name under which a consumer and side have their totals.
pub(crate) fn name(consumer: &str, side: &str) -> String {
    format!("{consumer}/{side}")
}

/// What one process has added so far.
pub(crate) struct Totals {
    run: u64,
    written: tokio::sync::Mutex<BTreeMap<String, Written>>,
}

type Counts = [u64; Ending::ALL.len()];

#[derive(Default)]
struct Written {
    ended: Counts,
    number: u64,
    /// An addition that got no answer: it is made again as it was.
    asked: Option<Counts>,
}

impl Totals {
    /// `run` is a random number.
    pub(crate) fn new(run: u64) -> Self {
        Self {
            run,
            written: tokio::sync::Mutex::default(),
        }
    }

    /// Adds what ended since the last time.
    ///
    /// # Errors
    /// [`PortError`] of the store; what was not added is added the next time.
    pub(crate) async fn write(&self, store: &dyn Store, shelf: &Shelf) -> Result<(), PortError> {
        let mut written = self.written.lock().await;
        for (name, books) in shelf {
            let written = written.entry(name.clone()).or_default();
            // What was asked before, if anything, and then what ended since.
            for _ in 0..2 {
                written
                    .add(store, name, self.run, &books.ledger().ended)
                    .await?;
            }
        }
        Ok(())
    }

    /// The last additions of this process.
    ///
    /// # Errors
    /// As for [`Totals::write`].
    pub(crate) async fn finish(&self, store: &dyn Store, shelf: &Shelf) -> Result<(), PortError> {
        self.write(store, shelf).await?;
        let mut written = self.written.lock().await;
        for (name, written) in std::mem::take(&mut *written) {
            if written.number > 0 {
                let of = Addition {
                    run: self.run,
                    number: written.number,
                };
                store.add_totals(&name, of, &[]).await?;
            }
        }
        Ok(())
    }
}

impl Written {
    async fn add(
        &mut self,
        store: &dyn Store,
        name: &str,
        run: u64,
        ended: &Counts,
    ) -> Result<(), PortError> {
        let asked = *self.asked.get_or_insert_with(|| {
            self.number += 1;
            std::array::from_fn(|at| ended[at] - self.ended[at])
        });
        let sum: u64 = asked.iter().sum();
        if sum == 0 {
            self.asked = None;
            self.number -= 1;
            return Ok(());
        }
        let number = self.number;
        let endings = Ending::ALL.iter().zip(asked);
        let counts: Vec<(String, u64)> = [(RECEIVED.to_owned(), sum)]
            .into_iter()
            .chain(endings.map(|(ending, count)| (ending.as_str().to_owned(), count)))
            .filter(|(_, count)| *count > 0)
            .collect();
        store
            .add_totals(name, Addition { run, number }, &counts)
            .await?;
        for (at, count) in asked.into_iter().enumerate() {
            self.ended[at] += count;
        }
        self.asked = None;
        Ok(())
    }
}

/// Do totals close? Received, and the sum of all endings.
#[must_use]
pub(crate) fn sums(totals: &[(String, u64)]) -> (u64, u64) {
    let of = |name: &str| {
        let found = totals.iter().find(|(known, _)| known == name);
        found.map_or(0, |(_, count)| *count)
    };
    let ended = Ending::ALL.iter().map(|ending| of(ending.as_str())).sum();
    (of(RECEIVED), ended)
}
