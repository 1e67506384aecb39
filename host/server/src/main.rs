//! The `holdfast` binary.

use std::process::ExitCode;

use clap::Parser as _;
use holdfast::cli::args::{Cli, Command};

fn main() -> ExitCode {
    let cli = Cli::parse();
    let config = cli.global.config_file();
    let runtime = tokio::runtime::Builder::new_multi_thread().enable_all().build().expect("runtime");
    match cli.command {
        Command::Run => runtime.block_on(async { holdfast::run::run(&config).await.unwrap_or_else(holdfast::run::Failure::report) }),
        Command::Check(check) => runtime.block_on(holdfast::check::check(&config, check.offline, cli.global.json)),
        _ => ExitCode::from(2),
    }
}
