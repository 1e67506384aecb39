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

/// What a host that raises the pulse writes: none when this is not the store
/// that it remembers. It must look first and raise then, in one step: raised
/// first, a store that went back by as many beats as there are hosts would hide
/// that from all of them.
#[must_use]
pub fn raised(store: Option<&Incarnation>, remembered: &Incarnation) -> Option<Incarnation> {
    let store = store?;
    match judge(Some(store), Some(remembered)) {
        Finding::Same => Some(Incarnation {
            id: store.id.clone(),
            pulse: store.pulse + 1,
        }),
        Finding::First | Finding::Different(_) => None,
    }
}

/// What a broker's copy becomes when a host tells it what it remembers; none
/// when the copy stays. A copy never goes back, and one that names another
/// store was written by an operator's decision, which only another one changes.
#[must_use]
pub fn renewed(copy: Option<&Incarnation>, remembered: &Incarnation) -> Option<Incarnation> {
    let newer = match copy {
        None => true,
        Some(copy) => copy.id == remembered.id && copy.pulse < remembered.pulse,
    };
    newer.then(|| remembered.clone())
}

/// The incarnation of a store that consists of several parts: the one that all of
/// them have, with the lowest pulse. None when a part has none or another id.
#[must_use]
pub fn whole(parts: &[Option<Incarnation>]) -> Option<Incarnation> {
    let parts: Vec<&Incarnation> = parts.iter().map(Option::as_ref).collect::<Option<_>>()?;
    let lowest = parts.iter().min_by_key(|part| part.pulse)?;
    let alike = parts.iter().all(|part| part.id == lowest.id);
    alike.then(|| (*lowest).clone())
}

/// Did an operator accept this store in place of the one that is remembered?
/// Each acceptance gives it a new id; `replaced` are those that it stands for.
/// That the old id has a high pulse again would prove nothing: hosts that
/// noticed nothing raise it.
#[must_use]
pub fn is_accepted(store: &Incarnation, replaced: &[String], remembered: &Incarnation) -> bool {
    store.id != remembered.id && replaced.contains(&remembered.id)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_pulse_of_an_older_copy_is_not_raised_by_whoever_remembers_more() {
        let at = |pulse| known("a", pulse).expect("one");
        assert_eq!(raised(Some(&at(7)), &at(7)), known("a", 8));
        assert_eq!(raised(Some(&at(9)), &at(7)), known("a", 10));
        // Back by one beat, and two hosts: neither may raise it for the other.
        assert_eq!(raised(Some(&at(6)), &at(7)), None);
        assert_eq!(raised(None, &at(7)), None);
        assert_eq!(raised(known("b", 9).as_ref(), &at(7)), None);
    }

    #[test]
    fn a_copy_grows_and_changes_its_store_only_by_an_operator() {
        let at = |id, pulse| known(id, pulse).expect("one");
        assert_eq!(renewed(None, &at("a", 3)), known("a", 3));
        assert_eq!(renewed(Some(&at("a", 2)), &at("a", 3)), known("a", 3));
        assert_eq!(renewed(Some(&at("a", 3)), &at("a", 3)), None);
        assert_eq!(renewed(Some(&at("a", 4)), &at("a", 3)), None);
        assert_eq!(renewed(Some(&at("b", 1)), &at("a", 3)), None);
    }

    #[test]
    fn a_store_of_parts_is_as_old_as_its_oldest() {
        assert_eq!(whole(&[known("a", 7), known("a", 5)]), known("a", 5));
        assert_eq!(whole(&[known("a", 7), None]), None);
        assert_eq!(whole(&[known("a", 7), known("b", 7)]), None);
        assert_eq!(whole(&[]), None);
    }

    #[test]
    fn only_a_new_id_that_stands_for_the_old_one_ends_the_distrust() {
        let at = |id, pulse| known(id, pulse).expect("one");
        let replaced = ["a".to_owned()];
        let was = at("a", 9);
        assert!(is_accepted(&at("b", 0), &replaced, &was));
        assert!(!is_accepted(&at("b", 20), &[], &was), "another store");
        assert!(!is_accepted(&at("b", 20), &replaced, &at("c", 1)));
        assert!(
            !is_accepted(&at("a", 20), &replaced, &was),
            "raised by others"
        );
    }

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
