//! The JSON Schema of the configuration, and the reference of its keys.
//!
//! Both are made from one list, [`KEYS`]; tests hold that list to what the
//! reader asks for and to what `docs/configuration.md` says.

mod key;
mod keys;

use serde_json::{Map, Value, json};

pub use key::{Key, Kind};
pub use keys::KEYS;

const NAME: &str = "^[a-z0-9][a-z0-9._-]{0,63}$";
/// Where a value holds a variable, its form is known only at start.
const VARIABLE: &str = r"\$\{";

/// The JSON Schema (draft 2020-12) of a configuration file.
#[must_use]
pub fn json_schema() -> Value {
    let mut root = object("The configuration of a Holdfast host.", false);
    root.insert(
        "$schema".to_owned(),
        json!("https://json-schema.org/draft/2020-12/schema"),
    );
    root.insert("title".to_owned(), json!("holdfast.toml"));
    let mut root = Value::Object(root);
    for key in KEYS {
        insert(&mut root, key);
    }
    root
}

fn object(about: &str, named: bool) -> Map<String, Value> {
    let mut object = Map::new();
    object.insert("type".to_owned(), json!("object"));
    object.insert("description".to_owned(), json!(about));
    if named {
        object.insert("propertyNames".to_owned(), json!({ "pattern": NAME }));
    } else {
        object.insert("properties".to_owned(), json!({}));
        object.insert("additionalProperties".to_owned(), json!(false));
    }
    object
}

/// Puts a key under its parents, which stand before it in the list.
fn insert(root: &mut Value, key: &Key) {
    let mut at = root;
    let mut parts = key.path.split('.').peekable();
    while let Some(part) = parts.next() {
        let last = parts.peek().is_none();
        if last
            && key.required
            && let Some(object) = at.as_object_mut()
        {
            let required = object.entry("required").or_insert_with(|| json!([]));
            if let Some(required) = required.as_array_mut() {
                required.push(json!(part));
            }
        }
        let slot = match part {
            "*" => &mut at["additionalProperties"],
            _ => &mut at["properties"][part],
        };
        if last {
            *slot = value(key);
            return;
        }
        at = slot;
    }
}

fn value(key: &Key) -> Value {
    let pattern =
        |pattern: &str| json!({ "type": "string", "pattern": format!("{pattern}|{VARIABLE}") });
    let mut schema = match key.kind {
        Kind::Table => return Value::Object(object(key.about, false)),
        Kind::Named => return Value::Object(object(key.about, true)),
        Kind::Version => json!({ "const": 1 }),
        Kind::Text => json!({ "type": "string" }),
        Kind::Name => pattern(NAME),
        Kind::Boolean => json!({ "type": "boolean" }),
        Kind::Integer(min, max) => json!({ "type": "integer", "minimum": min, "maximum": max }),
        Kind::Number(min, max) => json!({ "type": "number", "minimum": min, "maximum": max }),
        Kind::Percent => json!({ "type": "number", "minimum": 0, "maximum": 100 }),
        Kind::Duration => pattern(r"^(\d+d)?(\d+h)?(\d+m)?(\d+s)?(\d+ms)?$"),
        Kind::Size => pattern(r"^\d+(B|KiB|MiB|GiB|kB|MB|GB)$"),
        Kind::Digest => pattern("^[0-9a-fA-F]{64}$"),
        Kind::Place => pattern("^(message-id|header:.+|json:/.*)$"),
        Kind::Choice(words) => {
            json!({ "anyOf": [{ "enum": words }, { "type": "string", "pattern": VARIABLE }] })
        }
        Kind::Texts => json!({ "type": "array", "items": { "type": "string" } }),
        Kind::TextMap => json!({ "type": "object", "additionalProperties": { "type": "string" } }),
    };
    schema["description"] = json!(key.about);
    if let Some(default) = key.default_value() {
        schema["default"] = default;
    }
    schema
}

/// The keys as the tables of `docs/configuration.md`: one per table of the
/// file, with type, default and meaning.
#[must_use]
pub fn markdown() -> String {
    let mut out = String::new();
    section(&mut out, "", "", false);
    for table in KEYS {
        match table.kind {
            Kind::Named => section(&mut out, table.path, table.about, true),
            // The tables under a name belong to the section of all of them.
            Kind::Table if !table.path.ends_with(".*") => {
                section(&mut out, table.path, table.about, false);
            }
            _ => {}
        }
    }
    out
}

fn section(out: &mut String, path: &str, about: &str, named: bool) {
    use std::fmt::Write as _;
    let prefix = match (path, named) {
        ("", _) => String::new(),
        (path, true) => format!("{path}.*."),
        (path, false) => format!("{path}."),
    };
    let title = match prefix.trim_end_matches('.') {
        "" => "Top level".to_owned(),
        title => format!("`[{}]`", title.replace('*', "NAME")),
    };
    let _ = write!(out, "### {title}\n\n");
    if !about.is_empty() {
        let _ = write!(out, "{about}\n\n");
    }
    out.push_str("| key | type | default | meaning |\n|---|---|---|---|\n");
    for key in KEYS {
        let Some(name) = key.path.strip_prefix(&prefix) else {
            continue;
        };
        if name.contains('.') || name == "*" || matches!(key.kind, Kind::Table | Kind::Named) {
            continue;
        }
        let default = match (key.default, key.required) {
            (Some(default), _) => format!("`{default}`"),
            (None, true) => "**required**".to_owned(),
            (None, false) => "–".to_owned(),
        };
        let _ = writeln!(
            out,
            "| `{name}` | {} | {default} | {} |",
            key.kind.shown(),
            key.about
        );
    }
    out.push('\n');
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Follows a dotted path through a schema.
    fn find<'s>(schema: &'s Value, path: &str) -> Option<&'s Value> {
        path.split('.').try_fold(schema, |at, part| match part {
            "*" => at.get("additionalProperties"),
            _ => at.get("properties")?.get(part),
        })
    }

    #[test]
    fn every_key_has_its_place_in_the_schema() {
        let schema = json_schema();
        for key in KEYS {
            let found = find(&schema, key.path);
            let found = found.unwrap_or_else(|| panic!("{} is not in the schema", key.path));
            assert_eq!(found["description"], json!(key.about), "{}", key.path);
        }
        assert_eq!(schema["additionalProperties"], json!(false));
        assert_eq!(
            schema["required"],
            json!(["version", "store", "brokers", "consumers"])
        );
        let consumer = &schema["properties"]["consumers"]["additionalProperties"];
        assert_eq!(consumer["required"], json!(["broker", "queue", "plugin"]));
        assert_eq!(
            consumer["properties"]["claim"]["properties"]["keep"]["default"],
            json!("7d")
        );
    }
}
