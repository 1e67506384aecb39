//! Consuming in order: messages of one lane run one after another, and what is
//! not finished goes back to the broker all at once, in its old order.
//!
//! A message that cannot be finished here must come again before those behind
//! it. So its lane does not go on; the whole subscription begins again.

use std::collections::BTreeMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_core::claim::ReleaseAnswer;
use holdfast_core::halt::{Fate, Stand, fate};
use holdfast_core::settle::{Ending, Settlement};
use holdfast_ports::broker::Subscription;
use holdfast_ports::error::PortError;
use holdfast_ports::store::Place;
use tokio::time::{Instant, sleep, sleep_until};

use crate::books::{Waiting, Why};
use crate::halts::{LaneName, Mark, Marks};
use crate::process::{LONGEST_HOLD, PUBLISH_AGAIN};
use crate::process::{Letter, Over, Round};
use crate::session::{End, Job, Session};
use crate::spec::Mode;

/// A message in its lane.
pub(crate) struct Queued {
    job: Job,
    waiting: Waiting,
}

/// The deliveries that are not settled, and since when they are here.
#[derive(Default)]
pub(crate) struct Unsettled(Mutex<BTreeMap<u64, Instant>>);

impl Unsettled {
    fn add(&self, tag: u64, since: Instant) {
        self.lock().insert(tag, since);
    }

    pub(crate) fn remove(&self, tag: u64) {
        self.lock().remove(&tag);
    }

    /// When the one that is here for longest came. Tags grow with time.
    fn oldest(&self) -> Option<Instant> {
        self.lock().values().next().copied()
    }

    fn lock(&self) -> MutexGuard<'_, BTreeMap<u64, Instant>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Session {
    /// Takes deliveries and lets lanes run until the session is to end.
    ///
    /// # Errors
    /// The store did not say which lanes are halted.
    pub(crate) async fn consume_in_order(
        self: &Arc<Self>,
        subscription: &mut dyn Subscription,
    ) -> Result<End, PortError> {
        let mut halts = self.context.halts.watch();
        self.halt_marked_lanes().await?;
        loop {
            let oldest = self.unsettled.oldest();
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => return Ok(End::Stopped),
                () = grown_old(oldest) => {
                    if self.unsettled.oldest() == oldest {
                        self.begin_again("a message was held for long");
                    }
                }
                _ = halts.changed() => {
                    let marks = Arc::clone(&halts.borrow_and_update());
                    self.heed(&marks).await;
                }
                next = subscription.next() => match next {
                    Ok(delivery) => {
                        let job = self.job(delivery);
                        self.unsettled.add(job.delivery.ticket.tag, job.received);
                        self.enter(job);
                    }
                    Err(ended) => return Ok(End::Ended(ended)),
                },
            }
        }
    }

    fn enter(self: &Arc<Self>, job: Job) {
        let lane = self.lane_of(&job);
        let queued = self.queued(job);
        let next = self.lanes().enter(lane.clone(), queued);
        self.go_on(lane, next);
    }

    fn queued(&self, job: Job) -> Queued {
        Queued {
            job,
            waiting: self.context.books.wait(Why::Lane),
        }
    }

    fn go_on(self: &Arc<Self>, lane: LaneName, next: Option<Queued>) {
        if let Some(queued) = next {
            let session = Arc::clone(self);
            self.spawn(async move { session.run_lane(lane, queued).await });
        }
    }

    /// Strict order is one lane; a message without a usable lane has none to
    /// wait for, and shares one with its like.
    fn lane_of(&self, job: &Job) -> LaneName {
        match (self.context.spec.order.mode, &job.route) {
            (Mode::Lanes, Ok(route)) => route.lane.clone(),
            _ => None,
        }
    }

    async fn run_lane(self: Arc<Self>, lane: LaneName, first: Queued) {
        let mut next = Some(first);
        while let Some(Queued { job, waiting }) = next {
            drop(waiting);
            next = match self.work(&job).await {
                Over::Settle(settlement)
                    if matches!(settlement, Settlement::Abandon) || self.distrusts() =>
                {
                    self.keep_back(job);
                    self.begin_again("a message could not be finished here");
                    return;
                }
                Over::Settle(ack) => {
                    self.lane_went_on(&lane, &job).await;
                    self.settle(job, ack);
                    self.lanes().leave(&lane)
                }
                Over::Halt => {
                    let queued = self.queued(job);
                    self.lanes().put_back(lane.clone(), queued)
                }
            };
        }
    }

    /// What was not settled goes back to the broker when the subscription is
    /// closed; here it only ends in the books.
    fn keep_back(&self, job: Job) {
        self.unsettled.remove(job.delivery.ticket.tag);
        let books = &self.context.books;
        books.end(Ending::Abandoned, job.received.elapsed());
    }

    /// Nothing more of any lane runs.
    pub(crate) fn forget_waiting(&self) {
        let waiting = self.lanes().take_waiting();
        for queued in waiting {
            self.keep_back(queued.job);
        }
    }

    // Halted lanes.

    async fn halt_marked_lanes(&self) -> Result<(), PortError> {
        let halts = &self.context.halts;
        for (lane, mark) in halts.load().await?.iter() {
            if !self.halts_lanes() {
                // The configuration says so now, which decides it.
                halts.set(lane, None).await?;
            } else if mark.stand == Stand::Halted {
                self.remember_halted(lane, mark);
                self.lanes().halt(lane.clone());
            }
        }
        Ok(())
    }

    /// Lets lanes go on for which an operator decided that, and removes marks
    /// of lanes that this instance, which leads, knows not to be halted: one
    /// that does not lead any more wrote them late.
    async fn heed(self: &Arc<Self>, marks: &Marks) {
        self.mark_again(marks).await;
        for (lane, mark) in marks {
            let halted = self.lanes().is_halted(lane);
            match (mark.stand, halted) {
                (Stand::Resumed(_), true) => {
                    tracing::info!(consumer = %self.context.spec.name, lane = shown(lane), "the lane goes on");
                    let next = self.lanes().resume(lane);
                    self.go_on(lane.clone(), next);
                }
                (Stand::Halted, false) => self.unmark(lane).await,
                _ => {}
            }
        }
    }

    /// A lane that is halted here and has no mark would stay so, unseen: one that
    /// does not lead any more may have removed the mark late.
    async fn mark_again(&self, marks: &Marks) {
        let kept: Vec<(LaneName, Mark)> = {
            let kept = self.halted.lock();
            let kept = kept.unwrap_or_else(PoisonError::into_inner);
            let missing = kept.iter().filter(|(lane, _)| !marks.contains_key(*lane));
            missing.map(|(l, mark)| (l.clone(), mark.clone())).collect()
        };
        for (lane, mark) in kept {
            if !self.lanes().is_halted(&lane) {
                continue;
            }
            if let Err(error) = self.context.halts.set_missing(&lane, mark).await {
                tracing::warn!(%error, lane = shown(&lane), "the halted lane is not marked in the store yet");
            }
        }
    }

    /// Remembers why a lane is halted, for as long as this session lasts.
    fn remember_halted(&self, lane: &LaneName, mark: &Mark) {
        let mut halted = self.halted.lock().unwrap_or_else(PoisonError::into_inner);
        halted.insert(lane.clone(), mark.clone());
    }

    /// What the mark of its lane says about this message.
    fn mark_of(&self, job: &Job, at: &Place) -> Option<Mark> {
        let marks = self.context.halts.marks();
        let mark = marks.get(&self.lane_of(job))?;
        (mark.key == at.key.as_str()).then(|| mark.clone())
    }

    /// A claim says `parking`, and lanes halt: what now? `tried`: it was just
    /// given up; otherwise it was found so.
    pub(crate) async fn given_up(
        &self,
        job: &Job,
        at: &Place,
        fence: u64,
        letter: &Letter,
        tried: bool,
    ) -> Round {
        let mark = self.mark_of(job, at);
        match fate(mark.as_ref().map(|mark| mark.stand), tried) {
            Fate::Bury => self.bury_claimed(job, at, fence, letter).await,
            Fate::Halt => self.halt(job, at, letter).await,
            Fate::TryAgain(stand) => {
                let mark = mark.zip(stand).map(|(mark, stand)| Mark { stand, ..mark });
                self.try_again(job, at, mark).await
            }
        }
    }

    /// Stops the lane of a message. The lane is halted here before the store
    /// knows, and stays so if the store never does: the claim says `parking`.
    async fn halt(&self, job: &Job, at: &Place, letter: &Letter) -> Round {
        let lane = self.lane_of(job);
        self.lanes().halt(lane.clone());
        let mark = Mark {
            stand: Stand::Halted,
            key: at.key.as_str().to_owned(),
            reason: letter.reason.to_string(),
            error: letter.error.clone(),
            attempts: letter.attempts,
            at_ms: (self.context.surroundings.wall_ms)(),
        };
        tracing::error!(
            consumer = %self.context.spec.name, lane = shown(&lane), key = %at.key, reason = %letter.reason,
            error = letter.error,
            "the message is given up and its lane halted until an operator resumes it: holdfast resume"
        );
        self.remember_halted(&lane, &mark);
        while let Err(error) = self.context.halts.set(&lane, Some(mark.clone())).await {
            tracing::warn!(%error, "the halted lane is not marked in the store yet");
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => return Round::ABANDON,
                () = sleep(PUBLISH_AGAIN) => {}
            }
        }
        Round::Halt
    }

    /// The claim is re-opened, with attempts from zero.
    async fn try_again(&self, job: &Job, at: &Place, mark: Option<Mark>) -> Round {
        loop {
            let opened = match self.context.store.replay(at).await {
                // Anything else is seen at the next look at the claim.
                Ok(ReleaseAnswer::Released) => {
                    self.context
                        .halts
                        .set(&self.lane_of(job), mark.clone())
                        .await
                }
                Ok(_) => Ok(()),
                Err(error) => Err(error),
            };
            match opened {
                Ok(()) => return Round::Again,
                Err(error) => {
                    tracing::warn!(%error, key = %at.key, "the claim is not re-opened yet")
                }
            }
            tokio::select! {
                biased;
                () = self.stopping.cancelled() => return Round::ABANDON,
                () = sleep(PUBLISH_AGAIN) => {}
            }
        }
    }

    /// A message of the lane has ended: a mark that names it has had its time,
    /// and one that was decided about another as well.
    async fn lane_went_on(&self, lane: &LaneName, job: &Job) {
        if !self.halts_lanes() {
            return;
        }
        let marks = self.context.halts.marks();
        let Some(mark) = marks.get(lane) else { return };
        let named = job.route.as_ref().is_ok_and(|r| r.key.as_str() == mark.key);
        if named || mark.stand != Stand::Halted {
            self.unmark(lane).await;
        }
    }

    /// Tried again with the next message of the lane when the store is away.
    async fn unmark(&self, lane: &LaneName) {
        if let Err(error) = self.context.halts.set(lane, None).await {
            tracing::warn!(%error, lane = shown(lane), "the mark of the lane stays for now");
        }
    }
}

/// Returns when a message that came then has been held for as long as it may.
async fn grown_old(since: Option<Instant>) {
    match since {
        Some(since) => sleep_until(since + LONGEST_HOLD).await,
        None => std::future::pending().await,
    }
}

fn shown(lane: &LaneName) -> &str {
    lane.as_ref().map_or("(all)", |lane| lane.as_str())
}
