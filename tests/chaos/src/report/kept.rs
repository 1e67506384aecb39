//! What programs may read, and what is looked at when something was wrong.

use std::fs::File;
use std::io::{BufWriter, Write as _};
use std::path::Path;

use anyhow::Result;
use serde_json::{Value, json};

use super::table;
use crate::run::Outcome;

/// Figures.
pub(super) fn result(outcome: &Outcome) -> Value {
    let rows = table::faults(outcome).into_iter().map(|row| {
        json!({
            "kind": row.kind,
            "times": row.count,
            "beside_another": row.paired,
            "in_flight_median": row.in_flight.0,
            "in_flight_most": row.in_flight.1,
            "calls_again": row.repeats,
            "recovery_median_us": row.recovery.map(|recovery| recovery.0),
            "recovery_longest_us": row.recovery.map(|recovery| recovery.1),
        })
    });
    let violations = outcome.verdict.violations.iter();
    json!({
        "good": outcome.is_good(),
        "command": super::command(outcome),
        "rate": outcome.options.rate,
        "totals": table::totals(outcome).into_iter().map(|(name, figure)| json!([name, figure])).collect::<Vec<_>>(),
        "faults": rows.collect::<Vec<_>>(),
        "audits": outcome.audits,
        "violations": violations.map(ToString::to_string).collect::<Vec<_>>(),
    })
}

/// Everything that was seen, one JSON object a line, in the order of time where
/// there is one.
pub(super) fn history(outcome: &Outcome, path: &Path) -> Result<()> {
    let history = &outcome.history;
    let mut lines: Vec<(u64, Value)> = Vec::new();
    let name = |id: &crate::history::Id| format!("{}/{}", id.0, id.1);
    for (id, sent) in &history.sent {
        let line = json!({"sent": name(id), "lane": sent.lane, "calls": sent.calls, "reason": sent.reason});
        lines.push((0, line));
    }
    for call in &history.calls {
        let line =
            json!({"call": name(&call.id), "at": call.at, "side": call.side, "fence": call.fence});
        lines.push((call.at, line));
    }
    for effect in &history.effects {
        let line = json!({
            "effect": name(&effect.id), "at": effect.at, "side": effect.side,
            "attempt": effect.attempt, "fence": effect.fence, "count": effect.count,
        });
        lines.push((effect.at, line));
    }
    for fault in &history.faults {
        let line = json!({
            "fault": fault.kind, "target": fault.target, "begin": fault.begin, "over": fault.over,
            "recovered": fault.recovered, "in_flight": fault.in_flight,
        });
        lines.push((fault.begin, line));
    }
    for letter in &history.letters {
        let line = json!({"letter": name(&letter.id), "reason": letter.reason});
        lines.push((u64::MAX, line));
    }
    lines.sort_by_key(|(at, _)| *at);
    let mut file = BufWriter::new(File::create(path)?);
    for (_, line) in lines {
        writeln!(file, "{line}")?;
    }
    Ok(file.flush()?)
}
