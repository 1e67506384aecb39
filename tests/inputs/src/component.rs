//! Loading a plugin.

use std::sync::OnceLock;
use std::time::Duration;

use holdfast_ports::plugins::PluginSettings;
use holdfast_wasm::{Options, Registry};
use tokio::runtime::Runtime;

struct Host {
    registry: Registry,
    runtime: Runtime,
}

/// The file of a plugin: loaded, or an error that says why not.
pub(crate) fn load(data: &[u8]) {
    static HOST: OnceLock<Host> = OnceLock::new();
    let host = HOST.get_or_init(|| {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let inside = runtime.enter();
        let registry = Registry::new(Options {
            max_file: 1 << 20,
            load_timeout: Duration::from_secs(10),
            ..Options::default()
        });
        drop(inside);
        Host {
            registry: registry.expect("an engine"),
            runtime,
        }
    });
    let loading = host
        .registry
        .load("fuzz", data.to_vec(), PluginSettings::default());
    if let Err(error) = host.runtime.block_on(loading) {
        assert!(!error.to_string().is_empty());
    }
}
