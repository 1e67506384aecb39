//! Figures by kind of fault, and in all.

use std::collections::BTreeMap;
use std::time::Duration;

use crate::check::Violation;
use crate::history::{Fault, Micros};
use crate::progress::minutes;
use crate::run::Outcome;

/// What is said about one kind of fault.
#[derive(Debug)]
pub struct Row {
    /// The kind, as it is typed.
    pub kind: String,
    /// Its family.
    pub family: &'static str,
    /// How often it was made.
    pub count: usize,
    /// Of these, how often beside another fault.
    pub paired: usize,
    /// Messages in flight, the median and the most.
    pub in_flight: (u64, u64),
    /// Calls made again that a fault of this kind explains.
    pub repeats: u64,
    /// From the end of a fault that was the only one until everything worked, the
    /// median and the longest.
    pub recovery: Option<(Micros, Micros)>,
}

/// The rows, in the order of families and kinds.
#[must_use]
pub fn faults(outcome: &Outcome) -> Vec<Row> {
    let mut by: BTreeMap<&str, Vec<(usize, &Fault)>> = BTreeMap::new();
    for (place, fault) in outcome.history.faults.iter().enumerate() {
        by.entry(&fault.kind).or_default().push((place, fault));
    }
    let row = |(kind, faults): (&&str, &Vec<(usize, &Fault)>)| {
        let repeats = faults.iter();
        let repeats = repeats.filter_map(|(place, _)| outcome.verdict.repeats.get(place));
        let in_flight = faults.iter().map(|(_, fault)| fault.in_flight).collect();
        let recoveries = faults.iter().filter_map(|(_, fault)| recovery(fault));
        let recoveries: Vec<Micros> = recoveries.collect();
        Row {
            kind: (*kind).to_owned(),
            family: faults[0].1.family,
            count: faults.len(),
            paired: faults.iter().filter(|(_, fault)| fault.paired).count(),
            in_flight: middle_and_most(in_flight),
            repeats: repeats.sum(),
            recovery: (!recoveries.is_empty()).then(|| middle_and_most(recoveries)),
        }
    };
    let mut rows: Vec<Row> = by.iter().map(row).collect();
    let family = |row: &Row| {
        ["host", "broker", "store", "operator"]
            .iter()
            .position(|family| *family == row.family)
    };
    rows.sort_by_key(|row| (family(row), row.kind.clone()));
    rows
}

/// Names and figures about the whole run.
#[must_use]
pub fn totals(outcome: &Outcome) -> Vec<(&'static str, String)> {
    let (history, verdict) = (&outcome.history, &outcome.verdict);
    let count = |kind: &str| verdict.count(kind).to_string();
    let twice =
        |(id, _): &(&crate::history::Id, &crate::history::Sent)| crate::load::is_twice(id.1);
    let recoveries = history.faults.iter().filter_map(recovery).collect();
    let longest = middle_and_most(recoveries);
    let mut totals = vec![
        ("seed", outcome.options.seed.to_string()),
        ("took", minutes(outcome.elapsed)),
        ("hosts", outcome.options.hosts.to_string()),
        ("messages published", history.sent.len().to_string()),
        (
            "of these published twice",
            history.sent.iter().filter(twice).count().to_string(),
        ),
        (
            "to be given up",
            history
                .sent
                .values()
                .filter(|sent| sent.reason.is_some())
                .count()
                .to_string(),
        ),
        ("effects", history.effects.len().to_string()),
        ("effects published again", history.copies.to_string()),
        ("dead letters", history.letters.len().to_string()),
        ("handler calls", history.calls.len().to_string()),
        ("calls made again", verdict.all_repeats().to_string()),
        ("faults", history.faults.len().to_string()),
        (
            "recovery after one fault, median and longest",
            format!("{} and {}", seconds(longest.0), seconds(longest.1)),
        ),
    ];
    for kind in Violation::KINDS {
        totals.push((kind, count(kind)));
    }
    totals
}

/// The tables for a terminal.
#[must_use]
pub fn text(outcome: &Outcome) -> String {
    use comfy_table::{CellAlignment, Table, presets::UTF8_FULL_CONDENSED};
    let mut table = Table::new();
    table.load_style(UTF8_FULL_CONDENSED);
    table.set_header(HEAD);
    for row in faults(outcome) {
        table.add_row(cells(&row));
    }
    for column in table.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    let mut all = Table::new();
    all.load_style(UTF8_FULL_CONDENSED);
    for (name, figure) in totals(outcome) {
        all.add_row([name.to_owned(), figure]);
    }
    for column in all.column_iter_mut().skip(1) {
        column.set_cell_alignment(CellAlignment::Right);
    }
    format!("{table}\n{all}")
}

/// The names of the columns.
pub(super) const HEAD: [&str; 8] = [
    "fault",
    "times",
    "beside another",
    "in flight p50",
    "in flight max",
    "calls again",
    "recovery p50",
    "recovery max",
];

/// A row as text.
pub(super) fn cells(row: &Row) -> [String; 8] {
    let none = || "-".to_owned();
    [
        row.kind.clone(),
        row.count.to_string(),
        row.paired.to_string(),
        row.in_flight.0.to_string(),
        row.in_flight.1.to_string(),
        row.repeats.to_string(),
        row.recovery
            .map_or_else(none, |recovery| seconds(recovery.0)),
        row.recovery
            .map_or_else(none, |recovery| seconds(recovery.1)),
    ]
}

pub(super) fn seconds(time: Micros) -> String {
    format!("{:.1} s", Duration::from_micros(time).as_secs_f64())
}

/// How long it took after a fault that was the only one.
fn recovery(fault: &Fault) -> Option<Micros> {
    let recovered = fault.recovered.filter(|_| !fault.paired)?;
    Some(recovered.saturating_sub(fault.over))
}

fn middle_and_most(mut all: Vec<u64>) -> (u64, u64) {
    all.sort_unstable();
    let middle = all.get(all.len() / 2).copied().unwrap_or_default();
    (middle, all.last().copied().unwrap_or_default())
}
