//! What was met on the way: a promise about something that never happens is
//! none.

use std::sync::atomic::{AtomicU64, Ordering};

use holdfast_core::claim::{BeginAnswer, CommitAnswer, FencedBy, StepAnswer};

/// Something that can be met.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Met {
    /// `begin`: granted.
    Granted,
    /// `begin`: granted again to the token that has it.
    GrantedAgain,
    /// `begin`: granted under a side that did not own the key.
    TakenOver,
    /// `begin`: granted in spite of a lock, under a higher epoch.
    LockBroken,
    /// `begin`: the other side's.
    Foreign,
    /// `begin`: given to the other side.
    Assigned,
    /// `begin`: the rule is another by now.
    RuleMoved,
    /// `begin`: done.
    Done,
    /// `begin`: committed.
    Committed,
    /// `begin`: parking.
    Parking,
    /// `begin`: parked.
    Parked,
    /// `begin`: busy.
    Busy,
    /// `begin`: conflict.
    Conflict,
    /// `begin`: stale.
    Stale,
    /// A step was fenced by the lease.
    FencedByEpoch,
    /// A step was fenced by the store.
    FencedByStore,
    /// A step was lost.
    Lost,
    /// A commit found that state had moved.
    StateMoved,
    /// Attempts were spent without a call.
    GivenUpUncalled,
    /// An outbox was given up.
    Undeliverable,
    /// A leader stopped at its deadline, or was deposed.
    LeaderStopped,
    /// A leader gave the lease back.
    LeaseGivenBack,
    /// A host found that the store is not the one it knows.
    Distrusted,
    /// A copy went to the delay queue.
    Deferred,
    /// A message was left to its owner.
    LeftToOwner,
    /// A lane waited.
    LaneWaited,
    /// A dead letter was replayed to its end.
    Replayed,
}

impl Met {
    /// All of them.
    pub const ALL: [Self; 27] = [
        Self::Granted,
        Self::GrantedAgain,
        Self::TakenOver,
        Self::LockBroken,
        Self::Foreign,
        Self::Assigned,
        Self::RuleMoved,
        Self::Done,
        Self::Committed,
        Self::Parking,
        Self::Parked,
        Self::Busy,
        Self::Conflict,
        Self::Stale,
        Self::FencedByEpoch,
        Self::FencedByStore,
        Self::Lost,
        Self::StateMoved,
        Self::GivenUpUncalled,
        Self::Undeliverable,
        Self::LeaderStopped,
        Self::LeaseGivenBack,
        Self::Distrusted,
        Self::Deferred,
        Self::LeftToOwner,
        Self::LaneWaited,
        Self::Replayed,
    ];
}

/// Everything that was met in one run.
#[derive(Debug, Default)]
pub(crate) struct Seen(AtomicU64);

impl Seen {
    pub(crate) fn met(&self, what: Met) {
        let bit = 1 << what as u32;
        if self.0.load(Ordering::Relaxed) & bit == 0 {
            self.0.fetch_or(bit, Ordering::Relaxed);
        }
    }

    pub(crate) fn list(&self) -> Vec<Met> {
        let bits = self.0.load(Ordering::Relaxed);
        let met = Met::ALL.into_iter();
        met.filter(|what| bits & (1 << *what as u32) != 0).collect()
    }

    pub(crate) fn begin<S, O>(&self, answer: &BeginAnswer<S, O>) {
        self.met(match answer {
            BeginAnswer::Granted { .. } => Met::Granted,
            BeginAnswer::Foreign { .. } => Met::Foreign,
            BeginAnswer::Assigned { .. } => Met::Assigned,
            BeginAnswer::RuleMoved => Met::RuleMoved,
            BeginAnswer::Done => Met::Done,
            BeginAnswer::Committed { .. } => Met::Committed,
            BeginAnswer::Parking { .. } => Met::Parking,
            BeginAnswer::Parked { .. } => Met::Parked,
            BeginAnswer::Busy { .. } => Met::Busy,
            BeginAnswer::Conflict => Met::Conflict,
            BeginAnswer::Stale { .. } => Met::Stale,
            BeginAnswer::Fenced(by) => fenced(*by),
        });
    }

    pub(crate) fn commit(&self, answer: &CommitAnswer) {
        match answer {
            CommitAnswer::Committed { .. } | CommitAnswer::Done => {}
            CommitAnswer::StateMoved => self.met(Met::StateMoved),
            CommitAnswer::Lost => self.met(Met::Lost),
            CommitAnswer::Fenced(by) => self.met(fenced(*by)),
        }
    }

    pub(crate) fn step(&self, answer: StepAnswer) {
        match answer {
            StepAnswer::Ok => {}
            StepAnswer::Lost => self.met(Met::Lost),
            StepAnswer::Fenced(by) => self.met(fenced(by)),
        }
    }
}

fn fenced(by: FencedBy) -> Met {
    match by {
        FencedBy::Epoch => Met::FencedByEpoch,
        FencedBy::Store => Met::FencedByStore,
    }
}
