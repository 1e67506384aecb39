//! Looking at a host that may be dead or frozen.

use std::time::Duration;

use anyhow::{Context as _, Result};

use crate::host::Host;

/// Asks a host for its health and its metrics, and does not wait long. It may be
/// used from any thread, and outlives the host: the next one of the same setup
/// has the same address.
#[derive(Clone, Debug)]
pub struct Glance {
    base: String,
    agent: ureq::Agent,
}

impl Glance {
    /// Looks at this host and those after it; an answer has to come within `limit`.
    pub fn at(host: &Host, limit: Duration) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(limit))
            .build();
        Self {
            base: host.base().to_owned(),
            agent: config.into(),
        }
    }

    /// Whether `/readyz` says yes.
    pub fn is_ready(&self) -> bool {
        let answer = self.agent.get(format!("{}/readyz", self.base)).call();
        answer.is_ok_and(|answer| answer.status().as_u16() == 200)
    }

    /// As [`Host::metric`].
    ///
    /// # Errors
    /// When nobody answers in time.
    pub fn metric(&self, name: &str, labels: &[&str]) -> Result<f64> {
        let answer = self.agent.get(format!("{}/metrics", self.base)).call();
        let text = answer.context("failed to ask for metrics")?;
        Ok(sum(&text.into_body().read_to_string()?, name, labels))
    }
}

/// The sum of a metric over the series that have these labels.
pub(crate) fn sum(metrics: &str, name: &str, labels: &[&str]) -> f64 {
    let rows = metrics.lines().filter_map(|line| line.strip_prefix(name));
    let rows = rows.filter(|rest| {
        rest.starts_with(['{', ' ']) && labels.iter().all(|label| rest.contains(label))
    });
    rows.filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok())
        .sum()
}
