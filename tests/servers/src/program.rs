//! Any other program a test runs: a host that is killed, frozen or drained.

use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::time::Duration;

use anyhow::{Result, bail};

use crate::process::Processes;
use crate::signal::Signal;
use crate::wait::wait_for;

/// A running program with a temporary folder for its output. It is killed,
/// and the folder goes, when the value is dropped or this process ends in
/// whatever way.
#[derive(Debug)]
pub struct Program {
    processes: Processes,
    pid: u32,
}

impl Program {
    /// Starts `command` without input, its output going to a file; in the
    /// temporary folder unless the command names another. `name` is for the
    /// folder and for messages.
    ///
    /// # Errors
    /// Fails when it cannot be started.
    pub fn start(name: &'static str, command: &mut Command) -> Result<Self> {
        let mut processes = Processes::new(name)?;
        let pid = processes.spawn(command)?;
        Ok(Self { processes, pid })
    }

    /// Its process id.
    pub fn pid(&self) -> u32 {
        self.pid
    }

    /// Where it runs unless told otherwise.
    pub fn folder(&self) -> &Path {
        self.processes.folder()
    }

    /// What it printed on both outputs so far, the last 64 KB.
    pub fn output(&self) -> String {
        self.processes.output()
    }

    /// The file with all of it.
    pub fn log(&self) -> PathBuf {
        self.processes.output_path()
    }

    /// Asks it to end in order (SIGTERM).
    ///
    /// # Errors
    /// Fails when it was killed before.
    pub fn terminate(&self) -> Result<()> {
        self.processes.send(Signal::Terminate)
    }

    /// Asks it to load its configuration again (SIGHUP).
    ///
    /// # Errors
    /// Fails when it was killed before.
    pub fn hang_up(&self) -> Result<()> {
        self.processes.send(Signal::HangUp)
    }

    /// Ends it with SIGKILL. Nothing happens when it has ended already.
    ///
    /// # Errors
    /// Fails when the end of the process cannot be waited for.
    pub fn kill(&mut self) -> Result<()> {
        self.processes.kill()
    }

    /// Stops it from running without closing a connection (SIGSTOP).
    ///
    /// # Errors
    /// Fails when it was killed before.
    pub fn freeze(&self) -> Result<()> {
        self.processes.freeze()
    }

    /// Lets it go on after [`Program::freeze`] (SIGCONT).
    ///
    /// # Errors
    /// Fails when it was killed before.
    pub fn thaw(&self) -> Result<()> {
        self.processes.thaw()
    }

    /// How it ended by itself, or nothing while it runs.
    ///
    /// # Errors
    /// Fails when the system cannot tell.
    pub fn ended(&mut self) -> Result<Option<ExitStatus>> {
        self.processes.ended()
    }

    /// Waits for it to end by itself.
    ///
    /// # Errors
    /// Fails, with what it printed, when it still runs after `limit`.
    pub fn wait(&mut self, limit: Duration) -> Result<ExitStatus> {
        match wait_for("the end of the program", limit, || self.processes.ended()) {
            Ok(status) => Ok(status),
            Err(error) => bail!("{error}; it printed: {}", self.output()),
        }
    }
}
