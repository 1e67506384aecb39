//! Readers for the values of keys: each takes one node of the tree and gives
//! the value, or reports what is wrong with it.

use std::collections::BTreeMap;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::time::Duration;

use holdfast_core::cutover::{Percent, PercentError};
use toml::de::DeValue;

use super::reader::{Field, Node, Reader, suggestion, wrong_type};
use super::secret::{Secret, SecretUrl};
use super::units::{self, show_duration, show_size};

pub(super) const SECOND: Duration = Duration::from_secs(1);
pub(super) const MINUTE: Duration = Duration::from_secs(60);
pub(super) const DAY: Duration = Duration::from_secs(86_400);
pub(super) const MILLI: Duration = Duration::from_millis(1);
/// No setting is longer; sums of a few cannot overflow.
pub(super) const YEAR: Duration = Duration::from_secs(365 * 86_400);

/// A text, environment variables replaced.
pub(super) fn text(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<String> {
    match node.get_ref() {
        DeValue::String(text) => reader.expand(text, &node.span()),
        _ => {
            wrong_type(reader, node, "a string");
            None
        }
    }
}

/// A text that is read further; an error says what is wrong with it.
pub(super) fn parsed<'f, T, E: std::fmt::Display>(
    expected: &'f str,
    help: &'f str,
    parse: impl Fn(&str) -> Result<T, E> + 'f,
) -> impl Fn(&mut Reader<'_>, &Node<'_>) -> Option<T> + 'f {
    move |reader, node| {
        let DeValue::String(_) = node.get_ref() else {
            wrong_type(reader, node, expected).help = Some(help.to_owned());
            return None;
        };
        let text = text(reader, node)?;
        match parse(&text) {
            Ok(value) => Some(value),
            Err(error) => {
                let why = format!("is not {expected}: {error}");
                reader.wrong(node.span(), &why).help = Some(help.to_owned());
                None
            }
        }
    }
}

/// A name as service, group, side and plugin have one.
pub(super) fn name(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<String> {
    let check = |text: &str| holdfast_core::name::check(text).map(|()| text.to_owned());
    parsed("a name", "names match [a-z0-9][a-z0-9._-]{0,63}", check)(reader, node)
}

/// A duration within bounds.
pub(super) fn duration(
    bounds: RangeInclusive<Duration>,
) -> impl Fn(&mut Reader<'_>, &Node<'_>) -> Option<Duration> {
    const HELP: &str = "write a whole number and a unit (ms, s, m, h, d), \
                        such as \"250ms\", \"15s\" or \"7d\"";
    move |reader, node| {
        let value = parsed("a duration", HELP, units::duration)(reader, node)?;
        if bounds.contains(&value) {
            return Some(value);
        }
        let (from, to) = (show_duration(*bounds.start()), show_duration(*bounds.end()));
        reader.wrong(node.span(), &format!("must be between {from} and {to}"));
        None
    }
}

/// A size in bytes within bounds.
pub(super) fn size(
    bounds: RangeInclusive<u64>,
) -> impl Fn(&mut Reader<'_>, &Node<'_>) -> Option<u64> {
    const HELP: &str = "write a whole number and a unit (B, KiB, MiB, GiB, kB, MB, GB), \
                        such as \"32MiB\"";
    move |reader, node| {
        let value = parsed("a size", HELP, units::size)(reader, node)?;
        if bounds.contains(&value) {
            return Some(value);
        }
        let (from, to) = (show_size(*bounds.start()), show_size(*bounds.end()));
        reader.wrong(node.span(), &format!("must be between {from} and {to}"));
        None
    }
}

/// A whole number within bounds.
pub(super) fn integer<T: TryFrom<u64>>(
    bounds: RangeInclusive<u64>,
) -> impl Fn(&mut Reader<'_>, &Node<'_>) -> Option<T> {
    move |reader, node| {
        let DeValue::Integer(integer) = node.get_ref() else {
            wrong_type(reader, node, "an integer");
            return None;
        };
        let value = u64::from_str_radix(integer.as_str(), integer.radix()).ok();
        let value = value.filter(|value| bounds.contains(value));
        let value = value.and_then(|value| T::try_from(value).ok());
        if value.is_none() {
            let (from, to) = (bounds.start(), bounds.end());
            reader.wrong(node.span(), &format!("must be between {from} and {to}"));
        }
        value
    }
}

/// A number within bounds; an integer will do.
pub(super) fn number(
    bounds: RangeInclusive<f64>,
) -> impl Fn(&mut Reader<'_>, &Node<'_>) -> Option<f64> {
    move |reader, node| {
        let value = match node.get_ref() {
            DeValue::Float(float) => float.as_str().parse::<f64>().ok(),
            DeValue::Integer(integer) if integer.radix() == 10 => integer.as_str().parse().ok(),
            _ => {
                wrong_type(reader, node, "a number");
                return None;
            }
        };
        let value = value.filter(|value| bounds.contains(value));
        if value.is_none() {
            let (from, to) = (bounds.start(), bounds.end());
            reader.wrong(
                node.span(),
                &format!("must be a number between {from} and {to}"),
            );
        }
        value
    }
}

/// A percentage, taken from the digits as they are written.
pub(super) fn percent(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<Percent> {
    let parsed = match node.get_ref() {
        DeValue::Float(float) => Percent::parse(float.as_str()),
        DeValue::Integer(integer) if integer.radix() == 10 => Percent::parse(integer.as_str()),
        DeValue::Integer(_) => Err(PercentError::NotANumber),
        _ => {
            wrong_type(reader, node, "a number");
            return None;
        }
    };
    match parsed {
        Ok(percent) => Some(percent),
        Err(error) => {
            let shown = reader.source.shown(&node.span());
            let why = format!("cannot be {shown}: {error}");
            reader.wrong(node.span(), &why).help =
                Some("a percentage goes from 0 to 100 with at most two decimals".to_owned());
            None
        }
    }
}

/// `true` or `false`.
pub(super) fn boolean(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<bool> {
    let value = node.get_ref().as_bool();
    if value.is_none() {
        wrong_type(reader, node, "true or false");
    }
    value
}

/// One of a few words.
pub(super) fn choice<T: Copy>(
    words: &'static [(&'static str, T)],
) -> impl Fn(&mut Reader<'_>, &Node<'_>) -> Option<T> {
    move |reader, node| {
        let found = text(reader, node)?;
        if let Some((_, value)) = words.iter().find(|(word, _)| *word == found) {
            return Some(*value);
        }
        let all: Vec<String> = words
            .iter()
            .map(|(word, _)| format!("\"{word}\""))
            .collect();
        let problem = reader.wrong(node.span(), &format!("must be {}", all.join(" or ")));
        problem.help = suggestion(&found, words.iter().map(|(word, _)| *word))
            .map(|near| format!("did you mean \"{near}\"?"));
        None
    }
}

/// An array; every item that is wrong is reported at its own place.
pub(super) fn list<T>(
    longest: usize,
    read: impl Fn(&mut Reader<'_>, &Node<'_>) -> Option<T>,
) -> impl Fn(&mut Reader<'_>, &Node<'_>) -> Option<Vec<T>> {
    move |reader, node| {
        let Some(array) = node.get_ref().as_array() else {
            wrong_type(reader, node, "an array");
            return None;
        };
        if array.len() > longest {
            reader.wrong(node.span(), &format!("has more than {longest} items"));
            return None;
        }
        let items: Vec<Option<T>> = array.iter().map(|item| read(reader, item)).collect();
        items.into_iter().collect()
    }
}

/// A table of texts, which may be secrets.
pub(super) fn secrets(
    reader: &mut Reader<'_>,
    node: &Node<'_>,
) -> Option<BTreeMap<String, Secret>> {
    let Some(table) = node.get_ref().as_table() else {
        wrong_type(reader, node, "a table of strings");
        return None;
    };
    let mut all = Some(BTreeMap::new());
    for (key, value) in table {
        match value.get_ref() {
            DeValue::String(_) => match text(reader, value) {
                Some(text) => {
                    if let Some(all) = &mut all {
                        all.insert(key.get_ref().to_string(), Secret::new(text));
                    }
                }
                None => all = None,
            },
            _ => {
                wrong_type(reader, value, "a table of strings").help =
                    Some("put every value in quotes".to_owned());
                all = None;
            }
        }
    }
    all
}

/// A path of this machine that stays below where it starts.
pub(super) fn path_inside(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<PathBuf> {
    let path = path(reader, node)?;
    if path
        .components()
        .any(|part| part == std::path::Component::ParentDir)
    {
        reader.wrong(node.span(), "must not contain `..`").help =
            Some("name the folder itself, or give an absolute path".to_owned());
        return None;
    }
    Some(path)
}

/// A path of this machine.
pub(super) fn path(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<PathBuf> {
    let check = |text: &str| match text {
        "" => Err("it is empty"),
        _ if text.contains('\0') => Err("it contains a zero byte"),
        _ => Ok(PathBuf::from(text)),
    };
    parsed("a path", "name a file or a folder", check)(reader, node)
}

/// The address of a server. No message shows any of it.
pub(super) fn url(reader: &mut Reader<'_>, node: &Node<'_>) -> Option<SecretUrl> {
    const HELP: &str = "scheme://user:password@host:port/path, where special characters in user \
                        and password are percent-encoded (@ is %40)";
    parsed("the address of a server", HELP, SecretUrl::parse)(reader, node)
}

/// The value of a field that was read without error.
pub(super) fn taken<T: Clone>(field: Option<&Field<T>>) -> Option<Option<T>> {
    match field {
        None => Some(None),
        Some(field) => field.value.clone().map(Some),
    }
}
