//! The project's own commands: `cargo xtask <command>`.

mod bench;
mod guests;
mod setup;

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
    /// Install what this machine lacks: the guests' compiler target, and the servers for the tests
    Setup(setup::Options),
    /// Build the guests of `plugins/` into `target/guests/`
    Guests(guests::Options),
    /// Measure against hand-written consumers, on private servers
    Bench(bench::Options),
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
        Command::Setup(options) => setup::command(&options),
        Command::Guests(options) => guests::command(&options),
        Command::Bench(options) => bench::command(&options),
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
