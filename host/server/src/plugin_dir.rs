//! The plugin folder: what is in it, what of it is in service.
//!
//! A new file is read once, hashed, compared with its pin, compiled away from
//! the messages and type-checked; only then one pointer is replaced. Anything
//! wrong leaves the version in service where it is, and is shown.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use holdfast_ports::plugins::{PluginInfo, PluginSettings, Plugins};
use holdfast_wasm::{Options, Registry};
use metrics::{counter, gauge};

use crate::config::Valid;
use crate::watch::Seen;
use crate::wire;

/// One plugin, for people.
#[derive(Clone, Debug)]
pub struct PluginRow {
    /// What is in service.
    pub info: PluginInfo,
    /// Its file.
    pub file: PathBuf,
    /// The digest of the version before, which `rollback` brings back.
    pub previous: Option<String>,
    /// Why the file that is there now was refused, if it was.
    pub refused: Option<String>,
}

/// The plugins of one host.
pub struct PluginDir {
    registry: Arc<Registry>,
    folder: PathBuf,
    wanted: Mutex<BTreeMap<String, PluginSettings>>,
    refused: Mutex<BTreeMap<String, String>>,
    seen: tokio::sync::Mutex<Seen>,
}

impl PluginDir {
    /// Loads every plugin of a configuration.
    ///
    /// # Errors
    /// What is wrong with which plugins.
    pub async fn open(config: &Valid) -> Result<Arc<Self>, String> {
        let plugins = Self::new(config)?;
        let mut problems = Vec::new();
        let mut seen = plugins.seen.lock().await;
        for name in plugins.names() {
            seen.note(&plugins.file(&name));
            if let Err(error) = plugins.take_up(&name).await {
                problems.push(format!("the plugin `{name}` cannot be used: {error}"));
            }
        }
        drop(seen);
        if problems.is_empty() {
            Ok(Arc::new(plugins))
        } else {
            Err(problems.join("\n"))
        }
    }

    fn new(config: &Valid) -> Result<Self, String> {
        let registry = Registry::new(options(config)).map_err(|error| error.to_string())?;
        Ok(Self {
            registry: Arc::new(registry),
            folder: config.plugin_dir.clone(),
            wanted: Mutex::new(wanted(config)),
            refused: Mutex::default(),
            seen: tokio::sync::Mutex::default(),
        })
    }

    /// Loads every plugin of a configuration into nothing: which cannot be used,
    /// and why.
    pub async fn try_all(config: &Valid) -> Vec<(String, String)> {
        let plugins = match Self::new(config) {
            Ok(plugins) => plugins,
            Err(error) => return vec![(String::new(), error)],
        };
        let mut problems = Vec::new();
        for (name, settings) in wanted(config) {
            let file = plugins.file(&name);
            if let Err(error) = plugins.registry.load_file(&name, file, settings).await {
                problems.push((name, error.to_string()));
            }
        }
        problems
    }

    /// The plugins as the runtime takes them.
    #[must_use]
    pub fn plugins(&self) -> Arc<dyn Plugins> {
        let registry: Arc<Registry> = Arc::clone(&self.registry);
        registry
    }

    /// The folder.
    #[must_use]
    pub fn folder(&self) -> &Path {
        &self.folder
    }

    /// All plugins by name.
    #[must_use]
    pub fn rows(&self) -> Vec<PluginRow> {
        let refused = self.refused().clone();
        let row = |info: PluginInfo| PluginRow {
            file: self.file(&info.name),
            previous: self.registry.before(&info.name).map(|before| before.sha256),
            refused: refused.get(&info.name).cloned(),
            info,
        };
        self.registry.list().into_iter().map(row).collect()
    }

    /// Looks at the folder and takes up every file that changed.
    pub async fn look(&self) {
        let names = self.names();
        let files: Vec<PathBuf> = names.iter().map(|name| self.file(name)).collect();
        let mut seen = self.seen.lock().await;
        let changed = seen.settled(&files).await;
        for (name, file) in names.iter().zip(&files) {
            if changed.contains(file) {
                // What is wrong with it was logged and is kept for readiness.
                let _ = self.take_up(name).await;
            }
        }
    }

    /// Loads the file of a plugin again and takes it into service.
    ///
    /// # Errors
    /// What is wrong with it; the version in service goes on serving.
    pub async fn reload(&self, name: &str) -> Result<PluginInfo, String> {
        if !self.wanted().contains_key(name) {
            return Err(format!("no plugin is named {name:?}"));
        }
        self.seen.lock().await.note(&self.file(name));
        self.take_up(name).await
    }

    /// Takes the version before into service. It serves until the file changes
    /// again.
    ///
    /// # Errors
    /// There is none; the version in service goes on serving.
    pub async fn rollback(&self, name: &str) -> Result<PluginInfo, String> {
        let seen = self.seen.lock().await;
        let info = self
            .registry
            .rollback(name)
            .map_err(|error| error.to_string())?;
        drop(seen);
        tracing::info!(plugin = name, sha256 = info.sha256, "rolled back");
        self.show(&info);
        Ok(info)
    }

    /// Takes up the plugins and settings of a new configuration: all of them, or
    /// none.
    ///
    /// # Errors
    /// What is wrong with which; the old ones go on serving.
    pub async fn configure(&self, config: &Valid) -> Result<(), String> {
        let new = wanted(config);
        let old = self.wanted().clone();
        let mut seen = self.seen.lock().await;
        let (mut loaded, mut problems) = (Vec::new(), Vec::new());
        for (name, settings) in &new {
            if old.get(name) == Some(settings) {
                continue;
            }
            seen.note(&self.file(name));
            match self
                .registry
                .load_file(name, self.file(name), settings.clone())
                .await
            {
                Ok(one) => loaded.push(one),
                Err(error) => problems.push(format!("the plugin `{name}` cannot be used: {error}")),
            }
        }
        if !problems.is_empty() {
            return Err(problems.join("\n"));
        }
        for one in &loaded {
            let info = self.registry.install(one);
            self.show(&info);
        }
        *self.wanted() = new;
        Ok(())
    }

    async fn take_up(&self, name: &str) -> Result<PluginInfo, String> {
        let settings = self.wanted().get(name).cloned().unwrap_or_default();
        match self
            .registry
            .load_file(name, self.file(name), settings)
            .await
        {
            Ok(loaded) => {
                self.refused().remove(name);
                if let Some(current) = self.registry.serving(name)
                    && current.loaded().info().sha256 == loaded.info().sha256
                {
                    return Ok(current.loaded().info().clone());
                }
                let info = self.registry.install(&loaded);
                tracing::info!(
                    plugin = name,
                    sha256 = info.sha256,
                    world = info.world.as_str(),
                    "serving"
                );
                counter!("holdfast_reloads_total", "plugin" => name.to_owned(), "result" => "ok")
                    .increment(1);
                self.show(&info);
                Ok(info)
            }
            Err(error) => {
                let error = error.to_string();
                tracing::error!(plugin = name, file = %self.file(name).display(), error, "refused; the version before goes on serving");
                counter!("holdfast_reloads_total", "plugin" => name.to_owned(), "result" => "refused").increment(1);
                self.refused().insert(name.to_owned(), error.clone());
                Err(error)
            }
        }
    }

    fn show(&self, info: &PluginInfo) {
        let series = |sha256: &str, version: &str| gauge!("holdfast_plugin_info", "plugin" => info.name.clone(), "sha256" => sha256.to_owned(), "version" => version.to_owned());
        if let Some(before) = self.registry.before(&info.name) {
            series(&before.sha256, &before.version).set(0.0);
        }
        series(&info.sha256, &info.version).set(1.0);
    }

    fn file(&self, name: &str) -> PathBuf {
        self.folder.join(format!("{name}.wasm"))
    }

    fn names(&self) -> Vec<String> {
        self.wanted().keys().cloned().collect()
    }

    fn wanted(&self) -> MutexGuard<'_, BTreeMap<String, PluginSettings>> {
        self.wanted.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn refused(&self) -> MutexGuard<'_, BTreeMap<String, String>> {
        self.refused.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// The plugins that consumers use, with their settings.
fn wanted(config: &Valid) -> BTreeMap<String, PluginSettings> {
    let used = config
        .consumers
        .values()
        .map(|consumer| consumer.plugin.clone());
    used.map(|name| {
        let settings = wire::plugin_settings(&config.plugin(&name));
        (name, settings)
    })
    .collect()
}

/// Room for all that consumers may run together, even if one plugin serves them
/// all: it gets three quarters of the places, so that others always find one.
/// Compiled components go into the user's cache folder.
fn options(config: &Valid) -> Options {
    let instances: u32 = config
        .consumers
        .values()
        .map(|c| c.concurrency * partitions(c))
        .sum();
    Options {
        instances: instances.div_ceil(3).saturating_mul(4).clamp(16, 4096),
        cache: cache_folder(),
        ..Options::default()
    }
}

fn partitions(consumer: &crate::config::valid::Consumer) -> u32 {
    u32::try_from(consumer.bindings().len()).unwrap_or(u32::MAX)
}

/// Where compiled components are kept: `HOLDFAST_CACHE`, else the user's cache
/// folder; none when there is neither.
#[must_use]
pub fn cache_folder() -> Option<PathBuf> {
    let set = |name: &str| {
        std::env::var_os(name)
            .filter(|value| !value.is_empty())
            .map(PathBuf::from)
    };
    set("HOLDFAST_CACHE")
        .or_else(|| set("XDG_CACHE_HOME").map(|folder| folder.join("holdfast")))
        .or_else(|| set("HOME").map(|folder| folder.join(".cache/holdfast")))
}
