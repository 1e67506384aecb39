//! The books of one consumer and side: every received delivery ends in exactly
//! one way, or is in flight.

use crate::settle::Ending;

/// Counts of one consumer and side over a host's run.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Ledger {
    /// Deliveries handed over by the broker.
    pub received: u64,
    /// Deliveries that ended, by [`Ending::ALL`].
    pub ended: [u64; Ending::ALL.len()],
    /// Deliveries that have not ended yet.
    pub in_flight: u64,
}

impl Ledger {
    /// How many ended this way.
    #[must_use]
    pub fn ended(&self, ending: Ending) -> u64 {
        Ending::ALL
            .iter()
            .position(|e| *e == ending)
            .map_or(0, |at| self.ended[at])
    }

    /// Received minus everything accounted for; zero when the books close.
    #[must_use]
    pub fn difference(&self) -> i128 {
        let ended: i128 = self.ended.iter().map(|n| i128::from(*n)).sum();
        i128::from(self.received) - ended - i128::from(self.in_flight)
    }

    /// Do the books close?
    #[must_use]
    pub fn closes(&self) -> bool {
        self.difference() == 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_delivery_that_vanished_keeps_the_books_open() {
        let mut books = Ledger {
            received: 5,
            in_flight: 1,
            ..Ledger::default()
        };
        books.ended = [2, 1, 0, 1, 0, 0, 0];
        assert!(books.closes());
        books.in_flight = 0;
        assert_eq!(books.difference(), 1);
        assert_eq!(books.ended(Ending::DeadLettered), 1);
    }
}
