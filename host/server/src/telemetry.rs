//! The log and the metrics.

use std::io::IsTerminal as _;

use metrics_exporter_prometheus::{Matcher, PrometheusBuilder, PrometheusHandle};
use tracing_subscriber::{EnvFilter, fmt};

use crate::config::valid::{Log, LogFormat};

/// Seconds, from a tenth of a millisecond to a minute.
const BUCKETS: [f64; 15] = [
    0.0001, 0.00025, 0.0005, 0.001, 0.0025, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 1.0, 5.0, 15.0,
    60.0,
];

/// Starts the log on standard error. Later calls change nothing.
pub fn start_log(log: &Log) {
    let filter = EnvFilter::try_new(directives(&log.level))
        .unwrap_or_else(|_| EnvFilter::new(directives("info")));
    let colour = std::env::var_os("NO_COLOR").is_none() && std::io::stderr().is_terminal();
    let line = fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_ansi(colour)
        .with_target(false);
    // A second start in one process (tests) keeps the first.
    let _ = match log.format {
        LogFormat::Text => line.try_init(),
        LogFormat::Json => line.json().flatten_event(true).try_init(),
    };
}

/// The AMQP library prints the bodies of returned messages and calls expected
/// answers errors: it is silent unless the level names it.
fn directives(level: &str) -> String {
    if level.contains("lapin") {
        level.to_owned()
    } else {
        format!("{level},lapin=off")
    }
}

/// Starts collecting metrics and gives what renders them. In a process that
/// has them already (tests), gives a handle of its own that stays empty.
#[must_use]
pub fn start_metrics() -> PrometheusHandle {
    let builder = PrometheusBuilder::new()
        .set_buckets_for_metric(Matcher::Suffix("_seconds".into()), &BUCKETS)
        .unwrap_or_else(|_| PrometheusBuilder::new());
    let recorder = builder.build_recorder();
    let handle = recorder.handle();
    let _ = metrics::set_global_recorder(recorder);
    describe();
    handle
}

fn describe() {
    use metrics::{
        describe_counter as counter, describe_gauge as gauge, describe_histogram as histogram,
    };
    counter!(
        "holdfast_received_total",
        "Deliveries handed over by the broker"
    );
    counter!(
        "holdfast_messages_total",
        "Deliveries that ended, by ending"
    );
    gauge!("holdfast_in_flight", "Deliveries that have not ended");
    gauge!(
        "holdfast_waiting",
        "Deliveries that wait in the host, by reason"
    );
    gauge!(
        "holdfast_prefetch_full",
        "1 while waiting deliveries fill the prefetch"
    );
    histogram!(
        "holdfast_handler_seconds",
        "The guest's own running time per call"
    );
    histogram!("holdfast_message_seconds", "From delivery to its ending");
    counter!("holdfast_attempts_total", "Calls of handlers, by result");
    counter!("holdfast_claims_total", "Answers of the store to begin");
    gauge!(
        "holdfast_lease_leader",
        "1 while this instance leads the consumer"
    );
    gauge!("holdfast_lease_epoch", "The epoch under which it leads");
    counter!(
        "holdfast_http_requests_total",
        "Outbound requests of handlers, by result"
    );
    counter!(
        "holdfast_reloads_total",
        "Changes of plugins and configuration taken up or refused"
    );
    gauge!(
        "holdfast_plugin_info",
        "1 for the version of each plugin in service"
    );
    histogram!(
        "holdfast_store_seconds",
        "Round trips to the store, by step"
    );
    gauge!("holdfast_store_up", "1 while the store answers");
    gauge!("holdfast_broker_up", "1 while the broker is connected");
}
