//! Every step in the life of a program under test.

use std::process::Command;
use std::time::Duration;

use anyhow::Result;
use common::alive;
use holdfast_servers::{Port, Program, wait_for};

mod common;

const LIMIT: Duration = Duration::from_secs(10);

/// A shell cannot trap what its parent ignores, and `nohup` ignores SIGHUP.
fn shell(script: &str) -> Result<Program> {
    let mut command = Command::new("env");
    command.args(["--default-signal=HUP", "/bin/sh", "-c", script]);
    Program::start("shell", &mut command)
}

#[test]
fn signals_reach_a_program_and_its_output_and_result_are_kept() -> Result<()> {
    let mut program = shell(
        "trap 'echo again' HUP; trap 'echo bye; exit 3' TERM; echo up; while :; do sleep 0.01; done",
    )?;
    let says = |program: &Program, word: &str| {
        let output = program.output();
        output.lines().any(|line| line == word).then_some(())
    };
    wait_for("the program up", LIMIT, || Ok(says(&program, "up")))?;
    program.hang_up()?;
    wait_for("the answer to HUP", LIMIT, || Ok(says(&program, "again")))?;
    assert!(program.ended()?.is_none());
    program.terminate()?;
    assert_eq!(program.wait(LIMIT)?.code(), Some(3));
    assert!(program.output().ends_with("bye"));
    Ok(())
}

#[test]
fn a_program_that_does_not_end_in_time_is_an_error_with_its_output() -> Result<()> {
    let mut program = shell("echo stuck; exec sleep 60")?;
    wait_for("its output", LIMIT, || {
        Ok((program.output() == "stuck").then_some(()))
    })?;
    let error = program.wait(Duration::from_millis(50)).unwrap_err();
    assert!(error.to_string().contains("stuck"), "{error}");
    Ok(())
}

#[test]
fn a_dropped_program_takes_its_children_along() -> Result<()> {
    let program = shell("sleep 60 & echo $!; wait")?;
    let child = wait_for("the child's id", LIMIT, || {
        Ok(program.output().parse::<u32>().ok())
    })?;
    assert!(alive(child));
    drop(program);
    wait_for(
        "the child gone",
        LIMIT,
        || Ok((!alive(child)).then_some(())),
    )
}

#[test]
fn a_free_port_can_be_listened_on_by_whoever_holds_it() -> Result<()> {
    let port = Port::free()?;
    std::net::TcpListener::bind(("127.0.0.1", port.number()))?;
    Ok(())
}
