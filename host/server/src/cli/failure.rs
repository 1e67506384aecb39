//! Why a command did not do what it was asked, and the exit code of that.

use std::io::{self, Write as _};
use std::process::ExitCode;

use crate::config::ConfigErrors;
use crate::run::WRONG_CONFIGURATION;

/// Why a command ends early.
#[derive(Debug)]
pub(super) enum Failure {
    /// It was used wrongly: exit code 2.
    Usage(String),
    /// The configuration or a plugin is wrong: exit code 78.
    Wrong(String),
    /// It ran and failed, or a server cannot be reached: exit code 1.
    Failed(String),
    /// Nobody reads the output any more, which is not an error: exit code 0.
    Unread,
}

impl Failure {
    /// Prints it on standard error and gives its exit code.
    pub(super) fn report(self) -> ExitCode {
        let (text, code) = match self {
            Self::Usage(text) => (text, 2),
            Self::Wrong(text) => (text, WRONG_CONFIGURATION),
            Self::Failed(text) => (text, 1),
            Self::Unread => return ExitCode::SUCCESS,
        };
        // There is nowhere to tell that this cannot be told.
        let _ = writeln!(io::stderr(), "error: {}", text.trim_end());
        ExitCode::from(code)
    }
}

/// Writing to standard output.
impl From<io::Error> for Failure {
    fn from(error: io::Error) -> Self {
        match error.kind() {
            io::ErrorKind::BrokenPipe => Self::Unread,
            _ => Self::Failed(format!("failed to write the output: {error}")),
        }
    }
}

impl From<ConfigErrors> for Failure {
    fn from(errors: ConfigErrors) -> Self {
        let report = errors.report();
        Self::Wrong(format!(
            "the configuration is wrong\n{}",
            report.render(super::output::colour())
        ))
    }
}
