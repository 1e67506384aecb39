//! Why a plugin is not loaded. Nothing changes when one is refused: the version
//! that serves goes on serving.

use std::path::PathBuf;
use std::time::Duration;

use crate::text::size;

/// Why a plugin is not loaded.
#[derive(Debug, thiserror::Error)]
pub enum LoadError {
    /// The file cannot be read.
    #[error("failed to read {path}: {source}")]
    Unreadable {
        /// The file.
        path: PathBuf,
        /// What the system says.
        source: std::io::Error,
    },
    /// Nothing is in it.
    #[error("failed to load: the file is empty")]
    Empty,
    /// It is larger than a component may be.
    #[error("failed to load: the file has {bytes} bytes, more than {}", size(*max))]
    TooLarge {
        /// Its size; for one that is being written, at least this.
        bytes: u64,
        /// The limit in bytes.
        max: u64,
    },
    /// It is no WebAssembly.
    #[error("failed to load: this is not a WebAssembly file")]
    NotWasm,
    /// It is a core module.
    #[error(
        "failed to load: this is a core WebAssembly module, not a component; \
         build it for the target wasm32-wasip2 or wrap it with `wasm-tools component new`"
    )]
    CoreModule,
    /// It holds machine code.
    #[error(
        "failed to load: this file is precompiled machine code, which is never loaded; \
         use the .wasm component that it was made from"
    )]
    Precompiled,
    /// It ends too early.
    #[error("failed to load: the file ends too early ({0}); was it still being written?")]
    Truncated(String),
    /// It is no valid component.
    #[error("failed to load: this is not a valid component: {0}")]
    Invalid(String),
    /// It is not the file that the configuration names.
    #[error("failed to load: its SHA-256 is {found}, the configuration wants {wanted}")]
    Digest {
        /// What it should be.
        wanted: String,
        /// What it is.
        found: String,
    },
    /// It exports no handler.
    #[error(
        "failed to load: it exports no handler; wanted is one of holdfast:consumer/handler@0.1.0, \
         holdfast:consumer/batch-handler@0.1.0 and wasi:messaging/incoming-handler@0.2.0-draft, \
         found {found}"
    )]
    WrongWorld {
        /// Its exports.
        found: String,
    },
    /// It imports what the host does not have.
    #[error("failed to load: it imports {name}, which the world {world} does not have{hint}")]
    UnknownImport {
        /// The import with its signature.
        name: String,
        /// The world it is of.
        world: &'static str,
        /// What to do about it, or nothing.
        hint: &'static str,
    },
    /// A function has another signature than the interface says.
    #[error("failed to load: {name} has the signature `{found}`, the interface says `{wanted}`")]
    Signature {
        /// The import or export.
        name: String,
        /// As in the interface.
        wanted: String,
        /// As in the component.
        found: String,
    },
    /// It needs more than its settings allow.
    #[error("failed to load: it starts with {needs} bytes of memory, its limit is {}", size(*limit))]
    Memory {
        /// What it needs in bytes.
        needs: u64,
        /// What it may have in bytes.
        limit: u64,
    },
    /// It is made of too many parts for the host.
    #[error("failed to load: it is made of too many parts ({0})")]
    TooManyParts(String),
    /// It cannot be started.
    #[error("failed to start it: {0}")]
    Start(String),
    /// It took too long.
    #[error("failed to compile it within {0:?}")]
    Timeout(Duration),
    /// The host cannot do it now.
    #[error("failed to load: {0}")]
    Host(String),
}
