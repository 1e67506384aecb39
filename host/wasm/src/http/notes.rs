//! What the operator is told about the requests of a call.

use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use holdfast_core::destination::Refusal;
use wasmtime_wasi_http::Error;

use crate::guest::Work;
use crate::log::{self, Level, Source};
use crate::plugin::Shared;

/// Lines for one call at most: a guest in a loop must not fill the log.
const MOST: u32 = 8;

/// The notes of one call.
#[derive(Clone)]
pub(super) struct Notes {
    shared: Arc<Shared>,
    work: Arc<Work>,
    written: Arc<AtomicU32>,
}

impl Notes {
    pub(super) fn new(shared: Arc<Shared>, work: Arc<Work>) -> Self {
        Self {
            shared,
            work,
            written: Arc::default(),
        }
    }

    pub(super) fn warn(&self, text: &str) {
        if self.written.fetch_add(1, Ordering::Relaxed) < MOST {
            let Shared { name, log, .. } = &*self.shared;
            log::emit(&**log, name, &self.work, Level::Warn, Source::Host, text);
        }
    }

    /// Says why a request was refused and what would let it pass; gives what
    /// the guest is told.
    pub(super) fn refused(&self, refusal: &Refusal) -> Error {
        self.warn(&format!(
            "an outbound request was refused: {refusal}; to allow it, add \"{}\" to plugins.{}.allow-hosts",
            refusal.remedy(),
            self.shared.name
        ));
        Error::HttpRequestDenied
    }
}
