//! What a history shows.

use std::fmt;

use crate::event::How;

/// A promise that was broken.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Finding {
    /// A message was published, and neither its effects nor a letter are there.
    Lost {
        /// Its key.
        key: String,
    },
    /// The effects of a message are there more than once.
    Duplicated {
        /// Its key.
        key: String,
        /// How often.
        times: usize,
    },
    /// A message was handled, took effect or was given up while an earlier one
    /// of its lane had not ended.
    Inversion {
        /// The lane.
        lane: String,
        /// The one that had not ended.
        earlier: String,
        /// The one that went ahead.
        later: String,
    },
    /// A key was handled by a second side.
    SideFlip {
        /// The key.
        key: String,
        /// The side that had it.
        from: String,
        /// The side that came.
        to: String,
    },
    /// A commit under an epoch that was over.
    OldEpoch {
        /// The key.
        key: String,
        /// The epoch it was made under.
        epoch: u64,
        /// The one that had begun.
        current: u64,
    },
    /// A commit of an attempt that a newer one had replaced.
    OldAttempt {
        /// The key.
        key: String,
        /// Its fence.
        fence: u64,
        /// The fence of the newer attempt.
        newer: u64,
    },
    /// An acknowledgement that nothing recorded stands behind.
    Unrecorded {
        /// The key.
        key: String,
        /// As what it was acknowledged.
        how: How,
    },
    /// Effects are stored, and a message that belongs to them never arrived.
    Unsent {
        /// The key.
        key: String,
    },
    /// A message of an attempt arrived that was not committed.
    Uncommitted {
        /// The key.
        key: String,
    },
    /// A message took effect, and was given up as well.
    Both {
        /// The key.
        key: String,
        /// Why it was given up.
        reason: String,
    },
    /// An effect or a letter of a message that nobody published.
    Unexpected {
        /// The key.
        key: String,
    },
    /// More calls without a failure before them than faults explain.
    RawRepeats {
        /// How many.
        times: u64,
        /// How many may be.
        allowed: u64,
    },
}

impl Finding {
    /// One word for tables.
    #[must_use]
    pub fn kind(&self) -> &'static str {
        match self {
            Self::Lost { .. } => "lost",
            Self::Duplicated { .. } => "duplicated",
            Self::Inversion { .. } => "inversion",
            Self::SideFlip { .. } => "side flip",
            Self::OldEpoch { .. } => "old epoch",
            Self::OldAttempt { .. } => "old attempt",
            Self::Unrecorded { .. } => "unrecorded",
            Self::Unsent { .. } => "unsent",
            Self::Uncommitted { .. } => "uncommitted",
            Self::Both { .. } => "both",
            Self::Unexpected { .. } => "unexpected",
            Self::RawRepeats { .. } => "raw repeats",
        }
    }
}

impl fmt::Display for Finding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Lost { key } => write!(f, "{key} is lost: no effects and no letter"),
            Self::Duplicated { key, times } => write!(f, "{key} took effect {times} times"),
            Self::Inversion {
                lane,
                earlier,
                later,
            } => write!(
                f,
                "in lane {lane}, {later} went ahead of {earlier}, which had not ended"
            ),
            Self::SideFlip { key, from, to } => {
                write!(f, "{key} belongs to side {from} and was handled by {to}")
            }
            Self::OldEpoch {
                key,
                epoch,
                current,
            } => write!(
                f,
                "{key} was committed under epoch {epoch} after {current} had begun"
            ),
            Self::OldAttempt { key, fence, newer } => write!(
                f,
                "the attempt {fence} at {key} was committed after {newer} had begun"
            ),
            Self::Unrecorded { key, how } => {
                write!(f, "{key} was acknowledged as {how:?}, which is not so")
            }
            Self::Unsent { key } => write!(f, "{key} is committed and its message never arrived"),
            Self::Uncommitted { key } => {
                write!(f, "a message of {key} arrived that was never committed")
            }
            Self::Both { key, reason } => {
                write!(f, "{key} took effect and was given up ({reason})")
            }
            Self::Unexpected { key } => write!(f, "{key} was never published"),
            Self::RawRepeats { times, allowed } => write!(
                f,
                "{times} calls were made again without a failure before, and faults explain \
                 {allowed}"
            ),
        }
    }
}

/// How much happened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counts {
    /// Messages, by key.
    pub messages: u64,
    /// Their copies.
    pub copies: u64,
    /// Calls of handlers.
    pub calls: u64,
    /// Calls after one that had not failed by itself.
    pub raw_repeats: u64,
    /// Commits.
    pub commits: u64,
    /// Messages that handlers published, sent again under their id.
    pub sent_again: u64,
    /// Letters.
    pub letters: u64,
    /// Faults.
    pub faults: u64,
}

/// What a history shows.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Report {
    /// Broken promises; empty when all held.
    pub findings: Vec<Finding>,
    /// How much happened.
    pub counts: Counts,
}

impl Report {
    /// Did every promise hold?
    #[must_use]
    pub fn holds(&self) -> bool {
        self.findings.is_empty()
    }

    /// How many findings of a kind there are.
    #[must_use]
    pub fn count(&self, kind: &str) -> usize {
        let mut kinds = self.findings.iter().map(Finding::kind);
        kinds.by_ref().filter(|known| *known == kind).count()
    }
}

impl fmt::Display for Report {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Counts {
            messages,
            copies,
            calls,
            raw_repeats,
            commits,
            sent_again,
            letters,
            faults,
        } = self.counts;
        write!(
            f,
            "{messages} messages in {copies} copies, {calls} calls ({raw_repeats} repeated raw), \
             {commits} commits, {sent_again} sent again, {letters} letters, {faults} faults; "
        )?;
        if self.holds() {
            return write!(f, "every promise held");
        }
        write!(f, "{} broken promises:", self.findings.len())?;
        self.findings
            .iter()
            .try_for_each(|finding| write!(f, "\n  {}: {finding}", finding.kind()))
    }
}
