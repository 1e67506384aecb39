//! The parts of the `holdfast` binary.
//!
//! This crate is the one place that names adapters. It reads the
//! configuration, builds what it describes and runs it.

pub mod admin;
pub mod app;
pub mod check;
pub mod cli;
pub mod config;
#[doc(hidden)]
pub mod inputs;
pub mod plugin_dir;
pub mod reload;
pub mod run;
pub mod telemetry;
pub mod watch;
pub mod wire;
