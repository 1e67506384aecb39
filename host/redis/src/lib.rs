//! Claims, leases, switches and state in Redis (7.0 or later): the adapter
//! behind [`holdfast_ports::store::Store`].
//!
//! - Each decision is one Lua file in `src/lua/`, run in the server, so nothing
//!   is ever read and then written in two steps. They decide exactly as the
//!   functions of `holdfast_core::claim` do; tests hold the two together.
//! - Names of keys: `src/keys.rs`. Layout of a claim: `src/lua/record.lua`.
//! - All calls share one connection; what waits is sent together (`src/link`).
//!
//! This crate decides nothing and keeps nothing: what a script answers is what
//! the caller gets.
//!
//! ```no_run
//! use holdfast_ports::store::{Open, Store};
//! use holdfast_redis::{RedisOptions, RedisStore};
//!
//! # async fn start() -> Result<(), holdfast_ports::error::PortError> {
//! let options = RedisOptions::new("redis://127.0.0.1:6379/0", "orders");
//! let store = RedisStore::connect(options).await?;
//! if let Some(found) = store.open(Open::Create).await? {
//!     // From here on every call is checked against this store.
//!     store.open(Open::Expect(found.incarnation)).await?;
//! }
//! # Ok(())
//! # }
//! ```

mod answers;
mod call;
mod claims;
mod cluster;
mod error;
mod groups;
mod incarnation;
#[doc(hidden)]
pub mod inputs;
mod instances;
mod keys;
mod link;
mod looks;
mod names;
mod options;
mod reason;
mod reply;
mod script;
mod servers;
mod service;
mod store;
mod views;
mod watch;

pub use options::RedisOptions;
pub use store::RedisStore;
