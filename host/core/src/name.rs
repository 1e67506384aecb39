//! Names: service, group, side, consumer, plugin.

use std::fmt;
use std::sync::Arc;

/// Why a text is not a name.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NameError {
    /// A name has at least one character.
    #[error("a name must not be empty")]
    Empty,
    /// A name has at most 64 characters.
    #[error("a name has at most 64 characters, this one has {0}")]
    TooLong(usize),
    /// The first character is a lower-case letter or a digit, the others may
    /// also be `.`, `_` or `-`.
    #[error(
        "a name is made of a-z, 0-9, '.', '_' and '-' and begins with a letter or digit; found {0:?}"
    )]
    BadCharacter(char),
}

/// Checks a text against `[a-z0-9][a-z0-9._-]{0,63}`.
///
/// # Errors
/// [`NameError`] says what is wrong with it.
pub fn check(text: &str) -> Result<(), NameError> {
    if text.is_empty() {
        return Err(NameError::Empty);
    }
    for (at, c) in text.chars().enumerate() {
        let plain = c.is_ascii_lowercase() || c.is_ascii_digit();
        if !(plain || at > 0 && matches!(c, '.' | '_' | '-')) {
            return Err(NameError::BadCharacter(c));
        }
    }
    if text.len() > 64 {
        return Err(NameError::TooLong(text.len()));
    }
    Ok(())
}

macro_rules! names {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(Arc<str>);

        impl $name {
            /// Makes the name after checking its characters and length.
            ///
            /// # Errors
            /// [`NameError`] when it does not match `[a-z0-9][a-z0-9._-]{0,63}`.
            pub fn new(text: &str) -> Result<Self, NameError> {
                check(text)?;
                Ok(Self(text.into()))
            }

            /// The name as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(&self.0)
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", &*self.0)
            }
        }
    )*};
}

names! {
    /// The scope in which claim keys are unique; shared by both sides.
    Group
    /// The name under which a consumer claims.
    Side
    /// One configured binding of a broker queue to a plugin.
    Consumer
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_follow_the_published_pattern() {
        for good in ["a", "0", "orders", "orders.7", "a-b_c.d", &"x".repeat(64)] {
            assert!(Side::new(good).is_ok(), "{good}");
        }
        assert_eq!(check(""), Err(NameError::Empty));
        assert_eq!(check(&"x".repeat(65)), Err(NameError::TooLong(65)));
        for (bad, at) in [
            ("-a", '-'),
            ("A", 'A'),
            ("a b", ' '),
            ("a:b", ':'),
            ("é", 'é'),
        ] {
            assert_eq!(check(bad), Err(NameError::BadCharacter(at)), "{bad}");
        }
    }
}
