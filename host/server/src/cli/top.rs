//! `top`: a table of the consumers that is drawn again and again.

use std::collections::BTreeMap;
use std::io::{self, IsTerminal as _};
use std::time::{Duration, Instant};

use serde_json::{Value, json};

use super::args::{Global, Top};
use super::client::Client;
use super::failure::Failure;
use super::operate::rows;
use super::output::{self, cell};

/// Drawing more often tells nothing more.
const SHORTEST: Duration = Duration::from_millis(100);

/// To the upper left corner; the rest of a line; the rest of the screen.
const HOME: &str = "\x1b[H";
const END_OF_LINE: &str = "\x1b[K";
const END_OF_SCREEN: &str = "\x1b[J";
const CLEAR: &str = "\x1b[2J";

/// `top`.
pub(super) fn top(global: &Global, top: &Top) -> Result<(), Failure> {
    let client = Client::find(global)?;
    let every = top.every.max(SHORTEST);
    let screen = !top.once && !global.json && io::stdout().is_terminal() && !is_dumb();
    let mut last = Sample::take(&client)?;
    if screen {
        output::bytes(CLEAR.as_bytes())?;
    }
    loop {
        std::thread::sleep(every);
        let drawn = match Sample::take(&client) {
            Ok(now) => {
                let rates = now.rates(&last);
                let drawn = match global.json {
                    true => now.json(&rates).to_string(),
                    false => now.table(&rates),
                };
                last = now;
                drawn
            }
            Err(failure) if top.once || !screen => return Err(failure),
            // A host that is started anew is shown again.
            Err(Failure::Failed(why)) => why,
            Err(failure) => return Err(failure),
        };
        match screen {
            true => output::bytes(framed(&drawn).as_bytes())?,
            false => output::line(&drawn)?,
        }
        if top.once {
            return Ok(());
        }
        if !screen && !global.json {
            output::line("")?;
        }
    }
}

fn is_dumb() -> bool {
    std::env::var_os("TERM").is_some_and(|term| term == "dumb")
}

/// Over what is there, without flickering.
fn framed(text: &str) -> String {
    let lines: Vec<String> = text
        .lines()
        .map(|line| format!("{line}{END_OF_LINE}\n"))
        .collect();
    format!("{HOME}{}{END_OF_SCREEN}", lines.concat())
}

/// What the host says at one moment.
struct Sample {
    at: Instant,
    consumers: Value,
}

type Rates = BTreeMap<String, f64>;

impl Sample {
    fn take(client: &Client) -> Result<Self, Failure> {
        let consumers = client.get(&["consumers"], &[])?;
        let at = Instant::now();
        Ok(Self { at, consumers })
    }

    /// Messages per second that ended since then, but for those handed back.
    fn rates(&self, before: &Self) -> Rates {
        let seconds = self.at.duration_since(before.at).as_secs_f64().max(1e-3);
        let earlier: BTreeMap<String, u64> = rows(&before.consumers).map(ended).collect();
        let rate = |row: &Value| {
            let (name, now) = ended(row);
            // A host that was started anew counts from zero.
            let then = earlier.get(&name).copied().filter(|then| *then <= now);
            #[expect(clippy::cast_precision_loss, reason = "a rate is rounded anyway")]
            let rate = (now - then.unwrap_or(now)) as f64 / seconds;
            (name, rate)
        };
        rows(&self.consumers).map(rate).collect()
    }

    fn table(&self, rates: &Rates) -> String {
        let head = [
            "consumer",
            "phase",
            "rate/s",
            "in flight",
            "waiting",
            "ready",
            "dead",
            "lease",
        ];
        let row = |row: &Value| {
            let name = cell(&row["name"]);
            let waiting = row["waiting"].as_object().into_iter().flatten();
            let waiting: u64 = waiting.filter_map(|(_, count)| count.as_u64()).sum();
            let rate = rates.get(&name).copied().unwrap_or(0.0);
            [
                cell(&row["phase"]),
                format!("{rate:.1}"),
                cell(&row["in_flight"]),
                waiting.to_string(),
                cell(&row["depth"]["ready"]),
                cell(&row["depth"]["dead"]),
                lease(row),
            ]
        };
        let lines = rows(&self.consumers).map(|consumer| {
            let [phase, rate, flying, waiting, ready, dead, lease] = row(consumer);
            let name = cell(&consumer["name"]);
            [name, phase, rate, flying, waiting, ready, dead, lease]
        });
        output::rendered(head, lines)
    }

    fn json(&self, rates: &Rates) -> Value {
        let row = |row: &Value| {
            let mut row = row.clone();
            let rate = row["name"].as_str().and_then(|name| rates.get(name));
            row["rate"] = json!(rate);
            row
        };
        rows(&self.consumers).map(row).collect()
    }
}

fn ended(row: &Value) -> (String, u64) {
    let ended = row["ended"].as_object().into_iter().flatten();
    let ended = ended.filter(|(ending, _)| *ending != "abandoned");
    let sum = ended.filter_map(|(_, count)| count.as_u64()).sum();
    (row["name"].as_str().unwrap_or_default().to_owned(), sum)
}

fn lease(row: &Value) -> String {
    let text = match (row["leased"] == true, row["epoch"].is_null()) {
        (false, _) => "-",
        (true, false) => "leads",
        (true, true) => "follows",
    };
    text.to_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sample(at: Instant, completed: u64, abandoned: u64) -> Sample {
        let consumers = json!([{
            "name": "orders", "phase": "consuming", "in_flight": 3,
            "waiting": {"lane": 1, "other_side": 0, "delay": 1},
            "depth": {"ready": 7, "dead": null}, "leased": true, "epoch": 5,
            "ended": {"completed": completed, "abandoned": abandoned},
        }]);
        Sample { at, consumers }
    }

    #[test]
    fn a_rate_counts_what_ended_and_survives_a_restart_of_the_host() {
        let start = Instant::now();
        let before = sample(start, 10, 0);
        let after = sample(start + Duration::from_secs(2), 40, 500);
        assert_eq!(after.rates(&before)["orders"], 15.0);
        let anew = sample(start + Duration::from_secs(2), 3, 0);
        assert_eq!(anew.rates(&before)["orders"], 0.0);
    }

    #[test]
    fn the_table_has_a_line_for_each_consumer_and_no_escape_codes() {
        let now = sample(Instant::now(), 10, 0);
        let table = now.table(&Rates::from([("orders".into(), 15.04)]));
        let lines: Vec<&str> = table.lines().collect();
        assert_eq!(lines.len(), 2, "{table}");
        let words: Vec<&str> = lines[1].split_whitespace().collect();
        let expected = ["orders", "consuming", "15.0", "3", "2", "7", "-", "leads"];
        assert_eq!(words, expected);
        assert!(!table.contains('\x1b'));
    }
}
