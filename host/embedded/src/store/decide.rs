//! How a call of the store becomes one transaction.

use std::sync::PoisonError;

use holdfast_core::incarnation::{Finding, judge};
use holdfast_ports::error::PortError;

use super::claims::must_be;
use super::{EmbeddedStore, groups};
use crate::rows::{Rows, Stop};

impl EmbeddedStore {
    /// Runs one decision; it is told whether this is the expected store.
    pub(super) async fn decide<T: Send + 'static>(
        &self,
        what: &'static str,
        decide: impl FnOnce(&mut Rows<'_>, bool) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T, PortError> {
        let expected = self
            .expected
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone();
        self.engine
            .run(what, move |rows| {
                let same_store = match expected {
                    None => true,
                    Some(expected) => {
                        judge(groups::incarnation(rows)?.as_ref(), Some(&expected)) == Finding::Same
                    }
                };
                decide(rows, same_store)
            })
            .await
    }

    /// Runs one decision that has no answer for another store.
    pub(super) async fn only_here<T: Send + 'static>(
        &self,
        what: &'static str,
        decide: impl FnOnce(&mut Rows<'_>) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T, PortError> {
        self.decide(what, |rows, same_store| {
            must_be(same_store)?;
            decide(rows)
        })
        .await
    }

    /// Only looks, which is allowed whichever store it is.
    pub(super) async fn look<T: Send + 'static>(
        &self,
        what: &'static str,
        look: impl FnOnce(&Rows<'_>) -> Result<T, Stop> + Send + 'static,
    ) -> Result<T, PortError> {
        self.engine.run(what, move |rows| look(rows)).await
    }
}
