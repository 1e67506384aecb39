//! The claim store: the decisions of core on the rows of the model, as the
//! stores of production make them.

use holdfast_core::claim::steps::{self, CommitFacts, Shown};
use holdfast_core::claim::{
    self, BeginAnswer, BeginFacts, CommitAnswer, Decision, Fingerprint, Record, ReleaseAnswer,
    Scope, State, StepAnswer, Token, UndeliverableAnswer,
};
use holdfast_core::time::Micros;

use crate::checked::Checked;
use crate::met::Met;
use crate::rules::Rule;
use crate::setup::{ASSIGN_TIMEOUT, LOCK};
use crate::units::{TICK_MICROS, ticks, whole_ticks, with_outbox};
use crate::world::{Call, Row, What, World};

/// What the store answers; `begin` brings what is to be published.
#[derive(Clone, Debug)]
pub(crate) enum Answer {
    Begin(BeginAnswer<(), Option<u8>>),
    Commit(CommitAnswer),
    Step(StepAnswer),
    Undeliverable(UndeliverableAnswer),
}

/// What a call concerns.
#[derive(Clone, Copy)]
pub(crate) struct About {
    pub(crate) key: usize,
    pub(crate) lane: usize,
    pub(crate) side: u8,
    pub(crate) host: usize,
}

impl Checked {
    fn about(&self, call: &Call, world: &World) -> About {
        let message = self.message(call.message);
        let host = usize::from(call.host);
        About {
            key: usize::from(message.key),
            lane: usize::from(message.lane),
            side: world.hosts[host].side,
            host,
        }
    }

    /// The store makes one decision.
    pub(crate) fn execute(&self, world: &mut World, call: &Call) -> Answer {
        let about = self.about(call, world);
        let before = world.store.claims[about.key].clone();
        let answer = self.decide(world, call, about, before);
        match &answer {
            Answer::Begin(answer) => self.seen.begin(answer),
            Answer::Commit(answer) => self.seen.commit(answer),
            Answer::Step(answer) => self.seen.step(*answer),
            Answer::Undeliverable(UndeliverableAnswer::GivenUp) => {
                self.seen.met(Met::Undeliverable);
            }
            Answer::Undeliverable(_) => {}
        }
        answer
    }

    /// The second half of a `begin` that was cut in two: it decides on what was
    /// read before.
    pub(crate) fn execute_late(&self, world: &mut World, call: &Call, read: Option<Row>) -> Answer {
        let about = self.about(call, world);
        self.decide(world, call, about, read)
    }

    fn decide(&self, world: &mut World, call: &Call, about: About, before: Option<Row>) -> Answer {
        let scope = self.scope(world, call, about);
        let record = self.bent(before.as_ref(), call, about, world.now);
        let record = record.as_ref();
        let shown = Shown {
            token: self.shown_token(call, before.as_ref()),
            epoch: call.epoch.map(u64::from),
        };
        match &call.what {
            What::Begin { owner, rule } => {
                let named = (*owner, *rule);
                let (answer, row) = self.begin(world, call, about, named, record, &scope);
                self.keep_begun(world, call, about, &answer, row, before.as_ref());
                let outbox = before.and_then(|row| row.outbox);
                Answer::Begin(with_outbox(answer, outbox))
            }
            What::Commit { outbox, read } => Answer::Commit(self.commit(
                world,
                call,
                about,
                (*outbox, *read),
                record,
                shown,
                &scope,
            )),
            What::Abandon => {
                let Decision { answer, record } = steps::abandon(record, shown, &scope);
                self.keep(world, about.key, record);
                Answer::Step(answer)
            }
            What::Fail => {
                let Decision { answer, record } = steps::fail(record, shown, "", &scope);
                if record.is_some() {
                    world.history.keys[about.key].failed = Some(about.side);
                }
                let forgets = record.is_some() && !self.setup.keeps(Rule::ClaimKeptOnFailure);
                self.keep(world, about.key, record);
                if forgets {
                    world.store.claims[about.key] = None;
                }
                Answer::Step(answer)
            }
            What::Park(reason) => {
                let Decision { answer, record } = steps::park(record, shown, *reason, None, &scope);
                if record.is_some() && *reason == claim::ParkReason::AttemptsSpent {
                    self.judge_given_up(world, about.key);
                }
                self.keep(world, about.key, record);
                Answer::Step(answer)
            }
            What::Published => {
                let Decision { answer, record } = steps::published(record, &scope);
                self.keep(world, about.key, record);
                Answer::Step(answer)
            }
            What::Buried(fence) => {
                let shown = self.shown_fence(*fence, before.as_ref());
                let Decision { answer, record } = steps::buried(record, shown, &scope);
                self.keep(world, about.key, record);
                Answer::Step(answer)
            }
            What::Undeliverable => {
                let limit = self.setup.attempts;
                let Decision { answer, record } = steps::undeliverable(record, "", limit, &scope);
                self.keep(world, about.key, record);
                Answer::Undeliverable(answer)
            }
        }
    }

    fn begin(
        &self,
        world: &World,
        call: &Call,
        about: About,
        (owner, rule): (u8, u8),
        record: Option<&Record>,
        scope: &Scope,
    ) -> (BeginAnswer, Option<Record>) {
        let message = self.message(call.message);
        let body = Fingerprint([message.body; 8]);
        let facts = BeginFacts {
            side: self.side(about.side),
            owner_if_new: self.side(owner),
            token: Token(call.token.into()),
            fingerprint: self.setup.keeps(Rule::BodyCompared).then_some(body),
            lane: None,
            sequence: message.sequence.map(u64::from),
            epoch: call.epoch.map(u64::from),
            lock: LOCK,
            assign_timeout: ASSIGN_TIMEOUT,
            rule: self.setup.compares_rule.then_some(rule.into()),
        };
        let mut scope = *scope;
        let sequence = world.store.sequences[about.lane].map(u64::from);
        if self.setup.keeps(Rule::SequenceCompared) {
            scope.last_sequence = sequence;
        }
        if !self.setup.keeps(Rule::ClaimBeforeSequence)
            && let (Some(ours), Some(last)) = (facts.sequence, sequence)
            && ours <= last
        {
            return (BeginAnswer::Stale { last }, None);
        }
        let Decision {
            mut answer,
            mut record,
        } = claim::begin(record, &facts, &scope);
        if let (BeginAnswer::Granted { fence, .. }, Some(record)) = (&mut answer, &mut record) {
            if !self.setup.keeps(Rule::AttemptStoredFirst) {
                record.attempt -= 1;
            }
            if !self.setup.keeps(Rule::FenceGrows) {
                (*fence, record.fence) = (1, 1);
            }
        }
        (answer, record)
    }

    /// Writes what `begin` decided and judges it.
    fn keep_begun(
        &self,
        world: &mut World,
        call: &Call,
        about: About,
        answer: &BeginAnswer,
        record: Option<Record>,
        before: Option<&Row>,
    ) {
        let granted = matches!(answer, BeginAnswer::Granted { .. });
        let repeated = before.is_some_and(|row| {
            row.token == Some(call.token) && matches!(row.state, State::Running { .. })
        });
        self.keep(world, about.key, record);
        if !granted || repeated {
            if granted {
                self.seen.met(Met::GrantedAgain);
            }
            return;
        }
        if let Some(before) = before {
            let live = |until: Micros| until > ticks(world.now);
            match before.state {
                State::Running { lock_until, .. } if live(lock_until) => {
                    self.seen.met(Met::LockBroken);
                }
                _ if before.side != about.side => self.seen.met(Met::TakenOver),
                _ => {}
            }
        }
        world.grants += 1;
        if let Some(row) = &mut world.store.claims[about.key] {
            row.outbox = before.and_then(|row| row.outbox);
        }
        self.judge_grant(world, call, about);
    }

    #[expect(
        clippy::too_many_arguments,
        reason = "everything a commit is decided by, in one place"
    )]
    fn commit(
        &self,
        world: &mut World,
        call: &Call,
        about: About,
        (outbox, read): (Option<u8>, u8),
        record: Option<&Record>,
        shown: Shown,
        scope: &Scope,
    ) -> CommitAnswer {
        let version = world.store.versions[about.lane];
        let compares = self.setup.stateful && self.setup.keeps(Rule::StateCompared);
        let facts = CommitFacts {
            outbox: outbox.iter().count(),
            state_version: compares.then_some(u64::from(read)),
            current_version: u64::from(version),
            sequence: self.message(call.message).sequence.map(u64::from),
        };
        let mut scope = *scope;
        // Without the comparison at the beginning there would be no end to it.
        if self.setup.keeps(Rule::SequenceComparedAtCommit)
            && self.setup.keeps(Rule::SequenceCompared)
        {
            scope.last_sequence = world.store.sequences[about.lane].map(u64::from);
        }
        let Decision { answer, record } = steps::commit(record, shown, facts, &scope);
        if record.is_none() {
            return answer;
        }
        self.judge_commit(world, call, about, outbox, read);
        self.keep(world, about.key, record);
        let message = self.message(call.message);
        let last = &mut world.store.sequences[about.lane];
        *last = (*last).max(message.sequence);
        if self.setup.stateful {
            world.store.versions[about.lane] += 1;
        }
        if let Some(row) = &mut world.store.claims[about.key]
            && matches!(row.state, State::Committed { .. })
        {
            row.outbox = outbox;
        }
        answer
    }

    /// An operator releases a claim with force; without a side it is forgotten.
    pub(crate) fn release(&self, world: &mut World, key: usize, to: Option<u8>) -> ReleaseAnswer {
        let scope = self.scope_of(world, None, true);
        let mut row = world.store.claims[key].clone();
        if !self.setup.keeps(Rule::ReleaseRefused)
            && let Some(row) = &mut row
        {
            row.state = State::Failed;
        }
        let record = row.as_ref().map(|row| self.record(row));
        let side = to.map(|side| self.side(side));
        let Decision { answer, record } =
            steps::release(record.as_ref(), side.as_ref(), true, &scope);
        if record.is_some() {
            self.keep(world, key, record);
            if to.is_none() {
                world.store.claims[key] = None;
            }
            let history = &mut world.history.keys[key];
            (history.latest, history.began, history.failed) = (None, None, None);
            history.calls = 0;
            world.history.overrun = true;
            world.history.rough = true;
        }
        answer
    }

    /// An operator re-opens a given-up claim.
    pub(crate) fn replay(&self, world: &mut World, key: usize) -> ReleaseAnswer {
        let scope = self.scope_of(world, None, true);
        let row = world.store.claims[key].clone();
        let record = row.as_ref().map(|row| self.record(row));
        let Decision { answer, record } = steps::replay(record.as_ref(), &scope);
        if record.is_some() {
            // Replays take a fence too.
            world.grants += 1;
            self.keep(world, key, record);
            if let Some(row) = &mut world.store.claims[key]
                && !matches!(row.state, State::Committed { .. })
            {
                row.outbox = None;
            }
            let history = &mut world.history.keys[key];
            (history.latest, history.calls) = (None, 0);
        }
        answer
    }

    /// Bends the record for the rules that are switched off.
    fn bent(&self, row: Option<&Row>, call: &Call, about: About, now: u8) -> Option<Record> {
        let mut record = self.record(row?);
        let unfinished = matches!(record.state, State::Failed | State::Running { .. });
        match (self.setup.off, &call.what) {
            (Some(Rule::SideSticks), What::Begin { .. }) if unfinished => {
                record.side = self.side(about.side);
            }
            (Some(Rule::OwnerDecidedOnce), What::Begin { owner, .. }) => {
                record.side = self.side(*owner);
            }
            (Some(Rule::TakenOverOnlyIfNotBegun), What::Begin { .. })
                if record.state == State::Failed && record.side != self.side(about.side) =>
            {
                record.state = State::Assigned { since: Micros(0) };
            }
            (Some(Rule::LockRespected), What::Begin { .. }) => {
                if let State::Running { lock_until, .. } = &mut record.state {
                    *lock_until = ticks(now);
                }
            }
            (Some(Rule::CommitRepeatable), What::Commit { .. })
                if matches!(record.state, State::Committed { .. } | State::Done { .. }) =>
            {
                record.state = State::Running {
                    lock_until: ticks(now),
                    epoch: call.epoch.map(u64::from),
                };
            }
            (Some(Rule::AttemptStoredFirst), What::Fail | What::Commit { .. }) => {
                record.attempt += 1;
            }
            _ => {}
        }
        Some(record)
    }

    fn shown_token(&self, call: &Call, row: Option<&Row>) -> Token {
        let kept = row.and_then(|row| row.token);
        let token = match kept {
            Some(token) if !self.setup.keeps(Rule::TokenCompared) => token,
            _ => call.token,
        };
        Token(token.into())
    }

    fn shown_fence(&self, fence: u8, row: Option<&Row>) -> u64 {
        let kept = row.map(|row| row.fence);
        match kept {
            Some(kept) if !self.setup.keeps(Rule::LetterOfItsAttempt) => kept.into(),
            _ => fence.into(),
        }
    }

    fn scope(&self, world: &World, call: &Call, about: About) -> Scope {
        let lease = world.store.leases[usize::from(about.side)];
        let live = (lease.until > world.now).then_some(lease.epoch);
        let current = if self.setup.keeps(Rule::EpochCompared) {
            live
        } else {
            call.epoch
        };
        let same = world.store.id == Some(call.expected);
        let same = same || !self.setup.keeps(Rule::StoreCompared);
        self.scope_of(world, call.epoch.and(current), same)
    }

    #[expect(clippy::unused_self, reason = "reads as the other decisions do")]
    fn scope_of(&self, world: &World, epoch: Option<u8>, same_store: bool) -> Scope {
        Scope {
            // Never the same between two grants.
            now: Micros(ticks(world.now).0 + u64::from(world.grants) + 1),
            same_store,
            epoch: epoch.map(u64::from),
            last_sequence: None,
            rule: Some(world.store.rule.1.into()),
        }
    }

    fn record(&self, row: &Row) -> Record {
        Record {
            side: self.side(row.side),
            state: row.state.clone(),
            token: row.token.map(|token| Token(token.into())),
            attempt: row.attempt.into(),
            fence: row.fence.into(),
            fingerprint: row.body.map(|body| Fingerprint([body; 8])),
            lane: None,
            error: None,
            replayed: row.replayed,
            first_seen: Micros(0),
            history: Vec::new(),
        }
    }

    /// Writes a record as the stores do: of a finished claim only what a
    /// duplicate, a repeated call and a replay need.
    fn keep(&self, world: &mut World, key: usize, record: Option<Record>) {
        let Some(record) = record else { return };
        let finished = record.state.name().is_finished();
        let undelivered = matches!(
            record.state,
            State::Parked {
                reason: claim::ParkReason::OutboxUndeliverable
            }
        );
        let outbox = world.store.claims[key].as_ref().and_then(|row| row.outbox);
        let small = |number: u64| u8::try_from(number).unwrap_or(u8::MAX);
        world.store.claims[key] = Some(Row {
            side: self.number_of(&record.side),
            state: whole_ticks(record.state),
            token: record.token.map(|token| small(token.0)),
            attempt: if finished {
                0
            } else {
                small(record.attempt.into())
            },
            fence: small(record.fence % TICK_MICROS),
            body: record.fingerprint.map(|fingerprint| fingerprint.0[0]),
            replayed: record.replayed && !finished,
            outbox: outbox.filter(|_| !finished || undelivered),
        });
    }
}
