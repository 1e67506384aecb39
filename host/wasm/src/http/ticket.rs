//! How many requests an instance has open, and what became of each.

use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use metrics::counter;

/// Requests that are open at the moment.
#[derive(Clone, Default)]
pub(super) struct Open(Arc<AtomicUsize>);

impl Open {
    pub(super) fn count(&self) -> usize {
        self.0.load(Ordering::Acquire)
    }

    /// One more, until the ticket is dropped.
    pub(super) fn enter(&self, plugin: Arc<str>) -> Ticket {
        self.0.fetch_add(1, Ordering::AcqRel);
        Ticket {
            open: self.clone(),
            plugin,
            fate: Fate::Cut,
        }
    }
}

/// What became of a request.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Fate {
    /// A response came, whatever its status.
    Answered,
    /// None came.
    Failed,
    /// It may not be sent; nothing was.
    Refused,
    /// Its call ended first.
    Cut,
}

impl Fate {
    fn as_str(self) -> &'static str {
        match self {
            Self::Answered => "answered",
            Self::Failed => "failed",
            Self::Refused => "refused",
            Self::Cut => "cut",
        }
    }
}

/// One open request. Dropping it closes and counts it.
pub(super) struct Ticket {
    open: Open,
    plugin: Arc<str>,
    fate: Fate,
}

impl Ticket {
    /// It ended like this.
    pub(super) fn ends(mut self, fate: Fate) {
        self.fate = fate;
    }

    /// A response came; it stays open for as long as the body is read.
    pub(super) fn answered(&mut self) {
        self.fate = Fate::Answered;
    }
}

impl Drop for Ticket {
    fn drop(&mut self) {
        self.open.0.fetch_sub(1, Ordering::AcqRel);
        counter!(
            "holdfast_http_requests_total",
            "plugin" => self.plugin.to_string(), "result" => self.fate.as_str()
        )
        .increment(1);
    }
}
