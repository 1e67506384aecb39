//! Claims for people.

use holdfast_core::claim::{Ending, Record, State, StateName, Transition};
use holdfast_core::key::ClaimKey;
use holdfast_core::name::Group;
use holdfast_ports::store::{ClaimView, Place, Slot, TransitionView};

use super::claims::{Before, history};
use super::keys;
use crate::rows::{Rows, Stop};

pub(super) fn show(rows: &Rows<'_>, at: &Place) -> Result<Option<ClaimView>, Stop> {
    let Some(record) = Before::load(rows, at)?.record else {
        return Ok(None);
    };
    let history = history(rows, at, &record)?;
    Ok(Some(view(at.key.clone(), record, history)))
}

pub(super) fn list(
    rows: &Rows<'_>,
    group: &Group,
    state: Option<StateName>,
    limit: usize,
) -> Result<Vec<ClaimView>, Stop> {
    let finished = state.is_some_and(StateName::is_finished);
    let mut views = Vec::new();
    let mut each = |key: &[u8]| {
        if views.len() >= limit {
            return Ok(false);
        }
        let at = Place {
            group: group.clone(),
            key: ClaimKey::from_known(&String::from_utf8_lossy(key)),
            slot: Slot::Group,
            lease: None,
            keep: std::time::Duration::ZERO,
        };
        // A claim that cannot be read is not listed; its message says so.
        if let Ok(Some(view)) = show(rows, &at)
            && state.is_none_or(|state| state == view.state)
        {
            views.push(view);
        }
        Ok(true)
    };
    let prefix = keys::claims_of(group, finished);
    if finished {
        rows.scan(&prefix, |key, _: super::records::StoredClaim| each(key))?;
    } else {
        rows.scan(&prefix, |key, (): ()| each(key))?;
    }
    Ok(views)
}

fn view(key: ClaimKey, record: Record, history: Vec<Transition>) -> ClaimView {
    let reason = match &record.state {
        State::Parking { reason } | State::Parked { reason } => Some(reason.as_str().to_owned()),
        State::Done {
            ending: Ending::Stale,
        } => Some("stale".to_owned()),
        _ => None,
    };
    let locked_until_ms = match &record.state {
        State::Running { lock_until, .. } => Some(lock_until.0 / 1000),
        _ => None,
    };
    let state = record.state.name();
    ClaimView {
        key,
        side: record.side,
        state,
        reason,
        attempt: record.attempt,
        fence: if state.is_finished() { 0 } else { record.fence },
        lane: record.lane.map(|lane| lane.as_str().to_owned()),
        error: record.error,
        locked_until_ms,
        fingerprint: record.fingerprint,
        history: history.into_iter().map(transition).collect(),
    }
}

fn transition(entry: Transition) -> TransitionView {
    TransitionView {
        at_ms: entry.at.0 / 1000,
        step: entry.step.to_owned(),
        side: entry.side.as_str().to_owned(),
        attempt: entry.attempt,
        detail: entry.detail,
    }
}
