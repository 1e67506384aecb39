//! Hosts message handlers that are WebAssembly components.
//!
//! A component is loaded from bytes (compiled and checked whole), then taken
//! into service, where it replaces the version before at once. Each message is
//! handled by an instance of its own unless the plugin says otherwise, with
//! limits on time, memory and everything it can have the host do.
//!
//! ```
//! use holdfast_ports::plugins::PluginSettings;
//! use holdfast_wasm::{LoadError, Options, Registry};
//!
//! # #[tokio::main]
//! # async fn main() {
//! let plugins = Registry::new(Options::default()).expect("an engine");
//! let refused = plugins.load("orders", Vec::new(), PluginSettings::default()).await;
//! assert!(matches!(refused, Err(LoadError::Empty)));
//! assert!(plugins.list().is_empty());
//! # }
//! ```
//!
//! What is not here: guests have no files, no sockets, no environment and no
//! arguments; they have clocks, random numbers, and HTTP to the hosts that their
//! settings list. No guest runs on a thread of the caller.

mod bindings;
mod cache;
mod engine;
mod error;
mod guest;
mod host;
mod http;
mod inspect;
mod load;
mod log;
mod lookout;
mod options;
mod plugin;
mod registry;
mod run;
mod shape;
mod stage;
mod text;
mod threads;
mod ticker;

pub use engine::EngineError;
pub use error::LoadError;
pub use log::{Level, Line, LogSink, Source, TracingLog};
pub use options::{Limits, Options};
pub use plugin::{Loaded, Serving};
pub use registry::{Registry, RollbackError};
