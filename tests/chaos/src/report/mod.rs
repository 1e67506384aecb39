//! What is left of a run: tables on the terminal, a picture, a page, the history.

mod html;
mod kept;
mod plot;
mod png;
mod table;

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context as _, Result};

pub use table::{Row, faults, text, totals};

use crate::run::Outcome;

/// Writes `report.html`, `throughput.png` and `result.json` into the folder, and
/// the history as well when something was wrong. Gives the paths.
///
/// # Errors
/// When a file cannot be written.
pub fn write(outcome: &Outcome, folder: &Path) -> Result<Vec<PathBuf>> {
    fs::create_dir_all(folder)?;
    let series = plot::Series::of(outcome);
    let picture = folder.join("throughput.png");
    plot::png(&series, outcome, &picture).context("failed to draw the picture")?;
    let page = folder.join("report.html");
    fs::write(&page, html::page(outcome, &plot::svg(&series, outcome)?))?;
    let result = folder.join("result.json");
    fs::write(&result, kept::result(outcome).to_string())?;
    let mut written = vec![page, picture, result];
    if !outcome.is_good() {
        let history = folder.join("history.jsonl");
        kept::history(outcome, &history)?;
        written.push(history);
    }
    Ok(written)
}

/// The command that makes the same faults again.
fn command(outcome: &Outcome) -> String {
    let options = &outcome.options;
    let mut command = format!(
        "cargo xtask chaos --minutes {} --seed {}",
        options.length.as_secs_f64() / 60.0,
        options.seed
    );
    let all = crate::fault::Kind::all();
    if options.kinds != all {
        for kind in &options.kinds {
            command += &format!(" --kind {}", kind.name());
        }
    }
    command
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;
    use crate::history::{Fault, History, Sent};
    use crate::run::Options;
    use crate::{Effect, Kind, Verdict, Violation};

    fn outcome() -> Outcome {
        let mut history = History::default();
        for number in 0..600_u64 {
            let id = ("plain", number);
            let sent = Sent {
                lane: None,
                calls: 1,
                reason: None,
            };
            history.sent.insert(id, sent);
            history.effects.push(Effect {
                at: number * 100_000 + 50_000,
                name: format!("plain/{number}/1"),
                id,
                side: "plain".into(),
                attempt: 1,
                fence: number,
                count: 1,
            });
        }
        for (place, kind) in Kind::all().into_iter().enumerate() {
            let begin = place as u64 * 2_000_000;
            history.faults.push(Fault {
                kind: kind.name(),
                family: kind.family().name(),
                target: "<one>".into(),
                begin,
                over: begin + 700_000,
                recovered: (place != 3).then_some(begin + 1_500_000),
                in_flight: 40,
                paired: false,
            });
        }
        Outcome {
            options: Options {
                length: Duration::from_secs(60),
                kinds: Kind::all(),
                seed: 5,
                rate: 10,
                hosts: 2,
                folder: PathBuf::new(),
                live: false,
            },
            history,
            verdict: Verdict {
                violations: vec![Violation::Lost(("plain", 17))],
                repeats: [(2, 3)].into(),
            },
            published: vec![10; 60],
            audits: vec!["host 1: the books close".into()],
            elapsed: Duration::from_secs(60),
        }
    }

    #[test]
    fn a_report_has_a_picture_and_says_what_happened() {
        let folder = tempfile::tempdir().unwrap();
        let written = write(&outcome(), folder.path()).unwrap();
        assert_eq!(written.len(), 4, "{written:?}");
        let page = fs::read_to_string(&written[0]).unwrap();
        for part in [
            "<svg",
            "lost: plain/17",
            "broker-silent",
            "&lt;one&gt;",
            "--seed 5",
        ] {
            assert!(page.contains(part), "{part}");
        }
        assert!(!page.contains("http://") || page.contains("www.w3.org"));
        let picture = fs::read(&written[1]).unwrap();
        assert!(picture.starts_with(b"\x89PNG"));
        // Text and curves: a blank picture would be a tenth of that.
        assert!(picture.len() > 20_000, "{}", picture.len());
        if let Some(kept) = std::env::var_os("HOLDFAST_CHAOS_PICTURE") {
            fs::write(kept, picture).unwrap();
        }
        let lines = fs::read_to_string(&written[3]).unwrap();
        assert_eq!(lines.lines().count(), 1_200 + Kind::all().len());
    }

    #[test]
    fn figures_are_put_together_by_kind() {
        let outcome = outcome();
        let rows = faults(&outcome);
        assert_eq!(rows.len(), Kind::all().len());
        let row = rows.iter().find(|row| row.kind == "host-stop").unwrap();
        assert_eq!((row.count, row.repeats), (1, 3));
        assert_eq!(row.recovery, Some((800_000, 800_000)));
        let text = text(&outcome);
        assert!(
            text.contains("host-stop") && text.contains("lost"),
            "{text}"
        );
    }
}
