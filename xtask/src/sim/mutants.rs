//! Rules that are broken one at a time, to see that the simulation notices.

use anyhow::{Context as _, Result, ensure};

use super::copy::Copy;
use crate::guests::repository;
use crate::setup;

/// A rule, and how it is broken.
struct Mutant {
    name: &'static str,
    edits: &'static [Edit],
}

/// In this file, this text becomes that.
struct Edit {
    file: &'static str,
    old: &'static str,
    new: &'static str,
}

const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "acknowledged before the commit",
        edits: &[Edit {
            file: "host/runtime/src/process/attempt.rs",
            old: "        let shown = claim.shown();\n        let answer = match ask(Step::Commit",
            new: "        let shown = claim.shown();\n        let (soon, place) = (Arc::clone(store), at.clone());\n        if true {\n            self.spawn(async move { let _ = soon.commit(&place, shown, &commit).await; });\n            return holdfast_core::claim::published(holdfast_core::claim::StepAnswer::Ok).map_or(Round::ABANDON, Round::ack);\n        }\n        let answer = match ask(Step::Commit",
        }],
    },
    Mutant {
        name: "a commit that lost its claim is acknowledged",
        edits: &[Edit {
            file: "host/core/src/claim/held.rs",
            old: "            CommitAnswer::Lost => Err(Refused::Lost),",
            new: "            CommitAnswer::Lost => Ok(Committed::Done(Proof::mint(Ending::Completed))),",
        }],
    },
    Mutant {
        name: "a failed claim is forgotten",
        edits: &[Edit {
            file: "host/embedded/src/store.rs",
            old: "                steps::fail(record, shown, &error, scope)\n            })",
            new: "                steps::fail(record, shown, &error, scope)\n            })\n            .and_then(|answer| { rows.delete(&keys::claim(&at))?; rows.delete(&keys::unfinished(&at))?; Ok(answer) })",
        }],
    },
    Mutant {
        name: "the epoch is not compared",
        edits: &[Edit {
            file: "host/core/src/claim/begin.rs",
            old: "    } else if shown.is_some() && shown != scope.epoch {",
            new: "    } else if shown.is_some() && shown != scope.epoch && shown == Some(0) {",
        }],
    },
    Mutant {
        name: "the percentage is read again",
        edits: &[Edit {
            file: "host/core/src/claim/begin.rs",
            old: "    if record.side != facts.side {\n        return if overdue",
            new: "    let mut again = record.clone();\n    again.side = facts.owner_if_new.clone();\n    let record = if facts.rule.is_some() { &again } else { record };\n    if record.side != facts.side {\n        return if overdue",
        }],
    },
    Mutant {
        name: "an attempt counts only once it has failed",
        edits: &[Edit {
            file: "host/core/src/claim/begin.rs",
            old: "    record.attempt = record.attempt.saturating_add(1);",
            new: "    if !matches!(record.state, State::Running { .. }) {\n        record.attempt = record.attempt.saturating_add(1);\n    }",
        }],
    },
    Mutant {
        name: "the token is not compared",
        edits: &[Edit {
            file: "host/core/src/claim/steps.rs",
            old: "    let Some(record) = record.filter(|record| record.token == Some(shown.token)) else {\n        return Decision::unchanged(CommitAnswer::Lost);",
            new: "    let Some(record) = record else {\n        return Decision::unchanged(CommitAnswer::Lost);",
        }],
    },
    Mutant {
        name: "the state's version is not compared",
        edits: &[Edit {
            file: "host/core/src/claim/steps.rs",
            old: "        .is_some_and(|read| read != facts.current_version)",
            new: "        .is_some_and(|read| read > facts.current_version)",
        }],
    },
    Mutant {
        name: "done before the outbox is published",
        edits: &[Edit {
            file: "host/core/src/claim/steps.rs",
            old: "    let answer = if facts.outbox == 0 {",
            new: "    let answer = if facts.outbox < 5 {",
        }],
    },
    Mutant {
        name: "a copy counts although the broker did not confirm it",
        edits: &[Edit {
            file: "host/runtime/src/process/wait.rs",
            old: "                None\n            }\n        }\n    }\n}",
            new: "                Some(Round::ack(claim::deferred(holdfast_core::settle::Confirmed::by_broker())))\n            }\n        }\n    }\n}",
        }],
    },
    Mutant {
        name: "a letter counts although the broker did not confirm it",
        edits: &[Edit {
            file: "host/runtime/src/process/ending.rs",
            old: "                Err(error) => tracing::error!(",
            new: "                Err(_) if true => return Some(Confirmed::by_broker()),\n                Err(error) => tracing::error!(",
        }],
    },
    Mutant {
        name: "what the other side has is not waited for",
        edits: &[Edit {
            file: "host/core/src/claim/held.rs",
            old: "        BeginAnswer::Foreign { side, state } => Next::Foreign { side, state },",
            new: "        BeginAnswer::Foreign { .. } => Next::Ack(Proof::mint(Ending::LeftToOwner)),",
        }],
    },
    Mutant {
        name: "messages of a lane do not wait for each other",
        edits: &[Edit {
            file: "host/core/src/lane.rs",
            old: "        if queue.running || queue.halted || !queue.waiting.is_empty() {",
            new: "        if queue.halted {",
        }],
    },
    Mutant {
        name: "a lane goes on after a message that was handed back",
        edits: &[Edit {
            file: "host/runtime/src/ordered.rs",
            old: "                    self.keep_back(job);\n                    self.begin_again(\"a message could not be finished here\");\n                    return;",
            new: "                    self.settle(job, Settlement::Abandon);\n                    self.lanes().leave(&lane)",
        }],
    },
    Mutant {
        name: "a queue with a lease lets several consumers in",
        edits: &[
            Edit {
                file: "host/runtime/src/consumer.rs",
                old: "        single_active: spec.lease.is_some(),",
                new: "        single_active: false,",
            },
            Edit {
                file: "host/runtime/src/consumer.rs",
                old: "            exclusive: spec.lease.is_some(),",
                new: "            exclusive: false,",
            },
        ],
    },
    Mutant {
        name: "a message that is given up is acknowledged without a letter",
        edits: &[Edit {
            file: "host/core/src/claim/held.rs",
            old: "        BeginAnswer::Parking {\n            reason,",
            new: "        BeginAnswer::Parking { .. } if true => Next::Ack(Proof::mint(Ending::DeadLettered)),\n        BeginAnswer::Parking {\n            reason,",
        }],
    },
];

/// Breaks one rule after another.
pub(super) fn all(seeds: u64, only: Option<&str>) -> Result<()> {
    let root = repository();
    let copy = Copy::of(&root)?;
    // Of its own: cargo names crates by their path within the workspace, so a
    // mutant would be taken for the real thing in a folder that both share.
    let mut unnoticed = Vec::new();
    println!(
        "{:<58}{:>8}{:>6}  first found as",
        "broken rule", "seeds", "red"
    );
    for mutant in MUTANTS {
        if only.is_some_and(|only| !mutant.name.contains(only)) {
            continue;
        }
        for edit in mutant.edits {
            copy.replace(edit.file, edit.old, edit.new)?;
        }
        let output = setup::run::cargo()
            .args([
                "run",
                "--quiet",
                "--package",
                "holdfast-sim",
                "--target-dir",
            ])
            .arg(root.join("target/mutants/build"))
            .args(["--", "--brief", "--seeds", &seeds.to_string()])
            .current_dir(&copy.to)
            .output()
            .context("failed to run cargo")?;
        for edit in mutant.edits {
            copy.restore(edit.file)?;
        }
        let text = String::from_utf8_lossy(&output.stdout);
        let brief = text.lines().find_map(|line| line.strip_prefix("red "));
        let brief = brief.with_context(|| {
            let errors = String::from_utf8_lossy(&output.stderr).into_owned();
            format!("failed to run the mutant {:?}:\n{errors}", mutant.name)
        })?;
        let (red, kinds) = brief.split_once(' ').unwrap_or((brief, ""));
        println!("{:<58}{seeds:>8}{red:>6}  {kinds}", mutant.name);
        if red == "0" {
            unnoticed.push(mutant.name);
        }
    }
    ensure!(
        unnoticed.is_empty(),
        "not noticed: {}",
        unnoticed.join(", ")
    );
    Ok(())
}
