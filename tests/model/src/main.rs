//! The long run.

use holdfast_model::run::{Search, explore};
use holdfast_model::setups;

fn main() {
    let only = std::env::args().nth(1);
    for setup in setups::ordinary() {
        if only.as_ref().is_some_and(|n| !setup.name.contains(n)) { continue; }
    let report = explore(setup, Search::Breadth, 2);
    println!("{} states {} steps {} depth {} took {:?}", report.name, report.states, report.steps, report.depth, report.took);
    if let Some(c) = report.counterexample {
        println!("{}\n{}", c.promise, c.trace);
    }
    }
}
