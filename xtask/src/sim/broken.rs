//! The rules that are broken, and how.

use super::mutants::{Edit, Mutant, Seen};

pub(super) const MUTANTS: &[Mutant] = &[
    Mutant {
        name: "acknowledged before the commit",
        edits: &[Edit {
            file: "host/runtime/src/process/attempt.rs",
            old: "        let shown = claim.shown();\n        let answer = match self\n            .ask(Step::Commit",
            new: "        let shown = claim.shown();\n        let (soon, place) = (Arc::clone(store), at.clone());\n        if true {\n            self.spawn(async move { let _ = soon.commit(&place, shown, &commit).await; });\n            return holdfast_core::claim::published(holdfast_core::claim::StepAnswer::Ok).map_or(Round::ABANDON, Round::ack);\n        }\n        let answer = match self\n            .ask(Step::Commit",
        }],
        seen: Seen::Simulation,
    },
    Mutant {
        name: "a commit that lost its claim is acknowledged",
        edits: &[Edit {
            file: "host/core/src/claim/held.rs",
            old: "            CommitAnswer::Lost => Err(Refused::Lost),",
            new: "            CommitAnswer::Lost => Ok(Committed::Done(Proof::mint(Ending::Completed))),",
        }],
        seen: CORE,
    },
    Mutant {
        name: "a failed claim is forgotten",
        edits: &[Edit {
            file: "host/embedded/src/store.rs",
            old: "                steps::fail(record, shown, &error, scope)\n            })",
            new: "                steps::fail(record, shown, &error, scope)\n            })\n            .and_then(|answer| { rows.delete(&keys::claim(&at))?; rows.delete(&keys::unfinished(&at))?; Ok(answer) })",
        }],
        seen: Seen::Slowly,
    },
    Mutant {
        name: "the epoch is not compared",
        edits: &[Edit {
            file: "host/core/src/claim/begin.rs",
            old: "    } else if shown.is_some() && shown != scope.epoch {",
            new: "    } else if shown.is_some() && shown != scope.epoch && shown == Some(0) {",
        }],
        seen: CORE,
    },
    Mutant {
        name: "the percentage is read again",
        edits: &[Edit {
            file: "host/core/src/claim/begin.rs",
            old: "    if record.side != facts.side {\n        return if overdue",
            new: "    let mut again = record.clone();\n    again.side = facts.owner_if_new.clone();\n    let record = if facts.rule.is_some() { &again } else { record };\n    if record.side != facts.side {\n        return if overdue",
        }],
        seen: Seen::Simulation,
    },
    Mutant {
        name: "an attempt counts only once it has failed",
        edits: &[Edit {
            file: "host/core/src/claim/begin.rs",
            old: "    record.attempt = record.attempt.saturating_add(1);",
            new: "    if !matches!(record.state, State::Running { .. }) {\n        record.attempt = record.attempt.saturating_add(1);\n    }",
        }],
        seen: Seen::Simulation,
    },
    Mutant {
        name: "the token is not compared",
        edits: &[Edit {
            file: "host/core/src/claim/steps.rs",
            old: "    let Some(record) = record.filter(|record| record.token == Some(shown.token)) else {\n        return Decision::unchanged(CommitAnswer::Lost);",
            new: "    let Some(record) = record else {\n        return Decision::unchanged(CommitAnswer::Lost);",
        }],
        seen: Seen::Simulation,
    },
    Mutant {
        name: "the state's version is not compared",
        edits: &[Edit {
            file: "host/core/src/claim/steps.rs",
            old: "        .is_some_and(|read| read != facts.current_version)",
            new: "        .is_some_and(|read| read > facts.current_version)",
        }],
        seen: Seen::Simulation,
    },
    Mutant {
        name: "done before the outbox is published",
        edits: &[Edit {
            file: "host/core/src/claim/steps.rs",
            old: "    let answer = if facts.outbox == 0 {",
            new: "    let answer = if facts.outbox < 5 {",
        }],
        seen: Seen::Simulation,
    },
    Mutant {
        name: "a copy counts although the broker did not confirm it",
        edits: &[Edit {
            file: "host/runtime/src/process/wait.rs",
            old: "                None\n            }\n        }\n    }\n}",
            new: "                Some(Round::ack(claim::deferred(holdfast_core::settle::Confirmed::by_broker())))\n            }\n        }\n    }\n}",
        }],
        seen: Seen::Simulation,
    },
    Mutant {
        name: "a letter counts although the broker did not confirm it",
        edits: &[Edit {
            file: "host/runtime/src/process/ending.rs",
            old: "                Err(error) => tracing::error!(",
            new: "                Err(_) if true => return Some(Confirmed::by_broker()),\n                Err(error) => tracing::error!(",
        }],
        seen: Seen::Simulation,
    },
    Mutant {
        name: "what the other side has is not waited for",
        edits: &[Edit {
            file: "host/core/src/claim/held.rs",
            old: "        BeginAnswer::Foreign { side, state } => Next::Foreign { side, state },",
            new: "        BeginAnswer::Foreign { .. } => Next::Ack(Proof::mint(Ending::LeftToOwner)),",
        }],
        seen: Seen::Simulation,
    },
    Mutant {
        name: "messages of a lane do not wait for each other",
        edits: &[Edit {
            file: "host/core/src/lane.rs",
            old: "        if queue.running || queue.halted || !queue.waiting.is_empty() {",
            new: "        if queue.halted {",
        }],
        seen: Seen::Simulation,
    },
    Mutant {
        name: "a lane goes on after a message that was handed back",
        edits: &[Edit {
            file: "host/runtime/src/ordered.rs",
            old: "                    self.keep_back(job);\n                    self.begin_again(\"a message could not be finished here\");\n                    return;",
            new: "                    self.settle(job, Settlement::Abandon);\n                    self.lanes().leave(&lane)",
        }],
        seen: Seen::Simulation,
    },
    Mutant {
        name: "a queue with a lease lets several consumers in",
        edits: &[
            Edit {
                file: "host/runtime/src/consumer.rs",
                old: "        single_active: spec.alone(),",
                new: "        single_active: false,",
            },
            Edit {
                file: "host/runtime/src/consumer.rs",
                old: "            exclusive: spec.alone(),",
                new: "            exclusive: false,",
            },
        ],
        seen: Seen::Simulation,
    },
    Mutant {
        name: "a message that is given up is acknowledged without a letter",
        edits: &[Edit {
            file: "host/core/src/claim/held.rs",
            old: "        BeginAnswer::Parking {\n            reason,",
            new: "        BeginAnswer::Parking { .. } if true => Next::Ack(Proof::mint(Ending::DeadLettered)),\n        BeginAnswer::Parking {\n            reason,",
        }],
        seen: Seen::Simulation,
    },
    Mutant {
        name: "Redis: a failed claim is forgotten",
        edits: &[Edit {
            file: "host/redis/src/lua/fail.lua",
            old: "keep(key, r, keep_ms)",
            new: "redis.call('DEL', key)",
        }],
        seen: DIFFERENTIAL,
    },
    Mutant {
        name: "Redis: the token is not compared",
        edits: &[Edit {
            file: "host/redis/src/lua/commit.lua",
            old: "if r.token ~= token then",
            new: "if r.token ~= token and r.state ~= 'R' then",
        }],
        seen: DIFFERENTIAL,
    },
    Mutant {
        name: "Redis: the epoch is not compared",
        edits: &[Edit {
            file: "host/redis/src/lua/epoch.lua",
            old: "if epoch ~= '' then",
            new: "if epoch == '0' then",
        }],
        seen: DIFFERENTIAL,
    },
    Mutant {
        name: "Redis: the percentage is read again",
        edits: &[Edit {
            file: "host/redis/src/lua/begin.lua",
            old: "  if r.side ~= side then\n",
            new: "  r.side = ARGV[11] and owner or r.side\n  if r.side ~= side then\n",
        }],
        seen: DIFFERENTIAL,
    },
    Mutant {
        name: "Redis: an attempt counts only once it has failed",
        edits: &[Edit {
            file: "host/redis/src/lua/begin.lua",
            old: "r.attempt = r.attempt + 1\n",
            new: "r.attempt = r.state == 'R' and r.attempt or r.attempt + 1\n",
        }],
        seen: DIFFERENTIAL,
    },
];

const CORE: Seen = Seen::Tests(&["test", "--package", "holdfast-core"]);

const DIFFERENTIAL: Seen = Seen::Tests(&[
    "test",
    "--package",
    "holdfast-redis",
    "--test",
    "differential",
    "--test",
    "conformance",
]);
