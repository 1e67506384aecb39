//! The page: one file without anything from elsewhere.

use std::fmt::Write as _;

use super::table::{self, HEAD, cells, seconds};
use crate::check::Violation;
use crate::fault::Kind;
use crate::history::Micros;
use crate::load::LOADS;
use crate::run::Outcome;

const STYLE: &str = "
:root { color-scheme: light; --ink: #262a30; --pale: #69707a; --line: #dfe3e8; --back: #f6f7f9; }
body { font: 15px/1.5 system-ui, sans-serif; color: var(--ink); background: var(--back); margin: 0; }
main { max-width: 1240px; margin: 0 auto; padding: 28px 20px 60px; }
h1 { font-size: 24px; margin: 0 0 4px; } h2 { font-size: 18px; margin: 34px 0 8px; }
p { margin: 4px 0 10px; color: var(--pale); } code { background: #eceff3; padding: 1px 5px; border-radius: 4px; }
.verdict { display: inline-block; padding: 3px 12px; border-radius: 14px; color: #fff; font-weight: 600; }
.good { background: #2e8c5c; } .bad { background: #c83c34; }
.tiles { display: grid; grid-template-columns: repeat(auto-fill, minmax(168px, 1fr)); gap: 10px; margin: 18px 0; }
.tile { background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: 9px 13px; }
.tile b { display: block; font-size: 20px; font-variant-numeric: tabular-nums; } .tile span { color: var(--pale); font-size: 13px; }
.picture { background: #fff; border: 1px solid var(--line); border-radius: 8px; padding: 8px; overflow-x: auto; }
.picture svg { width: 100%; height: auto; min-width: 900px; }
.wide { overflow-x: auto; }
table { border-collapse: collapse; background: #fff; width: 100%; font-variant-numeric: tabular-nums; }
th, td { border: 1px solid var(--line); padding: 4px 10px; text-align: right; } th { background: #eef1f4; font-weight: 600; }
th:first-child, td:first-child, td.text { text-align: left; }
.host { color: #c83c34; } .broker { color: #b56208; } .store { color: #7e4aa8; } .operator { color: #2e8c5c; }
li { margin: 2px 0; } details { margin: 8px 0; } summary { cursor: pointer; }
";

/// The whole page around the picture.
pub(super) fn page(outcome: &Outcome, picture: &str) -> String {
    let mut page = String::new();
    // Writing to a string cannot fail.
    let _ = write_page(&mut page, outcome, picture);
    page
}

fn write_page(page: &mut String, outcome: &Outcome, picture: &str) -> std::fmt::Result {
    let (word, class) = match outcome.is_good() {
        true => ("every promise held", "good"),
        false => ("violations", "bad"),
    };
    write!(
        page,
        "<!doctype html><html lang=en><meta charset=utf-8><meta name=viewport content=\"width=device-width\">\
         <title>Holdfast chaos, seed {}</title><style>{STYLE}</style><main>\
         <h1>Holdfast under faults <span class=\"verdict {class}\">{word}</span></h1>\
         <p>{} hosts, two RabbitMQ brokers and one durable Redis, {} messages a second in five streams. \
         Again: <code>{}</code></p><div class=tiles>",
        outcome.options.seed,
        outcome.options.hosts,
        outcome.options.rate,
        super::command(outcome),
    )?;
    for (name, figure) in table::totals(outcome) {
        write!(
            page,
            "<div class=tile><b>{figure}</b><span>{name}</span></div>"
        )?;
    }
    let picture = picture
        .find("<svg")
        .map_or(picture, |start| &picture[start..]);
    // It scales with the page.
    write!(page, "</div><div class=picture>{picture}</div>")?;
    violations(page, outcome)?;
    write!(
        page,
        "<h2>By kind of fault</h2><p>In flight: the most messages that the hosts had at once while \
         a fault lasted. Calls again: calls of handlers beyond those that their messages needed, \
         which a fault between them and the call before explains. Recovery: from the end of the \
         fault (the server is up again, the way is free, the host is started) until every host is \
         ready and every stream has effects again, for faults that had no other beside them.</p><div class=wide><table><tr>"
    )?;
    for head in HEAD {
        write!(page, "<th>{head}")?;
    }
    write!(page, "<th>what it is")?;
    for row in table::faults(outcome) {
        write!(page, "<tr>")?;
        for (place, cell) in cells(&row).iter().enumerate() {
            match place {
                0 => write!(page, "<td class={}>{cell}", row.family)?,
                _ => write!(page, "<td>{cell}")?,
            }
        }
        write!(page, "<td class=text>{}", about(&row.kind))?;
    }
    write!(
        page,
        "</table></div><h2>The streams</h2><div class=wide><table><tr><th>group<th>what it is<th>share<th>published<th>effects"
    )?;
    for load in &LOADS {
        let sent = outcome.history.sent.keys().filter(|id| id.0 == load.group);
        let effects = outcome.history.effects.iter();
        let effects = effects.filter(|effect| effect.id.0 == load.group);
        write!(
            page,
            "<tr><td>{}<td class=text>{}<td>{} %<td>{}<td>{}",
            load.group,
            load.what,
            load.share,
            sent.count(),
            effects.count()
        )?;
    }
    write!(page, "</table></div><h2>Audits at the end</h2><ul>")?;
    for audit in &outcome.audits {
        write!(page, "<li>{}", escaped(audit))?;
    }
    write!(page, "</ul>")?;
    faults(page, outcome)?;
    write!(page, "</main></html>")
}

fn violations(page: &mut String, outcome: &Outcome) -> std::fmt::Result {
    let violations = &outcome.verdict.violations;
    if violations.is_empty() {
        return Ok(());
    }
    write!(page, "<h2>Violations</h2><ul>")?;
    for kind in Violation::KINDS {
        let of_kind = violations.iter().filter(|v| v.kind() == kind);
        for violation in of_kind.take(50) {
            write!(page, "<li>{}", escaped(&violation.to_string()))?;
        }
    }
    write!(
        page,
        "</ul><p>At most 50 of each kind; all are in history.jsonl and result.json.</p>"
    )
}

fn faults(page: &mut String, outcome: &Outcome) -> std::fmt::Result {
    write!(
        page,
        "<h2>Every fault</h2><details><summary>{} faults</summary><div class=wide><table>\
         <tr><th>fault<th>on<th>at<th>lasted<th>recovered after<th>in flight<th>calls again",
        outcome.history.faults.len()
    )?;
    for (place, fault) in outcome.history.faults.iter().enumerate() {
        let recovery = fault
            .recovered
            .map(|at| seconds(at.saturating_sub(fault.over)));
        let repeats = outcome.verdict.repeats.get(&place).copied();
        write!(
            page,
            "<tr><td class={}>{}{}<td class=text>{}<td>{}<td>{}<td>{}<td>{}<td>{}",
            fault.family,
            fault.kind,
            if fault.paired {
                " (beside another)"
            } else {
                ""
            },
            escaped(&fault.target),
            clock(fault.begin),
            seconds(fault.over - fault.begin),
            recovery.unwrap_or_else(|| "never".to_owned()),
            fault.in_flight,
            repeats.unwrap_or_default(),
        )?;
    }
    write!(page, "</table></div></details>")
}

fn about(kind: &str) -> String {
    use clap::ValueEnum as _;
    let kind = Kind::from_str(kind, false).ok();
    let value = kind.and_then(|kind| kind.to_possible_value());
    let help = value.and_then(|value| value.get_help().map(ToString::to_string));
    escaped(&help.unwrap_or_default())
}

fn clock(at: Micros) -> String {
    crate::progress::minutes(std::time::Duration::from_micros(at))
}

fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
