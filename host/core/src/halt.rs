//! What becomes of a message that is given up where `on-poison = "halt"`.
//!
//! ```text
//!             given up            resume                   given up again
//!   (none) ───────────► halted ──────────► resumed ─────► retried ─────► its letter
//!              lane stops │                   │  tried        │ done       lane goes on
//!                         └───────────────────┴─ again ───────┴─────────► lane goes on
//! ```
//!
//! The message stays at the head of its lane, with its claim `parking`: given
//! up, its letter not written. What stands beside the lane is a mark in the
//! store; only an operator's word moves it on.

/// How an operator lets a halted lane go on.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum Then {
    /// The message has all its attempts again. Given up once more, it is parked
    /// like any other, and the lane goes on.
    #[default]
    GoOn,
    /// The message has all its attempts again. Given up once more, it halts the
    /// lane again.
    HaltAgain,
    /// The message is parked without another attempt.
    Skip,
}

impl Then {
    /// All of them.
    pub const ALL: [Self; 3] = [Self::GoOn, Self::HaltAgain, Self::Skip];

    /// The word in the store, the API and tables.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        match self {
            Self::GoOn => "go-on",
            Self::HaltAgain => "halt-again",
            Self::Skip => "skip",
        }
    }

    /// The one with this word.
    #[must_use]
    pub fn parse(word: &str) -> Option<Self> {
        Self::ALL.into_iter().find(|then| then.as_str() == word)
    }
}

/// What the mark of a lane says about the message it names.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stand {
    /// It was given up, and the lane waits for an operator.
    Halted,
    /// An operator decided.
    Resumed(Then),
    /// It is being tried again, for the last time.
    Retried,
}

/// What is done with a message that was given up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Fate {
    /// It stays where it is, and its lane stops.
    Halt,
    /// It has all its attempts again; the mark says this from then on.
    TryAgain(Option<Stand>),
    /// Its letter is written, and its lane goes on.
    Bury,
}

/// Decides by the mark that names this message, if there is one. `tried`: the
/// message was tried under this mark and has just been given up; otherwise it
/// was found given up.
#[must_use]
pub fn fate(mark: Option<Stand>, tried: bool) -> Fate {
    match (mark, tried) {
        (None | Some(Stand::Halted), _) => Fate::Halt,
        (Some(Stand::Resumed(Then::Skip) | Stand::Retried), _) => Fate::Bury,
        (Some(Stand::Resumed(Then::HaltAgain)), false) => Fate::TryAgain(None),
        (Some(Stand::Resumed(Then::GoOn)), false) => Fate::TryAgain(Some(Stand::Retried)),
        (Some(Stand::Resumed(Then::HaltAgain)), true) => Fate::Halt,
        (Some(Stand::Resumed(Then::GoOn)), true) => Fate::Bury,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Resumes a halted message that will be given up again and again; gives
    /// what happens, up to the next halt or the letter.
    fn story(then: Then) -> Vec<Fate> {
        let mut mark = Some(Stand::Resumed(then));
        let mut tried = false;
        let mut told = Vec::new();
        loop {
            let next = fate(mark, tried);
            told.push(next);
            match next {
                Fate::TryAgain(then) => (mark, tried) = (then, true),
                Fate::Halt | Fate::Bury => return told,
            }
        }
    }

    #[test]
    fn without_an_operators_word_the_lane_stays_halted() {
        for tried in [false, true] {
            assert_eq!(fate(None, tried), Fate::Halt);
            assert_eq!(fate(Some(Stand::Halted), tried), Fate::Halt);
        }
    }

    #[test]
    fn a_lane_that_is_to_go_on_does_so_after_one_more_round_of_attempts() {
        let again = Fate::TryAgain(Some(Stand::Retried));
        assert_eq!(story(Then::GoOn), [again, Fate::Bury]);
    }

    #[test]
    fn a_lane_may_halt_again_at_the_same_message() {
        assert_eq!(story(Then::HaltAgain), [Fate::TryAgain(None), Fate::Halt]);
    }

    #[test]
    fn a_message_is_skipped_without_another_attempt() {
        assert_eq!(story(Then::Skip), [Fate::Bury]);
    }

    #[test]
    fn a_crash_between_two_steps_leads_to_the_same_end() {
        // The letter was not written yet, the mark says what was decided.
        assert_eq!(fate(Some(Stand::Retried), false), Fate::Bury);
        // The claim was re-opened and tried, the mark not moved on yet.
        let goes_on = fate(Some(Stand::Resumed(Then::GoOn)), true);
        assert_eq!(goes_on, Fate::Bury);
        let halts = fate(Some(Stand::Resumed(Then::HaltAgain)), true);
        assert_eq!(halts, Fate::Halt);
    }

    #[test]
    fn every_word_is_understood_again() {
        for then in Then::ALL {
            assert_eq!(Then::parse(then.as_str()), Some(then));
        }
        assert_eq!(Then::parse("on"), None);
    }
}
