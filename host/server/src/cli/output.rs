//! Data on standard output, notices on standard error.

use std::io::{self, IsTerminal as _, Write as _};

use comfy_table::presets::NOTHING;
use comfy_table::{ContentArrangement, Table};
use serde_json::Value;

use super::failure::Failure;

/// Prints one line or several of data.
pub(super) fn line(text: &str) -> Result<(), Failure> {
    bytes(format!("{text}\n").as_bytes())
}

/// Prints data as it is.
pub(super) fn bytes(bytes: &[u8]) -> Result<(), Failure> {
    let mut out = io::stdout().lock();
    out.write_all(bytes)?;
    out.flush()?;
    Ok(())
}

/// Prints JSON.
pub(super) fn json(value: &Value) -> Result<(), Failure> {
    line(&format!("{value:#}"))
}

/// Prints a table; nothing but its head when there are no rows.
pub(super) fn table<const N: usize>(
    head: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> Result<(), Failure> {
    line(&rendered(head, rows))
}

/// A table as text.
pub(super) fn rendered<const N: usize>(
    head: [&str; N],
    rows: impl IntoIterator<Item = [String; N]>,
) -> String {
    let mut table = Table::new();
    table.load_style(NOTHING);
    table.set_content_arrangement(ContentArrangement::Dynamic);
    table.set_header(head.map(str::to_uppercase));
    for row in rows {
        table.add_row(row);
    }
    for column in table.column_iter_mut() {
        column.set_padding((0, 2));
    }
    table.trim_fmt()
}

/// Prints names and values, the values below each other.
pub(super) fn pairs<const N: usize>(pairs: [(&str, String); N]) -> Result<(), Failure> {
    let width = pairs.iter().map(|(name, _)| name.len()).max().unwrap_or(0) + 2;
    let lines: Vec<String> = pairs
        .iter()
        .map(|(name, value)| {
            format!(
                "{name:width$}{}",
                value.replace('\n', &format!("\n{:width$}", ""))
            )
        })
        .collect();
    line(&lines.join("\n"))
}

/// Tells a person something that is not data.
pub(super) fn notice(text: &str) {
    // A closed standard error is no reason to fail.
    let _ = writeln!(io::stderr(), "{text}");
}

/// May standard error be coloured?
pub(super) fn colour() -> bool {
    let asked_not_to = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !asked_not_to && io::stderr().is_terminal()
}

/// A JSON value as a cell: texts without quotes, `-` for nothing.
pub(super) fn cell(value: &Value) -> String {
    match value {
        Value::Null => "-".to_owned(),
        Value::String(text) if text.is_empty() => "-".to_owned(),
        Value::String(text) => shown(text),
        Value::Bool(true) => "yes".to_owned(),
        Value::Bool(false) => "no".to_owned(),
        other => other.to_string(),
    }
}

/// A text from elsewhere, with what could confuse a terminal escaped.
pub(super) fn shown(text: &str) -> String {
    text.chars()
        .map(|c| match c {
            '\n' => "\n".to_owned(),
            c if c.is_control() => c.escape_default().to_string(),
            c => c.to_string(),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn cells_are_short_and_cannot_steer_a_terminal() {
        let cells = ["null", "true", "12", "\"a\"", "\"\\u001b[2J\""];
        let cells = cells.map(|json| cell(&serde_json::from_str(json).expect("JSON")));
        assert_eq!(cells, ["-", "yes", "12", "a", "\\u{1b}[2J"]);
    }
}
