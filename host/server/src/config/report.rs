//! What is wrong with a configuration, and how it is shown.

use std::fmt;
use std::ops::Range;
use std::sync::Arc;

use miette::{
    Diagnostic, GraphicalReportHandler, GraphicalTheme, LabeledSpan, MietteError,
    MietteSpanContents, SourceCode, SourceSpan, SpanContents,
};
use serde_json::{Value, json};

use super::Env;
use super::source::Source;

/// Whether a problem stops the host.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Severity {
    /// The configuration is refused.
    Error,
    /// It is taken, but probably not what was meant.
    Warning,
}

/// One thing that is wrong, and where.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Problem {
    /// Whether it stops the host.
    pub severity: Severity,
    /// What is wrong, in one sentence without secrets.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
    /// Where in the file, in bytes; none when there is no text to point at.
    pub span: Option<Range<usize>>,
}

impl Problem {
    pub(super) fn error(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Error,
            message: message.into(),
            help: None,
            span: Some(span),
        }
    }

    pub(super) fn warning(span: Range<usize>, message: impl Into<String>) -> Self {
        Self {
            severity: Severity::Warning,
            ..Self::error(span, message)
        }
    }

    pub(super) fn help(mut self, help: impl Into<String>) -> Self {
        self.help = Some(help.into());
        self
    }
}

/// Whether what goes to a stream may have colours: it is a terminal, and
/// `NO_COLOR` is not set (an empty value counts as not set).
#[must_use]
pub fn colour_wanted(is_terminal: bool, env: Env<'_>) -> bool {
    is_terminal && env("NO_COLOR").is_none_or(|value| value.is_empty())
}

/// Problems of one file, in the order in which they stand there.
#[derive(Clone, Debug)]
pub struct Report {
    source: Arc<Source>,
    problems: Vec<Problem>,
}

impl Report {
    pub(super) fn new(source: Arc<Source>, mut problems: Vec<Problem>) -> Self {
        problems.sort_by_key(|problem| problem.span.as_ref().map_or(0, |span| span.start));
        problems.dedup();
        Self { source, problems }
    }

    /// The problems, in the order of the file.
    #[must_use]
    pub fn problems(&self) -> &[Problem] {
        &self.problems
    }

    /// Whether there is none.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.problems.is_empty()
    }

    /// `file:line:column` of a problem; the file alone when it has no place.
    #[must_use]
    pub fn place(&self, problem: &Problem) -> String {
        match &problem.span {
            Some(span) => self.source.place(span.start),
            None => self.source.name().to_owned(),
        }
    }

    /// The problems as a person reads them: each with its place, its line, a
    /// marker under it and what to do. `colour` is for terminals only.
    #[must_use]
    pub fn render(&self, colour: bool) -> String {
        let theme = if colour {
            GraphicalTheme::unicode()
        } else {
            GraphicalTheme::unicode_nocolor()
        };
        let handler = GraphicalReportHandler::new_themed(theme)
            .with_width(usize::from(u16::MAX))
            .with_context_lines(0)
            .without_syntax_highlighting();
        let mut out = String::new();
        for (n, problem) in self.problems.iter().enumerate() {
            if n > 0 {
                out.push('\n');
            }
            let shown = Shown {
                problem,
                excerpt: Excerpt::new(&self.source, problem),
            };
            if handler.render_report(&mut out, &shown).is_err() {
                out.push_str(&problem.message);
                out.push('\n');
            }
        }
        out
    }

    /// The problems as JSON: a list of `{"severity", "message", "help",
    /// "file", "line", "column", "text"}`, where `text` is the line with its
    /// secrets masked. Line and column count from 1.
    #[must_use]
    pub fn to_json(&self) -> Value {
        self.problems
            .iter()
            .map(|problem| self.problem_json(problem))
            .collect()
    }

    fn problem_json(&self, problem: &Problem) -> Value {
        let place = problem
            .span
            .as_ref()
            .map(|span| self.source.position(span.start));
        json!({
            "severity": match problem.severity {
                Severity::Error => "error",
                Severity::Warning => "warning",
            },
            "message": problem.message,
            "help": problem.help,
            "file": self.source.name(),
            "line": place.map(|(line, _)| line),
            "column": place.map(|(_, column)| column),
            "text": place.map(|(line, _)| self.source.line(line)),
        })
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.render(false))
    }
}

/// Why a configuration was refused: all its errors. Nothing was changed by
/// reading it; trying again makes sense once the file did change.
#[derive(Clone, Debug)]
pub struct ConfigErrors(pub(super) Report);

impl ConfigErrors {
    /// The errors, for rendering with colours or reading one by one.
    #[must_use]
    pub fn report(&self) -> &Report {
        &self.0
    }

    /// As [`Report::to_json`].
    #[must_use]
    pub fn to_json(&self) -> Value {
        self.0.to_json()
    }
}

impl fmt::Display for ConfigErrors {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

impl std::error::Error for ConfigErrors {}

/// The one line a problem is about, cut to a width that can be read.
#[derive(Debug)]
struct Excerpt {
    name: String,
    text: String,
    line: usize,
    column: usize,
    mark: Range<usize>,
}

impl Excerpt {
    fn new(source: &Source, problem: &Problem) -> Option<Self> {
        const BEFORE: usize = 80;
        const AFTER: usize = 120;
        let span = problem.span.clone()?;
        let (line, column) = source.position(span.start);
        let whole = source.line(line);
        let wanted = span.end.saturating_sub(span.start).max(1);
        let skipped = (column - 1).saturating_sub(BEFORE);
        let lead = if skipped > 0 { "…" } else { "" };
        let before: String = whole
            .chars()
            .skip(skipped)
            .take(column - 1 - skipped)
            .collect();
        let rest: String = whole.chars().skip(column - 1).take(AFTER).collect();
        let cut = whole.chars().count() > column - 1 + AFTER;
        let marked = rest
            .char_indices()
            .map(|(at, c)| at + c.len_utf8())
            .find(|end| *end >= wanted);
        let marked = marked.unwrap_or(rest.len());
        let start = lead.len() + before.len();
        // A mark needs a character to stand under, also at the end of a line.
        let tail = if rest.is_empty() { " " } else { "" };
        let more = if cut { "…" } else { "" };
        Some(Self {
            name: source.name().to_owned(),
            text: format!("{lead}{before}{rest}{tail}{more}"),
            line,
            column,
            mark: start..start + marked.max(tail.len()),
        })
    }
}

impl SourceCode for Excerpt {
    fn read_span<'a>(
        &'a self,
        _span: &SourceSpan,
        _before: usize,
        _after: usize,
    ) -> Result<Box<dyn SpanContents<'a> + 'a>, MietteError> {
        let whole = SourceSpan::from(0..self.text.len());
        let (line, column) = (self.line - 1, self.column - 1);
        let (name, text) = (self.name.clone(), self.text.as_bytes());
        Ok(Box::new(MietteSpanContents::new_named(
            name, text, whole, line, column, 1,
        )))
    }
}

struct Shown<'a> {
    problem: &'a Problem,
    excerpt: Option<Excerpt>,
}

impl fmt::Debug for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl fmt::Display for Shown<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.problem.message)
    }
}

impl std::error::Error for Shown<'_> {}

impl Diagnostic for Shown<'_> {
    fn severity(&self) -> Option<miette::Severity> {
        Some(match self.problem.severity {
            Severity::Error => miette::Severity::Error,
            Severity::Warning => miette::Severity::Warning,
        })
    }

    fn help<'a>(&'a self) -> Option<Box<dyn fmt::Display + 'a>> {
        self.problem
            .help
            .as_ref()
            .map(|help| Box::new(help) as Box<dyn fmt::Display + 'a>)
    }

    fn source_code(&self) -> Option<&dyn SourceCode> {
        self.excerpt
            .as_ref()
            .map(|excerpt| excerpt as &dyn SourceCode)
    }

    fn labels(&self) -> Option<Box<dyn Iterator<Item = LabeledSpan> + '_>> {
        let excerpt = self.excerpt.as_ref()?;
        let label = LabeledSpan::new_with_span(None, excerpt.mark.clone());
        Some(Box::new(std::iter::once(label)))
    }
}
