//! The text of a configuration file, as it may be shown.

use std::fmt;
use std::ops::Range;

use super::redact;

/// The name and the text of a file. The text is masked: what looks like a
/// secret is stars, so that nothing made from a source can show one.
#[derive(Clone)]
pub struct Source {
    name: String,
    masked: String,
    line_starts: Vec<usize>,
}

impl Source {
    pub(super) fn new(name: &str, text: &str) -> Self {
        let starts = text
            .bytes()
            .enumerate()
            .filter(|(_, b)| *b == b'\n')
            .map(|(at, _)| at + 1);
        Self {
            name: name.to_owned(),
            masked: redact::mask(text),
            line_starts: std::iter::once(0).chain(starts).collect(),
        }
    }

    /// What the file is called in messages.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Line and column of a byte offset, both from 1, columns in characters.
    #[must_use]
    pub fn position(&self, offset: usize) -> (usize, usize) {
        let line = self
            .line_starts
            .partition_point(|start| *start <= offset)
            .max(1);
        let start = self.line_starts[line - 1];
        let end = floor_boundary(&self.masked, offset);
        let column = self
            .masked
            .get(start..end)
            .map_or(0, |before| before.chars().count());
        (line, column + 1)
    }

    /// `file:line:column` of a byte offset.
    #[must_use]
    pub fn place(&self, offset: usize) -> String {
        let (line, column) = self.position(offset);
        format!("{}:{line}:{column}", self.name)
    }

    /// A line (from 1) without its end, secrets masked.
    #[must_use]
    pub fn line(&self, line: usize) -> &str {
        let from = self.line_starts[line - 1];
        let to = self
            .line_starts
            .get(line)
            .map_or(self.masked.len(), |next| next - 1);
        self.masked[from..to].trim_end_matches('\r')
    }

    /// What stands at a span, secrets masked, cut to a length that fits into a
    /// sentence.
    pub(super) fn shown(&self, span: &Range<usize>) -> String {
        const LONGEST: usize = 60;
        let text = self.masked.get(span.clone()).unwrap_or_default();
        let text = text.trim_matches(['"', '\'']);
        if text.chars().count() <= LONGEST {
            return text
                .escape_debug()
                .to_string()
                .replace("\\\"", "\"")
                .replace("\\'", "'");
        }
        let cut: String = text.chars().take(LONGEST).collect();
        format!("{}…", cut.escape_debug())
    }
}

impl fmt::Debug for Source {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Source({}, {} bytes)", self.name, self.masked.len())
    }
}

fn floor_boundary(text: &str, offset: usize) -> usize {
    let mut at = offset.min(text.len());
    while !text.is_char_boundary(at) {
        at -= 1;
    }
    at
}
