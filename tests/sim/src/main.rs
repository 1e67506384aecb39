//! `cargo xtask sim`: many seeds, or one with its trace.

use std::collections::BTreeMap;
use std::io::{IsTerminal as _, Write as _};
use std::process::ExitCode;
use std::sync::Mutex;
use std::sync::PoisonError;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};

use clap::Parser;
use holdfast_sim::{Outcome, run};

#[derive(Parser)]
#[command(name = "sim", about = "Run the runtime in simulated surroundings")]
struct Options {
    /// How many seeds to run
    #[arg(long, default_value_t = 2_000)]
    seeds: u64,
    /// The first seed; without --seeds, this one alone and with its trace
    #[arg(long)]
    seed: Option<u64>,
    /// With one seed: what the runtime logs, at this level (error … trace)
    #[arg(long)]
    log: Option<String>,
    /// Threads
    #[arg(long)]
    threads: Option<usize>,
    /// Stop at the first red seed
    #[arg(long)]
    first: bool,
    /// Print only how many seeds are red, and as what
    #[arg(long)]
    brief: bool,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let many = std::env::args().any(|word| word.starts_with("--seeds"));
    match options.seed {
        Some(seed) if !many => one(seed, options.log.as_deref()),
        first => all(&options, first.unwrap_or(0)),
    }
}

/// One seed, with everything that happened.
fn one(seed: u64, log: Option<&str>) -> ExitCode {
    if let Some(level) = log {
        tracing_subscriber::fmt()
            .with_env_filter(level)
            .with_writer(std::io::stderr)
            .without_time()
            .init();
    }
    let outcome = run(seed);
    let mut out = std::io::stdout().lock();
    for line in &outcome.lines {
        // Whoever reads may have seen enough.
        if writeln!(out, "{line}").is_err() {
            return ExitCode::SUCCESS;
        }
    }
    let _ = writeln!(
        out,
        "\nseed {seed} ({}), {:?} simulated, trace hash {:016x}\n{}",
        outcome.setup, outcome.lasted, outcome.hash, outcome.report
    );
    for (kind, text) in &outcome.wrong {
        let _ = writeln!(out, "WRONG {kind}: {text}");
    }
    if outcome.holds() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}

/// What many runs add up to.
#[derive(Default)]
struct Sums {
    runs: u64,
    simulated: Duration,
    messages: u64,
    calls: u64,
    raw_repeats: u64,
    commits: u64,
    sent_again: u64,
    letters: u64,
    by_setup: BTreeMap<&'static str, (u64, u64)>,
    by_fault: BTreeMap<&'static str, (u64, u64, u64)>,
    by_kind: BTreeMap<&'static str, u64>,
    red: Vec<(u64, &'static str, String)>,
}

impl Sums {
    fn add(&mut self, outcome: &Outcome) {
        let counts = outcome.report.counts;
        let red = u64::from(!outcome.holds());
        self.runs += 1;
        self.simulated += outcome.lasted;
        self.messages += counts.messages;
        self.calls += counts.calls;
        self.raw_repeats += counts.raw_repeats;
        self.commits += counts.commits;
        self.sent_again += counts.sent_again;
        self.letters += counts.letters;
        let setup = self.by_setup.entry(outcome.setup).or_default();
        setup.0 += 1;
        setup.1 += red;
        for (kind, times) in &outcome.faults {
            let fault = self.by_fault.entry(kind).or_default();
            fault.0 += times;
            fault.1 += 1;
            fault.2 += red;
        }
        if let Some((kind, text)) = outcome.wrong.first() {
            *self.by_kind.entry(kind).or_default() += 1;
            let text = format!("{kind}: {text}");
            self.red.push((outcome.seed, outcome.setup, text));
        }
    }

    fn print(&self, took: Duration) {
        let Self {
            runs,
            simulated,
            messages,
            calls,
            raw_repeats,
            commits,
            sent_again,
            letters,
            ..
        } = self;
        println!("{:<26}{:>8}{:>6}", "setup", "seeds", "red");
        for (name, (seeds, red)) in &self.by_setup {
            println!("{name:<26}{seeds:>8}{red:>6}");
        }
        println!("\n{:<26}{:>8}{:>8}{:>6}", "fault", "times", "seeds", "red");
        for (name, (times, seeds, red)) in &self.by_fault {
            println!("{name:<26}{times:>8}{seeds:>8}{red:>6}");
        }
        println!(
            "\n{runs} seeds in {:.1} s ({:.0} a second), {:.1} h simulated\n{messages} messages, \
             {calls} calls of handlers ({raw_repeats} repeated raw), {commits} commits, \
             {sent_again} messages sent again, {letters} letters",
            took.as_secs_f64(),
            *runs as f64 / took.as_secs_f64(),
            simulated.as_secs_f64() / 3600.0
        );
        if self.red.is_empty() {
            println!("every promise held in every seed");
            return;
        }
        println!("\n{} red seeds", self.red.len());
        for (kind, seeds) in &self.by_kind {
            println!("  {kind:<24}{seeds:>8}");
        }
        let mut red: Vec<_> = self.red.iter().collect();
        red.sort();
        for (seed, setup, text) in red.iter().take(20) {
            let text: String = text.chars().take(160).collect();
            println!("{seed:>8} ({setup}) {text}");
        }
        println!("look at one: cargo xtask sim --seed N");
    }
}

fn all(options: &Options, first: u64) -> ExitCode {
    let started = Instant::now();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = options.threads.unwrap_or(cores).max(1);
    let (next, end) = (AtomicU64::new(first), first + options.seeds);
    let sums = Mutex::new(Sums::default());
    let lock = || sums.lock().unwrap_or_else(PoisonError::into_inner);
    let shows = std::io::stderr().is_terminal();
    std::thread::scope(|scope| {
        for _ in 0..threads {
            scope.spawn(|| {
                loop {
                    let seed = next.fetch_add(1, Ordering::Relaxed);
                    if seed >= end || options.first && !lock().red.is_empty() {
                        return;
                    }
                    let outcome = run(seed);
                    let mut sums = lock();
                    sums.add(&outcome);
                    if shows && sums.runs.is_multiple_of(20) {
                        eprint!(
                            "\r{} of {}, {} red ",
                            sums.runs,
                            options.seeds,
                            sums.red.len()
                        );
                    }
                }
            });
        }
    });
    if shows {
        eprint!("\r{:40}\r", "");
    }
    let sums = lock();
    if options.brief {
        let kinds: Vec<String> = sums
            .by_kind
            .iter()
            .map(|(kind, seeds)| format!("{kind} {seeds}"))
            .collect();
        let (red, runs) = (sums.red.len(), sums.runs);
        println!("red {red} of {runs} as {}", kinds.join(", "));
    } else {
        sums.print(started.elapsed());
    }
    if sums.red.is_empty() {
        ExitCode::SUCCESS
    } else {
        ExitCode::FAILURE
    }
}
