//! The host's admin interface, as the demo uses it.

use std::time::Duration;

use anyhow::{Context as _, Result, ensure};
use serde_json::Value;

/// Talks to one host.
#[derive(Clone)]
pub(super) struct Client {
    base: String,
    agent: ureq::Agent,
}

impl Client {
    pub(super) fn new(base: String) -> Self {
        let config = ureq::Agent::config_builder()
            .http_status_as_error(false)
            .timeout_global(Some(Duration::from_secs(15)))
            .build();
        Self {
            base,
            agent: config.into(),
        }
    }

    pub(super) fn base(&self) -> &str {
        &self.base
    }

    pub(super) fn ready(&self) -> bool {
        matches!(self.get("/readyz"), Ok((200, _)))
    }

    fn get(&self, path: &str) -> Result<(u16, String)> {
        let mut response = self.agent.get(format!("{}{path}", self.base)).call()?;
        Ok((
            response.status().as_u16(),
            response.body_mut().read_to_string()?,
        ))
    }

    /// Publishes through the host: 202 once the broker has confirmed.
    pub(super) fn publish(&self, queue: &str, id: &str, body: &[u8]) -> Result<()> {
        let path = format!("{}/api/v1/queues/{queue}/messages", self.base);
        let request = self
            .agent
            .post(path)
            .header("Content-Type", "application/json")
            .header("Holdfast-Message-Id", id);
        let mut response = request.send(body)?;
        let status = response.status().as_u16();
        ensure!(
            status == 202,
            "the host answered {status}: {}",
            response.body_mut().read_to_string()?
        );
        Ok(())
    }

    pub(super) fn metrics(&self) -> Result<String> {
        Ok(self.get("/metrics")?.1)
    }

    /// The sum of a metric over the series with all these labels.
    pub(super) fn metric(&self, name: &str, labels: &[String]) -> Result<u64> {
        let text = self.metrics()?;
        let rows = text.lines().filter_map(|line| line.strip_prefix(name));
        let rows = rows.filter(|rest| {
            rest.starts_with(['{', ' ']) && labels.iter().all(|label| rest.contains(label))
        });
        let sum: f64 = rows
            .filter_map(|rest| rest.rsplit(' ').next()?.parse::<f64>().ok())
            .sum();
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "counts are small and positive"
        )]
        let sum = sum as u64;
        Ok(sum)
    }

    /// Messages of a consumer that ended this way.
    pub(super) fn ended(&self, consumer: &str, ending: &str) -> Result<u64> {
        let labels = [
            format!("consumer=\"{consumer}\""),
            format!("ending=\"{ending}\""),
        ];
        self.metric("holdfast_messages_total", &labels)
    }

    pub(super) fn in_flight(&self) -> Result<u64> {
        self.metric("holdfast_in_flight", &[])
    }

    /// The digest of the version of a plugin that is in service.
    pub(super) fn plugin_digest(&self, name: &str) -> Result<String> {
        let (_, body) = self.get("/api/v1/plugins")?;
        let rows: Value = serde_json::from_str(&body)?;
        let row = rows
            .as_array()
            .into_iter()
            .flatten()
            .find(|row| row["name"] == name);
        let digest = row.and_then(|row| row["sha256"].as_str());
        digest
            .map(str::to_owned)
            .with_context(|| format!("no plugin {name} is in service: {body}"))
    }
}
