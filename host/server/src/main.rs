//! The `holdfast` binary.

use std::process::ExitCode;

use clap::Parser as _;

/// Messages are many small allocations on several threads.
#[global_allocator]
static ALLOCATOR: mimalloc::MiMalloc = mimalloc::MiMalloc;

fn main() -> ExitCode {
    holdfast::cli::dispatch(holdfast::cli::args::Cli::parse())
}
