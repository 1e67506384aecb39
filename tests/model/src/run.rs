//! One run of the checker.

use std::time::{Duration, Instant};

use stateright::{Checker as _, HasDiscoveries, Model as _};

use crate::checked::Checked;
use crate::met::Met;
use crate::setup::Setup;
use crate::trace::trace;

/// In which order states are visited.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Search {
    /// Nearest first: counterexamples are short.
    Breadth,
    /// Deepest first: takes less memory.
    Depth,
}

/// What came of it.
#[derive(Debug)]
pub struct Report {
    /// The setup's name.
    pub name: &'static str,
    /// Distinct states.
    pub states: usize,
    /// Steps taken, to known states too.
    pub steps: usize,
    /// The longest path.
    pub depth: usize,
    /// How long it took.
    pub took: Duration,
    /// What was met on the way.
    pub met: Vec<Met>,
    /// Everything was explored.
    pub whole: bool,
    /// A promise that does not hold, and how it is broken.
    pub counterexample: Option<Counterexample>,
}

/// How a promise is broken.
#[derive(Debug)]
pub struct Counterexample {
    /// The promise.
    pub promise: &'static str,
    /// The steps that break it, for people.
    pub trace: String,
}

/// Explores everything that can happen in a setup, or until this many steps
/// were taken.
#[must_use]
pub fn explore(setup: Setup, search: Search, threads: usize, steps: Option<usize>) -> Report {
    let name = setup.name;
    let started = Instant::now();
    let mut builder = Checked::new(setup)
        .checker()
        .threads(threads)
        .finish_when(HasDiscoveries::AnyFailures);
    if let Some(steps) = steps {
        builder = builder.target_state_count(steps);
    }
    match search {
        Search::Breadth => report(name, started, steps, &builder.spawn_bfs().join()),
        Search::Depth => report(name, started, steps, &builder.spawn_dfs().join()),
    }
}

fn report(
    name: &'static str,
    started: Instant,
    limit: Option<usize>,
    checker: &impl stateright::Checker<Checked>,
) -> Report {
    let shortest = checker
        .discoveries()
        .into_iter()
        .map(|(promise, path)| (promise, path.into_vec()))
        .min_by_key(|(_, path)| path.len());
    Report {
        name,
        states: checker.unique_state_count(),
        steps: checker.state_count(),
        depth: checker.max_depth(),
        took: started.elapsed(),
        met: checker.model().seen.list(),
        whole: limit.is_none_or(|limit| checker.state_count() < limit),
        counterexample: shortest.map(|(promise, path)| Counterexample {
            promise,
            trace: trace(&path),
        }),
    }
}
