//! The table for people and the file for programs.

use std::fs;
use std::path::{Path, PathBuf};

use anyhow::{Context, Result};
use comfy_table::{CellAlignment, Table, presets};
use serde_json::{Map, Value, json};

use super::guest::Guest;
use super::idle::Idle;
use super::latency::Latency;
use super::measure::{Run, median};
use super::variant::Variant;

/// Everything that was measured.
#[derive(Debug, Default)]
pub(super) struct Report {
    pub(super) runs: Vec<(Variant, Run)>,
    pub(super) latencies: Vec<(Variant, Latency)>,
    pub(super) guest: Option<Guest>,
    pub(super) idle: Vec<Idle>,
}

impl Report {
    pub(super) fn print(&self) {
        println!("{}", self.table());
        if let Some(bytes) = self.claim_bytes() {
            println!("Redis memory for each finished claim: {bytes:.0} bytes");
        }
        if let Some(guest) = self.guest {
            println!(
                "one call into a guest: fresh {:.1} µs, reused {:.1} µs, in a batch of 64 {:.1} µs",
                guest.fresh, guest.reused, guest.batch
            );
        }
        for idle in &self.idle {
            println!(
                "at rest with {:>3} plugins: {:.1} % of a core, {:.0} MB; ready {:.0} ms after its start",
                idle.plugins, idle.cpu_percent, idle.memory_mb, idle.ready_ms
            );
        }
    }

    /// Writes `latest.json` into `folder` and returns its path.
    pub(super) fn write(&self, folder: &Path) -> Result<PathBuf> {
        fs::create_dir_all(folder)
            .with_context(|| format!("failed to create {}", folder.display()))?;
        let path = folder.join("latest.json");
        let text = format!("{:#}\n", self.json());
        fs::write(&path, text).with_context(|| format!("failed to write {}", path.display()))?;
        Ok(path)
    }

    fn table(&self) -> Table {
        let mut table = Table::new();
        table.load_style(presets::UTF8_FULL_CONDENSED);
        table.set_header([
            "consumer",
            "messages/s",
            "of the reference",
            "own CPU µs",
            "broker µs",
            "Redis µs",
            "p50 ms",
            "p99 ms",
        ]);
        let number = |value: Option<f64>, digits: usize| {
            value.map_or_else(|| "–".to_owned(), |value| format!("{value:.digits$}"))
        };
        for variant in Variant::chosen(&[]) {
            if self.per_second(variant).is_none() {
                continue;
            }
            let latency = self.latency(variant);
            table.add_row([
                variant.to_string(),
                number(self.per_second(variant), 0),
                number(self.ratio(variant, Variant::Native), 2),
                number(self.cpu(variant, |run| run.each(run.own)), 1),
                number(self.cpu(variant, |run| run.each(run.broker)), 1),
                number(self.cpu(variant, |run| run.each(run.redis)), 1),
                number(latency.map(|latency| latency.p50), 2),
                number(latency.map(|latency| latency.p99), 2),
            ]);
        }
        for column in table.column_iter_mut().skip(1) {
            column.set_cell_alignment(CellAlignment::Right);
        }
        table
    }

    /// What was not measured is null.
    fn json(&self) -> Value {
        let per_variant = |value: &dyn Fn(Variant) -> Option<f64>| -> Value {
            let variants = Variant::chosen(&[]).into_iter();
            let fields: Map<String, Value> = variants
                .map(|variant| (variant.name().to_owned(), json!(value(variant))))
                .collect();
            Value::Object(fields)
        };
        let mut fields = Map::new();
        for variant in Variant::chosen(&[]) {
            let name = format!("{}_per_s", variant.name());
            fields.insert(name, json!(self.per_second(variant)));
        }
        let ratios = [
            ("fresh_over_native", Variant::Fresh, Variant::Native),
            ("reuse_over_native", Variant::Reuse, Variant::Native),
            ("fresh_over_ceiling", Variant::Fresh, Variant::Ceiling),
        ];
        for (name, of, over) in ratios {
            fields.insert(name.to_owned(), json!(self.ratio(of, over)));
        }
        let parts = [
            (
                "cpu_us_per_message",
                per_variant(&|of| self.cpu(of, |run| run.each(run.own))),
            ),
            (
                "broker_cpu_us_per_message",
                per_variant(&|of| self.cpu(of, |run| run.each(run.broker))),
            ),
            (
                "redis_cpu_us_per_message",
                per_variant(&|of| self.cpu(of, |run| run.each(run.redis))),
            ),
            (
                "p50_ms",
                per_variant(&|of| self.latency(of).map(|latency| latency.p50)),
            ),
            (
                "p99_ms",
                per_variant(&|of| self.latency(of).map(|latency| latency.p99)),
            ),
            (
                "guest_call_us",
                json!({
                    "fresh": self.guest.map(|guest| guest.fresh),
                    "reused": self.guest.map(|guest| guest.reused),
                    "batch": self.guest.map(|guest| guest.batch),
                }),
            ),
            ("redis_bytes_per_claim", json!(self.claim_bytes())),
            ("idle", self.at_rest()),
        ];
        fields.extend(parts.map(|(name, value)| (name.to_owned(), value)));
        Value::Object(fields)
    }

    fn at_rest(&self) -> Value {
        let each = self.idle.iter().map(|idle| {
            json!({
                "plugins": idle.plugins,
                "cpu_percent": idle.cpu_percent,
                "memory_mb": idle.memory_mb,
                "ready_ms": idle.ready_ms,
            })
        });
        Value::Array(each.collect())
    }

    fn runs_of(&self, variant: Variant) -> impl Iterator<Item = &Run> {
        let runs = self.runs.iter();
        runs.filter(move |(of, _)| *of == variant)
            .map(|(_, run)| run)
    }

    fn per_second(&self, variant: Variant) -> Option<f64> {
        median(self.runs_of(variant).map(Run::per_second))
    }

    fn cpu(&self, variant: Variant, part: impl Fn(&Run) -> f64) -> Option<f64> {
        median(self.runs_of(variant).map(part))
    }

    fn ratio(&self, of: Variant, over: Variant) -> Option<f64> {
        Some(self.per_second(of)? / self.per_second(over)?)
    }

    fn latency(&self, variant: Variant) -> Option<Latency> {
        let mut found = self.latencies.iter().filter(|(of, _)| *of == variant);
        found.next().map(|(_, latency)| *latency)
    }

    fn claim_bytes(&self) -> Option<f64> {
        let fresh = self.runs_of(Variant::Fresh);
        median(fresh.filter_map(|run| Some(run.memory? as f64 / run.messages as f64)))
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    fn run(seconds: f64) -> Run {
        Run {
            messages: 1000,
            seconds,
            own: Duration::from_millis(20),
            broker: Duration::from_millis(10),
            redis: Duration::from_millis(5),
            memory: Some(150_000),
        }
    }

    #[test]
    fn the_file_has_medians_ratios_and_nulls() {
        let mut report = Report::default();
        for seconds in [9.0, 1.0, 2.0] {
            report.runs.push((Variant::Native, run(seconds)));
        }
        report.runs.push((Variant::Fresh, run(1.0)));
        let json = report.json();
        assert_eq!(json["native_per_s"], 500.0);
        assert_eq!(json["fresh_per_s"], 1000.0);
        assert_eq!(json["fresh_over_native"], 2.0);
        assert_eq!(json["reuse_over_native"], Value::Null);
        assert_eq!(json["cpu_us_per_message"]["native"], 20.0);
        assert_eq!(json["cpu_us_per_message"]["bare"], Value::Null);
        assert_eq!(json["redis_bytes_per_claim"], 150.0);
    }

    #[test]
    fn the_table_shows_what_was_measured_and_nothing_else() {
        let mut report = Report::default();
        report.runs.push((Variant::Native, run(2.0)));
        let table = report.table().to_string();
        assert!(table.contains("500") && table.contains("1.00"), "{table}");
        assert!(!table.contains("Holdfast"), "{table}");
    }
}
