//! Getting at the text: files that are no configuration at all, and syntax.

use std::fs::File;
use std::io::{ErrorKind, Read as _};
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use super::report::{ConfigErrors, Problem, Report, Severity};
use super::source::Source;

/// A larger file is a mistake (or an attack), not a configuration.
const LARGEST: u64 = 4 << 20;

const START: &str = "a configuration begins with `version = 1`; \
                     `holdfast schema` prints all that can be in one";

/// Reads a file as text.
pub(super) fn read(path: &Path) -> Result<String, ConfigErrors> {
    let name = path.display().to_string();
    let nowhere = |message: String, help: &str| {
        let help = Some(help.to_owned());
        let problem = Problem {
            severity: Severity::Error,
            message,
            help,
            span: None,
        };
        ConfigErrors(Report::new(Arc::new(Source::new(&name, "")), vec![problem]))
    };
    let unreadable = |err: std::io::Error| match err.kind() {
        ErrorKind::NotFound => nowhere(
            format!("failed to read the configuration {name}: there is no such file"),
            "name the file with --config FILE, or write holdfast.toml here",
        ),
        ErrorKind::IsADirectory => nowhere(
            format!("failed to read the configuration {name}: it is a directory"),
            "name a file with --config FILE",
        ),
        _ => nowhere(
            format!("failed to read the configuration {name}: {err}"),
            "check who may read it",
        ),
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(LARGEST + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    if bytes.len() as u64 > LARGEST {
        return Err(nowhere(
            format!("failed to read the configuration {name}: it is larger than 4 MiB"),
            "is this the right file?",
        ));
    }
    String::from_utf8(bytes).map_err(|err| {
        let valid = err.utf8_error().valid_up_to();
        let bad = err.as_bytes()[valid];
        let text = String::from_utf8_lossy(err.as_bytes());
        let message = format!("the file is not UTF-8: byte 0x{bad:02x} at offset {valid}");
        let problem = Problem::error(valid..valid + 1, message)
            .help("save it as UTF-8; a configuration is text in TOML");
        ConfigErrors(Report::new(
            Arc::new(Source::new(&name, &text)),
            vec![problem],
        ))
    })
}

/// The problem of a text that holds no setting at all.
pub(super) fn nothing_in(text: &str) -> Option<Problem> {
    let blank = |line: &str| line.trim().is_empty() || line.trim_start().starts_with('#');
    let message = if text.trim().is_empty() {
        "the file is empty"
    } else if text.lines().all(blank) {
        "the file holds nothing but comments"
    } else {
        return None;
    };
    Some(Problem::error(0..0, message).help(START))
}

/// The syntax errors as problems, one per line: what follows on the same line
/// is mostly the parser finding its feet again.
pub(super) fn syntax_problems(source: &Source, errors: &[toml::de::Error]) -> Vec<Problem> {
    let mut seen = Vec::new();
    let mut problems = Vec::new();
    let mut repeated_table = None;
    for error in errors {
        let span = error.span().unwrap_or(0..0);
        let (line, _) = source.position(span.start);
        if seen.contains(&line) {
            continue;
        }
        seen.push(line);
        let is_header = |line: usize| source.line(line).trim_start().starts_with('[');
        if is_repeated(error.message()) {
            // A table that is there twice repeats its keys too: once is enough.
            if repeated_table.is_some_and(|table| !(table + 1..=line).any(is_header)) {
                continue;
            }
            repeated_table = is_header(line).then_some(line);
        }
        problems.push(syntax_problem(source, error.message(), span));
    }
    problems
}

fn is_repeated(message: &str) -> bool {
    message.starts_with("duplicate key")
}

fn syntax_problem(source: &Source, message: &str, span: Range<usize>) -> Problem {
    if is_repeated(message) {
        let key = source.shown(&span);
        return Problem::error(span, format!("`{key}` is written twice in the same table"))
            .help("keep one of them");
    }
    let problem = Problem::error(span.clone(), format!("this is not TOML: {message}"));
    match source.shown(&span).as_str() {
        "" => problem,
        _ if message.contains("string values must be quoted") => {
            problem.help("texts stand in quotes, durations and sizes too: keep = \"7d\"")
        }
        _ => problem,
    }
}

/// The syntax errors and those other problems that can be told although the
/// text does not parse. A broken table header moves the keys below it to
/// another table, so then only the syntax is reported.
pub(super) fn beside_syntax(
    source: &Source,
    syntax: Vec<Problem>,
    others: Vec<Problem>,
) -> Vec<Problem> {
    let line_of = |problem: &Problem| {
        problem
            .span
            .as_ref()
            .map_or(1, |span| source.position(span.start).0)
    };
    let lines: Vec<usize> = syntax.iter().map(line_of).collect();
    let header = lines
        .iter()
        .any(|line| source.line(*line).trim_start().starts_with('['));
    let mut all = syntax;
    if !header {
        all.extend(others.into_iter().filter(|problem| {
            let missing = problem.message.ends_with(super::reader::IS_MISSING);
            // The parser's stand-ins for values it could not read have no place.
            let placed = problem.span.as_ref().is_some_and(|span| !span.is_empty());
            let error = problem.severity == Severity::Error;
            error && placed && !missing && !lines.contains(&line_of(problem))
        }));
    }
    all
}

/// A refusal always says something.
pub(super) fn never_none(mut errors: Vec<Problem>) -> Vec<Problem> {
    if errors.is_empty() {
        errors.push(Problem::error(
            0..0,
            "the configuration could not be understood",
        ));
    }
    errors
}
