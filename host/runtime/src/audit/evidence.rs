//! Where the messages of a group's claims are, as far as they can be seen.

use std::collections::{BTreeMap, BTreeSet};

use holdfast_core::audit::{Sight, Spot};
use holdfast_core::key::ClaimKey;
use holdfast_core::name::{Group, Side};
use holdfast_core::retry::delay_steps;
use holdfast_ports::broker::{dead_queue, delay_queue};
use holdfast_ports::error::PortError;
use holdfast_ports::look::{Counts, Seen};

use super::muster::Answer;
use crate::dead::Letter;
use crate::route::route;
use crate::session::Context;

/// A queue with more messages is not looked through.
const LOOKED_AT: u64 = 10_000;

/// Everything that was seen of one group.
#[derive(Debug, Default)]
pub(super) struct Evidence {
    /// Where each key was seen.
    pub(super) seen: BTreeMap<ClaimKey, Vec<(Side, Spot)>>,
    /// What could not be looked at, by side.
    pub(super) unseen: BTreeMap<Side, BTreeSet<String>>,
    /// The sides that were looked at.
    sides: BTreeSet<Side>,
}

/// Which queues are worth their look.
#[derive(Clone, Copy, Debug)]
pub(super) struct Effort {
    /// Also the work queue of a consumer that goes on consuming.
    pub(super) busy: bool,
}

impl Evidence {
    pub(super) fn sight(&self, side: &Side) -> Sight {
        if !self.sides.contains(side) {
            Sight::Absent
        } else if self.unseen.get(side).is_some_and(|what| !what.is_empty()) {
            Sight::Partial
        } else {
            Sight::Whole
        }
    }

    fn saw(&mut self, key: ClaimKey, side: &Side, spot: Spot) {
        self.seen.entry(key).or_default().push((side.clone(), spot));
    }

    fn missed(&mut self, side: &Side, what: String) {
        self.unseen.entry(side.clone()).or_default().insert(what);
    }

    /// Adds what hosts have in hand.
    pub(super) fn hands(&mut self, group: &Group, ours: u64, answers: &[Answer]) {
        for answer in answers.iter().filter(|a| a.group == group.as_str()) {
            let Ok(side) = Side::new(&answer.side) else {
                continue;
            };
            let spot = match answer.host == ours {
                true => Spot::Here,
                false => Spot::OtherHost,
            };
            for key in &answer.held {
                self.saw(key.clone(), &side, spot);
            }
        }
    }

    /// Adds what the queues of a consumer hold.
    pub(super) async fn queues(
        &mut self,
        context: &Context,
        answers: &[Answer],
        effort: Effort,
    ) -> Result<(), PortError> {
        let spec = &context.spec;
        let side = spec.side.clone();
        self.sides.insert(side.clone());
        let work = context.broker.counts(&spec.queue).await?;
        let work = work.unwrap_or_default();
        let known = subscribed(answers, context);
        if work.consumers > known {
            let strangers = work.consumers - known;
            self.missed(
                &side,
                format!(
                    "{strangers} of {} consumers of the queue {} did not say what they have in hand",
                    work.consumers, spec.queue
                ),
            );
        }
        let steps = if spec.ordered() {
            Vec::new()
        } else {
            delay_steps(spec.backoff.max)
        };
        for step in steps {
            let queue = delay_queue(&spec.queue, step);
            let counts = context.broker.counts(&queue).await?.unwrap_or_default();
            self.queue(context, &queue, counts, Spot::Delay).await?;
        }
        // After the delay queues, since that is the way that messages go.
        let busy = work.consumers > 0;
        match (busy, effort.busy, spec.ordered()) {
            // What arrives meanwhile would pass what is being looked at.
            (true, _, true) | (true, false, _) if work.ready > 0 => {
                let waiting = format!("{} messages wait in the queue {}", work.ready, spec.queue);
                self.missed(&side, waiting);
            }
            _ => self.queue(context, &spec.queue, work, Spot::Work).await?,
        }
        let dead = dead_queue(&spec.queue);
        let counts = context.broker.counts(&dead).await?.unwrap_or_default();
        self.queue(context, &dead, counts, Spot::Dead).await
    }

    /// Looks through one queue, if there is anything in it.
    async fn queue(
        &mut self,
        context: &Context,
        queue: &str,
        counts: Counts,
        spot: Spot,
    ) -> Result<(), PortError> {
        if counts.ready == 0 {
            return Ok(());
        }
        let side = &context.spec.side;
        if counts.ready > LOOKED_AT {
            let many = format!("the queue {queue} has {} messages", counts.ready);
            self.missed(side, many);
            return Ok(());
        }
        let limit = usize::try_from(LOOKED_AT).unwrap_or(usize::MAX);
        let Some(mut look) = context.broker.look(queue, limit).await? else {
            return Ok(());
        };
        let (ready, mut seen) = (look.ready(), 0);
        while let Some(message) = look.next().await? {
            seen += 1;
            if let Some(key) = key_of(context, message, spot) {
                self.saw(key, side, spot);
            }
        }
        look.leave().await?;
        if seen < ready {
            let rest = format!("of {ready} messages in the queue {queue} {seen} could be seen");
            self.missed(side, rest);
        }
        Ok(())
    }
}

/// The claim key of a message: by the consumer's rules, and for a letter by
/// what the host said.
fn key_of(context: &Context, seen: Seen, spot: Spot) -> Option<ClaimKey> {
    if spot == Spot::Dead {
        return Letter::read(seen).told?.key;
    }
    match route(&context.spec, &seen.message) {
        Ok(route) => Some(route.key),
        Err(refusal) => refusal.key,
    }
}

/// How many hosts said that they consume from the queue of this consumer.
pub(super) fn subscribed(answers: &[Answer], context: &Context) -> u64 {
    let spec = &context.spec;
    let of = |answer: &&Answer| {
        answer.consumes
            && answer.queue == spec.queue
            && answer.group == spec.group.as_str()
            && answer.side == spec.side.as_str()
    };
    answers.iter().filter(of).count() as u64
}
