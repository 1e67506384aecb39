//! A server process with a folder of its own: started, killed, frozen, and
//! cleaned up after.

use std::fs::{self, File};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};

use anyhow::{Context, Result, anyhow};

use crate::port::random;
use crate::signal::{Signal, send_to_group};
use crate::wait::{PATIENCE, wait_for};
use crate::watchdog::Watchdog;

/// The processes of one server. Dropping it kills them and removes the folder.
#[derive(Debug)]
pub(crate) struct Processes {
    name: &'static str,
    children: Vec<Child>,
    folder: PathBuf,
    /// Declared last: it cleans up after the children were reaped.
    watchdog: Watchdog,
}

impl Processes {
    /// Makes the folder; nothing runs yet.
    pub(crate) fn new(name: &'static str) -> Result<Self> {
        let folder = std::env::temp_dir().join(format!("holdfast-{name}-{:016x}", random()));
        fs::create_dir(&folder)
            .with_context(|| format!("failed to create {}", folder.display()))?;
        let watchdog = Watchdog::over(&folder).context("failed to start the clean-up shell")?;
        Ok(Self {
            name,
            children: Vec::new(),
            folder,
            watchdog,
        })
    }

    /// Holds the server's data, logs and configuration.
    pub(crate) fn folder(&self) -> &Path {
        &self.folder
    }

    /// Starts one more process, leader of a group of its own, with its output
    /// in a file of the folder. Returns its id.
    pub(crate) fn spawn(&mut self, command: &mut Command) -> Result<u32> {
        let program = command.get_program().to_string_lossy().into_owned();
        let output = File::options()
            .create(true)
            .append(true)
            .open(self.output_path())
            .context("failed to open the server's output file")?;
        if command.get_current_dir().is_none() {
            command.current_dir(&self.folder);
        }
        let child = command
            .stdin(Stdio::null())
            .stdout(
                output
                    .try_clone()
                    .context("failed to share the output file")?,
            )
            .stderr(output)
            .process_group(0)
            .spawn()
            .with_context(|| format!("failed to start {program}"))?;
        let id = child.id();
        self.children.push(child);
        self.tell_watchdog()?;
        Ok(id)
    }

    /// Kills all of them with SIGKILL and waits until they are gone.
    /// The folder stays. Does nothing when nothing runs.
    pub(crate) fn kill(&mut self) -> Result<()> {
        for child in &self.children {
            // A group that has ended already is what was asked for.
            let _ = send_to_group(child.id(), Signal::Kill);
        }
        for mut child in self.children.drain(..) {
            let group = child.id();
            child
                .wait()
                .with_context(|| format!("failed to wait for the end of {}", self.name))?;
            // The server may be a child of that child, and end a moment later.
            wait_for("the server's processes to end", PATIENCE, || {
                Ok((!lives(group)).then_some(()))
            })?;
        }
        self.tell_watchdog()
    }

    /// Stops all of them without closing their sockets (SIGSTOP).
    pub(crate) fn freeze(&self) -> Result<()> {
        self.send(Signal::Stop)
    }

    /// Lets them go on (SIGCONT).
    pub(crate) fn thaw(&self) -> Result<()> {
        self.send(Signal::Continue)
    }

    /// The result of the first process that has ended by itself, if any has.
    pub(crate) fn ended(&mut self) -> Result<Option<ExitStatus>> {
        for child in &mut self.children {
            if let Some(status) = child.try_wait().context("failed to look at the server")? {
                return Ok(Some(status));
            }
        }
        Ok(None)
    }

    /// What the processes printed, the last 64 KB of it.
    pub(crate) fn output(&self) -> String {
        let text = fs::read(self.output_path()).unwrap_or_default();
        let tail = text.len().saturating_sub(64 * 1024);
        String::from_utf8_lossy(&text[tail..]).trim().to_owned()
    }

    /// Sends a signal to each process group.
    pub(crate) fn send(&self, signal: Signal) -> Result<()> {
        if self.children.is_empty() {
            return Err(anyhow!(
                "failed to send {signal:?}: {} is not running",
                self.name
            ));
        }
        for child in &self.children {
            send_to_group(child.id(), signal)
                .with_context(|| format!("failed to send {signal:?} to {}", self.name))?;
        }
        Ok(())
    }

    fn tell_watchdog(&mut self) -> Result<()> {
        let groups: Vec<u32> = self.children.iter().map(Child::id).collect();
        self.watchdog
            .watch(&groups)
            .context("failed to reach the clean-up shell")
    }

    /// The file that they print to.
    pub(crate) fn output_path(&self) -> PathBuf {
        self.folder.join("output.log")
    }
}

impl Drop for Processes {
    fn drop(&mut self) {
        // Errors have nowhere to go here, and the watchdog kills again.
        let _ = self.kill();
    }
}

/// Does any process of this group still run?
fn lives(group: u32) -> bool {
    let processes = fs::read_dir("/proc").into_iter().flatten().flatten();
    processes
        .filter_map(|entry| fs::read_to_string(entry.path().join("stat")).ok())
        .any(|stat| {
            // After the name, which may hold anything: state, parent, group.
            let fields = stat.rsplit_once(')').map_or("", |(_, fields)| fields);
            let mut fields = fields.split_whitespace();
            let ended = matches!(fields.next(), None | Some("Z" | "X"));
            !ended && fields.nth(1).and_then(|field| field.parse().ok()) == Some(group)
        })
}
