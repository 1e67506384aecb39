//! What groups share: rules, switches; and flags, totals and the identity of
//! the store.

use holdfast_core::cutover::{Percent, Rule};
use holdfast_core::incarnation::{Incarnation, raised};
use holdfast_core::name::Group;
use holdfast_ports::error::PortError;
use holdfast_ports::store::{Addition, Agreement, GroupRules, Open, Opened};

use super::keys;
use super::records::{StoredRule, load_side};
use crate::rows::{Rows, Stop};

pub(super) fn agree(
    rows: &mut Rows<'_>,
    group: &Group,
    ours: &GroupRules,
) -> Result<Agreement, Stop> {
    let key = keys::group_rules(group);
    let Some(theirs): Option<Vec<(String, String)>> = rows.get(&key)? else {
        rows.put(&key, &ours.rules, None)?;
        return Ok(Agreement::Agreed);
    };
    let value = |rules: &[(String, String)], name: &str| {
        let found = rules.iter().find(|(known, _)| known == name);
        found.map_or_else(String::new, |(_, value)| value.clone())
    };
    let mut names: Vec<&String> = ours
        .rules
        .iter()
        .chain(&theirs)
        .map(|rule| &rule.0)
        .collect();
    names.sort_unstable();
    names.dedup();
    let differs: Vec<_> = names
        .into_iter()
        .map(|name| (name.clone(), value(&ours.rules, name), value(&theirs, name)))
        .filter(|(_, ours, theirs)| ours != theirs)
        .collect();
    Ok(if differs.is_empty() {
        Agreement::Agreed
    } else {
        Agreement::Differs(differs)
    })
}

pub(super) fn rule(rows: &Rows<'_>, group: &Group) -> Result<Option<Rule>, Stop> {
    let stored: Option<StoredRule> = rows.get(&keys::rule(group))?;
    Ok(stored.map(load_rule).transpose()?)
}

fn load_rule(stored: StoredRule) -> Result<Rule, PortError> {
    Ok(Rule {
        from: load_side(&stored.from)?,
        to: load_side(&stored.to)?,
        enabled: stored.enabled,
        percent: Percent::from_hundredths(stored.hundredths)
            .ok_or_else(|| PortError::bad_record("read a cut-over rule: its share is too large"))?,
        allow: stored.allow.into_iter().collect(),
        assign_timeout: stored.assign_timeout,
        revision: stored.revision,
    })
}

pub(super) fn set_rule(
    rows: &mut Rows<'_>,
    group: &Group,
    rule: &Rule,
    expected: u64,
) -> Result<Result<Rule, Rule>, Stop> {
    let current = self::rule(rows, group)?;
    let revision = current.as_ref().map_or(0, |rule| rule.revision);
    match current {
        Some(current) if revision != expected => return Ok(Err(current)),
        // The rule that was expected has never been there.
        None if expected != 0 => {
            return Err(PortError::permanent("change a cut-over rule that does not exist").into());
        }
        _ => {}
    }
    let rule = Rule {
        revision: revision + 1,
        ..rule.clone()
    };
    let stored = StoredRule {
        from: rule.from.as_str().to_owned(),
        to: rule.to.as_str().to_owned(),
        enabled: rule.enabled,
        hundredths: rule.percent.hundredths(),
        allow: rule.allow.iter().cloned().collect(),
        assign_timeout: rule.assign_timeout,
        revision: rule.revision,
    };
    rows.put(&keys::rule(group), &stored, None)?;
    Ok(Ok(rule))
}

/// The id of the store; none before the first host started with it.
pub(super) fn incarnation(rows: &Rows<'_>) -> Result<Option<Incarnation>, Stop> {
    let Some(id) = rows.get(&keys::incarnation())? else {
        return Ok(None);
    };
    let pulse = rows.get(&keys::pulse())?.unwrap_or(0);
    Ok(Some(Incarnation { id, pulse }))
}

/// Looks which store it is, and makes it one if need be.
pub(super) fn identify(
    rows: &mut Rows<'_>,
    mode: &Open,
    fresh: String,
) -> Result<Option<Opened>, Stop> {
    let mut found = incarnation(rows)?;
    let mut replaced: Vec<String> = rows.get(&keys::replaced())?.unwrap_or_default();
    let makes = match mode {
        Open::Look | Open::Expect(_) => false,
        Open::Create => found.is_none(),
        Open::Accept(ids) => {
            for id in found.iter().map(|known| &known.id).chain(ids) {
                if !replaced.contains(id) {
                    replaced.push(id.clone());
                }
            }
            rows.put(&keys::replaced(), &replaced, None)?;
            true
        }
    };
    if makes {
        let made = Incarnation {
            id: fresh,
            pulse: 0,
        };
        put_incarnation(rows, &made)?;
        found = Some(made);
    }
    Ok(found.map(|incarnation| Opened {
        incarnation,
        replaced,
    }))
}

/// Raises the pulse of the store that is remembered; gives what is there then.
pub(super) fn raise_pulse(
    rows: &mut Rows<'_>,
    remembered: &Incarnation,
) -> Result<Option<Incarnation>, Stop> {
    let found = incarnation(rows)?;
    let Some(raised) = raised(found.as_ref(), remembered) else {
        return Ok(found);
    };
    put_incarnation(rows, &raised)?;
    Ok(Some(raised))
}

fn put_incarnation(rows: &mut Rows<'_>, put: &Incarnation) -> Result<(), Stop> {
    rows.put(&keys::incarnation(), &put.id, None)?;
    rows.put(&keys::pulse(), &put.pulse, None)
}

pub(super) fn set_flag(rows: &mut Rows<'_>, name: &str, value: Option<&str>) -> Result<(), Stop> {
    match value {
        Some(value) => rows.put(&keys::flag(name), &value, None),
        None => rows.delete(&keys::flag(name)).map(|_| ()),
    }
}

pub(super) fn flags(rows: &Rows<'_>, prefix: &str) -> Result<Vec<(String, String)>, Stop> {
    let mut flags = Vec::new();
    rows.scan(&keys::flag(prefix), |rest, value: String| {
        flags.push((format!("{prefix}{}", String::from_utf8_lossy(rest)), value));
        Ok(true)
    })?;
    Ok(flags)
}

/// What the names of runs begin with, beside those of counters.
const RUN: &str = ".";

pub(super) fn add_totals(
    rows: &mut Rows<'_>,
    name: &str,
    of: Addition,
    counts: &[(String, u64)],
) -> Result<(), Stop> {
    let run = keys::total(name, &format!("{RUN}{:016x}", of.run));
    if counts.is_empty() {
        rows.delete(&run)?;
        return Ok(());
    }
    if rows.get::<u64>(&run)?.is_some_and(|last| last >= of.number) {
        return Ok(());
    }
    rows.put(&run, &of.number, None)?;
    for (counter, count) in counts {
        let key = keys::total(name, counter);
        let sum = rows.get::<u64>(&key)?.unwrap_or(0).saturating_add(*count);
        rows.put(&key, &sum, None)?;
    }
    Ok(())
}

pub(super) fn totals(rows: &Rows<'_>, name: &str) -> Result<Vec<(String, u64)>, Stop> {
    let mut totals = Vec::new();
    rows.scan(&keys::total(name, ""), |counter, sum: u64| {
        if !counter.starts_with(RUN.as_bytes()) {
            totals.push((String::from_utf8_lossy(counter).into_owned(), sum));
        }
        Ok(true)
    })?;
    Ok(totals)
}
