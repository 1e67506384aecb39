//! The project's own commands: `cargo xtask <command>`.

mod bench;
mod build;
mod chaos;
mod demo;
mod deny;
mod fuzz;
mod guests;
mod model;
mod setup;
mod sim;
mod test;

use std::process::ExitCode;

use anyhow::Result;
use clap::{Parser, Subcommand};

#[derive(Parser)]
#[command(bin_name = "cargo xtask", about = "Holdfast's own commands")]
struct Arguments {
    #[command(subcommand)]
    command: Command,
}

#[derive(Subcommand)]
enum Command {
    /// Run the main job on a few hundred orders and print what became of each
    Demo(demo::Options),
    /// Run every test, those on real servers included
    Test(test::Options),
    /// Install what this machine lacks: the guests' compiler target, and the servers for the tests
    Setup(setup::Options),
    /// Build the guests of `plugins/` into `target/guests/`
    Guests(guests::Options),
    /// Kill, cut and freeze everything around hosts under load, and see that nothing is lost or done twice
    Chaos(chaos::Options),
    /// Measure against hand-written consumers, on private servers
    Bench(bench::Options),
    /// Run the runtime in simulated surroundings: many seeds, or one with its trace
    Sim(sim::Options),
    /// Visit millions of states of the model: every interleaving of a few messages, hosts and faults
    Model(model::Options),
    /// Search for inputs that are answered wrongly, with libFuzzer
    Fuzz(fuzz::Options),
    /// Look at licences, sources, duplicates and known weaknesses of what comes into the build
    Deny(deny::Options),
}

fn main() -> ExitCode {
    match run() {
        Ok(()) => ExitCode::SUCCESS,
        Err(error) => {
            eprintln!("error: {error:#}");
            ExitCode::FAILURE
        }
    }
}

fn run() -> Result<()> {
    match Arguments::parse().command {
        Command::Demo(options) => demo::command(&options),
        Command::Test(options) => test::command(&options),
        Command::Setup(options) => setup::command(&options),
        Command::Guests(options) => guests::command(&options),
        Command::Chaos(options) => chaos::command(&options),
        Command::Bench(options) => bench::command(&options),
        Command::Sim(options) => sim::command(&options),
        Command::Model(options) => model::command(&options),
        Command::Fuzz(options) => fuzz::command(&options),
        Command::Deny(options) => deny::command(&options),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_command_line_is_well_formed() {
        Arguments::command().debug_assert();
    }
}
