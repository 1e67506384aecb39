//! The suites that every adapter passes.
