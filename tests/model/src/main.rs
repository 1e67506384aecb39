//! The long run.

use holdfast_model::run::{Search, explore};
use holdfast_model::setups;

fn main() {
    let only = std::env::args().nth(1).unwrap_or_default();
    let cap = std::env::args().nth(2).map(|n| n.parse().unwrap());
    for setup in setups::ordinary() {
        if !setup.name.contains(&only) {
            continue;
        }
        let report = explore(setup, Search::Breadth, 2, cap);
        println!(
            "{} states {} steps {} depth {} took {:?} whole {}",
            report.name, report.states, report.steps, report.depth, report.took, report.whole
        );
        if let Some(c) = report.counterexample {
            println!("{}\n{}", c.promise, c.trace);
        }
    }
}
