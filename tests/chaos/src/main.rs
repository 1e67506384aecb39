//! Runs chaos and writes what came of it. `cargo xtask chaos` builds everything
//! that it needs first.

use std::path::{Path, PathBuf};
use std::process::ExitCode;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Result, ensure};
use clap::Parser;
use holdfast_chaos::{Kind, Options, report, run};

#[derive(Parser)]
#[command(name = "holdfast-chaos", about = "Hosts under load and faults")]
struct Arguments {
    /// How long faults are made
    #[arg(long, default_value_t = 2.0)]
    minutes: f64,
    /// Only this kind of fault; may be given more than once
    #[arg(long, value_enum)]
    kind: Vec<Kind>,
    /// The same faults for the same seed; by default another one each time
    #[arg(long)]
    seed: Option<u64>,
    /// Messages published in a second
    #[arg(long, default_value_t = 150)]
    rate: u64,
    /// Hosts
    #[arg(long, default_value_t = 3)]
    hosts: usize,
    /// Where the report goes
    #[arg(long, default_value = "target/chaos")]
    folder: PathBuf,
}

#[tokio::main(worker_threads = 2)]
async fn main() -> ExitCode {
    match chaos(Arguments::parse()).await {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

async fn chaos(arguments: Arguments) -> Result<bool> {
    ensure!(arguments.hosts > 0, "failed to run: --hosts is zero");
    ensure!(arguments.rate > 0, "failed to run: --rate is zero");
    let seed = match arguments.seed {
        Some(seed) => seed,
        None => SystemTime::now().duration_since(UNIX_EPOCH)?.as_secs(),
    };
    eprintln!("chaos: seed {seed}");
    let kinds = match arguments.kind.is_empty() {
        true => Kind::all(),
        false => arguments.kind,
    };
    // Logs are added to.
    let logs = arguments.folder.join("logs");
    if logs.exists() {
        std::fs::remove_dir_all(&logs)?;
    }
    let outcome = run(Options {
        length: Duration::try_from_secs_f64(arguments.minutes * 60.0)?,
        kinds,
        seed,
        rate: arguments.rate,
        hosts: arguments.hosts,
        folder: arguments.folder.clone(),
        live: true,
    })
    .await?;
    println!("{}", report::text(&outcome));
    for audit in &outcome.audits {
        println!("{audit}");
    }
    let written = report::write(&outcome, &arguments.folder)?;
    for violation in outcome.verdict.violations.iter().take(30) {
        println!("{violation}");
    }
    if !outcome.is_good() {
        let kept = keep(&arguments.folder, seed)?;
        println!("kept in {}", kept.display());
    }
    for path in written {
        println!("{}", path.display());
    }
    let held = match outcome.is_good() {
        true => "every promise held".to_owned(),
        false => format!("{} violations", outcome.verdict.violations.len()),
    };
    println!("chaos: {held}");
    Ok(outcome.is_good())
}

/// Copies everything into a folder of its own, so that the next run leaves it
/// alone.
fn keep(folder: &Path, seed: u64) -> Result<PathBuf> {
    let kept = folder.join(format!("red-{seed}"));
    for part in ["", "logs"] {
        std::fs::create_dir_all(kept.join(part))?;
        for file in std::fs::read_dir(folder.join(part))? {
            let file = file?;
            if file.file_type()?.is_file() {
                std::fs::copy(file.path(), kept.join(part).join(file.file_name()))?;
            }
        }
    }
    Ok(kept)
}
