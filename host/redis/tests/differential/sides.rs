//! Looks at claims of the other side, and changes of the cut-over rule.

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast_core::claim::{self, Look};
use holdfast_core::cutover::{Percent, Rule};
use holdfast_ports::error::Kind;
use holdfast_ports::store::Store as _;
use holdfast_redis::RedisStore;

use crate::common::side;
use crate::compare::{LONG, Outcome, same};
use crate::model::Model;
use crate::steps::{KEYS, SIDES};

/// What two clocks of one machine, read one after the other, may differ by.
const MOMENT: Duration = Duration::from_secs(60);

/// Looks at every claim at once; the ages are those of the moment.
pub(crate) async fn look(store: &RedisStore, model: &Model, name: &str, patient: bool) -> Outcome {
    let (asking, wait) = (side(name), if patient { LONG } else { Duration::ZERO });
    let held: Vec<_> = KEYS.map(|key| model.place(key)).to_vec();
    let theirs = store.look_at(&held, &asking, wait).await;
    if !model.same_store {
        return same(theirs.unwrap_err().kind, Kind::Fenced);
    }
    let ours = KEYS.map(|key| claim::look(model.record(key), &asking, wait, model.scope().now));
    for (theirs, ours) in theirs.unwrap().into_iter().zip(ours) {
        match (theirs, ours) {
            (
                Look::Foreign { age, overdue_in },
                Look::Foreign {
                    age: known,
                    overdue_in: due,
                },
            ) => {
                same(age.abs_diff(known) < MOMENT, true)?;
                same(overdue_in.is_some(), due.is_some())?;
                let late = overdue_in.zip(due).map(|(a, b)| a.abs_diff(b));
                same(late.is_none_or(|late| late < MOMENT), true)?;
            }
            (theirs, ours) => same(theirs, ours)?,
        }
    }
    Ok(())
}

pub(crate) async fn change_rule(store: &RedisStore, model: &mut Model) -> Outcome {
    let rule = Rule {
        from: side(SIDES[0]),
        to: side(SIDES[1]),
        enabled: true,
        percent: Percent::ALL,
        allow: BTreeSet::new(),
        assign_timeout: LONG,
        revision: 0,
    };
    let expected = model.rule.unwrap_or(0);
    let set = store.set_rule(&model.at.group, &rule, expected).await;
    if !model.same_store {
        return same(set.unwrap_err().kind, Kind::Fenced);
    }
    let set = set.unwrap().map_err(|there| format!("{there:?}"))?;
    model.rule = Some(set.revision);
    Ok(())
}
