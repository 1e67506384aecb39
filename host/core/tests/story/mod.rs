//! One key's life, told step by step: each step is decided on the record that
//! the last one left, at a time that the story sets.

use std::time::Duration;

use holdfast_core::claim::steps::{self, CommitFacts, Shown};
use holdfast_core::claim::{
    self, BeginAnswer, BeginFacts, CommitAnswer, Decision, Fingerprint, ParkReason, Record,
    ReleaseAnswer, Scope, State, StateName, StepAnswer, Token, UndeliverableAnswer,
};
use holdfast_core::key::Lane;
use holdfast_core::name::Side;
use holdfast_core::time::Micros;

/// When stories begin.
pub(crate) const START: Micros = Micros(1_700_000_000_000_000);

pub(crate) fn side(name: &str) -> Side {
    Side::new(name).unwrap()
}

/// The side `new` asks for a key that is its own if new, with this token.
pub(crate) fn asks(token: u64) -> BeginFacts {
    BeginFacts {
        side: side("new"),
        owner_if_new: side("new"),
        token: Token(token),
        fingerprint: None,
        lane: Some(Lane::from_known("lane")),
        sequence: None,
        epoch: None,
        lock: Duration::from_secs(30),
        assign_timeout: Duration::from_secs(60),
        rule: None,
    }
}

/// Changes to what is asked, in the words of the rules.
pub(crate) trait Asking: Sized {
    fn by(self, name: &str) -> Self;
    fn given_to(self, name: &str) -> Self;
    fn body(self, body: &str) -> Self;
    fn number(self, sequence: u64) -> Self;
    fn epoch(self, epoch: u64) -> Self;
    fn by_rule(self, revision: u64) -> Self;
}

impl Asking for BeginFacts {
    fn by(mut self, name: &str) -> Self {
        self.side = side(name);
        self.owner_if_new = side(name);
        self
    }

    fn given_to(mut self, name: &str) -> Self {
        self.owner_if_new = side(name);
        self
    }

    fn body(mut self, body: &str) -> Self {
        self.fingerprint = Some(Fingerprint::of(body.as_bytes()));
        self
    }

    fn number(mut self, sequence: u64) -> Self {
        self.sequence = Some(sequence);
        self
    }

    fn epoch(mut self, epoch: u64) -> Self {
        self.epoch = Some(epoch);
        self
    }

    fn by_rule(mut self, revision: u64) -> Self {
        self.rule = Some(revision);
        self
    }
}

pub(crate) struct Story {
    pub(crate) record: Option<Record>,
    pub(crate) scope: Scope,
    /// The epoch that steps after `begin` show.
    pub(crate) epoch: Option<u64>,
}

impl Story {
    pub(crate) fn new() -> Self {
        Self {
            record: None,
            scope: Scope {
                now: START,
                same_store: true,
                epoch: None,
                last_sequence: None,
                rule: None,
            },
            epoch: None,
        }
    }

    pub(crate) fn after(&mut self, span: Duration) -> &mut Self {
        self.scope.now = self.scope.now.plus(span);
        self
    }

    pub(crate) fn state(&self) -> Option<StateName> {
        self.record.as_ref().map(|record| record.state.name())
    }

    pub(crate) fn record(&self) -> &Record {
        self.record.as_ref().expect("there is a claim")
    }

    fn keep<A>(&mut self, decision: Decision<A>) -> A {
        if let Some(record) = decision.record {
            self.record = Some(record);
        }
        decision.answer
    }

    fn shown(&self, token: u64) -> Shown {
        Shown {
            token: Token(token),
            epoch: self.epoch,
        }
    }

    pub(crate) fn begin(&mut self, facts: &BeginFacts) -> BeginAnswer {
        let decision = claim::begin(self.record.as_ref(), facts, &self.scope);
        self.keep(decision)
    }

    /// Begins, and must be allowed to; attempt and fence.
    pub(crate) fn granted(&mut self, facts: &BeginFacts) -> (u32, u64) {
        match self.begin(facts) {
            BeginAnswer::Granted { attempt, fence, .. } => (attempt, fence),
            other => panic!("begin was to be granted, but it answered {other:?}"),
        }
    }

    /// Commits on the state as it is, with this many messages to publish.
    pub(crate) fn commit(&mut self, token: u64, outbox: usize) -> CommitAnswer {
        self.commit_on(token, outbox, Some(4), 4)
    }

    /// The same of a message with this number.
    pub(crate) fn commit_number(&mut self, token: u64, sequence: u64) -> CommitAnswer {
        self.commit_as(token, 0, (None, 0), Some(sequence))
    }

    pub(crate) fn commit_on(
        &mut self,
        token: u64,
        outbox: usize,
        state_version: Option<u64>,
        current_version: u64,
    ) -> CommitAnswer {
        self.commit_as(token, outbox, (state_version, current_version), None)
    }

    fn commit_as(
        &mut self,
        token: u64,
        outbox: usize,
        (state_version, current_version): (Option<u64>, u64),
        sequence: Option<u64>,
    ) -> CommitAnswer {
        let facts = CommitFacts {
            outbox,
            state_version,
            current_version,
            sequence,
        };
        let decision = steps::commit(self.record.as_ref(), self.shown(token), facts, &self.scope);
        self.keep(decision)
    }

    pub(crate) fn fail(&mut self, token: u64, error: &str) -> StepAnswer {
        let decision = steps::fail(self.record.as_ref(), self.shown(token), error, &self.scope);
        self.keep(decision)
    }

    pub(crate) fn park(&mut self, token: u64, reason: ParkReason) -> StepAnswer {
        let shown = self.shown(token);
        let decision = steps::park(self.record.as_ref(), shown, reason, None, &self.scope);
        self.keep(decision)
    }

    pub(crate) fn abandon(&mut self, token: u64) -> StepAnswer {
        let decision = steps::abandon(self.record.as_ref(), self.shown(token), &self.scope);
        self.keep(decision)
    }

    pub(crate) fn published(&mut self) -> StepAnswer {
        let decision = steps::published(self.record.as_ref(), &self.scope);
        self.keep(decision)
    }

    /// Shows the fence that the claim has.
    pub(crate) fn buried(&mut self) -> StepAnswer {
        let fence = self.record.as_ref().map_or(0, |record| record.fence);
        self.buried_under(fence)
    }

    pub(crate) fn buried_under(&mut self, fence: u64) -> StepAnswer {
        let decision = steps::buried(self.record.as_ref(), fence, &self.scope);
        self.keep(decision)
    }

    pub(crate) fn undeliverable(&mut self, limit: u32) -> UndeliverableAnswer {
        let decision = steps::undeliverable(self.record.as_ref(), "no queue", limit, &self.scope);
        self.keep(decision)
    }

    /// As a store does it: without a named side the claim is forgotten.
    pub(crate) fn release(&mut self, to: Option<&str>, force: bool) -> ReleaseAnswer {
        let to = to.map(side);
        let decision = steps::release(self.record.as_ref(), to.as_ref(), force, &self.scope);
        let answer = self.keep(decision);
        if answer == ReleaseAnswer::Released && to.is_none() {
            self.record = None;
        }
        answer
    }

    pub(crate) fn replay(&mut self) -> ReleaseAnswer {
        let decision = steps::replay(self.record.as_ref(), &self.scope);
        self.keep(decision)
    }
}

/// Stories that have come to each state under side `new` with token 1.
pub(crate) fn in_state(name: StateName) -> Story {
    let mut story = Story::new();
    let first = asks(1).body("body");
    match name {
        StateName::Assigned => {
            story.begin(&asks(9).body("body").by("old").given_to("new"));
            return story;
        }
        StateName::Running => {
            story.granted(&first);
        }
        StateName::Failed => {
            story.granted(&first);
            story.fail(1, "failed before");
        }
        StateName::Committed => {
            story.granted(&first);
            story.commit(1, 2);
        }
        StateName::Parking => {
            story.granted(&first);
            story.park(1, ParkReason::Rejected);
        }
        StateName::Done => {
            story.granted(&first);
            story.commit(1, 0);
        }
        StateName::Parked => {
            story.granted(&first);
            story.park(1, ParkReason::Rejected);
            story.buried();
        }
    }
    assert_eq!(story.state(), Some(name));
    story
}

/// Is a state one of an ended claim's effects?
pub(crate) fn has_effects(record: &Record) -> bool {
    matches!(
        record.state,
        State::Committed { .. }
            | State::Done {
                ending: claim::Ending::Completed
            }
            | State::Parking {
                reason: ParkReason::OutboxUndeliverable
            }
            | State::Parked {
                reason: ParkReason::OutboxUndeliverable
            }
    )
}
