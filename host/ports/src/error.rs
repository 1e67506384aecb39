//! The one error of all ports. The worker does three different things about it,
//! so there are three kinds.

use std::fmt;

/// Why a call through a port gave no answer.
#[derive(Debug)]
pub struct PortError {
    /// What to do about it.
    pub kind: Kind,
    what: String,
    source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

/// What to do about an error.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Kind {
    /// Nothing is known about whether the call took effect. The same call,
    /// with the same token, may be made again; it will succeed when the server
    /// is back.
    Transient,
    /// The call was refused and will be refused again. Nothing was changed.
    Permanent,
    /// The record of this one message cannot be read (another type of key, a
    /// broken value). Nothing was changed; other messages are not affected.
    BadRecord,
    /// The store is not the one the host started with, or its data is gone.
    /// Nothing was changed, and nothing may be handled any more.
    Fenced,
}

impl PortError {
    /// An error of this kind; `what` completes the phrase "failed to …".
    pub fn new(kind: Kind, what: impl Into<String>) -> Self {
        Self {
            kind,
            what: what.into(),
            source: None,
        }
    }

    /// [`Kind::Transient`].
    pub fn transient(what: impl Into<String>) -> Self {
        Self::new(Kind::Transient, what)
    }

    /// [`Kind::Permanent`].
    pub fn permanent(what: impl Into<String>) -> Self {
        Self::new(Kind::Permanent, what)
    }

    /// [`Kind::BadRecord`].
    pub fn bad_record(what: impl Into<String>) -> Self {
        Self::new(Kind::BadRecord, what)
    }

    /// Keeps the vendor's error as the source.
    #[must_use]
    pub fn because(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Self {
        self.source = Some(source.into());
        self
    }

    /// May the same call succeed later?
    #[must_use]
    pub fn is_transient(&self) -> bool {
        self.kind == Kind::Transient
    }
}

impl fmt::Display for PortError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "failed to {}", self.what)?;
        match &self.source {
            Some(source) => write!(f, ": {source}"),
            None => Ok(()),
        }
    }
}

impl std::error::Error for PortError {
    fn source(&self) -> Option<&(dyn std::error::Error + 'static)> {
        self.source.as_deref().map(|source| source as _)
    }
}
