//! The JSON that people and programs are shown.

use std::time::Duration;

use holdfast_core::cutover::Rule;
use holdfast_core::halt::Stand;
use holdfast_core::key::Lane;
use holdfast_core::name::Group;
use holdfast_core::settle::Ending;
use holdfast_ports::store::ClaimView;
use holdfast_runtime::books::Why;
use holdfast_runtime::consumer::{Consumer, Phase, Status};
use holdfast_runtime::halts::{LaneName, Mark};
use serde_json::{Map, Value, json};

use crate::config::show_duration;
use crate::plugin_dir::PluginRow;

/// Milliseconds since 1970 as RFC 3339 in UTC; none beyond the year 9999.
pub(super) fn time(ms: u64) -> Option<String> {
    const END: u64 = 253_402_300_800_000;
    let at = std::time::UNIX_EPOCH + Duration::from_millis(ms);
    (ms < END).then(|| humantime::format_rfc3339_millis(at).to_string())
}

/// A claim.
pub(super) fn claim(group: &Group, claim: &ClaimView) -> Value {
    let history: Vec<Value> = claim
        .history
        .iter()
        .map(|step| {
            json!({
                "at": time(step.at_ms),
                "step": step.step,
                "side": step.side,
                "attempt": step.attempt,
                "detail": step.detail,
            })
        })
        .collect();
    // A compacted claim no longer counts, but its history does for a while.
    let told = claim.history.iter().map(|step| step.attempt).max();
    let attempt = claim.attempt.max(told.unwrap_or(0));
    json!({
        "group": group.as_str(),
        "key": claim.key.as_str(),
        "side": claim.side.as_str(),
        "state": claim.state.as_str(),
        "reason": claim.reason,
        "attempt": attempt,
        "fence": claim.fence,
        "lane": claim.lane,
        "error": claim.error,
        "locked_until": claim.locked_until_ms.and_then(time),
        "history": history,
    })
}

/// A cut-over rule. The percentage is a number with at most two decimals.
pub(super) fn rule(group: &Group, rule: &Rule) -> Value {
    json!({
        "group": group.as_str(),
        "from": rule.from.as_str(),
        "to": rule.to.as_str(),
        "enabled": rule.enabled,
        "percent": f64::from(rule.percent.hundredths()) / 100.0,
        "allow": rule.allow,
        "assign_timeout": show_duration(rule.assign_timeout),
        "revision": rule.revision,
    })
}

/// A consumer, without what only its broker knows.
pub(super) fn consumer(consumer: &Consumer, status: &Status) -> Map<String, Value> {
    let spec = &consumer.context().spec;
    let ended: Map<String, Value> = Ending::ALL
        .iter()
        .map(|ending| {
            (
                ending.as_str().to_owned(),
                status.ledger.ended(*ending).into(),
            )
        })
        .collect();
    let why = match &status.phase {
        Phase::Waiting(why) => Some(why.as_str()),
        _ => None,
    };
    let waits = consumer.context().books.waiting();
    let waiting: Map<String, Value> = Why::ALL
        .iter()
        .zip(waits)
        .map(|(why, count)| (why.as_str().replace(' ', "_"), count.into()))
        .collect();
    let findings: Vec<Value> = status
        .findings
        .iter()
        .map(|f| json!({"queue": f.queue, "fatal": f.fatal, "text": f.text}))
        .collect();
    let halts = consumer.context().halts.marks();
    let halted = halts.iter().filter(|(_, mark)| mark.stand == Stand::Halted);
    let halted: Vec<Value> = halted
        .map(|(lane, mark)| self::halted(lane, mark))
        .collect();
    let fields = [
        ("name", spec.name.as_str().into()),
        ("group", spec.group.as_str().into()),
        ("side", spec.side.as_str().into()),
        ("broker", spec.broker.as_str().into()),
        ("queue", spec.queue.as_str().into()),
        ("plugin", spec.plugin.as_str().into()),
        ("phase", status.phase.as_str().into()),
        ("ready", status.phase.is_ready().into()),
        ("why", why.into()),
        ("leased", spec.lease.is_some().into()),
        ("epoch", status.epoch.into()),
        ("ordered", spec.ordered().into()),
        ("concurrency", spec.concurrency.into()),
        ("prefetch", spec.prefetch.into()),
        ("received", status.ledger.received.into()),
        ("in_flight", status.ledger.in_flight.into()),
        ("waiting", waiting.into()),
        ("ended", ended.into()),
        ("halted", halted.into()),
        ("findings", findings.into()),
    ];
    fields
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}

/// A halted lane; of a consumer with strict order it has no name.
fn halted(lane: &LaneName, mark: &Mark) -> Value {
    json!({
        "lane": lane.as_ref().map(Lane::as_str),
        "key": mark.key,
        "reason": mark.reason,
        "error": mark.error,
        "attempts": mark.attempts,
        "since": time(mark.at_ms),
    })
}

/// A plugin in service.
pub(super) fn plugin(row: &PluginRow) -> Value {
    json!({
        "name": row.info.name,
        "file": row.file.display().to_string(),
        "sha256": row.info.sha256,
        "bytes": row.info.bytes,
        "version": row.info.version,
        "world": row.info.world.as_str(),
        "uses_state": row.info.uses_state,
        "since": time(row.info.since_ms),
        "previous": row.previous,
        "refused": row.refused,
    })
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use holdfast_core::cutover::Percent;
    use holdfast_core::name::Side;

    use super::*;

    #[test]
    fn a_percentage_is_shown_as_it_was_written() {
        for written in ["0", "0.01", "0.29", "12.5", "33.33", "99.99", "100"] {
            let of = Rule {
                from: Side::new("old").expect("a name"),
                to: Side::new("new").expect("a name"),
                enabled: true,
                percent: Percent::parse(written).expect("a percentage"),
                allow: BTreeSet::new(),
                assign_timeout: Duration::from_secs(60),
                revision: 1,
            };
            let group = Group::new("g").expect("a name");
            let shown = rule(&group, &of)["percent"].to_string();
            assert_eq!(shown.trim_end_matches(".0"), written);
        }
    }

    #[test]
    fn times_are_shown_in_utc_and_nonsense_is_not() {
        assert_eq!(time(1_500).as_deref(), Some("1970-01-01T00:00:01.500Z"));
        assert_eq!(time(u64::MAX), None);
    }
}
