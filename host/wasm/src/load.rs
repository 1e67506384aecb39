//! From bytes to a plugin that can serve: hashed, compared with the pin, told
//! apart, compiled, checked against its world and started once. What is hashed
//! is what runs: the bytes are read once.

use std::fs::File;
use std::io::Read as _;
use std::path::Path;
use std::sync::Arc;

use holdfast_ports::plugins::{PluginInfo, PluginSettings, World};
use sha2::{Digest as _, Sha256};
use tokio::sync::{OwnedSemaphorePermit, oneshot};
use wasmtime::component::Component;

use crate::bindings::batch::BatchConsumerPre;
use crate::bindings::consumer::ConsumerPre;
use crate::bindings::messaging::MessagingCorePre;
use crate::engine::{Host, TABLES};
use crate::error::LoadError;
use crate::guest::Work;
use crate::inspect::outline;
use crate::plugin::{Handler, Loaded, Shared};
use crate::run::Finished;
use crate::shape;

/// Compiling odd code takes stack.
const COMPILER_STACK: usize = 16 << 20;

/// Reads a file once.
pub(crate) fn read(path: &Path, max: u64) -> Result<Vec<u8>, LoadError> {
    let unreadable = |source| LoadError::Unreadable {
        path: path.to_owned(),
        source,
    };
    let mut bytes = Vec::new();
    let file = File::open(path).map_err(unreadable)?;
    file.take(max + 1)
        .read_to_end(&mut bytes)
        .map_err(unreadable)?;
    Ok(bytes)
}

/// SHA-256 in hex.
pub(crate) fn sha256(bytes: &[u8]) -> String {
    use std::fmt::Write as _;
    let digest = Sha256::digest(bytes);
    digest.iter().fold(String::new(), |mut out, byte| {
        let _ = write!(out, "{byte:02x}");
        out
    })
}

/// Loads a plugin off the hot path, within the time limit. `known` gives the
/// compiled form of a component that is loaded already.
pub(crate) async fn load(
    host: &Arc<Host>,
    name: &str,
    bytes: impl FnOnce(u64) -> Result<Vec<u8>, LoadError> + Send + 'static,
    settings: PluginSettings,
    known: impl Fn(&str) -> Option<Component> + Send + 'static,
) -> Result<Arc<Loaded>, LoadError> {
    let limit = host.options.load_timeout;
    let timed_out = |_| LoadError::Timeout(limit);
    let compilers = host.compilers.clone();
    let permit = tokio::time::timeout(limit, compilers.acquire_owned())
        .await
        .map_err(timed_out)?
        .map_err(|error| LoadError::Host(error.to_string()))?;
    let (job_host, job_name) = (host.clone(), name.to_owned());
    let job = move || {
        let bytes = bytes(job_host.options.max_file)?;
        compile(&job_host, &job_name, &bytes, settings, &known)
    };
    let loaded = tokio::time::timeout(limit, on_a_thread(permit, job)?)
        .await
        .map_err(timed_out)?
        .unwrap_or_else(|_| {
            let text = "the compiler failed; this is a bug of the compiler or the host";
            Err(LoadError::Host(text.to_owned()))
        })?;
    // Its own code runs here for the first time, within its own limits.
    match loaded.run(Work::Nothing).await {
        Some(Finished::Started(Ok(()))) => Ok(loaded),
        Some(Finished::Started(Err(text))) => Err(LoadError::Start(text)),
        _ => Err(LoadError::Host("it cannot be started".to_owned())),
    }
}

/// A compiler that takes too long cannot be stopped; it keeps its permit until
/// it ends by itself, so that there are never many.
fn on_a_thread<T: Send + 'static>(
    permit: OwnedSemaphorePermit,
    job: impl FnOnce() -> T + Send + 'static,
) -> Result<oneshot::Receiver<T>, LoadError> {
    let (done, receiver) = oneshot::channel();
    std::thread::Builder::new()
        .name("guest-compiler".to_owned())
        .stack_size(COMPILER_STACK)
        .spawn(move || {
            let _ = done.send(job());
            drop(permit);
        })
        .map_err(|error| LoadError::Host(format!("no thread for the compiler: {error}")))?;
    Ok(receiver)
}

fn compile(
    host: &Arc<Host>,
    name: &str,
    bytes: &[u8],
    settings: PluginSettings,
    known: &dyn Fn(&str) -> Option<Component>,
) -> Result<Arc<Loaded>, LoadError> {
    let max = host.options.max_file;
    if bytes.len() as u64 > max {
        let bytes = bytes.len() as u64;
        return Err(LoadError::TooLarge { bytes, max });
    }
    let found = sha256(bytes);
    if let Some(wanted) = &settings.sha256
        && !wanted.eq_ignore_ascii_case(&found)
    {
        return Err(LoadError::Digest {
            wanted: wanted.clone(),
            found,
        });
    }
    let outline = outline(bytes)?;
    let component = match known(&found) {
        Some(component) => component,
        None => cached(host, bytes, &found)?,
    };
    let shape = shape::check(&host.engine, &component)?;
    let weight = weight(host, &component, &settings)?;
    let handler = handler(host, &component, shape.world)?;
    let info = PluginInfo {
        name: name.to_owned(),
        sha256: found,
        bytes: bytes.len() as u64,
        version: outline.version,
        world: shape.world,
        uses_state: shape.uses_state,
        since_ms: 0,
    };
    let shared = Arc::new(Shared {
        name: name.into(),
        settings,
        limits: host.options.limits,
        log: host.options.log.clone(),
        http: host.http.clone(),
        lookout: host.lookout.clone(),
    });
    Ok(Loaded::new(
        host.clone(),
        shared,
        handler,
        component,
        info,
        weight,
    ))
}

/// The compiled component, from the cache or by the compiler.
fn cached(host: &Host, bytes: &[u8], sha256: &str) -> Result<Component, LoadError> {
    let cache = host.cache.as_ref();
    if let Some(component) = cache.and_then(|cache| cache.get(&host.engine, sha256)) {
        return Ok(component);
    }
    let component = Component::from_binary(&host.engine, bytes)
        .map_err(|error| LoadError::Invalid(format!("{error:#}")))?;
    if let Some(cache) = cache
        && let Err(error) = cache.put(sha256, &component)
    {
        tracing::warn!(%error, "a compiled component could not be kept");
    }
    Ok(component)
}

/// How many places of the instance pool one instance takes.
fn weight(host: &Host, component: &Component, settings: &PluginSettings) -> Result<u32, LoadError> {
    let Some(needs) = component.resources_required() else {
        let text = "it imports core modules".to_owned();
        return Err(LoadError::TooManyParts(text));
    };
    let pages = needs.max_initial_memory_size.unwrap_or(0);
    let first = pages.saturating_mul(64 << 10);
    if first > settings.memory {
        return Err(LoadError::Memory {
            needs: first,
            limit: settings.memory,
        });
    }
    let weight = needs.num_memories.max(needs.num_tables.div_ceil(TABLES));
    if weight > host.share() {
        return Err(LoadError::TooManyParts(format!(
            "{} memories and {} tables",
            needs.num_memories, needs.num_tables
        )));
    }
    Ok(weight.max(1))
}

fn handler(host: &Host, component: &Component, world: World) -> Result<Handler, LoadError> {
    let linkers = &host.linkers;
    let handler = match world {
        World::Consumer => linkers
            .consumer
            .instantiate_pre(component)
            .and_then(ConsumerPre::new)
            .map(Handler::Consumer),
        World::BatchConsumer => linkers
            .batch
            .instantiate_pre(component)
            .and_then(BatchConsumerPre::new)
            .map(Handler::Batch),
        World::Messaging => linkers
            .messaging
            .instantiate_pre(component)
            .and_then(MessagingCorePre::new)
            .map(Handler::Messaging),
    };
    handler.map_err(|error| LoadError::Invalid(format!("{error:#}")))
}
