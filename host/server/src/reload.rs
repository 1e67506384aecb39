//! Takes up changes of the configuration file and of the plugin folder while
//! messages flow. The new set is checked whole first; when anything is wrong
//! the old set goes on serving and the error is shown.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use metrics::counter;
use tokio_util::sync::CancellationToken;

use crate::app::App;
use crate::config::{self, Effect, Loaded};
use crate::watch::{Seen, Watch};
use crate::wire;

/// Reads the configuration file again and takes it up.
///
/// # Errors
/// Everything that is wrong with it; the old one goes on serving.
pub async fn configuration(app: &Arc<App>, path: &Path) -> Result<(), String> {
    let result = take_up(app, path).await;
    let label = if result.is_ok() { "ok" } else { "refused" };
    counter!("holdfast_reloads_total", "plugin" => "", "result" => label).increment(1);
    match &result {
        Ok(()) => tracing::info!(file = %path.display(), "the configuration was taken up"),
        Err(error) => {
            tracing::error!(file = %path.display(), "the changed configuration is refused:\n{error}")
        }
    }
    app.refused.set(result.clone().err());
    result
}

async fn take_up(app: &Arc<App>, path: &Path) -> Result<(), String> {
    let loaded = config::load(path, &|name| std::env::var(name).ok())
        .map_err(|errors| errors.to_string())?;
    let old = app.config.load_full();
    let fixed: Vec<String> = old
        .valid
        .diff(&loaded.valid)
        .into_iter()
        .filter_map(|change| match change.effect {
            Effect::NeedsRestart => Some(format!(
                "{} cannot change while running: {}",
                change.key, change.why
            )),
            Effect::Ignored => {
                tracing::warn!("the change of {} is ignored: {}", change.key, change.why);
                None
            }
            Effect::Live => None,
        })
        .collect();
    if !fixed.is_empty() {
        return Err(fixed.join("\n"));
    }
    config::check_files(&loaded).map_err(|errors| errors.to_string())?;
    let specs = wire::consumers(&loaded.valid).map_err(|error| error.to_string())?;
    let rules = wire::rules(&loaded.valid).map_err(|error| error.to_string())?;
    app.plugins.configure(&loaded.valid).await?;
    app.config.store(Arc::new(loaded));
    app.host.apply(specs, rules).await;
    Ok(())
}

/// Watches the configuration file and the plugin folder until cancelled.
pub async fn watch(app: Arc<App>, config: PathBuf, mut seen: Seen, stop: CancellationToken) {
    let folder = config
        .parent()
        .filter(|p| !p.as_os_str().is_empty())
        .unwrap_or(Path::new("."))
        .to_owned();
    let mut watch = Watch::new(&[folder, app.plugins.folder().to_owned()]);
    loop {
        tokio::select! {
            () = stop.cancelled() => return,
            () = watch.next() => {}
        }
        if !seen.settled(std::slice::from_ref(&config)).await.is_empty() {
            // What is wrong with it was logged and is kept for readiness.
            let _ = configuration(&app, &config).await;
        }
        app.plugins.look().await;
    }
}

/// The stamps of a configuration that was just loaded.
#[must_use]
pub fn seen(config: &Path, _loaded: &Loaded) -> Seen {
    let mut seen = Seen::default();
    seen.note(config);
    seen
}
