//! The cut-over rules.

use std::collections::BTreeSet;
use std::ops::RangeInclusive;
use std::sync::Arc;
use std::time::Duration;

use axum::Json;
use axum::extract::State;
use holdfast_core::cutover::{Percent, Rule};
use holdfast_core::key::ClaimKey;
use holdfast_core::name::{Group, Side};
use serde::Deserialize;
use serde_json::Value;
use serde_json::value::RawValue;

use super::body::{self, CHANGE_LIMIT, Limited};
use super::problem::{Path, Problem};
use super::{Admin, groups, shown};
use crate::config::{Valid, parse_duration};

/// The rule of a group.
pub(super) async fn show(
    State(admin): State<Arc<Admin>>,
    Path(group): Path<String>,
) -> Result<Json<Value>, Problem> {
    let group = groups::known(&admin.app.config.load().valid, &group)?;
    let rule = current(&admin, &group).await?;
    Ok(Json(shown::rule(&group, &rule)))
}

async fn current(admin: &Admin, group: &Group) -> Result<Rule, Problem> {
    let rule = admin.app.host.parts().store.rule(group).await?;
    rule.ok_or_else(|| {
        Problem::not_found(format!(
            "the group {group} has no cut-over rule; [cutover.{group}] makes one"
        ))
    })
}

/// A change: what is left out stays as it is.
#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Change {
    revision: u64,
    enabled: Option<bool>,
    percent: Option<Box<RawValue>>,
    allow: Option<BTreeSet<String>>,
    from: Option<String>,
    to: Option<String>,
    assign_timeout: Option<String>,
}

/// As in the configuration.
const ASSIGN_TIMEOUT: RangeInclusive<Duration> =
    Duration::from_millis(1)..=Duration::from_secs(30 * 86_400);

impl Change {
    /// The rule after it.
    fn of(&self, old: &Rule) -> Result<Rule, Problem> {
        let mut new = old.clone();
        if let Some(enabled) = self.enabled {
            new.enabled = enabled;
        }
        if let Some(raw) = &self.percent {
            new.percent = percent(raw.get())?;
        }
        if let Some(allow) = &self.allow {
            if allow.contains("") {
                return Err(Problem::bad("a key in `allow` is empty"));
            }
            let known = |key: &String| ClaimKey::from_known(key).as_str().to_owned();
            new.allow = allow.iter().map(known).collect();
        }
        if let Some(from) = &self.from {
            new.from = side("from", from)?;
        }
        if let Some(to) = &self.to {
            new.to = side("to", to)?;
        }
        if new.from == new.to {
            return Err(Problem::bad("`from` and `to` are the same side"));
        }
        if let Some(text) = &self.assign_timeout {
            new.assign_timeout = assign_timeout(text)?;
        }
        Ok(new)
    }
}

fn side(field: &str, text: &str) -> Result<Side, Problem> {
    Side::new(text).map_err(|error| Problem::bad(format!("`{field}` cannot be {text:?}: {error}")))
}

fn assign_timeout(text: &str) -> Result<Duration, Problem> {
    let read = parse_duration(text);
    let wait = read.map_err(|why| Problem::bad(format!("`assign_timeout`: {why}")))?;
    if ASSIGN_TIMEOUT.contains(&wait) {
        Ok(wait)
    } else {
        Err(Problem::bad("`assign_timeout` is between 1ms and 30d"))
    }
}

/// A rule between other sides than those that this host serves would leave its
/// consumers without a new key of their own.
fn serves(config: &Valid, group: &Group, rule: &Rule) -> Result<(), Problem> {
    let sides = [rule.from.as_str(), rule.to.as_str()];
    let member = groups::members(config)
        .filter(|member| member.group == group.as_str())
        .find(|member| !sides.contains(&member.consumer.claim.side.as_str()));
    match member {
        None => Ok(()),
        Some(member) => Err(Problem::bad(format!(
            "the consumer {} of this host has the side {}, which is neither {} nor {}",
            member.name, member.consumer.claim.side, rule.from, rule.to
        ))),
    }
}

/// A percentage, read from its digits and never through a float. Digits in
/// quotes will do.
fn percent(raw: &str) -> Result<Percent, Problem> {
    let quoted = raw.strip_prefix('"').and_then(|raw| raw.strip_suffix('"'));
    Percent::parse(quoted.unwrap_or(raw))
        .map_err(|error| Problem::bad(format!("`percent` cannot be {raw}: {error}")))
}

/// What becomes of a rule by a body of any bytes, without a host.
///
/// # Panics
/// When the rule is none that the configuration would take.
pub(crate) fn try_change(body: &[u8]) {
    let name = |text| Side::new(text).expect("a name");
    let old = Rule {
        from: name("old"),
        to: name("new"),
        enabled: true,
        percent: Percent::default(),
        allow: BTreeSet::new(),
        assign_timeout: Duration::from_secs(60),
        revision: 1,
    };
    let changed = body::json::<Change>(body).and_then(|change| change.of(&old));
    if let Ok(rule) = changed {
        assert!(rule.percent.hundredths() <= 10_000);
        assert!(rule.from != rule.to);
        assert!(ASSIGN_TIMEOUT.contains(&rule.assign_timeout));
        assert!(rule.allow.iter().all(|key| !key.is_empty()));
    }
}

/// Changes the rule of a group, unless another change came first.
pub(super) async fn set(
    State(admin): State<Arc<Admin>>,
    Path(group): Path<String>,
    Limited(body): Limited<CHANGE_LIMIT>,
) -> Result<Json<Value>, Problem> {
    let change: Change = body::json(&body)?;
    let group = groups::known(&admin.app.config.load().valid, &group)?;
    let old = current(&admin, &group).await?;
    if old.revision != change.revision {
        return Err(outdated(&group, &old));
    }
    let new = change.of(&old)?;
    serves(&admin.app.config.load().valid, &group, &new)?;
    match admin
        .app
        .host
        .parts()
        .store
        .set_rule(&group, &new, change.revision)
        .await?
    {
        Ok(rule) => {
            tracing::info!(
                %group, from = %rule.from, to = %rule.to, enabled = rule.enabled, percent = %rule.percent,
                allowed = rule.allow.len(), revision = rule.revision, "the cut-over rule was changed"
            );
            Ok(Json(shown::rule(&group, &rule)))
        }
        Err(there) => Err(outdated(&group, &there)),
    }
}

fn outdated(group: &Group, there: &Rule) -> Problem {
    let detail = format!(
        "the current revision is {}; another change came first",
        there.revision
    );
    Problem::conflict(detail).with("current", shown::rule(group, there))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_percentage_is_read_from_its_digits() {
        for (raw, hundredths) in [("12.5", 1250), ("\"0.29\"", 29), ("100", 10_000), ("-0", 0)] {
            assert_eq!(
                percent(raw).map(Percent::hundredths).ok(),
                Some(hundredths),
                "{raw}"
            );
        }
        for raw in [
            "1e309",
            "1e1",
            "-1",
            "101",
            "0.001",
            "12.50000000000000000001",
            "\"nan\"",
            "true",
            "[1]",
            "\"\\u0031\"",
        ] {
            assert!(percent(raw).is_err(), "{raw}");
        }
    }
}
