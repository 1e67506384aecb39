//! What a running host consists of, as the admin interface and the reload see it.

use std::sync::{Arc, Mutex, PoisonError};

use arc_swap::ArcSwap;
use holdfast_runtime::host::Host;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio_util::sync::CancellationToken;

use crate::config::Loaded;
use crate::plugin_dir::PluginDir;

/// A running host.
pub struct App {
    /// The consumers.
    pub host: Arc<Host>,
    /// The plugins.
    pub plugins: Arc<PluginDir>,
    /// The configuration in service.
    pub config: ArcSwap<Loaded>,
    /// Renders the metrics.
    pub metrics: PrometheusHandle,
    /// Cancelled when the host begins to drain.
    pub draining: CancellationToken,
    /// Cancelled when the host has ended: the admin interface closes.
    pub stopped: CancellationToken,
    /// Why the last change of the configuration was refused, if it was.
    pub refused: Refused,
}

/// The last refusal, until something is accepted.
#[derive(Debug, Default)]
pub struct Refused(Mutex<Option<String>>);

impl Refused {
    /// Remembers a refusal, or forgets it with none.
    pub fn set(&self, why: Option<String>) {
        *self.0.lock().unwrap_or_else(PoisonError::into_inner) = why;
    }

    /// The last refusal.
    #[must_use]
    pub fn get(&self) -> Option<String> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .clone()
    }
}
