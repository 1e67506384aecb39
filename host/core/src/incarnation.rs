//! Is this the store we started with? A store that was flushed, restored from
//! an old copy or replaced by an empty replica has forgotten claims, and going
//! on would handle messages twice.

/// What identifies a store: a random id, and a counter that only grows.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Incarnation {
    /// The random id.
    pub id: String,
    /// The highest pulse seen.
    pub pulse: u64,
}

/// What was found.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// Neither store nor memory knows anything: a first start.
    First,
    /// It is the store we know, or one that we may get to know.
    Same,
    /// It is not.
    Different(Difference),
}

/// Why a store is not the one we know.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Difference {
    /// The id is gone.
    #[error(
        "the store has lost its incarnation id {expected}; was it flushed or replaced by an empty one?"
    )]
    Missing {
        /// The id that was expected.
        expected: String,
    },
    /// There is another id.
    #[error("the store has the incarnation id {found}, expected {expected}; is it another store?")]
    Other {
        /// The id that was expected.
        expected: String,
        /// The id that is there.
        found: String,
    },
    /// The counter went back.
    #[error(
        "the store's pulse is {found}, it was {remembered} before; was it restored from an old copy?"
    )]
    Older {
        /// The highest pulse seen.
        remembered: u64,
        /// The pulse that is there.
        found: u64,
    },
}

/// Compares what the store says with what is remembered, by this process or in
/// the broker's copy.
#[must_use]
pub fn judge(store: Option<&Incarnation>, remembered: Option<&Incarnation>) -> Finding {
    match (store, remembered) {
        (None, None) => Finding::First,
        (Some(_), None) => Finding::Same,
        (None, Some(known)) => Finding::Different(Difference::Missing {
            expected: known.id.clone(),
        }),
        (Some(store), Some(known)) if store.id != known.id => {
            Finding::Different(Difference::Other {
                expected: known.id.clone(),
                found: store.id.clone(),
            })
        }
        (Some(store), Some(known)) if store.pulse < known.pulse => {
            Finding::Different(Difference::Older {
                remembered: known.pulse,
                found: store.pulse,
            })
        }
        (Some(_), Some(_)) => Finding::Same,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn known(id: &str, pulse: u64) -> Option<Incarnation> {
        Some(Incarnation {
            id: id.into(),
            pulse,
        })
    }

    #[test]
    fn a_flushed_an_old_and_another_store_are_told_apart() {
        let judge = |store: Option<Incarnation>, memory: Option<Incarnation>| {
            judge(store.as_ref(), memory.as_ref())
        };
        assert_eq!(judge(None, None), Finding::First);
        assert_eq!(judge(known("a", 5), None), Finding::Same);
        assert_eq!(judge(known("a", 5), known("a", 5)), Finding::Same);
        assert!(matches!(
            judge(None, known("a", 5)),
            Finding::Different(Difference::Missing { .. })
        ));
        assert!(matches!(
            judge(known("b", 9), known("a", 5)),
            Finding::Different(Difference::Other { .. })
        ));
        assert!(matches!(
            judge(known("a", 4), known("a", 5)),
            Finding::Different(Difference::Older { .. })
        ));
    }
}
