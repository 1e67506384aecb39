//! The long run: `cargo xtask model`.

use std::process::ExitCode;

use clap::Parser;
use holdfast_model::run::{Search, explore};
use holdfast_model::setups;

#[derive(Parser)]
#[command(
    name = "model",
    about = "Visit what can happen in each setup, nearest first"
)]
struct Options {
    /// Steps in each setup, at most; fewer where everything was visited
    #[arg(long, default_value_t = 4_000_000)]
    steps: usize,
    /// Only setups whose name has this in it
    #[arg(long)]
    only: Option<String>,
    /// Threads
    #[arg(long)]
    threads: Option<usize>,
}

fn main() -> ExitCode {
    let options = Options::parse();
    let cores = std::thread::available_parallelism().map_or(1, usize::from);
    let threads = options.threads.unwrap_or(cores).max(1);
    println!(
        "{:<20}{:>12}{:>12}{:>8}{:>10}  explored",
        "setup", "states", "steps", "depth", "seconds"
    );
    let (mut states, mut steps, mut seconds) = (0, 0, 0.0);
    let mut broken = Vec::new();
    let chosen = setups::ordinary().into_iter().filter(|setup| {
        let only = options.only.as_deref();
        only.is_none_or(|only| setup.name.contains(only))
    });
    for setup in chosen {
        let report = explore(setup, Search::Breadth, threads, Some(options.steps));
        let took = report.took.as_secs_f64();
        let explored = match (&report.counterexample, report.whole) {
            (Some(_), _) => "BROKEN",
            (None, true) => "whole",
            (None, false) => "in part",
        };
        println!(
            "{:<20}{:>12}{:>12}{:>8}{took:>10.1}  {explored}",
            report.name, report.states, report.steps, report.depth
        );
        states += report.states;
        steps += report.steps;
        seconds += took;
        if let Some(found) = report.counterexample {
            broken.push(format!(
                "{}: {}\n{}",
                report.name, found.promise, found.trace
            ));
        }
    }
    println!(
        "{:<20}{states:>12}{steps:>12}{:>8}{seconds:>10.1}",
        "all", ""
    );
    if broken.is_empty() {
        println!("every promise held in every state");
        ExitCode::SUCCESS
    } else {
        println!("\nnot held:\n{}", broken.join("\n\n"));
        ExitCode::FAILURE
    }
}
