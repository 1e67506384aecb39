//! A broker and a claim store that live inside the host: no server to install,
//! for development, for tests and for one small machine.
//!
//! Both keep their data in a [redb](https://docs.rs/redb) file of their own, or
//! in memory. Only one process can have such a file open.
//!
//! ```
//! use holdfast_embedded::EmbeddedStore;
//! use holdfast_ports::store::{Open, Store};
//!
//! # #[tokio::main(flavor = "current_thread")]
//! # async fn main() -> Result<(), holdfast_ports::error::PortError> {
//! let store = EmbeddedStore::open(None)?;
//! let found = store.open(Open::Create).await?;
//! assert!(found.is_some());
//! # Ok(())
//! # }
//! ```
//!
//! [`FaultyStore`] wraps any store and misbehaves as a test tells it to.

mod broker;
pub mod clock;
mod engine;
mod faults;
mod rows;
mod store;

pub use broker::{Browsed, EmbeddedBroker, QueueView};
pub use faults::{Faults, FaultyStore};
pub use store::EmbeddedStore;
#[doc(hidden)]
pub use store::inputs;
