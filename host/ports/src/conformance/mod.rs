//! The suites that every adapter passes.

pub mod broker;
pub mod store;
