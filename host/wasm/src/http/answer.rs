//! The body of a response while a guest reads it.

use std::pin::Pin;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use bytes::Bytes;
use hyper::body::{Body, Frame, Incoming, SizeHint};
use tokio::time::{Sleep, sleep};
use wasmtime_wasi_http::Error;

use super::errors;
use super::ticket::Ticket;

/// Gives on what arrives, and fails when nothing does for too long or the call
/// must end: a server that sends a byte now and then holds nobody up for ever.
pub(super) struct Answer {
    incoming: Incoming,
    between_bytes: Duration,
    deadline: Instant,
    /// Runs while the guest waits.
    timer: Option<Pin<Box<Sleep>>>,
    /// Given back once everything was read.
    ticket: Option<Ticket>,
}

impl Answer {
    pub(super) fn new(
        incoming: Incoming,
        between_bytes: Duration,
        deadline: Instant,
        ticket: Ticket,
    ) -> Self {
        let ended = incoming.is_end_stream();
        Self {
            incoming,
            between_bytes,
            deadline,
            timer: None,
            ticket: (!ended).then_some(ticket),
        }
    }

    fn end(&mut self) {
        self.timer = None;
        self.ticket = None;
    }
}

impl Body for Answer {
    type Data = Bytes;
    type Error = Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, Error>>> {
        if Instant::now() >= self.deadline {
            self.end();
            return Poll::Ready(Some(Err(Error::ConnectionReadTimeout)));
        }
        match Pin::new(&mut self.incoming).poll_frame(cx) {
            Poll::Ready(Some(Ok(frame))) => {
                self.timer = None;
                if self.incoming.is_end_stream() {
                    self.ticket = None;
                }
                Poll::Ready(Some(Ok(frame)))
            }
            Poll::Ready(Some(Err(error))) => {
                self.end();
                Poll::Ready(Some(Err(errors::exchange(&error))))
            }
            Poll::Ready(None) => {
                self.end();
                Poll::Ready(None)
            }
            Poll::Pending => {
                let left = self.deadline.saturating_duration_since(Instant::now());
                let limit = self.between_bytes.min(left);
                let timer = self.timer.get_or_insert_with(|| Box::pin(sleep(limit)));
                if timer.as_mut().poll(cx).is_pending() {
                    return Poll::Pending;
                }
                self.end();
                Poll::Ready(Some(Err(Error::ConnectionReadTimeout)))
            }
        }
    }

    fn is_end_stream(&self) -> bool {
        self.incoming.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        self.incoming.size_hint()
    }
}
