//! Interleavings and faults of each ordinary setup, nearest first.

use holdfast_model::run::{Search, explore};
use holdfast_model::setups;

/// Steps of each setup in the ordinary run; the binary of this crate goes on
/// until a setup is explored whole.
const STEPS: usize = 150_000;

#[test]
fn nothing_that_can_happen_breaks_a_promise() {
    let mut states = 0;
    let mut broken = Vec::new();
    for setup in setups::ordinary() {
        let report = explore(setup, Search::Breadth, 1, Some(STEPS));
        println!(
            "{}: {} states, {} steps, depth {}, {:.1} s",
            report.name,
            report.states,
            report.steps,
            report.depth,
            report.took.as_secs_f64()
        );
        states += report.states;
        if let Some(found) = report.counterexample {
            broken.push(format!(
                "{}: {:?} does not hold:\n{}",
                report.name, found.promise, found.trace
            ));
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n\n"));
    assert!(states > 300_000, "only {states} states were visited");
}
