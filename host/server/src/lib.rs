//! The parts of the `holdfast` binary.
//!
//! This crate is the one place that names adapters. It reads the
//! configuration, builds what it describes and runs it.

pub mod cli;
pub mod config;
