//! A short run of everything.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use holdfast_chaos::{Kind, Options, report, run};

/// `HOLDFAST_CHAOS_SEED` chooses other faults, `HOLDFAST_CHAOS_SECONDS` more.
fn variable(name: &str, usual: u64) -> Result<u64> {
    match std::env::var(name) {
        Ok(text) => text.parse().with_context(|| format!("{name} is a number")),
        Err(_) => Ok(usual),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_lost_doubled_or_out_of_order_while_everything_fails() -> Result<()> {
    let folder = tempfile::tempdir()?;
    let outcome = run(Options {
        length: Duration::from_secs(variable("HOLDFAST_CHAOS_SECONDS", 40)?),
        kinds: Kind::all(),
        seed: variable("HOLDFAST_CHAOS_SEED", 1_763_769_600)?,
        rate: 60,
        hosts: 2,
        folder: folder.path().to_owned(),
        live: true,
    })
    .await?;
    eprintln!("{}", report::text(&outcome));
    let written = report::write(&outcome, folder.path())?;
    if !outcome.is_good() {
        let kept = Path::new(env!("CARGO_TARGET_TMPDIR")).join("chaos-red");
        std::fs::create_dir_all(&kept)?;
        for path in &written {
            std::fs::copy(path, kept.join(path.file_name().context("a name")?))?;
        }
        for violation in outcome.verdict.violations.iter().take(20) {
            eprintln!("{violation}");
        }
        eprintln!("kept in {}", kept.display());
    }
    ensure!(outcome.is_good(), "something was promised and did not hold");
    let kinds = report::faults(&outcome).len();
    ensure!(kinds >= 5, "only {kinds} kinds of faults were made");
    Ok(())
}
