//! A host process with a configuration of its own.

use std::fmt::Write as _;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::{Command, ExitStatus};
use std::sync::OnceLock;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use holdfast_servers::{PATIENCE, Port, Program, wait_for};
use serde_json::Value;
use tempfile::TempDir;

use crate::glance::sum;

/// A folder with a configuration and plugins, for one or more host processes.
pub struct Setup {
    folder: TempDir,
    port: Port,
}

impl Setup {
    /// A setup with these tables; `version`, `plugin-dir`, `[admin]` and `[log]`
    /// are added. `plugins` are names of prebuilt components.
    ///
    /// # Errors
    /// When the folder cannot be written.
    pub fn new(tables: &str, plugins: &[&str]) -> Result<Self> {
        let folder = tempfile::tempdir()?;
        let setup = Self {
            folder,
            port: Port::free()?,
        };
        fs::create_dir(setup.plugins())?;
        for plugin in plugins {
            fs::copy(
                prebuilt(plugin),
                setup.plugins().join(format!("{plugin}.wasm")),
            )?;
        }
        setup.configure(tables)?;
        Ok(setup)
    }

    /// Writes the configuration anew.
    ///
    /// # Errors
    /// When the file cannot be written.
    pub fn configure(&self, tables: &str) -> Result<()> {
        let mut text = String::from("version = 1\n");
        writeln!(text, "plugin-dir = {:?}", self.plugins())?;
        // Top-level keys come first, then the tables.
        text.push_str(tables);
        writeln!(
            text,
            "\n[admin]\nlisten = \"127.0.0.1:{}\"",
            self.port.number()
        )?;
        let level = std::env::var("HOLDFAST_TEST_LOG").unwrap_or_else(|_| "info".into());
        writeln!(text, "[log]\nlevel = {level:?}")?;
        let aside = self.folder.path().join("aside.toml");
        fs::write(&aside, text)?;
        fs::rename(aside, self.config())?;
        Ok(())
    }

    /// The configuration file.
    pub fn config(&self) -> PathBuf {
        self.folder.path().join("holdfast.toml")
    }

    /// The plugin folder.
    pub fn plugins(&self) -> PathBuf {
        self.folder.path().join("plugins")
    }

    /// Starts a host and waits until it is ready.
    ///
    /// # Errors
    /// When it ends or does not get ready in time; with its output.
    pub fn start(&self) -> Result<Host> {
        let host = self.spawn()?;
        host.wait_ready()?;
        Ok(host)
    }

    /// Starts a host and does not wait.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn spawn(&self) -> Result<Host> {
        self.spawn_by(Command::new(binary()?))
    }

    /// Starts a host that leaves the cores to others (`nice`), and waits until
    /// it is ready: for one that only burns time, which has to keep its
    /// connections all the same.
    ///
    /// # Errors
    /// As [`Self::start`].
    pub fn start_aside(&self) -> Result<Host> {
        let mut command = Command::new("nice");
        command.args(["-n", "10"]).arg(binary()?);
        let host = self.spawn_by(command)?;
        host.wait_ready()?;
        Ok(host)
    }

    fn spawn_by(&self, mut command: Command) -> Result<Host> {
        command
            .arg("--config")
            .arg(self.config())
            .arg("run")
            .env("NO_COLOR", "1");
        let program = Program::start("holdfast", &mut command)?;
        let base = format!("http://127.0.0.1:{}", self.port.number());
        Ok(Host {
            program: program.into(),
            base,
            kept: None,
        })
    }

    /// Runs a command of the binary to its end: exit code, standard output and
    /// standard error.
    ///
    /// # Errors
    /// When it cannot be started.
    pub fn command(&self, words: &[&str]) -> Result<(i32, String, String)> {
        let mut command = Command::new(binary()?);
        command
            .arg("--config")
            .arg(self.config())
            .args(words)
            .env("NO_COLOR", "1");
        let output = command.output()?;
        let text = |bytes: &[u8]| String::from_utf8_lossy(bytes).into_owned();
        Ok((
            output.status.code().unwrap_or(-1),
            text(&output.stdout),
            text(&output.stderr),
        ))
    }
}

/// A running host.
pub struct Host {
    program: std::cell::RefCell<Program>,
    base: String,
    kept: Option<PathBuf>,
}

impl Drop for Host {
    fn drop(&mut self) {
        let Some(kept) = &self.kept else { return };
        let from = fs::File::open(self.program.borrow().log());
        let to = fs::File::options().create(true).append(true).open(kept);
        if let (Ok(mut from), Ok(mut to)) = (from, to) {
            // A log that is cut short is better than a test that fails for it.
            let _ = std::io::copy(&mut from, &mut to);
        }
    }
}

impl Host {
    /// The address of its admin interface.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Waits until `/readyz` says yes.
    ///
    /// # Errors
    /// With what it printed, when it ends or takes too long.
    pub fn wait_ready(&self) -> Result<()> {
        let ready = wait_for("the host to be ready", PATIENCE, || {
            if let Some(status) = self.program.borrow_mut().ended()? {
                bail!("the host ended with {status}");
            }
            Ok(matches!(self.get("/readyz"), Ok((200, _))).then_some(()))
        });
        ready.with_context(|| format!("the host printed:\n{}", self.output()))
    }

    /// Waits until `/readyz` says no.
    ///
    /// # Errors
    /// When it takes too long.
    pub fn wait_not_ready(&self) -> Result<()> {
        wait_for("the host to be not ready", PATIENCE, || {
            Ok(matches!(self.get("/readyz"), Ok((503, _))).then_some(()))
        })
    }

    /// GET: status and body.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn get(&self, path: &str) -> Result<(u16, String)> {
        let agent = agent();
        let mut response = agent.get(format!("{}{path}", self.base)).call()?;
        Ok((
            response.status().as_u16(),
            response.body_mut().read_to_string()?,
        ))
    }

    /// GET of a JSON resource.
    ///
    /// # Errors
    /// When the status is not 200 or the body no JSON.
    pub fn json(&self, path: &str) -> Result<Value> {
        let (status, body) = self.get(path)?;
        ensure!(status == 200, "{path}: {status}: {body}");
        Ok(serde_json::from_str(&body)?)
    }

    /// POST: status and body.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn post(&self, path: &str, headers: &[(&str, &str)], body: &[u8]) -> Result<(u16, String)> {
        let agent = agent();
        let mut request = agent.post(format!("{}{path}", self.base));
        for (name, value) in headers {
            request = request.header(*name, *value);
        }
        let mut response = request.send(body)?;
        Ok((
            response.status().as_u16(),
            response.body_mut().read_to_string()?,
        ))
    }

    /// PUT of a JSON resource: status and body.
    ///
    /// # Errors
    /// When nobody answers.
    pub fn put(&self, path: &str, body: &[u8]) -> Result<(u16, String)> {
        put(&format!("{}{path}", self.base), body)
    }

    /// The sum of a metric over all its series whose labels contain every one of
    /// `labels` (such as `ending="completed"`).
    ///
    /// # Errors
    /// When nobody answers.
    pub fn metric(&self, name: &str, labels: &[&str]) -> Result<f64> {
        let (_, text) = self.get("/metrics")?;
        Ok(sum(&text, name, labels))
    }

    /// Process id.
    pub fn pid(&self) -> u32 {
        self.program.borrow().pid()
    }

    /// What it printed, the last 64 KB.
    pub fn output(&self) -> String {
        self.program.borrow().output()
    }

    /// How it ended by itself, or nothing while it runs.
    ///
    /// # Errors
    /// When the system cannot tell.
    pub fn ended(&self) -> Result<Option<ExitStatus>> {
        self.program.borrow_mut().ended()
    }

    /// When it is dropped, all that it printed is added to this file.
    #[must_use]
    pub fn log_kept_in(mut self, file: &Path) -> Self {
        self.kept = Some(file.to_owned());
        self
    }

    /// SIGSTOP: it does nothing any more, and its connections stay open.
    ///
    /// # Errors
    /// When it has ended.
    pub fn freeze(&self) -> Result<()> {
        self.program.borrow().freeze()
    }

    /// SIGCONT.
    ///
    /// # Errors
    /// When it has ended.
    pub fn thaw(&self) -> Result<()> {
        self.program.borrow().thaw()
    }

    /// SIGTERM, without waiting for the end.
    ///
    /// # Errors
    /// When it has ended.
    pub fn terminate(&self) -> Result<()> {
        self.program.borrow().terminate()
    }

    /// SIGKILL.
    ///
    /// # Errors
    /// When its end cannot be waited for.
    pub fn kill(self) -> Result<()> {
        self.program.borrow_mut().kill()
    }

    /// SIGTERM, and again once it drains; then waits for its end.
    ///
    /// # Errors
    /// When it does not end within [`PATIENCE`].
    pub fn stop_twice(self) -> Result<ExitStatus> {
        self.program.borrow().terminate()?;
        wait_for("the host to drain", PATIENCE, || {
            Ok(self.output().contains("draining").then_some(()))
        })?;
        self.program.borrow().terminate()?;
        self.program.borrow_mut().wait(PATIENCE)
    }

    /// SIGTERM, then waits for its end.
    ///
    /// # Errors
    /// When it does not end within [`PATIENCE`].
    pub fn stop(self) -> Result<ExitStatus> {
        self.terminate()?;
        self.wait()
    }

    /// Waits for its end, after [`Host::terminate`].
    ///
    /// # Errors
    /// When it does not end within [`PATIENCE`].
    pub fn wait(self) -> Result<ExitStatus> {
        let ended = self.program.borrow_mut().wait(PATIENCE);
        ended.with_context(|| format!("the host printed:\n{}", self.output()))
    }
}

/// PUT of a JSON resource at an address: status and body.
///
/// # Errors
/// When nobody answers.
pub fn put(url: &str, body: &[u8]) -> Result<(u16, String)> {
    let request = agent().put(url).header("Content-Type", "application/json");
    let mut response = request.send(body)?;
    Ok((
        response.status().as_u16(),
        response.body_mut().read_to_string()?,
    ))
}

fn agent() -> ureq::Agent {
    let config = ureq::Agent::config_builder()
        .http_status_as_error(false)
        .timeout_global(Some(Duration::from_secs(60)))
        .build();
    config.into()
}

/// The file of a prebuilt component.
pub fn prebuilt(plugin: &str) -> PathBuf {
    let folder = std::env::var_os("HOLDFAST_GUESTS")
        .map_or_else(|| root().join("plugins/prebuilt"), PathBuf::from);
    folder.join(format!("{plugin}.wasm"))
}

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("../..")
}

/// The binary under test.
fn binary() -> Result<&'static Path> {
    static BINARY: OnceLock<PathBuf> = OnceLock::new();
    if let Some(binary) = BINARY.get() {
        return Ok(binary);
    }
    let binary = match std::env::var_os("HOLDFAST_BIN") {
        Some(binary) => PathBuf::from(binary),
        None => build()?,
    };
    ensure!(binary.is_file(), "there is no {}", binary.display());
    Ok(BINARY.get_or_init(|| binary))
}

/// Builds the binary and takes its path from what cargo says. In the workspace
/// and with a feature that only tests use, or its dependencies would be
/// compiled once more.
fn build() -> Result<PathBuf> {
    let cargo = std::env::var_os("CARGO").unwrap_or_else(|| "cargo".into());
    let mut command = Command::new(cargo);
    command.args([
        "build",
        "--workspace",
        "--features",
        "holdfast-ports/conformance",
        "--bin",
        "holdfast",
        "--message-format",
        "json",
    ]);
    let output = command
        .current_dir(root())
        .stderr(std::process::Stdio::inherit())
        .output()?;
    ensure!(output.status.success(), "cargo build failed");
    let text = String::from_utf8(output.stdout)?;
    let made = text
        .lines()
        .filter_map(|line| serde_json::from_str::<Value>(line).ok());
    let mut made =
        made.filter_map(|message| Some(PathBuf::from(message.get("executable")?.as_str()?)));
    made.next_back().context("cargo named no executable")
}

/// Where the API shows a claim.
#[must_use]
pub fn claim_path(group: &str, key: &str) -> String {
    format!("/api/v1/claims/{group}/{key}")
}

/// Where the API tells what happened to a message.
#[must_use]
pub fn explain_path(group: &str, key: &str) -> String {
    format!("/api/v1/explain/{group}/{key}")
}
