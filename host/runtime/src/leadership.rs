//! Carries out what the lease machine of `holdfast-core` says.

use std::pin::Pin;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use holdfast_core::lease::{Command, Input, Lease, Terms};
use holdfast_ports::error::PortError;
use holdfast_ports::store::{LeaseAnswer, LeaseName, SharedStore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

use crate::sharing::Seat;
use crate::stop::Stop;

/// How a term of consuming ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Term {
    /// It was told to stop, and nothing runs any more.
    Over,
    /// A step was fenced: it does not lead any more.
    Deposed,
    /// It could not start.
    Failed,
}

/// What this instance is, as far as it knows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Standing {
    /// It has not heard yet whether somebody leads.
    Unknown,
    /// It leads under this epoch.
    Leads(u64),
    /// Another instance leads.
    Follows,
    /// It does not lead; whether another does was not asked since.
    Apart,
}

/// Who campaigns, for what.
pub(crate) struct Candidate<'a> {
    /// The lease.
    pub(crate) name: &'a LeaseName,
    /// Its durations.
    pub(crate) terms: &'a Terms,
    /// This instance's random value.
    pub(crate) owner: u64,
    /// Its place among the partitions of a row.
    pub(crate) seat: Option<&'a Seat>,
}

/// One term under way.
struct Running<'a> {
    stop: Stop,
    work: Pin<Box<dyn Future<Output = Term> + Send + 'a>>,
}

/// Campaigns, consumes while leading, and gives the lease back, until `stop`.
/// `consume` runs one term; `show` is told who this instance is.
pub(crate) async fn lead<'a, C>(
    store: &SharedStore,
    candidate: &Candidate<'_>,
    stop: &CancellationToken,
    step_down: &tokio::sync::Notify,
    show: impl Fn(Standing),
    consume: C,
) where
    C: Fn(u64, Stop) -> BoxFuture<'a, Term>,
{
    let Candidate {
        name,
        terms,
        owner,
        seat,
    } = *candidate;
    let start = Instant::now();
    let mut lease = Lease::new(start.elapsed());
    let mut running: Option<Running<'a>> = None;
    let mut question: Option<BoxFuture<'_, Result<LeaseAnswer, PortError>>> = None;
    // Kept over the rounds, so that no news is missed between two of them.
    let mut news = store.changed();
    let mut leaving = false;
    let mut unheard = true;
    show(Standing::Unknown);
    loop {
        let timeout = lease.next_timeout().map(|at| start + at);
        let following = matches!(lease, Lease::Follower { .. });
        if leaving && following && running.is_none() && question.is_none() {
            break;
        }
        let input = tokio::select! {
            biased;
            () = stop.cancelled(), if !leaving => {
                leaving = true;
                Input::StepDown
            }
            term = async { running.as_mut().expect("guarded").work.as_mut().await }, if running.is_some() => {
                running = None;
                match term {
                    Term::Over => Input::Drained,
                    Term::Deposed | Term::Failed => {
                        // One that lost its lease is not unfit to lead.
                        if let (Some(seat), Term::Failed) = (seat, term) {
                            seat.failed();
                        }
                        lease.handle(Input::StepDown, start.elapsed(), terms);
                        Input::Drained
                    }
                }
            }
            answer = async { question.as_mut().expect("guarded").await }, if question.is_some() => {
                question = None;
                heard(answer, &lease)
            }
            () = step_down.notified(), if !leaving => Input::StepDown,
            () = called(seat), if !leaving => {
                if seat.is_some_and(Seat::is_to_give_back) {
                    Input::StepDown
                } else {
                    Input::Announced
                }
            }
            () = news.as_mut(), if !leaving => {
                news = store.changed();
                Input::Announced
            }
            () = sleep_until(timeout), if !(leaving && following) => Input::Tick,
        };
        if leaving && following && matches!(input, Input::Tick | Input::Announced) {
            continue;
        }
        if matches!(input, Input::Held { .. }) {
            unheard = false;
            show(Standing::Follows);
        }
        let mut command = lease.handle(input, start.elapsed(), terms);
        if command == Some(Command::Acquire)
            && let Some(seat) = seat
            && !seat.may_take()
        {
            // It leads its share of the row: as good as held by another.
            if unheard && seat.knows_its_share() {
                unheard = false;
                show(Standing::Apart);
            }
            let left = terms.retry;
            command = lease.handle(Input::Held { left }, start.elapsed(), terms);
        }
        if let (Some(seat), Lease::Follower { .. }) = (seat, &lease) {
            seat.left();
        }
        match command {
            None => {}
            Some(Command::Acquire) => {
                question = Some(store.acquire(name, owner, terms.ttl).boxed())
            }
            Some(Command::Renew) => question = Some(store.renew(name, owner, terms.ttl).boxed()),
            Some(Command::Start { epoch }) => {
                tracing::info!(consumer = %name.consumer, epoch, "leading");
                show(Standing::Leads(epoch));
                let stop = Stop::default();
                let work = consume(epoch, stop.clone());
                running = Some(Running { stop, work });
                // It was told to go while it asked.
                if leaving || seat.is_some_and(Seat::is_to_give_back) {
                    lease.handle(Input::StepDown, start.elapsed(), terms);
                    end_term(&running);
                }
            }
            Some(Command::Drain) => end_term(&running),
            Some(Command::Stop) => {
                tracing::warn!(consumer = %name.consumer, "the lease is lost; stopping at once");
                show(Standing::Apart);
                question = None;
                if let Some(term) = running.take() {
                    term.stop.at_once();
                    term.work.await;
                }
            }
            Some(Command::Release { .. }) => {
                show(Standing::Apart);
                question = None;
                if let Err(error) = store.give_back(name, owner).await {
                    tracing::warn!(consumer = %name.consumer, %error, "the lease was not given back; it expires");
                }
            }
        }
    }
}

fn end_term(running: &Option<Running<'_>>) {
    if let Some(term) = running {
        term.stop.soon();
    }
}

/// Waits until the row of partitions wants something of this one.
async fn called(seat: Option<&Seat>) {
    match seat {
        Some(seat) => seat.called().await,
        None => std::future::pending().await,
    }
}

async fn sleep_until(at: Option<Instant>) {
    match at {
        Some(at) => tokio::time::sleep_until(at).await,
        None => std::future::pending().await,
    }
}

fn heard(answer: Result<LeaseAnswer, PortError>, lease: &Lease) -> Input {
    match answer {
        Ok(LeaseAnswer::Ours { epoch }) => match lease {
            Lease::Campaigning { .. } => Input::Acquired { epoch },
            _ => Input::Renewed,
        },
        Ok(LeaseAnswer::Held { left }) => Input::Held { left },
        Ok(LeaseAnswer::Gone) => Input::Gone,
        Err(error) => {
            tracing::warn!(%error, "the lease could not be asked about");
            Input::Unreachable
        }
    }
}
