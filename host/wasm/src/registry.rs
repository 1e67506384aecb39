//! The plugins in service, and how one version replaces another.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{SystemTime, UNIX_EPOCH};

use arc_swap::ArcSwap;
use holdfast_ports::plugins::{Plugin, PluginInfo, PluginSettings, Plugins};
use wasmtime::component::Component;

use crate::engine::{EngineError, Host};
use crate::error::LoadError;
use crate::load;
use crate::options::Options;
use crate::plugin::{Loaded, Serving};

/// All plugins of a process.
pub struct Registry {
    host: Arc<Host>,
    serving: ArcSwap<BTreeMap<String, Slot>>,
    /// One change at a time.
    changing: Mutex<()>,
}

#[derive(Clone)]
struct Slot {
    now: Arc<Serving>,
    /// The last other version that served.
    before: Option<Arc<Loaded>>,
}

/// Why there is no going back.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum RollbackError {
    /// No plugin serves under this name.
    #[error("failed to roll back: no plugin is named {0:?}")]
    NoPlugin(String),
    /// It has not been replaced since the host started.
    #[error("failed to roll back: {0:?} has had no other version since the host started")]
    NoEarlierVersion(String),
}

impl Registry {
    /// Starts the engine and the threads for guests. To be called from within
    /// a tokio runtime, whose timers serve guests that wait.
    ///
    /// # Errors
    /// [`EngineError`]; nothing was started.
    pub fn new(options: Options) -> Result<Self, EngineError> {
        Ok(Self {
            host: Arc::new(Host::start(options)?),
            serving: ArcSwap::default(),
            changing: Mutex::new(()),
        })
    }

    /// Checks and compiles a component. Nothing serves yet.
    ///
    /// # Errors
    /// [`LoadError`]; nothing has changed.
    pub async fn load(
        &self,
        name: &str,
        bytes: Vec<u8>,
        settings: PluginSettings,
    ) -> Result<Arc<Loaded>, LoadError> {
        let known = self.known(name);
        load::load(&self.host, name, |_| Ok(bytes), settings, known).await
    }

    /// Like [`Registry::load`], for a file, which is read once.
    ///
    /// # Errors
    /// [`LoadError`]; nothing has changed.
    pub async fn load_file(
        &self,
        name: &str,
        path: impl Into<PathBuf>,
        settings: PluginSettings,
    ) -> Result<Arc<Loaded>, LoadError> {
        let (known, path) = (self.known(name), path.into());
        let read = move |max| load::read(&path, max);
        load::load(&self.host, name, read, settings, known).await
    }

    /// Takes a loaded plugin into service under its name, at once. Calls in
    /// flight finish on the version they began with.
    pub fn install(&self, loaded: &Arc<Loaded>) -> PluginInfo {
        let changing = self.change();
        let mut all = BTreeMap::clone(&self.serving.load());
        let name = loaded.info().name.clone();
        let before = all.remove(&name).and_then(|slot| {
            let same = slot.now.loaded().info().sha256 == loaded.info().sha256;
            if same {
                slot.before
            } else {
                Some(slot.now.loaded().clone())
            }
        });
        let now = Arc::new(Serving::new(loaded.clone(), now_ms()));
        let info = now.info().clone();
        all.insert(name, Slot { now, before });
        self.serving.store(Arc::new(all));
        drop(changing);
        info
    }

    /// Takes the version before the current one back into service; the current
    /// one becomes the one before.
    ///
    /// # Errors
    /// [`RollbackError`]; the current version goes on serving.
    pub fn rollback(&self, name: &str) -> Result<PluginInfo, RollbackError> {
        let slot = self.serving.load().get(name).cloned();
        let slot = slot.ok_or_else(|| RollbackError::NoPlugin(name.to_owned()))?;
        let before = slot
            .before
            .ok_or_else(|| RollbackError::NoEarlierVersion(name.to_owned()))?;
        Ok(self.install(&before))
    }

    /// Takes a plugin out of service. Was there one? Calls in flight finish.
    pub fn remove(&self, name: &str) -> bool {
        let _changing = self.change();
        let mut all = BTreeMap::clone(&self.serving.load());
        let removed = all.remove(name).is_some();
        self.serving.store(Arc::new(all));
        removed
    }

    /// The plugins in service, by name.
    #[must_use]
    pub fn list(&self) -> Vec<PluginInfo> {
        let all = self.serving.load();
        all.values().map(|slot| slot.now.info().clone()).collect()
    }

    /// The plugin in service under this name.
    #[must_use]
    pub fn serving(&self, name: &str) -> Option<Arc<Serving>> {
        self.serving.load().get(name).map(|slot| slot.now.clone())
    }

    /// The version that [`Registry::rollback`] would bring back.
    #[must_use]
    pub fn before(&self, name: &str) -> Option<PluginInfo> {
        let all = self.serving.load();
        let before = all.get(name)?.before.as_ref()?;
        Some(before.info().clone())
    }

    /// The SHA-256 of bytes in hex, as plugins are pinned by it.
    #[must_use]
    pub fn sha256(bytes: &[u8]) -> String {
        load::sha256(bytes)
    }

    /// The folder where compiled components are kept, if they are.
    #[must_use]
    pub fn cache(&self) -> Option<&Path> {
        self.host.cache.as_ref()?;
        self.host.options.cache.as_deref()
    }

    /// A change of settings alone compiles nothing.
    fn known(&self, name: &str) -> impl Fn(&str) -> Option<Component> + Send + 'static {
        let slot = self.serving.load().get(name).cloned();
        move |sha256| {
            let slot = slot.as_ref()?;
            let mut versions = [Some(slot.now.loaded()), slot.before.as_ref()]
                .into_iter()
                .flatten();
            let same = versions.find(|loaded| loaded.info().sha256 == sha256)?;
            Some(same.component.clone())
        }
    }

    fn change(&self) -> MutexGuard<'_, ()> {
        self.changing.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Plugins for Registry {
    fn current(&self, name: &str) -> Option<Arc<dyn Plugin>> {
        let serving = self.serving(name)?;
        Some(serving)
    }
}

/// For people: when a version was taken into service.
fn now_ms() -> u64 {
    let since = SystemTime::now().duration_since(UNIX_EPOCH);
    since.map_or(0, |since| {
        u64::try_from(since.as_millis()).unwrap_or(u64::MAX)
    })
}
