//! What is kept of a run: a trace for people, its hash, and the history for the
//! checker.

use std::fmt::{self, Write as _};

use holdfast_history::{Event, What};

/// The record of one run.
#[derive(Debug)]
pub(crate) struct Record {
    pub(crate) lines: Vec<String>,
    pub(crate) hash: u64,
    pub(crate) history: Vec<Event>,
}

impl Default for Record {
    fn default() -> Self {
        Self {
            lines: Vec::new(),
            // FNV-1a.
            hash: 0xcbf2_9ce4_8422_2325,
            history: Vec::new(),
        }
    }
}

/// The longest text of an answer in the trace.
const SHOWN: usize = 110;

impl Record {
    pub(crate) fn line(&mut self, at_ms: u128, who: &str, what: fmt::Arguments<'_>) {
        let mut line = String::with_capacity(96);
        let _ = write!(line, "{:>8.3} {who:<5} ", at_ms as f64 / 1000.0);
        let _ = write!(line, "{what}");
        for byte in line.bytes() {
            self.hash = (self.hash ^ u64::from(byte)).wrapping_mul(0x0100_0000_01b3);
        }
        self.lines.push(line);
    }

    pub(crate) fn event(&mut self, at: u64, what: What) {
        self.history.push(Event::new(at, what));
    }
}

/// An answer, cut to a readable length.
pub(crate) struct Short<T>(pub(crate) T);

impl<T: fmt::Debug> fmt::Display for Short<&T> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let text = format!("{:?}", self.0);
        let mut end = text.len().min(SHOWN);
        while !text.is_char_boundary(end) {
            end -= 1;
        }
        f.write_str(&text[..end])
    }
}
