//! What an audit found.

use std::collections::BTreeMap;

use holdfast_core::claim::StateName;
use holdfast_core::key::ClaimKey;
use holdfast_core::ledger::Ledger;
use holdfast_core::name::{Group, Side};

/// What an audit found.
#[derive(Clone, Debug, Default)]
pub struct Report {
    /// The books of each consumer and side.
    pub books: Vec<BooksReport>,
    /// The unfinished claims of each group.
    pub groups: Vec<GroupReport>,
}

/// The books of one consumer and side.
#[derive(Clone, Debug)]
pub struct BooksReport {
    /// The consumer.
    pub consumer: String,
    /// Its side.
    pub side: String,
    /// This process's counts; `in_flight` is what is really in hand.
    pub run: Ledger,
    /// The totals of all processes, by name.
    pub totals: Vec<(String, u64)>,
    /// What was received and what ended, by the totals; the same when they close.
    pub sums: (u64, u64),
}

impl BooksReport {
    /// Do they close?
    #[must_use]
    pub fn closes(&self) -> bool {
        self.run.closes() && self.sums.0 == self.sums.1
    }
}

/// The unfinished claims of one group.
#[derive(Clone, Debug)]
pub struct GroupReport {
    /// The group.
    pub group: Group,
    /// Claims that were unfinished when the audit began.
    pub unfinished: u64,
    /// There are more of them than are looked for.
    pub more: bool,
    /// Where their messages are, or what became of the claims, with counts.
    pub found: BTreeMap<&'static str, u64>,
    /// Claims without a message.
    pub lost: Vec<Claim>,
    /// Claims whose message was not found, while not everything could be looked
    /// at.
    pub unknown: Vec<Claim>,
    /// What could not be looked at.
    pub unseen: Vec<String>,
}

/// A claim that is not finished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Claim {
    /// Its key.
    pub key: ClaimKey,
    /// Its owner.
    pub side: Side,
    /// Where it stands.
    pub state: StateName,
    /// Calls of the handler so far.
    pub attempt: u32,
    /// The last error.
    pub error: Option<String>,
}

impl Report {
    /// Do the books close, and does every unfinished claim have its message?
    #[must_use]
    pub fn closes(&self) -> bool {
        self.books.iter().all(BooksReport::closes)
            && self.groups.iter().all(|group| group.lost.is_empty())
            && self.is_certain()
    }

    /// Could everything be looked at that had to be?
    #[must_use]
    pub fn is_certain(&self) -> bool {
        let certain = |group: &GroupReport| group.unknown.is_empty() && !group.more;
        self.groups.iter().all(certain)
    }
}
