//! What a host costs that has nothing to do.

use std::fs;
use std::path::Path;
use std::process::Command;
use std::thread;
use std::time::{Duration, Instant};

use anyhow::{Context, Result, bail};
use holdfast_servers::{Port, Program, wait_for};

use super::Servers;
use super::build::Programs;
use super::measure::cpu;
use super::sampler::Sampler;

const PLUGIN: &str = "bench-json.wasm";
/// A hundred plugins are compiled first.
const LIMIT: Duration = Duration::from_secs(300);
/// What a start leaves to be done goes on for a moment.
const CALM: Duration = Duration::from_secs(3);
const WINDOW: Duration = Duration::from_secs(10);

/// A host at rest.
#[derive(Debug, Clone, Copy)]
pub(super) struct Idle {
    /// Plugins, each with a consumer and a queue.
    pub(super) plugins: usize,
    /// Hundredths of one core.
    pub(super) cpu_percent: f64,
    /// Memory in use, in megabytes of 10^6 bytes.
    pub(super) memory_mb: f64,
    /// From the start of the process until every consumer consumes, in
    /// milliseconds, with the plugins compiled by an earlier start.
    pub(super) ready_ms: f64,
}

/// Starts a host with this many plugins, waits until it rests, and watches it.
pub(super) fn measure(programs: &Programs, servers: &Servers, plugins: usize) -> Result<Idle> {
    let folder = tempfile::tempdir().context("failed to make a folder")?;
    let guests = programs.guests.as_ref().context("no guests were built")?;
    let component = guests.join(PLUGIN);
    let component =
        fs::read(&component).with_context(|| format!("failed to read {}", component.display()))?;
    let into = folder.path().join("plugins");
    fs::create_dir(&into).context("failed to make the plugin folder")?;
    for number in 0..plugins {
        let path = into.join(format!("idle-{number}.wasm"));
        fs::write(&path, with_mark(&component, number)?)
            .with_context(|| format!("failed to write {}", path.display()))?;
    }
    let admin = Port::free()?;
    let file = folder.path().join("holdfast.toml");
    let text = configuration(servers, &into, admin.number(), plugins);
    fs::write(&file, text).context("failed to write the host's file")?;
    let binary = programs.host.as_ref().context("the host was not built")?;
    let sampler = Sampler::new(format!("http://127.0.0.1:{}", admin.number()));
    let start = || {
        let mut command = Command::new(binary);
        command.arg("--config").arg(&file).arg("run");
        command.current_dir(folder.path());
        let started = Instant::now();
        let mut program = Program::start("host", &mut command)?;
        wait_for("the host ready", LIMIT, || {
            if let Some(status) = program.ended()? {
                bail!("the host ended with {status}: {}", program.output());
            }
            Ok(sampler.ready().then_some(()))
        })?;
        anyhow::Ok((program, started.elapsed()))
    };
    // The first start compiles.
    end(start()?.0)?;
    let (program, ready) = start()?;
    thread::sleep(CALM);
    let (began, before) = (Instant::now(), cpu(program.pid())?);
    thread::sleep(WINDOW);
    let used = cpu(program.pid())?.saturating_sub(before);
    let cpu_percent = 100.0 * used.as_secs_f64() / began.elapsed().as_secs_f64();
    let memory_mb = resident(program.pid())? as f64 / 1e6;
    end(program)?;
    Ok(Idle {
        plugins,
        cpu_percent,
        memory_mb,
        ready_ms: ready.as_secs_f64() * 1e3,
    })
}

fn end(mut program: Program) -> Result<()> {
    program.terminate()?;
    let status = program.wait(LIMIT)?;
    anyhow::ensure!(status.success(), "the host ended with {status}");
    Ok(())
}

/// The component with a custom section behind it, so that no two are the same.
fn with_mark(component: &[u8], number: usize) -> Result<Vec<u8>> {
    let text = format!("{number:04}");
    let name = "mark";
    // A section: its number, its length, and for a custom one the length of its
    // name and the name. Lengths below 128 are one byte in LEB128.
    let length = u8::try_from(1 + name.len() + text.len()).context("a mark that is too long")?;
    let mut marked = component.to_vec();
    marked.extend([0, length, name.len() as u8]);
    marked.extend(name.bytes().chain(text.bytes()));
    Ok(marked)
}

/// What of a process is in memory, in bytes.
fn resident(pid: u32) -> Result<u64> {
    let path = format!("/proc/{pid}/status");
    let status = fs::read_to_string(&path).with_context(|| format!("failed to read {path}"))?;
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:"));
    let size = line.with_context(|| format!("failed to find VmRSS in {path}"))?;
    let size = size.trim().trim_end_matches(" kB").parse::<u64>();
    Ok(size.context("failed to read VmRSS")? * 1024)
}

fn configuration(servers: &Servers, plugins: &Path, admin: u16, count: usize) -> String {
    let mut text = format!(
        "version = 1\nservice = \"bench-idle-{count}\"\nplugin-dir = {plugins:?}\n\
         [store]\nkind = \"redis\"\nurl = {:?}\n\
         [brokers.main]\nkind = \"rabbitmq\"\nurl = {:?}\n\
         [admin]\nlisten = \"127.0.0.1:{admin}\"\n[log]\nlevel = \"warn\"\n",
        servers.redis.url(),
        servers.rabbitmq.url(),
    );
    // Waits in the host only: a thousand delay queues would be the broker's work.
    for number in 0..count {
        text += &format!(
            "[consumers.idle-{number}]\nbroker = \"main\"\nqueue = \"idle-{number}\"\n\
             plugin = \"idle-{number}\"\n\
             [consumers.idle-{number}.retry]\n\
             initial = \"1s\"\nmax = \"1s\"\nhold-below = \"1s\"\n"
        );
    }
    text
}
