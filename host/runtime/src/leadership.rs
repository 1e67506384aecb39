//! Carries out what the lease machine of `holdfast-core` says.

use std::pin::Pin;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use holdfast_core::lease::{Command, Input, Lease, Terms};
use holdfast_ports::error::PortError;
use holdfast_ports::plugins::Interrupt;
use holdfast_ports::store::{LeaseAnswer, LeaseName, SharedStore};
use tokio::time::Instant;
use tokio_util::sync::CancellationToken;

/// How a term of consuming ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Term {
    /// It was told to stop, and nothing runs any more.
    Over,
    /// It could not start, or a step was fenced.
    Failed,
}

/// Who campaigns, for what.
pub(crate) struct Candidate<'a> {
    /// The lease.
    pub(crate) name: &'a LeaseName,
    /// Its durations.
    pub(crate) terms: &'a Terms,
    /// This instance's random value.
    pub(crate) owner: u64,
}

/// One term under way.
struct Running<'a> {
    stop: CancellationToken,
    interrupt: Interrupt,
    work: Pin<Box<dyn Future<Output = Term> + Send + 'a>>,
}

/// Campaigns, consumes while leading, and gives the lease back, until `stop`.
/// `consume` runs one term; `show` is told who this instance is.
pub(crate) async fn lead<'a, C>(
    store: &SharedStore,
    candidate: &Candidate<'_>,
    stop: &CancellationToken,
    step_down: &tokio::sync::Notify,
    show: impl Fn(Option<u64>),
    consume: C,
) where
    C: Fn(u64, CancellationToken, Interrupt) -> BoxFuture<'a, Term>,
{
    let Candidate { name, terms, owner } = *candidate;
    let start = Instant::now();
    let mut lease = Lease::new(start.elapsed());
    let mut running: Option<Running<'a>> = None;
    let mut question: Option<BoxFuture<'_, Result<LeaseAnswer, PortError>>> = None;
    let mut leaving = false;
    show(None);
    loop {
        let timeout = lease.next_timeout().map(|at| start + at);
        let following = matches!(lease, Lease::Follower { .. });
        if leaving && following && running.is_none() && question.is_none() {
            return;
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
                    Term::Failed => {
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
            () = store.changed(), if following && !leaving && question.is_none() => Input::Announced,
            () = sleep_until(timeout), if !(leaving && following) => Input::Tick,
        };
        if leaving && following && matches!(input, Input::Tick | Input::Announced) {
            continue;
        }
        match lease.handle(input, start.elapsed(), terms) {
            None => {}
            Some(Command::Acquire) => {
                question = Some(store.acquire(name, owner, terms.ttl).boxed())
            }
            Some(Command::Renew) => question = Some(store.renew(name, owner, terms.ttl).boxed()),
            Some(Command::Start { epoch }) => {
                tracing::info!(consumer = %name.consumer, epoch, "leading");
                show(Some(epoch));
                let (stop, interrupt) = (CancellationToken::new(), Interrupt::default());
                let work = consume(epoch, stop.clone(), interrupt.clone());
                running = Some(Running {
                    stop,
                    interrupt,
                    work,
                });
                if leaving {
                    lease.handle(Input::StepDown, start.elapsed(), terms);
                    end_term(&running);
                }
            }
            Some(Command::Drain) => end_term(&running),
            Some(Command::Stop) => {
                tracing::warn!(consumer = %name.consumer, "the lease is lost; stopping at once");
                show(None);
                question = None;
                if let Some(term) = running.take() {
                    term.interrupt.set();
                    term.stop.cancel();
                    term.work.await;
                }
            }
            Some(Command::Release { .. }) => {
                show(None);
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
        term.stop.cancel();
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
        Ok(LeaseAnswer::Held { .. }) => Input::Held,
        Ok(LeaseAnswer::Gone) => Input::Gone,
        Err(error) => {
            tracing::warn!(%error, "the lease could not be asked about");
            Input::Unreachable
        }
    }
}
