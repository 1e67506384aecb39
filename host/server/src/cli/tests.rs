//! What the command line takes and what it refuses.

use clap::{CommandFactory as _, Parser as _};

use holdfast_core::cutover::Percent;

use super::args::{Cli, Command, Cutover};

fn parse(line: &str) -> Result<Cli, clap::Error> {
    Cli::try_parse_from(std::iter::once("holdfast").chain(line.split_whitespace()))
}

#[test]
fn the_definitions_are_sound() {
    Cli::command().debug_assert();
}

#[test]
fn every_command_of_the_interface_is_understood() {
    for line in [
        "run",
        "run --config other.toml --json",
        "--config other.toml run",
        "dev",
        "check",
        "check --offline --json",
        "new orders",
        "new orders --lang rust",
        "new orders --lang js",
        "new orders --lang python",
        "build",
        "build handlers/orders",
        "invoke orders --body a.json",
        "invoke orders --body a.json --header a=b --header c=d=e --attempt 3",
        "publish orders --body a.json",
        "publish orders --lines a.jsonl --id x --header k=v --broker main",
        "publish orders -",
        "claims show k1 --group orders",
        "claims list --state failed",
        "claims list",
        "claims release k1 --to old --force",
        "explain k1",
        "lease show",
        "lease step-down orders",
        "cutover show orders",
        "cutover set orders --enable --percent 12.5 --allow a --allow b --disallow c --expect 7",
        "cutover set orders --disable",
        "cutover set orders --from new --to kafka --assign-timeout 10m",
        "dead list orders",
        "dead show orders --reason rejected",
        "dead replay orders --key k1 --dry-run",
        "dead drop orders",
        "pause orders",
        "resume orders --url http://127.0.0.1:7070",
        "resume orders --lane l1",
        "resume orders --lane l1 --skip",
        "resume orders --halt-again",
        "plugins list",
        "plugins reload orders",
        "plugins rollback orders",
        "audit --json",
        "top",
        "store accept",
        "schema",
        "completions bash",
    ] {
        assert!(parse(line).is_ok(), "{line}: {}", parse(line).unwrap_err());
    }
}

#[test]
fn a_wrong_use_is_exit_code_2() {
    for line in [
        "",
        "walk",
        "run --fast",
        "new Orders",
        "new orders --lang cobol",
        "invoke orders",
        "invoke orders --body a --attempt 0",
        "publish orders",
        "publish orders --body a --lines b",
        "publish orders x",
        "publish orders - --header novalue",
        "claims list --state lost",
        "cutover set orders",
        "cutover set orders --enable --disable",
        "cutover set orders --percent 101",
        "cutover set orders --percent -1",
        "cutover set orders --percent 0.001",
        "cutover set orders --percent nan",
        "cutover set orders --to A/B",
        "cutover set orders --assign-timeout 5",
        "cutover set orders --percent 1e1",
        "pause",
        "resume orders --skip --halt-again",
        "completions dosshell",
    ] {
        assert_eq!(parse(line).unwrap_err().exit_code(), 2, "{line}");
    }
}

#[test]
fn a_percentage_is_exact() {
    let Command::Cutover(Cutover::Set(set)) =
        parse("cutover set orders --percent 0.29").unwrap().command
    else {
        panic!("another command was read");
    };
    assert_eq!(set.percent.map(Percent::hundredths), Some(29));
}
