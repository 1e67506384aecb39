//! Counterexamples, for people: what happened, and what changed with it.

use std::fmt::Write as _;

use holdfast_core::claim::State;

use crate::action::Action;
use crate::world::{Host, Job, Place, Queue, Row, Stage, World};

/// The steps of a path, each with the lines that it changed.
#[must_use]
pub(crate) fn trace(path: &[(World, Option<Action>)]) -> String {
    let mut text = String::new();
    let mut known: Vec<String> = Vec::new();
    for (at, (world, next)) in path.iter().enumerate() {
        for line in lines(world) {
            if at > 0 && !known.contains(&line) {
                let _ = writeln!(text, "        {line}");
            }
        }
        known = lines(world);
        if at == 0 {
            for line in &known {
                let _ = writeln!(text, "        {line}");
            }
        }
        if let Some(action) = next {
            let _ = writeln!(text, "{:>4}  {action}", at + 1);
        }
    }
    text
}

fn lines(world: &World) -> Vec<String> {
    let mut lines = vec![format!("time {}", world.now)];
    let store = &world.store;
    for (key, row) in store.claims.iter().enumerate() {
        let text = row.as_ref().map_or_else(|| "none".to_owned(), claim);
        lines.push(format!("claim {key}: {text}"));
    }
    for (side, lease) in store.leases.iter().enumerate() {
        if lease.epoch > 0 {
            let (host, until) = (lease.owner.0, lease.until);
            lines.push(format!(
                "lease of side {side}: epoch {}, host {host} until {until}",
                lease.epoch
            ));
        }
    }
    lines.push(format!(
        "share {} in force, revision {}",
        store.rule.0, store.rule.1
    ));
    lines.push(format!("store {:?}, pulse {}", store.id, store.pulse));
    lines.push(format!("sequences {:?}", store.sequences));
    for (side, text) in world.queues.iter().map(queue).enumerate() {
        lines.push(format!("queue {side}: {text}"));
    }
    for (h, one) in world.hosts.iter().enumerate() {
        lines.push(format!("host {h}: {}", host(one)));
        for (j, job) in one.jobs.iter().enumerate() {
            lines.push(format!("host {h}, delivery {j}: {}", delivery(job)));
        }
    }
    for (n, call) in world.strays.iter().enumerate() {
        lines.push(format!(
            "on its way, {n}: {:?} of message {} with token {}",
            call.what, call.message, call.token
        ));
    }
    for (key, history) in world.history.keys.iter().enumerate() {
        if history.committed > 0 || history.sent > 0 {
            lines.push(format!(
                "effects of key {key}: committed {} times, published {:#b}",
                history.committed, history.sent
            ));
        }
    }
    if let Some(broken) = world.history.broken {
        lines.push(format!("BROKEN: {broken:?}"));
    }
    lines
}

fn claim(row: &Row) -> String {
    let state = match &row.state {
        State::Assigned { since } => format!("assigned at {}", tick(since.0)),
        State::Running { lock_until, epoch } => {
            let until = tick(lock_until.0);
            match epoch {
                Some(epoch) => format!("running until {until} under epoch {epoch}"),
                None => format!("running until {until}"),
            }
        }
        other => format!("{other:?}"),
    };
    let token = row
        .token
        .map_or_else(String::new, |token| format!(", token {token}"));
    format!(
        "side {}, {state}, attempt {}, fence {}{token}",
        row.side, row.attempt, row.fence
    )
}

fn tick(micros: u64) -> u64 {
    (micros / 1_000_000).saturating_sub(1)
}

fn queue(queue: &Queue) -> String {
    let copies: Vec<String> = queue
        .copies
        .iter()
        .map(|copy| match copy.place {
            Place::Ready(at) => format!("message {} (from {at})", copy.message),
            Place::Held { host, tag } => {
                format!("message {} (at host {host}, tag {tag})", copy.message)
            }
        })
        .collect();
    format!("[{}], letters {:?}", copies.join(", "), queue.letters)
}

fn host(host: &Host) -> String {
    let what = match host {
        Host { up: false, .. } => "down",
        Host { paused: true, .. } => "stopped",
        Host { halted: true, .. } => "does not trust the store",
        _ => "up",
    };
    let lease = host
        .lease
        .map_or_else(String::new, |lease| format!(", {lease:?}"));
    format!("{what}, knows share {}{lease}", host.rule.0)
}

fn delivery(job: &Job) -> String {
    let void = if job.live { "" } else { " (channel gone)" };
    let stage = match &job.stage {
        Stage::Lane => "waits behind its lane".to_owned(),
        Stage::Ready(at) => format!("asks for the claim at {at}"),
        Stage::Begin(call) => format!("asks again with token {}", call.token),
        Stage::Run { attempt, .. } => {
            format!(
                "attempt {} runs with token {}",
                attempt.number, attempt.token
            )
        }
        Stage::Commit { attempt, .. } => format!("commits with token {}", attempt.token),
        Stage::Fail(attempt) => format!("fails with token {}", attempt.token),
        Stage::Ack(ending) => format!("acknowledges, {}", ending.as_str()),
        other => format!("{other:?}"),
    };
    format!("message {}{void}: {stage}", job.message)
}
