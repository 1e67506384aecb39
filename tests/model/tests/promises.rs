//! Every interleaving and fault of each ordinary setup, explored whole.

use holdfast_model::run::{Search, explore};
use holdfast_model::setup::Setup;
use holdfast_model::setups;

/// Nothing that can happen breaks a promise, and there is enough of it.
fn holds(setup: Setup, at_least: usize) {
    let report = explore(setup, Search::Breadth, 1, None);
    println!(
        "{}: {} states, {} steps, depth {}, {:.1} s",
        report.name,
        report.states,
        report.steps,
        report.depth,
        report.took.as_secs_f64()
    );
    if let Some(found) = report.counterexample {
        panic!("{:?} does not hold:\n{}", found.promise, found.trace);
    }
    assert!(report.whole && report.states >= at_least, "{report:?}");
}
