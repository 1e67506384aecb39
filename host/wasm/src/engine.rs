//! The engine that all plugins share: compiler, instance pool, linkers, the
//! threads that guests run on and the clock that interrupts them.

use std::sync::{Arc, Mutex, PoisonError, Weak};
use std::time::Instant;

use tokio::sync::{OwnedSemaphorePermit, Semaphore};
use wasmtime::component::{HasSelf, Linker};
use wasmtime::{
    Config, Enabled, Engine, InstanceAllocationStrategy, OptLevel, PoolingAllocationConfig,
};

use crate::bindings::consumer::holdfast::consumer as imports;
use crate::cache::Cache;
use crate::guest::Guest;
use crate::host::{http, messaging, wasi};
use crate::http::client::Client;
use crate::lookout::Lookout;
use crate::options::Options;
use crate::plugin::Loaded;
use crate::run::Finished;
use crate::threads::Threads;
use crate::ticker::Ticker;

/// Why the host of the guests cannot start.
#[derive(Debug, thiserror::Error)]
pub enum EngineError {
    /// The engine refuses its settings; most often the address space is
    /// limited, which fewer `instances` help against.
    #[error("failed to set up the WebAssembly engine for {instances} instances: {text}")]
    Engine {
        /// Instances wanted.
        instances: u32,
        /// What the engine says.
        text: String,
    },
    /// A thread cannot be started.
    #[error("failed to start a thread for guests: {0}")]
    Thread(std::io::Error),
    /// It has to be started from within a tokio runtime.
    #[error("failed to find a tokio runtime for the timers that guests wait for")]
    NoRuntime,
}

/// Memory of an instance that stays in place for the next one, in bytes.
const KEEP_RESIDENT: usize = 4 << 20;

/// Core modules that a component may be made of.
const CORE_INSTANCES: u32 = 64;

/// Tables for each memory.
pub(crate) const TABLES: u32 = 10;

/// The part of the instance pool that one plugin may fill.
const SHARE: (u32, u32) = (3, 4);

pub(crate) struct Host {
    pub(crate) engine: Engine,
    pub(crate) options: Options,
    pub(crate) linkers: Linkers,
    pub(crate) cache: Option<Cache>,
    pub(crate) http: Arc<Client>,
    pub(crate) lookout: Lookout,
    pub(crate) ticker: Ticker,
    pub(crate) threads: Threads<Finished>,
    /// Compilers that may run at once.
    pub(crate) compilers: Arc<Semaphore>,
    places: Arc<Semaphore>,
    /// Plugins that may keep idle instances.
    keepers: Mutex<Vec<Weak<Loaded>>>,
}

/// One for each world, so that a plugin gets only what its world has.
pub(crate) struct Linkers {
    pub(crate) consumer: Linker<Guest>,
    pub(crate) batch: Linker<Guest>,
    pub(crate) messaging: Linker<Guest>,
}

/// A place in the instance pool.
pub(crate) struct Place {
    _share: OwnedSemaphorePermit,
    _place: OwnedSemaphorePermit,
}

impl Host {
    pub(crate) fn start(options: Options) -> Result<Self, EngineError> {
        let io = tokio::runtime::Handle::try_current().map_err(|_| EngineError::NoRuntime)?;
        let failed = |error: wasmtime::Error| EngineError::Engine {
            instances: options.instances,
            text: format!("{error:#}"),
        };
        let engine = engine(&options).map_err(failed)?;
        let linkers = Linkers::new(&engine).map_err(failed)?;
        let cache = options
            .cache
            .as_ref()
            .and_then(|folder| match Cache::open(folder, &engine) {
                Ok(cache) => Some(cache),
                Err(error) => {
                    tracing::warn!(folder = %folder.display(), %error, "compiled components are not kept");
                    None
                }
            });
        let cores = || std::thread::available_parallelism().map_or(1, usize::from);
        let threads = options.threads.unwrap_or_else(cores);
        let threads = Threads::start(threads, &io).map_err(EngineError::Thread)?;
        let ticker =
            Ticker::start(&engine, options.tick, threads.look()).map_err(EngineError::Thread)?;
        Ok(Self {
            linkers,
            cache,
            lookout: Lookout::default(),
            http: Arc::new(Client::new(options.connections, options.limits.http_head)),
            ticker,
            threads,
            compilers: Arc::new(Semaphore::new(2)),
            places: Arc::new(Semaphore::new(options.instances as usize)),
            keepers: Mutex::new(Vec::new()),
            engine,
            options,
        })
    }

    /// How many places one plugin may have at once.
    pub(crate) fn share(&self) -> u32 {
        (self.options.instances.saturating_mul(SHARE.0) / SHARE.1).max(1)
    }

    /// Waits for a place in the pool. None when there is none in time.
    pub(crate) async fn place(&self, plugin: &Loaded, until: Instant) -> Option<Place> {
        let permit = |of: &Arc<Semaphore>| of.clone().try_acquire_many_owned(plugin.weight).ok();
        if let Some(share) = permit(&plugin.share) {
            if let Some(place) = permit(&self.places) {
                return Some(Place {
                    _share: share,
                    _place: place,
                });
            }
            drop(share);
        }
        self.drop_idle();
        let wait = async {
            let weight = plugin.weight;
            let share = plugin.share.clone().acquire_many_owned(weight).await.ok()?;
            let place = self.places.clone().acquire_many_owned(weight).await.ok()?;
            Some(Place {
                _share: share,
                _place: place,
            })
        };
        tokio::time::timeout_at(until.into(), wait).await.ok()?
    }

    /// From now on the idle instances of this plugin give way when the pool is
    /// full.
    pub(crate) fn keeps_instances(&self, plugin: &Arc<Loaded>) {
        let mut keepers = self.keepers.lock().unwrap_or_else(PoisonError::into_inner);
        keepers.retain(|keeper| keeper.strong_count() > 0);
        keepers.push(Arc::downgrade(plugin));
    }

    fn drop_idle(&self) {
        let keepers = self.keepers.lock().unwrap_or_else(PoisonError::into_inner);
        let keepers: Vec<_> = keepers.iter().filter_map(Weak::upgrade).collect();
        for keeper in keepers {
            keeper.drop_idle();
        }
    }
}

impl Linkers {
    fn new(engine: &Engine) -> wasmtime::Result<Self> {
        let mut batch = Linker::new(engine);
        wasi::add_to_linker(&mut batch)?;
        imports::log::add_to_linker::<Guest, HasSelf<Guest>>(&mut batch, |guest| guest)?;
        imports::vars::add_to_linker::<Guest, HasSelf<Guest>>(&mut batch, |guest| guest)?;
        let mut consumer = batch.clone();
        imports::state::add_to_linker::<Guest, HasSelf<Guest>>(&mut consumer, |guest| guest)?;
        imports::outbox::add_to_linker::<Guest, HasSelf<Guest>>(&mut consumer, |guest| guest)?;
        http::add_to_linker(&mut consumer)?;
        let mut of_messaging = batch.clone();
        http::add_to_linker(&mut of_messaging)?;
        messaging::add_to_linker(&mut of_messaging)?;
        Ok(Self {
            consumer,
            batch,
            messaging: of_messaging,
        })
    }
}

/// Keeping memory in place is only faster where the kernel can say which pages
/// were written; elsewhere it is slower than giving it back.
fn engine(options: &Options) -> wasmtime::Result<Engine> {
    Engine::new(&config(options, true)).or_else(|_| Engine::new(&config(options, false)))
}

fn config(options: &Options, pagemap: bool) -> Config {
    let (instances, keep) = (options.instances, if pagemap { KEEP_RESIDENT } else { 0 });
    let mut pool = PoolingAllocationConfig::new();
    pool.total_component_instances(instances)
        .total_core_instances(instances.saturating_mul(CORE_INSTANCES))
        .max_core_instances_per_component(CORE_INSTANCES)
        .total_memories(instances)
        .total_tables(instances.saturating_mul(TABLES))
        .total_stacks(instances)
        .table_elements(options.limits.table_elements)
        .linear_memory_keep_resident(keep)
        .table_keep_resident(keep.min(1 << 20))
        .pagemap_scan(if pagemap { Enabled::Yes } else { Enabled::No });
    let mut config = Config::new();
    config
        .allocation_strategy(InstanceAllocationStrategy::Pooling(pool))
        .cranelift_opt_level(OptLevel::Speed)
        .memory_init_cow(true)
        .epoch_interruption(true)
        .max_wasm_stack(512 << 10)
        .async_stack_size(1 << 20);
    config
}
