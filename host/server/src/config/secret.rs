//! Values that must not be shown.

use std::fmt;

use super::url::{Host, UrlError, UrlParts};

/// A text that only [`Secret::expose`] gives out; printing it gives stars.
#[derive(Clone, PartialEq, Eq)]
pub struct Secret(String);

impl Secret {
    /// Wraps a text.
    #[must_use]
    pub fn new(text: impl Into<String>) -> Self {
        Self(text.into())
    }

    /// The text itself.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.0
    }
}

impl fmt::Debug for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

impl fmt::Display for Secret {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("***")
    }
}

/// The address of a server. Printing it hides user and password (and the
/// query, which may hold either); [`SecretUrl::expose`] gives the whole.
#[derive(Clone, PartialEq, Eq)]
pub struct SecretUrl {
    whole: String,
    parts: UrlParts,
}

impl SecretUrl {
    /// Takes an address apart.
    ///
    /// # Errors
    /// [`UrlError`] says what is wrong, without showing any of it.
    pub fn parse(text: &str) -> Result<Self, UrlError> {
        Ok(Self {
            whole: text.to_owned(),
            parts: UrlParts::parse(text)?,
        })
    }

    /// The whole address, for the client that connects to it.
    #[must_use]
    pub fn expose(&self) -> &str {
        &self.whole
    }

    /// What stands before `://`, in lower case.
    #[must_use]
    pub fn scheme(&self) -> &str {
        &self.parts.scheme
    }

    /// The server's name or address; none for a socket file.
    #[must_use]
    pub fn host(&self) -> Option<&Host> {
        self.parts.host.as_ref()
    }

    pub(super) fn parts(&self) -> &UrlParts {
        &self.parts
    }
}

impl fmt::Display for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let UrlParts {
            scheme,
            has_user,
            host,
            port,
            path,
            query,
            ..
        } = &self.parts;
        write!(f, "{scheme}://")?;
        if *has_user {
            f.write_str("***@")?;
        }
        if let Some(host) = host {
            write!(f, "{host}")?;
        }
        if let Some(port) = port {
            write!(f, ":{port}")?;
        }
        f.write_str(path)?;
        if query.is_some() {
            f.write_str("?***")?;
        }
        Ok(())
    }
}

impl fmt::Debug for SecretUrl {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}
