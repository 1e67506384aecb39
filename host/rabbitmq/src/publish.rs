//! Confirmed, mandatory publishes on one channel, many at once.
//!
//! One task makes all publishes of a channel: the library numbers a publish and
//! queues it in two steps, so that two callers at once could get each other's
//! confirmation. It also hands a returned message to whichever confirmation it
//! completes next; here returns are matched by what they carry, after every
//! confirmation that is already there was looked at.

use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use holdfast_core::settle::Confirmed;
use holdfast_ports::broker::PublishError;
use holdfast_ports::error::PortError;
use lapin::options::{BasicPublishOptions, ConfirmSelectOptions};
use lapin::{Channel, Confirmation, Connection};
use tokio::sync::{mpsc, oneshot};
use tokio::task::JoinHandle;
use tokio::time::{Instant, MissedTickBehavior, interval, timeout};

use crate::answers::{Returns, refusal};
use crate::convert::Parcel;
use crate::drain::drain;
use crate::link::Link;

type Answer = Result<Confirmed, PublishError>;

/// Publishes that wait for their confirmation at once.
const MOST_IN_FLIGHT: usize = 1024;

/// How often a blocked connection and given-up publishes are looked at.
const LOOK: Duration = Duration::from_millis(100);

/// Publishes on a channel of its own.
pub(crate) struct Publisher {
    requests: mpsc::Sender<Request>,
    deadline: Duration,
    task: JoinHandle<()>,
}

struct Request {
    parcel: Parcel,
    answer: oneshot::Sender<Answer>,
}

impl Publisher {
    pub(crate) fn new(link: Arc<Link>, deadline: Duration) -> Self {
        let (requests, queue) = mpsc::channel(256);
        Self {
            requests,
            deadline,
            task: tokio::spawn(serve(link, queue, deadline)),
        }
    }

    /// Publishes and waits for the confirmation.
    pub(crate) async fn publish(&self, parcel: Parcel) -> Answer {
        let (answer, answered) = oneshot::channel();
        let request = Request { parcel, answer };
        let published = async {
            self.requests.send(request).await.map_err(|_| closed())?;
            answered.await.map_err(|_| closed())?
        };
        match timeout(self.deadline, published).await {
            Ok(answer) => answer,
            Err(_) => Err(PublishError::Deadline(self.deadline)),
        }
    }

    pub(crate) fn stop(&self) {
        self.task.abort();
    }
}

impl Drop for Publisher {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn closed() -> PublishError {
    let error = PortError::transient("publish").because("the channel is gone");
    PublishError::Away(error)
}

async fn serve(link: Arc<Link>, mut queue: mpsc::Receiver<Request>, deadline: Duration) {
    let mut next = None;
    loop {
        let first = match next.take() {
            Some(request) => request,
            None => match queue.recv().await {
                Some(request) => request,
                None => return,
            },
        };
        if first.answer.is_closed() {
            continue;
        }
        match open(&link).await {
            Ok((connection, channel)) => {
                next = run(&connection, &channel, first, &mut queue, deadline).await;
            }
            Err(error) => {
                let reason = error.to_string();
                let answer = |request: Request| {
                    let away = PortError::new(error.kind, "publish").because(reason.clone());
                    let _ = request.answer.send(Err(PublishError::Away(away)));
                };
                answer(first);
                while let Ok(request) = queue.try_recv() {
                    answer(request);
                }
            }
        }
    }
}

async fn open(link: &Link) -> Result<(Arc<Connection>, Channel), PortError> {
    let connection = link.connection().await?;
    let channel = link.channel().await?;
    let confirm = channel.confirm_select(ConfirmSelectOptions::default());
    link.within("ask for confirmations".to_owned(), confirm)
        .await?;
    Ok((connection, channel))
}

/// Publishes on one channel until it ends. Gives back a request that came after
/// its end.
async fn run(
    connection: &Connection,
    channel: &Channel,
    first: Request,
    queue: &mut mpsc::Receiver<Request>,
    deadline: Duration,
) -> Option<Request> {
    let mut in_flight = FuturesUnordered::new();
    in_flight.push(send(channel, first));
    let mut returns = Returns::default();
    let mut outcomes = Vec::new();
    let mut look = interval(LOOK);
    look.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut progress = Instant::now();
    let gone = || !(connection.status().connected() && channel.status().connected());
    loop {
        let full = in_flight.len() >= MOST_IN_FLIGHT;
        let takes = !full && !connection.status().blocked();
        tokio::select! {
            biased;
            Some(outcome) = in_flight.next() => {
                outcomes.push(outcome);
                progress = Instant::now();
            }
            request = queue.recv(), if takes => {
                let request = request?;
                if gone() {
                    finish(&mut in_flight, &mut returns, outcomes).await;
                    return Some(request);
                }
                if !request.answer.is_closed() {
                    in_flight.push(send(channel, request));
                }
            }
            _ = look.tick(), if !takes || !in_flight.is_empty() => {}
        }
        drain(&mut in_flight, &mut outcomes);
        answer(&mut outcomes, &mut returns);
        let stuck = full && progress.elapsed() > 2 * deadline;
        if stuck || gone() {
            finish(&mut in_flight, &mut returns, outcomes).await;
            return None;
        }
    }
}

/// The library ends every publish of a channel that died; what it should forget
/// is answered as away when it is dropped.
async fn finish<F: Future<Output = Outcome>>(
    in_flight: &mut FuturesUnordered<F>,
    returns: &mut Returns,
    mut outcomes: Vec<Outcome>,
) {
    let ended = async {
        while let Some(outcome) = in_flight.next().await {
            outcomes.push(outcome);
        }
    };
    let _ = timeout(LOOK, ended).await;
    answer(&mut outcomes, returns);
}

type Outcome = (Request, lapin::Result<Confirmation>);

/// The first poll queues the message and takes its number.
async fn send(channel: &Channel, request: Request) -> Outcome {
    let parcel = &request.parcel;
    let options = BasicPublishOptions {
        mandatory: true,
        immediate: false,
    };
    let (exchange, routing_key) = (parcel.exchange.clone(), parcel.routing_key.clone());
    let properties = parcel.properties.clone();
    let queued = channel.basic_publish(exchange, routing_key, options, &parcel.body, properties);
    let outcome = match queued.await {
        Ok(confirmation) => confirmation.await,
        Err(error) => Err(error),
    };
    (request, outcome)
}

/// Answers publishes whose outcome is known. All returned messages are noted
/// first, since each may have come with another one's confirmation.
fn answer(outcomes: &mut Vec<Outcome>, returns: &mut Returns) {
    let mut known = Vec::with_capacity(outcomes.len());
    for (request, outcome) in outcomes.drain(..) {
        let outcome = outcome.map(|confirmation| {
            let acknowledged = confirmation.is_ack();
            returns.note(confirmation.take_message());
            acknowledged
        });
        known.push((request, outcome));
    }
    for (request, outcome) in known {
        let parcel = &request.parcel;
        let answer = match outcome {
            Ok(acknowledged) => match returns.take(parcel) {
                Some(reason) => Err(PublishError::Returned(reason)),
                None if acknowledged => Ok(Confirmed::by_broker()),
                None => Err(PublishError::Nacked),
            },
            Err(error) => Err(refusal(parcel, &error)),
        };
        // A caller that gave up has been told so.
        let _ = request.answer.send(answer);
    }
}
