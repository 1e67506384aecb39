//! What became of the orders, as a short table.

use anyhow::{Result, ensure};
use comfy_table::{CellAlignment, Table, presets};

use super::client::Client;
use super::orders::Plan;
use super::setting::{ATTEMPTS, Reload};

/// How to go on.
pub(super) const NEXT: &str = "\
Next:
  cargo xtask demo --keep               the same, left running with its dashboard
  cargo xtask demo --broker rabbitmq    the same on private RabbitMQ and Redis servers
  cargo xtask test                      every test, on real servers
  README.md                             your first handler in five minutes";

struct Row {
    what: &'static str,
    count: u64,
    expected: Option<u64>,
    note: String,
}

pub(super) struct Outcome {
    rows: Vec<Row>,
    difference: i128,
}

impl Outcome {
    pub(super) fn read(client: &Client, plan: &Plan, reload: Reload) -> Result<Self> {
        let of = |ending: &str| client.ended("orders", ending);
        let consumer = ["consumer=\"orders\"".to_owned()];
        let received = client.metric("holdfast_received_total", &consumer)?;
        let retried = client.metric(
            "holdfast_attempts_total",
            &[consumer[0].clone(), "result=\"retry\"".to_owned()],
        )?;
        let (completed, duplicate) = (of("completed")?, of("duplicate")?);
        let (dead, deferred, abandoned) = (of("dead_lettered")?, of("deferred")?, of("abandoned")?);
        let sum = completed
            + duplicate
            + dead
            + deferred
            + abandoned
            + of("stale")?
            + of("left_to_owner")?;
        let lost = plan.endings().saturating_sub(completed + dead);
        let row = |what, count, expected, note: &str| Row {
            what,
            count,
            expected,
            note: note.to_owned(),
        };
        let rows = vec![
            row(
                "published",
                plan.deliveries() as u64,
                None,
                "confirmed by the broker",
            ),
            row(
                "received",
                received,
                None,
                "deliveries, with any that came again",
            ),
            row(
                "completed",
                completed,
                Some(plan.completed()),
                "handler succeeded, effects and claim committed together",
            ),
            row(
                "duplicates",
                duplicate,
                Some(plan.duplicates()),
                "acknowledged without a second call",
            ),
            row(
                "retried",
                retried,
                Some(plan.retries(ATTEMPTS)),
                "failed attempts; the claim was kept for the next",
            ),
            row(
                "dead-lettered",
                dead,
                Some(plan.dead()),
                "10 poison orders, and one that loops for ever",
            ),
            row(
                "confirmations",
                client.ended("confirmations", "completed")?,
                Some(plan.completed()),
                "published by the handler, consumed by a second one",
            ),
            row("lost", lost, Some(0), ""),
            Row {
                what: "reload",
                count: 1,
                expected: None,
                note: format!(
                    "{:.8} -> {:.8}, serving {} ms after the file changed, messages flowing",
                    reload.before,
                    reload.after,
                    reload.took.as_millis()
                ),
            },
        ];
        Ok(Self {
            rows,
            difference: i128::from(received) - i128::from(sum),
        })
    }

    pub(super) fn print(&self) {
        let mut table = Table::new();
        table.load_style(presets::UTF8_BORDERS_ONLY);
        table.set_header(["orders", "count", ""]);
        for row in &self.rows {
            let wrong = row.expected.filter(|expected| *expected != row.count);
            let note = match wrong {
                Some(expected) => format!("expected {expected}! {}", row.note),
                None => row.note.clone(),
            };
            table.add_row([row.what.to_owned(), row.count.to_string(), note]);
        }
        if let Some(column) = table.column_mut(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        println!("{table}");
        let books = if self.difference == 0 {
            "the books close"
        } else {
            "the books do NOT close"
        };
        println!(
            "received = completed + duplicates + dead-lettered + deferred + abandoned: {books}"
        );
    }

    pub(super) fn verdict(&self) -> Result<()> {
        for row in &self.rows {
            if let Some(expected) = row.expected {
                ensure!(
                    row.count == expected,
                    "{}: {} instead of {expected}",
                    row.what,
                    row.count
                );
            }
        }
        ensure!(
            self.difference == 0,
            "received and ended differ by {}",
            self.difference
        );
        Ok(())
    }
}
