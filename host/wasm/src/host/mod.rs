//! What guests may call, one file for each import.

mod log;
pub(crate) mod messaging;
mod outbox;
mod state;
mod vars;
pub(crate) mod wasi;
