//! Claim keys and lanes: the two business keys a message can carry.

use std::fmt;
use std::sync::Arc;

use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use sha2::{Digest as _, Sha256};

/// Longest key that is kept as it is, in bytes once percent-encoded.
pub const MAX_ENCODED: usize = 128;

const DIGEST_PREFIX: &str = "sha256:";
const ENCODE: &AsciiSet = &NON_ALPHANUMERIC
    .remove(b'-')
    .remove(b'.')
    .remove(b'_')
    .remove(b'~');

/// What was found where the configuration says the key is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum KeyValue {
    /// A text.
    Text(String),
    /// A whole number, in decimals.
    Integer(String),
    /// A value of another type (a float, a boolean, an object, null …).
    Other,
    /// Nothing was there.
    Absent,
}

/// There is no key in the message.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NoKey {
    /// Nothing was there.
    #[error("nothing is there")]
    Absent,
    /// An empty text.
    #[error("it is an empty text")]
    Empty,
    /// Neither a text nor a whole number.
    #[error("it is neither a text nor a whole number")]
    WrongType,
}

/// A business key in the one form that is used everywhere: short texts and
/// whole numbers as they are, anything long or odd as `sha256:` and a digest.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
struct BusinessKey(Arc<str>);

impl BusinessKey {
    fn from_value(value: KeyValue) -> Result<Self, NoKey> {
        match value {
            KeyValue::Text(text) if text.is_empty() => Err(NoKey::Empty),
            KeyValue::Text(text) => Ok(Self::from_text(&text)),
            KeyValue::Integer(digits) => Ok(Self::from_text(&digits)),
            KeyValue::Other => Err(NoKey::WrongType),
            KeyValue::Absent => Err(NoKey::Absent),
        }
    }

    fn from_text(text: &str) -> Self {
        let odd = text.starts_with(DIGEST_PREFIX)
            || text.len() > MAX_ENCODED
            || text.chars().any(char::is_control)
            || encode(text).len() > MAX_ENCODED;
        if odd {
            Self(format!("{DIGEST_PREFIX}{}", hex(&Sha256::digest(text.as_bytes()))).into())
        } else {
            Self(text.into())
        }
    }
}

fn encode(text: &str) -> String {
    utf8_percent_encode(text, ENCODE).to_string()
}

fn hex(bytes: &[u8]) -> String {
    use fmt::Write as _;
    bytes
        .iter()
        .fold(String::with_capacity(bytes.len() * 2), |mut out, byte| {
            let _ = write!(out, "{byte:02x}");
            out
        })
}

macro_rules! keys {
    ($($(#[$doc:meta])* $name:ident)*) => {$(
        $(#[$doc])*
        #[derive(Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub struct $name(BusinessKey);

        impl $name {
            /// The key for a value found in a message.
            ///
            /// # Errors
            /// [`NoKey`] when the value is absent, empty or of another type.
            pub fn from_value(value: KeyValue) -> Result<Self, NoKey> {
                BusinessKey::from_value(value).map(Self)
            }

            /// The key for a text that was a key before (an operator's input, a
            /// stored record): a digest is taken as it is.
            #[must_use]
            pub fn from_known(text: &str) -> Self {
                let digest = text.strip_prefix(DIGEST_PREFIX).is_some_and(|hex| {
                    hex.len() == 64 && hex.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
                });
                if digest {
                    Self(BusinessKey(text.into()))
                } else {
                    Self(BusinessKey::from_text(text))
                }
            }

            /// The key as text.
            #[must_use]
            pub fn as_str(&self) -> &str {
                &self.0.0
            }

            /// The key percent-encoded, for store keys and message ids: at
            /// most [`MAX_ENCODED`] bytes of letters, digits, `-._~` and `%`.
            #[must_use]
            pub fn encoded(&self) -> String {
                encode(&self.0.0)
            }
        }

        impl fmt::Display for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str(self.as_str())
            }
        }

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                write!(f, "{:?}", self.as_str())
            }
        }
    )*};
}

keys! {
    /// What makes two messages the same message.
    ClaimKey
    /// The ordering key: the entity a message is about.
    Lane
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(t: &str) -> ClaimKey {
        ClaimKey::from_value(KeyValue::Text(t.into())).unwrap()
    }

    #[test]
    fn a_text_and_a_whole_number_are_keys_and_nothing_else_is() {
        assert_eq!(text("order 1").as_str(), "order 1");
        let number = ClaimKey::from_value(KeyValue::Integer("-7".into())).unwrap();
        assert_eq!(number.as_str(), "-7");
        assert_eq!(
            ClaimKey::from_value(KeyValue::Text(String::new())),
            Err(NoKey::Empty)
        );
        assert_eq!(ClaimKey::from_value(KeyValue::Other), Err(NoKey::WrongType));
        assert_eq!(ClaimKey::from_value(KeyValue::Absent), Err(NoKey::Absent));
    }

    /// Bad input: Messages | a key of 64 KB or with control characters | hashed
    #[test]
    fn long_and_odd_keys_become_a_digest_of_128_bytes_at_most() {
        assert_eq!(text(&"x".repeat(128)).as_str().len(), 128);
        for odd in [
            "x".repeat(129),
            "é".repeat(22),
            "a\nb".into(),
            "sha256:mine".into(),
        ] {
            let key = text(&odd);
            assert!(key.as_str().starts_with("sha256:"), "{odd}");
            assert!(key.encoded().len() <= MAX_ENCODED);
            assert_eq!(ClaimKey::from_known(key.as_str()), key);
        }
        assert_eq!(text("é".repeat(21).as_str()).encoded().len(), 126);
    }

    proptest::proptest! {
        #[test]
        fn no_two_keys_are_written_alike(a in ".{0,200}", b in ".{0,200}") {
            proptest::prop_assume!(a != b && !a.is_empty() && !b.is_empty());
            proptest::prop_assert_ne!(text(&a).encoded(), text(&b).encoded());
        }
    }
}
