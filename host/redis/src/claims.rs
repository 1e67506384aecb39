//! The steps of a claim.

use std::time::Duration;

use holdfast_core::claim::steps::Shown;
use holdfast_core::claim::{
    BeginAnswer, CommitAnswer, FencedBy, ParkReason, ReleaseAnswer, StepAnswer,
    UndeliverableAnswer, bounded,
};
use holdfast_core::key::{KeyValue, Lane};
use holdfast_core::name::Side;
use holdfast_ports::error::PortError;
use holdfast_ports::message::{Outbox, Snapshot, StateChange, encode_outbox};
use holdfast_ports::store::{Begin, Commit, Place, Slot};

use crate::answers::{LOST, begun, committed};
use crate::call::{Call, digits};
use crate::error::fenced;
use crate::link::{Common, Plain};
use crate::names::{Names, head};
use crate::reason;
use crate::script::Which;
use crate::store::RedisStore;

impl RedisStore {
    pub(crate) async fn ask_begin(
        &self,
        begin: &Begin,
    ) -> Result<BeginAnswer<Snapshot, Outbox>, PortError> {
        const WHAT: &str = "begin a claim";
        if let Some(step) = self.plain_begin(begin)
            && let Some(reply) = self.ask_plain(step, WHAT).await?
        {
            return begun(reply);
        }
        // Boxed, since the usual case ends before.
        let answer = begun(Box::pin(self.ask(self.begin_call(begin), WHAT)).await?)?;
        if self.replicated && matches!(answer, BeginAnswer::Done | BeginAnswer::Committed { .. }) {
            Box::pin(self.wait_for_replicas(&begin.at)).await?;
        }
        Ok(answer)
    }

    /// What others recorded may not be on the replicas yet, and a message is
    /// acknowledged for it.
    async fn wait_for_replicas(&self, at: &Place) -> Result<(), PortError> {
        const WHAT: &str = "wait until a finished claim is on the replicas";
        let mut call = self.claim_call(Which::Touch, at);
        call.replicated = true;
        match self.ask(call, WHAT).await?.code() {
            -1 => Err(fenced(WHAT)),
            _ => Ok(()),
        }
    }

    /// The step, when nothing makes it special but what the claim may say.
    fn plain_begin(&self, begin: &Begin) -> Option<Plain> {
        let facts = &begin.facts;
        let plain = begin.at.slot == Slot::Group && !has_more(begin);
        plain.then(|| Plain {
            common: self.common(Which::BeginMany, &begin.at, Some(facts.lock)),
            claim: self.keys.claim(&begin.at),
            own: head(facts),
        })
    }

    fn common(&self, which: Which, at: &Place, lock: Option<Duration>) -> Common {
        Common {
            which,
            group: at.group.clone(),
            incarnation: self.keys.incarnation.clone(),
            expected: self.expected(),
            lock,
            keep: at.keep,
        }
    }

    fn begin_call(&self, begin: &Begin) -> Call {
        let (at, facts) = (&begin.at, &begin.facts);
        let mut names = Names::new(self, at, facts.epoch);
        if begin.state {
            names.state = Some(self.keys.state(at, facts.lane.as_ref()));
        }
        if facts.sequence.is_some() {
            names.sequence = Some(self.keys.sequence(at, facts.lane.as_ref()));
        }
        let rule: Vec<String> = facts
            .rule
            .iter()
            .map(|_| self.keys.rule(&at.group))
            .collect();
        let call = names
            .call(Which::Begin, &rule)
            .arg(&*self.expected())
            .arg(head(facts))
            .micros(facts.lock)
            .millis(at.keep)
            .micros(facts.assign_timeout);
        if !has_more(begin) {
            return call;
        }
        let mut call = call
            .optional(names.epoch(facts.epoch))
            .arg(facts.owner_if_new.as_str())
            .arg(facts.lane.as_ref().map_or("", Lane::as_str))
            .arg(facts.sequence.map(digits).unwrap_or_default())
            .arg(if begin.state { "1" } else { "" });
        if let Some(revision) = facts.rule {
            call.push(revision);
        }
        call
    }

    pub(crate) async fn ask_commit(
        &self,
        at: &Place,
        shown: Shown,
        commit: &Commit,
    ) -> Result<CommitAnswer, PortError> {
        const WHAT: &str = "commit a claim";
        if at.slot == Slot::Group && shown.epoch.is_none() && is_plain(commit) {
            let step = Plain {
                common: self.common(Which::CommitMany, at, None),
                claim: self.keys.claim(at),
                own: shown.token.0.to_be_bytes().to_vec(),
            };
            if let Some(reply) = self.ask_plain(step, WHAT).await? {
                return committed(reply);
            }
        }
        let call = self.commit_call(at, shown, commit)?;
        committed(Box::pin(self.ask(call, WHAT)).await?)
    }

    fn commit_call(&self, at: &Place, shown: Shown, commit: &Commit) -> Result<Call, PortError> {
        let effects = &commit.effects;
        let mut names = Names::new(self, at, shown.epoch);
        if is_plain(commit) {
            let mut call = names
                .call(Which::Commit, &[])
                .arg(&*self.expected())
                .arg(&shown.token.0.to_be_bytes())
                .millis(at.keep);
            if shown.epoch.is_some() {
                call = call.optional(names.epoch(shown.epoch));
            }
            call.replicated = true;
            return Ok(call);
        }
        let lanes: Vec<Option<Lane>> = effects
            .outbox
            .iter()
            .map(|message| {
                let text = message.lane.clone()?;
                Lane::from_value(KeyValue::Text(text)).ok()
            })
            .collect();
        let mut counters: Vec<&Lane> = Vec::new();
        for lane in lanes.iter().flatten() {
            if !counters.contains(&lane) {
                counters.push(lane);
            }
        }
        if at.slot == Slot::Key && !counters.is_empty() {
            return Err(PortError::permanent(
                "mint sequence numbers: a group with slot = \"key\" cannot publish in lanes",
            ));
        }
        names.state = Some(self.keys.state(at, commit.lane.as_ref()));
        names.sequence = Some(self.keys.sequence(at, commit.lane.as_ref()));
        let counter_names: Vec<String> = counters
            .iter()
            .map(|lane| self.keys.counter(&at.group, lane))
            .collect();
        let of_key = at.slot == Slot::Key || commit.lane.is_none();
        let outbox = match effects.outbox.as_slice() {
            [] => Vec::new(),
            messages => encode_outbox(messages),
        };
        let mut call = names
            .call(Which::Commit, &counter_names)
            .arg(&*self.expected())
            .arg(&shown.token.0.to_be_bytes())
            .millis(at.keep)
            .optional(names.epoch(shown.epoch))
            .arg(commit.sequence.map(digits).unwrap_or_default())
            .optional(effects.state_version)
            .arg(if of_key { "1" } else { "" })
            .arg(outbox)
            .arg(effects.state.len());
        call.replicated = true;
        for change in &effects.state {
            match change {
                StateChange::Set(name, value) => {
                    call.push("s");
                    call.push(name);
                    call.push(value.as_slice());
                }
                StateChange::Delete(name) => {
                    call.push("d");
                    call.push(name);
                    call.push("");
                }
            }
        }
        if !counters.is_empty() {
            for lane in &lanes {
                let number = lane
                    .as_ref()
                    .and_then(|lane| counters.iter().position(|known| *known == lane));
                match number {
                    Some(index) => call.push(index + 1),
                    None => call.push(""),
                }
            }
        }
        Ok(call)
    }

    pub(crate) async fn ask_fail(
        &self,
        at: &Place,
        shown: Shown,
        error: &str,
    ) -> Result<StepAnswer, PortError> {
        let call = Names::new(self, at, shown.epoch)
            .step(Which::Fail, self, at, shown)
            .arg(bounded(error));
        self.ask_step(call, "record a failure").await
    }

    pub(crate) async fn ask_park(
        &self,
        at: &Place,
        shown: Shown,
        reason: ParkReason,
        error: Option<&str>,
    ) -> Result<StepAnswer, PortError> {
        let mut call = Names::new(self, at, shown.epoch)
            .step(Which::Park, self, at, shown)
            .arg(reason::number(reason))
            .arg(reason.as_str());
        if let Some(error) = error {
            call.push(bounded(error));
        }
        self.ask_step(call, "park a claim").await
    }

    pub(crate) async fn ask_abandon(
        &self,
        at: &Place,
        shown: Shown,
    ) -> Result<StepAnswer, PortError> {
        let call = Names::new(self, at, shown.epoch).step(Which::Abandon, self, at, shown);
        self.ask_step(call, "abandon a claim").await
    }

    pub(crate) async fn ask_published(&self, at: &Place) -> Result<StepAnswer, PortError> {
        let call = self.claim_call(Which::Published, at);
        self.ask_step(call, "record that an outbox is published")
            .await
    }

    pub(crate) async fn ask_buried(&self, at: &Place, fence: u64) -> Result<StepAnswer, PortError> {
        let call = self.claim_call(Which::Buried, at).arg(fence);
        self.ask_step(call, "record that a dead letter is safe")
            .await
    }

    pub(crate) async fn ask_undeliverable(
        &self,
        at: &Place,
        error: &str,
        limit: u32,
    ) -> Result<UndeliverableAnswer, PortError> {
        let call = self
            .claim_call(Which::Undeliverable, at)
            .arg(bounded(error))
            .arg(limit);
        let mut reply = self
            .ask(call, "record that an outbox has no target")
            .await?;
        Ok(match reply.code() {
            -1 => UndeliverableAnswer::Fenced(FencedBy::Store),
            1 => UndeliverableAnswer::Again {
                tries: reply.count()?,
            },
            2 => UndeliverableAnswer::GivenUp,
            LOST => UndeliverableAnswer::Lost,
            _ => return Err(reply.unexpected()),
        })
    }

    pub(crate) async fn ask_release(
        &self,
        at: &Place,
        to: Option<&Side>,
        force: bool,
    ) -> Result<ReleaseAnswer, PortError> {
        let call = self
            .claim_call(Which::Release, at)
            .arg(to.map_or("", Side::as_str))
            .arg(if force { "1" } else { "" });
        self.ask_release_like(call, "release a claim").await
    }

    pub(crate) async fn ask_replay(&self, at: &Place) -> Result<ReleaseAnswer, PortError> {
        let call = self.claim_call(Which::Replay, at);
        self.ask_release_like(call, "re-open a claim").await
    }

    /// A call about a claim, whoever makes it: store expected, keep.
    pub(crate) fn claim_call(&self, which: Which, at: &Place) -> Call {
        Names::new(self, at, None)
            .call(which, &[])
            .arg(&*self.expected())
            .millis(at.keep)
    }

    async fn ask_step(&self, call: Call, what: &'static str) -> Result<StepAnswer, PortError> {
        let reply = self.ask(call, what).await?;
        if let Some(by) = reply.fenced() {
            return Ok(StepAnswer::Fenced(by));
        }
        match reply.code() {
            1 => Ok(StepAnswer::Ok),
            LOST => Ok(StepAnswer::Lost),
            _ => Err(reply.unexpected()),
        }
    }

    async fn ask_release_like(
        &self,
        call: Call,
        what: &'static str,
    ) -> Result<ReleaseAnswer, PortError> {
        let mut reply = self.ask(call, what).await?;
        Ok(match reply.code() {
            -1 => return Err(fenced(what)),
            1 => ReleaseAnswer::Released,
            2 => ReleaseAnswer::Locked {
                wait: Duration::from_micros(reply.number()?),
            },
            3 => ReleaseAnswer::Refused(reply.state()?),
            4 => ReleaseAnswer::NotFound,
            _ => return Err(reply.unexpected()),
        })
    }
}

/// Does it need more than the arguments that every begin has?
fn has_more(begin: &Begin) -> bool {
    let facts = &begin.facts;
    facts.epoch.is_some()
        || facts.owner_if_new != facts.side
        || facts.lane.is_some()
        || facts.sequence.is_some()
        || facts.rule.is_some()
        || begin.state
}

/// Is nothing recorded but the success?
fn is_plain(commit: &Commit) -> bool {
    commit.effects.is_empty() && commit.sequence.is_none()
}
