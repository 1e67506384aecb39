//! The command line.

pub mod args;
mod audit;
mod build;
mod claims;
mod client;
mod dead;
mod failure;
mod invoke;
mod lines;
mod new;
mod operate;
mod output;
mod parse;
mod publish;
mod top;

#[cfg(test)]
mod tests;

use std::process::ExitCode;

use clap::CommandFactory as _;

use args::{Cli, Command, Store};
use failure::Failure;

/// Does what the command line says.
#[must_use]
pub fn dispatch(cli: Cli) -> ExitCode {
    let global = &cli.global;
    let done = match cli.command {
        Command::Run => return served(crate::run::run(&global.config_file())),
        Command::Check(check) => {
            let file = global.config_file();
            return on_runtime(crate::check::check(&file, check.offline, global.json))
                .unwrap_or_else(Failure::report);
        }
        Command::New(new) => new::new(global, &new),
        Command::Build(build) => build::build(global, &build),
        Command::Invoke(invoke) => invoke::invoke(global, &invoke),
        Command::Publish(publish) => publish::publish(global, &publish),
        Command::Claims(command) => claims::claims(global, &command),
        Command::Explain(of) => claims::explain(global, &of.key),
        Command::Lease(command) => operate::lease(global, &command),
        Command::Cutover(command) => operate::cutover(global, &command),
        Command::Pause(of) => operate::pause(global, &of.consumer),
        Command::Resume(of) => operate::resume(global, &of),
        Command::Plugins(command) => operate::plugins(global, &command),
        Command::Store(Store::Accept) => operate::accept_store(global),
        Command::Schema => output::json(&crate::config::schema::json_schema()),
        Command::Completions(of) => completions(of.shell),
        Command::Dev(_) => Err(later("dev")),
        Command::Dead(command) => dead::dead(global, &command),
        Command::Audit(of) => audit::audit(global, &of),
        Command::Top(of) => top::top(global, &of),
    };
    match done {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}

fn completions(shell: clap_complete::Shell) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(shell, &mut Cli::command(), "holdfast", &mut script);
    output::bytes(&script)
}

fn later(command: &str) -> Failure {
    Failure::Failed(format!(
        "`holdfast {command}` does not exist in version {} yet",
        env!("CARGO_PKG_VERSION")
    ))
}

fn served(run: impl Future<Output = Result<ExitCode, crate::run::Failure>>) -> ExitCode {
    let ended = on_runtime(run).map(|ended| ended.unwrap_or_else(crate::run::Failure::report));
    ended.unwrap_or_else(Failure::report)
}

/// Runs on a runtime of its own, to its end. Guests have a thread for each core
/// beside it (`holdfast_wasm`), so that it needs half as many at most: more only
/// wake each other. `TOKIO_WORKER_THREADS` says otherwise.
fn on_runtime<T>(work: impl Future<Output = T>) -> Result<T, Failure> {
    let mut builder = tokio::runtime::Builder::new_multi_thread();
    if std::env::var_os("TOKIO_WORKER_THREADS").is_none() {
        let cores = std::thread::available_parallelism().map_or(1, usize::from);
        builder.worker_threads(cores.div_ceil(2));
    }
    let runtime = builder.enable_all().build();
    let runtime = runtime.map_err(|e| Failure::Failed(format!("failed to start threads: {e}")))?;
    let done = runtime.block_on(work);
    // What still runs after a second signal is left behind.
    runtime.shutdown_background();
    Ok(done)
}
