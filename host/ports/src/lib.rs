//! What Holdfast needs of the world, as traits: a [`broker`], a [`store`] and
//! [`plugins`]. Adapters implement them, the runtime uses nothing else.
//!
//! The traits are used as `Arc<dyn …>`, because the configuration chooses the
//! broker and the store when the process starts, and may choose several brokers.
//! A boxed future for each call costs some tens of nanoseconds, next to a round
//! trip of tens of microseconds.
//!
//! With the feature `conformance`, the module of that name holds the suites that every
//! adapter has to pass.

pub mod broker;
#[cfg(feature = "conformance")]
pub mod conformance;
pub mod error;
pub mod look;
pub mod message;
pub mod plugins;
pub mod store;
