//! Where in a message a key, lane or sequence number is found.

use std::fmt;

/// Why a text names no place in a message.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PlaceError {
    /// Not one of the known forms.
    #[error("it is none of the forms that are known")]
    UnknownForm,
    /// `header:` without a usable name.
    #[error("the name of the header must be 1 to 255 bytes without control characters")]
    BadHeader,
    /// A JSON pointer that does not begin with `/`.
    #[error("a JSON pointer begins with `/`, as in `json:/order/id`")]
    NoSlash,
    /// `~` without `0` or `1` behind it.
    #[error("in a JSON pointer `~` is written ~0 (and `/` inside a name ~1)")]
    BadTilde,
}

/// A place inside a message.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Place {
    /// The broker's message id.
    MessageId,
    /// A header, by its name.
    Header(String),
    /// A value of the JSON body, by its pointer (RFC 6901).
    Json(String),
}

impl Place {
    /// Reads `message-id`, `header:NAME` or `json:/pointer`.
    ///
    /// # Errors
    /// [`PlaceError`] says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, PlaceError> {
        if text == "message-id" {
            Ok(Self::MessageId)
        } else {
            Self::parse_header_or_json(text)
        }
    }

    /// Reads `header:NAME` or `json:/pointer`.
    ///
    /// # Errors
    /// [`PlaceError`] says what is wrong with the text.
    pub fn parse_header_or_json(text: &str) -> Result<Self, PlaceError> {
        if let Some(name) = text.strip_prefix("header:") {
            let good = (1..=255).contains(&name.len()) && !name.chars().any(char::is_control);
            return if good {
                Ok(Self::Header(name.to_owned()))
            } else {
                Err(PlaceError::BadHeader)
            };
        }
        let pointer = text.strip_prefix("json:").ok_or(PlaceError::UnknownForm)?;
        if !pointer.starts_with('/') {
            return Err(PlaceError::NoSlash);
        }
        let whole = |(at, _)| matches!(pointer.as_bytes().get(at + 1), Some(b'0' | b'1'));
        if pointer.match_indices('~').all(whole) {
            Ok(Self::Json(pointer.to_owned()))
        } else {
            Err(PlaceError::BadTilde)
        }
    }
}

impl fmt::Display for Place {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::MessageId => f.write_str("message-id"),
            Self::Header(name) => write!(f, "header:{name}"),
            Self::Json(pointer) => write!(f, "json:{pointer}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn places_read_back_as_they_are_shown() {
        for text in [
            "message-id",
            "header:X-Id",
            "json:/a",
            "json:/a/0/b~1c~0d",
            "json:/",
        ] {
            assert_eq!(Place::parse(text).unwrap().to_string(), text);
        }
    }

    #[test]
    fn other_texts_are_refused_with_the_reason() {
        for (text, error) in [
            ("", PlaceError::UnknownForm),
            ("Message-Id", PlaceError::UnknownForm),
            ("header:", PlaceError::BadHeader),
            ("header:a\nb", PlaceError::BadHeader),
            ("json:", PlaceError::NoSlash),
            ("json:user", PlaceError::NoSlash),
            ("json:/a~", PlaceError::BadTilde),
            ("json:/a~2", PlaceError::BadTilde),
        ] {
            assert_eq!(Place::parse(text), Err(error), "{text}");
        }
        assert_eq!(
            Place::parse_header_or_json("message-id"),
            Err(PlaceError::UnknownForm)
        );
    }
}
