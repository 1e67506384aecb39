//! What is known of one key of the configuration.

use serde_json::{Value, json};

/// The type of a key's value.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Kind {
    /// A table with fixed keys.
    Table,
    /// A table of tables, each under a name.
    Named,
    /// The number 1.
    Version,
    /// Any text.
    Text,
    /// A name.
    Name,
    /// `true` or `false`.
    Boolean,
    /// A whole number within bounds.
    Integer(u64, u64),
    /// A number within bounds.
    Number(f64, f64),
    /// A number from 0 to 100 with at most two decimals.
    Percent,
    /// A duration.
    Duration,
    /// A size in bytes.
    Size,
    /// 64 hex digits.
    Digest,
    /// A place inside a message.
    Place,
    /// One of a few words.
    Choice(&'static [&'static str]),
    /// A list of texts.
    Texts,
    /// A table of texts.
    TextMap,
}

impl Kind {
    /// The type as the reference calls it.
    #[must_use]
    pub fn shown(&self) -> String {
        match self {
            Self::Table | Self::Named => "table".to_owned(),
            Self::Version => "1".to_owned(),
            Self::Text => "text".to_owned(),
            Self::Name => "name".to_owned(),
            Self::Boolean => "boolean".to_owned(),
            Self::Integer(min, max) => format!("integer {min} – {max}"),
            Self::Number(min, max) => format!("number {min} – {max}"),
            Self::Percent => "percentage".to_owned(),
            Self::Duration => "duration".to_owned(),
            Self::Size => "size".to_owned(),
            Self::Digest => "64 hex digits".to_owned(),
            Self::Place => "place".to_owned(),
            Self::Choice(words) => {
                let words: Vec<String> = words.iter().map(|word| format!("`\"{word}\"`")).collect();
                words.join(" or ")
            }
            Self::Texts => "list of texts".to_owned(),
            Self::TextMap => "table of texts".to_owned(),
        }
    }
}

/// One key.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct Key {
    /// Its dotted path, with `*` for names.
    pub path: &'static str,
    /// The type of its value.
    pub kind: Kind,
    /// What it is when it is not written, as TOML; none when it has no fixed
    /// default.
    pub default: Option<&'static str>,
    /// Whether it must be written.
    pub required: bool,
    /// What it means.
    pub about: &'static str,
}

impl Key {
    /// The default as JSON; texts that take environment variables have none.
    #[must_use]
    pub fn default_value(&self) -> Option<Value> {
        let text = self.default?;
        let table: toml::Table = format!("x = {text}").parse().ok()?;
        Some(match &table["x"] {
            toml::Value::Boolean(value) => json!(value),
            toml::Value::Integer(value) => json!(value),
            toml::Value::Float(value) => json!(value),
            toml::Value::String(value) => json!(value),
            toml::Value::Array(_) => json!([]),
            _ => json!({}),
        })
    }
}

pub(super) const fn table(path: &'static str, about: &'static str) -> Key {
    Key {
        path,
        kind: Kind::Table,
        default: None,
        required: false,
        about,
    }
}

pub(super) const fn named(path: &'static str, about: &'static str) -> Key {
    Key {
        path,
        kind: Kind::Named,
        default: None,
        required: false,
        about,
    }
}

pub(super) const fn must(path: &'static str, kind: Kind, about: &'static str) -> Key {
    Key {
        path,
        kind,
        default: None,
        required: true,
        about,
    }
}

pub(super) const fn may(path: &'static str, kind: Kind, about: &'static str) -> Key {
    Key {
        path,
        kind,
        default: None,
        required: false,
        about,
    }
}

pub(super) const fn or(
    path: &'static str,
    kind: Kind,
    default: &'static str,
    about: &'static str,
) -> Key {
    Key {
        path,
        kind,
        default: Some(default),
        required: false,
        about,
    }
}

pub(super) const fn needed(key: Key) -> Key {
    Key {
        required: true,
        ..key
    }
}
