//! `holdfast run`: load, build, spawn, wait, drain.

use std::path::Path;
use std::process::ExitCode;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use holdfast_ports::store::{Agreement, GroupRules, Open, SharedStore};
use holdfast_runtime::consumer::disagreement;
use holdfast_runtime::host::{Host, Parts};
use holdfast_runtime::spec::ConsumerSpec;
use metrics_exporter_prometheus::PrometheusHandle;
use tokio::net::TcpListener;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio_util::sync::CancellationToken;

use crate::app::{App, Refused};
use crate::config::{self, Loaded};
use crate::plugin_dir::PluginDir;
use crate::{admin, reload, telemetry, wire};

/// The configuration or a plugin is wrong (`EX_CONFIG` of sysexits.h).
pub const WRONG_CONFIGURATION: u8 = 78;

/// Why a host did not start or did not end in order.
#[derive(Debug)]
pub enum Failure {
    /// The configuration or a plugin is wrong.
    Wrong(String),
    /// Something else failed.
    Failed(String),
}

impl Failure {
    /// Prints it and gives the exit code.
    #[must_use]
    pub fn report(self) -> ExitCode {
        let (text, code) = match self {
            Self::Wrong(text) => (text, WRONG_CONFIGURATION),
            Self::Failed(text) => (text, 1),
        };
        eprintln!("{}", text.trim_end());
        ExitCode::from(code)
    }
}

/// Runs a host until it is told to stop.
///
/// # Errors
/// [`Failure`] when it cannot start. Servers that are away are no reason: it
/// waits for them.
pub async fn run(path: &Path) -> Result<ExitCode, Failure> {
    let loaded = load(path)?;
    let mut signals = Signals::new()?;
    let app = build(loaded).await?;
    let stop = app.stopped.clone();
    let listener = listen(&app).await?;
    let served = tokio::spawn(admin::serve(listener, Arc::clone(&app), stop.clone()));
    let seen = reload::seen(path, &app.config.load());
    let watched = tokio::spawn(reload::watch(
        Arc::clone(&app),
        path.to_owned(),
        seen,
        stop.clone(),
    ));
    let kept = tokio::spawn(upkeep(app.metrics.clone(), stop.clone()));
    signals.wait(&app, path).await;
    let code = drain(&app, &mut signals).await;
    stop.cancel();
    let _ = tokio::join!(
        watched,
        kept,
        tokio::time::timeout(Duration::from_secs(1), served)
    );
    Ok(code)
}

fn load(path: &Path) -> Result<Loaded, Failure> {
    let wrong = |errors: config::ConfigErrors| Failure::Wrong(errors.to_string());
    let loaded = config::load(path, &|name| std::env::var(name).ok()).map_err(wrong)?;
    telemetry::start_log(&loaded.valid.log);
    if !loaded.warnings.is_empty() {
        eprintln!("{}", loaded.warnings.render(false).trim_end());
    }
    config::check_files(&loaded).map_err(wrong)?;
    Ok(loaded)
}

/// Builds the host that a configuration describes; its consumers start at once.
///
/// # Errors
/// [`Failure`] when the plugins or the group's rules do not fit.
pub async fn build(loaded: Loaded) -> Result<Arc<App>, Failure> {
    let config = &loaded.valid;
    let wrong = |error: holdfast_core::name::NameError| Failure::Wrong(error.to_string());
    let specs = wire::consumers(config).map_err(wrong)?;
    let rules = wire::rules(config).map_err(wrong)?;
    let metrics = telemetry::start_metrics();
    let plugins = PluginDir::open(config).await.map_err(Failure::Wrong)?;
    let failed = |error: holdfast_ports::error::PortError| Failure::Failed(error.to_string());
    let store = wire::store(config).await.map_err(failed)?;
    let brokers = wire::brokers(config).await.map_err(failed)?;
    agree(&store, &specs).await?;
    let parts = Parts {
        service: config.service.clone(),
        store,
        brokers,
        plugins: plugins.plugins(),
        surroundings: wire::surroundings(),
    };
    let host = Host::start(parts);
    host.apply(specs, rules).await;
    Ok(Arc::new(App {
        host,
        plugins,
        config: ArcSwap::from_pointee(loaded),
        metrics,
        draining: CancellationToken::new(),
        stopped: CancellationToken::new(),
        refused: Refused::default(),
    }))
}

/// A host whose rules differ from those of a group's other side does not start.
/// When the store is away the consumers compare later, before they consume.
async fn agree(store: &SharedStore, specs: &[ConsumerSpec]) -> Result<(), Failure> {
    // A store that was emptied has nothing to compare with, and before it is known
    // which store it is nothing is written.
    let looked = tokio::time::timeout(Duration::from_secs(2), store.open(Open::Look));
    if !matches!(looked.await, Ok(Ok(Some(_)))) {
        return Ok(());
    }
    for spec in specs {
        let rules = GroupRules {
            rules: spec.group_rules(),
        };
        let asked = store.agree(&spec.group, &rules);
        if let Ok(Ok(Agreement::Differs(differences))) =
            tokio::time::timeout(Duration::from_secs(2), asked).await
        {
            return Err(Failure::Wrong(disagreement(
                spec.group.as_str(),
                &differences,
            )));
        }
    }
    Ok(())
}

/// Histograms gather their values until they are read; this reads them when
/// nobody asks for the metrics.
async fn upkeep(metrics: PrometheusHandle, stop: CancellationToken) {
    let mut every = tokio::time::interval(Duration::from_secs(5));
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            _ = every.tick() => metrics.run_upkeep(),
        }
    }
}

async fn listen(app: &App) -> Result<TcpListener, Failure> {
    let address = app.config.load().valid.admin.listen;
    let listener = TcpListener::bind(address).await.map_err(|error| {
        Failure::Failed(format!(
            "failed to listen on {address} (admin.listen): {error}"
        ))
    })?;
    if let Ok(address) = listener.local_addr() {
        tracing::info!("the admin interface is at http://{address}/");
    }
    Ok(listener)
}

/// Lets everything end in order; a second signal leaves at once.
async fn drain(app: &App, signals: &mut Signals) -> ExitCode {
    app.draining.cancel();
    tracing::info!("draining: running handlers finish, waiting messages are handed back");
    tokio::select! {
        () = app.host.drain() => {
            tracing::info!("drained");
            ExitCode::SUCCESS
        }
        () = signals.stop() => {
            tracing::warn!("leaving at once; what was in flight is delivered again");
            ExitCode::from(1)
        }
    }
}

struct Signals {
    terminate: Signal,
    interrupt: Signal,
    hang_up: Signal,
}

impl Signals {
    fn new() -> Result<Self, Failure> {
        let on = |kind| {
            signal(kind).map_err(|e| Failure::Failed(format!("failed to listen for signals: {e}")))
        };
        Ok(Self {
            terminate: on(SignalKind::terminate())?,
            interrupt: on(SignalKind::interrupt())?,
            hang_up: on(SignalKind::hangup())?,
        })
    }

    /// Waits until told to stop; takes the configuration up again on SIGHUP.
    async fn wait(&mut self, app: &Arc<App>, path: &Path) {
        loop {
            tokio::select! {
                _ = self.terminate.recv() => return,
                _ = self.interrupt.recv() => return,
                _ = self.hang_up.recv() => {
                    // What is wrong with it was logged and is kept for readiness.
                    let _ = reload::configuration(app, path).await;
                    app.plugins.look().await;
                }
            }
        }
    }

    async fn stop(&mut self) {
        tokio::select! {
            _ = self.terminate.recv() => {}
            _ = self.interrupt.recv() => {}
        }
    }
}
