//! What guests may call, one file for each import.

pub(crate) mod http;
mod log;
pub(crate) mod messaging;
mod outbox;
mod state;
mod streams;
mod vars;
pub(crate) mod wasi;
