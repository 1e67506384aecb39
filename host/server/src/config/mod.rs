//! The configuration file: read, checked and turned into [`Valid`].
//!
//! A file goes through three steps, and nothing else sees the middle one:
//! the text is parsed into a tree that knows where each value stands, the
//! tree is read into [raw](self) settings (types, units, unknown keys), and
//! the settings are checked against each other. Every step collects what is
//! wrong and goes on, so that one run shows all errors of a file.
//!
//! ```
//! let text = r#"
//! version = 1
//! [store]
//! kind = "embedded"
//! [brokers.main]
//! kind = "embedded"
//! [consumers.orders]
//! broker = "main"
//! queue = "orders"
//! plugin = "echo"
//! "#;
//! let loaded = holdfast::config::parse_str("holdfast.toml", text, &|_| None)?;
//! let orders = &loaded.valid.consumers["orders"];
//! assert_eq!(orders.concurrency, 64);
//! assert_eq!(orders.claim.side, "orders");
//! # Ok::<(), holdfast::config::ConfigErrors>(())
//! ```
//!
//! What is not checked here: whether the plugin files exist ([`check_files`]
//! does that), whether they fit, and whether the servers answer.

mod diff;
mod expand;
mod files;
mod input;
mod raw;
mod reader;
mod redact;
mod report;
pub mod schema;
mod secret;
mod source;
mod units;
mod url;
pub mod valid;
mod values;

#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::ops::Range;
use std::path::Path;
use std::sync::Arc;

use toml::de::DeTable;

pub use diff::{Change, Effect};
pub use files::check_files;
pub use report::{ConfigErrors, Problem, Report, Severity, colour_wanted};
pub use secret::{Secret, SecretUrl};
pub use source::Source;
pub use units::show_duration;
pub use url::{Host, UrlError};
pub use valid::Valid;

use reader::Reader;

/// Reads a duration as the configuration writes one: `250ms`, `1h30m`.
///
/// # Errors
/// What is wrong with the text, for a sentence that begins "it is no duration".
pub fn parse_duration(text: &str) -> Result<std::time::Duration, String> {
    units::duration(text).map_err(|error| error.to_string())
}

/// Looks up an environment variable: its value, or nothing when it is unset.
pub type Env<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A configuration without errors.
#[derive(Clone, Debug)]
pub struct Loaded {
    /// The settings.
    pub valid: Valid,
    /// What is allowed but probably not meant.
    pub warnings: Report,
    /// The text the settings came from, with secrets masked.
    pub source: Arc<Source>,
    positions: BTreeMap<String, Range<usize>>,
}

impl Loaded {
    /// An error at a setting, for layers that check what the file alone
    /// cannot tell (a plugin that does not fit, a server that refuses).
    ///
    /// `path` is the dotted key, such as `consumers.orders.plugin`. A key that
    /// is not written in the file stands where its nearest table does.
    #[must_use]
    pub fn problem(&self, path: &str, message: impl Into<String>, help: Option<String>) -> Problem {
        let mut at = path;
        let span = loop {
            match (self.positions.get(at), at.rsplit_once('.')) {
                (Some(span), _) => break Some(span.clone()),
                (None, Some((parent, _))) => at = parent,
                (None, None) => break Some(0..0),
            }
        };
        Problem {
            severity: Severity::Error,
            message: message.into(),
            help,
            span,
        }
    }

    /// The errors of a later layer, to be shown like those of the file.
    #[must_use]
    pub fn errors(&self, problems: Vec<Problem>) -> ConfigErrors {
        ConfigErrors(Report::new(Arc::clone(&self.source), problems))
    }
}

/// Reads and checks a configuration file.
///
/// # Errors
/// Everything that is wrong with the file: it cannot be read, is empty, too
/// large or not UTF-8, or what [`parse_str`] finds.
pub fn load(path: &Path, env: Env<'_>) -> Result<Loaded, ConfigErrors> {
    let text = input::read(path)?;
    parse_str(&path.display().to_string(), &text, env)
}

/// Checks the text of a configuration. `name` is what errors call the file.
///
/// # Errors
/// Everything that is wrong with the text, ordered by position.
pub fn parse_str(name: &str, text: &str, env: Env<'_>) -> Result<Loaded, ConfigErrors> {
    let source = Arc::new(Source::new(name, text));
    if let Some(problem) = input::nothing_in(text) {
        return Err(ConfigErrors(Report::new(source, vec![problem])));
    }
    let (root, syntax) = DeTable::parse_recoverable(text);
    let mut reader = Reader::new(&source, text, env);
    let raw = raw::Raw::read(&mut reader, root.get_ref());
    let broken = input::syntax_problems(&source, &syntax);
    if !broken.is_empty() {
        let all = input::beside_syntax(&source, broken, reader.into_problems());
        return Err(ConfigErrors(Report::new(source, all)));
    }
    let valid = valid::build(&mut reader, &raw);
    let (problems, positions) = reader.finish();
    let (warnings, errors): (Vec<_>, Vec<_>) = problems
        .into_iter()
        .partition(|problem| problem.severity == Severity::Warning);
    match valid {
        Some(valid) if errors.is_empty() => {
            let warnings = Report::new(Arc::clone(&source), warnings);
            Ok(Loaded {
                valid,
                warnings,
                source,
                positions,
            })
        }
        _ => Err(ConfigErrors(Report::new(source, input::never_none(errors)))),
    }
}
