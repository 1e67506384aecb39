//! The rules of the protocol that can be switched off, one at a time, to see
//! that the checker notices.

/// One rule.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Rule {
    /// A failed claim is kept.
    ClaimKeptOnFailure,
    /// A step shows the token of the running attempt.
    TokenCompared,
    /// A step of a leased consumer shows the current epoch.
    EpochCompared,
    /// A key stays with the side that has it.
    SideSticks,
    /// The cut-over rule is asked once for each key.
    OwnerDecidedOnce,
    /// Only a key that was never begun is taken over.
    TakenOverOnlyIfNotBegun,
    /// The attempt is recorded before the handler is called.
    AttemptStoredFirst,
    /// While an attempt holds the lock no other begins.
    LockRespected,
    /// A decision is one step in the store.
    DecidedInOneStep,
    /// A call that got no answer is made again with the same token.
    SameTokenAgain,
    /// A repeated commit changes nothing.
    CommitRepeatable,
    /// The fence of a key only grows.
    FenceGrows,
    /// Two bodies under one key are a conflict.
    BodyCompared,
    /// A sequence that is not above the last applied one is stale.
    SequenceCompared,
    /// One that was overtaken while it ran does not take effect.
    SequenceComparedAtCommit,
    /// What a claim says comes before its sequence.
    ClaimBeforeSequence,
    /// Effects that rest on state that has changed since are not applied.
    StateCompared,
    /// A committed or given-up claim cannot be released.
    ReleaseRefused,
    /// Each step shows which store it is meant for.
    StoreCompared,
    /// A pulse that went back stops the host.
    PulseCompared,
    /// The pulse is raised by a host that found it high enough.
    PulseRaisedAfterLook,
    /// That a store went back is remembered beyond the host that noticed.
    NoticeKept,
    /// A message is acknowledged after its commit.
    AckAfterCommit,
    /// Spent attempts are parked without a call.
    AttemptsLimited,
    /// A committed claim is done only when its outbox is published.
    PublishedBeforeDone,
    /// What is published is what was committed.
    StoredOutboxPublished,
    /// A claim is parked only when its letter is written.
    LetterBeforeParked,
    /// A letter counts for the giving up that it was written for.
    LetterOfItsAttempt,
    /// A deferred message is acknowledged when its copy is safe.
    CopyBeforeAck,
    /// A message of the other side is held until that side has finished.
    ForeignHeld,
    /// An acknowledgement is void on any channel but its own.
    OldAcksVoid,
    /// Messages of one lane run one after another.
    LanesInOrder,
    /// A message that goes back takes what waits behind it along.
    LaneHandedBackWhole,
    /// One consumer at a time is given the messages of an ordered queue.
    SingleActive,
    /// A leader that lost its lease gives everything back before another is
    /// given messages.
    ChannelClosedOnLoss,
    /// A leader's deadline counts from before its question was sent.
    DeadlineFromBefore,
    /// A lease is given back when nothing runs any more.
    DrainedBeforeRelease,
}

impl Rule {
    /// Every rule.
    pub const ALL: [Self; 37] = [
        Self::ClaimKeptOnFailure,
        Self::TokenCompared,
        Self::EpochCompared,
        Self::SideSticks,
        Self::OwnerDecidedOnce,
        Self::TakenOverOnlyIfNotBegun,
        Self::AttemptStoredFirst,
        Self::LockRespected,
        Self::DecidedInOneStep,
        Self::SameTokenAgain,
        Self::CommitRepeatable,
        Self::FenceGrows,
        Self::BodyCompared,
        Self::SequenceCompared,
        Self::SequenceComparedAtCommit,
        Self::ClaimBeforeSequence,
        Self::StateCompared,
        Self::ReleaseRefused,
        Self::StoreCompared,
        Self::PulseCompared,
        Self::PulseRaisedAfterLook,
        Self::NoticeKept,
        Self::AckAfterCommit,
        Self::AttemptsLimited,
        Self::PublishedBeforeDone,
        Self::StoredOutboxPublished,
        Self::LetterBeforeParked,
        Self::LetterOfItsAttempt,
        Self::CopyBeforeAck,
        Self::ForeignHeld,
        Self::OldAcksVoid,
        Self::LanesInOrder,
        Self::LaneHandedBackWhole,
        Self::SingleActive,
        Self::ChannelClosedOnLoss,
        Self::DeadlineFromBefore,
        Self::DrainedBeforeRelease,
    ];
}
