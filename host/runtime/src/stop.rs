//! How work is told to end.

use holdfast_ports::plugins::Interrupt;
use tokio_util::sync::CancellationToken;

/// Told to work, and to everything below it.
#[derive(Clone, Debug, Default)]
pub struct Stop {
    soon: CancellationToken,
    at_once: CancellationToken,
    interrupt: Interrupt,
}

impl Stop {
    /// Take nothing more, let handlers finish, hand back what waits.
    pub fn soon(&self) {
        self.soon.cancel();
    }

    /// Interrupt handlers, wait for nobody.
    pub fn at_once(&self) {
        self.interrupt.set();
        self.soon.cancel();
        self.at_once.cancel();
    }

    /// One for some of the work: it hears what this one is told, and can be told
    /// without it.
    #[must_use]
    pub fn child(&self) -> Self {
        Self {
            soon: self.soon.child_token(),
            at_once: self.at_once.child_token(),
            interrupt: self.interrupt.child(),
        }
    }

    /// Was it told to end, in whatever way?
    #[must_use]
    pub fn is_told(&self) -> bool {
        self.soon.is_cancelled()
    }

    /// Cancelled when it was told to end, in whatever way.
    #[must_use]
    pub fn told(&self) -> &CancellationToken {
        &self.soon
    }

    /// Cancelled when it was told to end at once.
    #[must_use]
    pub fn told_at_once(&self) -> &CancellationToken {
        &self.at_once
    }

    /// Carried by calls of handlers.
    #[must_use]
    pub fn interrupt(&self) -> &Interrupt {
        &self.interrupt
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_told_reaches_what_is_below_and_not_what_is_above() {
        let all = Stop::default();
        let (one, other) = (all.child(), all.child());
        one.at_once();
        assert!(one.interrupt().is_set() && one.told_at_once().is_cancelled());
        assert!(!all.is_told() && !other.is_told());
        all.soon();
        assert!(other.is_told() && !other.told_at_once().is_cancelled());
        assert!(!other.interrupt().is_set(), "handlers may finish");
    }
}
