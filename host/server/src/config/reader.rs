//! A typed reader over the parsed tree that reports everything at once.
//!
//! A [`Table`] hands out its keys one by one and remembers which were asked
//! for; those left over when it is closed are unknown. A value that is wrong
//! is reported and read as nothing, so that reading goes on.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Range;

use toml::Spanned;
use toml::de::{DeTable, DeValue};

use super::report::Problem;
use super::source::Source;
use super::{Env, expand};

/// How the message about a missing key ends.
pub(super) const IS_MISSING: &str = "is missing";

/// A value of the tree with its place.
pub(super) type Node<'i> = Spanned<DeValue<'i>>;

/// What was read for one key.
#[derive(Clone, Debug)]
pub(super) struct Field<T> {
    /// The value; none when it was wrong or is missing, which is reported.
    pub(super) value: Option<T>,
    /// The value's place, else the place of its table.
    pub(super) at: Range<usize>,
    /// Whether it stands in the file.
    pub(super) written: bool,
}

impl<T> Field<T> {
    pub(super) fn get(&self) -> Option<&T> {
        self.value.as_ref()
    }
}

/// The state of one reading.
pub(super) struct Reader<'a> {
    pub(super) source: &'a Source,
    text: &'a str,
    env: Env<'a>,
    problems: Vec<Problem>,
    positions: BTreeMap<String, Range<usize>>,
    known: BTreeSet<String>,
    current: String,
}

impl<'a> Reader<'a> {
    pub(super) fn new(source: &'a Source, text: &'a str, env: Env<'a>) -> Self {
        Self {
            source,
            text,
            env,
            problems: Vec::new(),
            positions: BTreeMap::new(),
            known: BTreeSet::new(),
            current: String::new(),
        }
    }

    pub(super) fn report(&mut self, problem: Problem) {
        self.problems.push(problem);
    }

    /// Reports a value of the key being read that is not what it has to be.
    pub(super) fn wrong(&mut self, at: Range<usize>, why: &str) -> &mut Problem {
        let message = format!("`{}` {why}", self.current);
        self.problems.push(Problem::error(at, message));
        let last = self.problems.len() - 1;
        &mut self.problems[last]
    }

    /// Every key that was asked for, with `*` for names.
    #[cfg(test)]
    pub(super) fn known(&self) -> &BTreeSet<String> {
        &self.known
    }

    pub(super) fn into_problems(self) -> Vec<Problem> {
        self.problems
    }

    pub(super) fn finish(self) -> (Vec<Problem>, BTreeMap<String, Range<usize>>) {
        (self.problems, self.positions)
    }

    /// The value of an environment variable that the file does not name.
    pub(super) fn variable(&self, name: &str) -> Option<String> {
        (self.env)(name)
    }

    /// Replaces the environment variables of a text that stands at `at`.
    pub(super) fn expand(&mut self, text: &str, at: &Range<usize>) -> Option<String> {
        match expand::expand(text, self.env) {
            Ok(expanded) => Some(expanded),
            Err(errors) => {
                for (offset, error) in errors {
                    let span = self.reference_span(text, offset, at);
                    self.wrong(span, &format!("cannot be expanded: {error}"))
                        .help = Some(error.help());
                }
                None
            }
        }
    }

    /// Where the reference at `offset` of the decoded text stands in the file.
    fn reference_span(&self, decoded: &str, offset: usize, at: &Range<usize>) -> Range<usize> {
        let nth = decoded[..offset].matches("${").count();
        let Some(written) = self.text.get(at.clone()) else {
            return at.clone();
        };
        let Some((found, _)) = written.match_indices("${").nth(nth) else {
            return at.clone();
        };
        let length = written[found..].find('}').map_or(2, |end| end + 1);
        at.start + found..at.start + found + length
    }
}

/// One table of the file, or the place where it would be.
///
/// A broken one is there but is no table: its keys read as nothing, silently.
pub(super) struct Table<'t, 'i> {
    entries: Option<&'t DeTable<'i>>,
    broken: bool,
    at: Range<usize>,
    path: String,
    pattern: String,
    asked: Vec<&'static str>,
}

impl<'t, 'i> Table<'t, 'i> {
    pub(super) fn root(entries: &'t DeTable<'i>) -> Self {
        let (path, pattern) = (String::new(), String::new());
        Self {
            entries: Some(entries),
            broken: false,
            at: 0..0,
            path,
            pattern,
            asked: Vec::new(),
        }
    }

    /// Whether it is written in the file.
    pub(super) fn is_present(&self) -> bool {
        self.entries.is_some()
    }

    /// Whether something that is no table stands in its place.
    pub(super) fn is_broken(&self) -> bool {
        self.broken
    }

    /// Where its name stands; where its parent does when it is not written.
    pub(super) fn at(&self) -> Range<usize> {
        self.at.clone()
    }

    pub(super) fn path(&self) -> &str {
        &self.path
    }

    fn entry(&mut self, reader: &mut Reader<'_>, key: &'static str) -> Option<Entry<'t, 'i>> {
        self.asked.push(key);
        reader.known.insert(join(&self.pattern, key));
        reader.current = join(&self.path, key);
        let (name, node) = self.entries?.get_key_value(key)?;
        let shown = if node.get_ref().is_table() {
            name.span()
        } else {
            node.span()
        };
        reader.positions.insert(reader.current.clone(), shown);
        Some(Entry {
            name: name.span(),
            node,
        })
    }

    /// A key that must be there.
    pub(super) fn required<T>(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        read: impl FnOnce(&mut Reader<'_>, &Node<'i>) -> Option<T>,
    ) -> Field<T> {
        let entry = self.entry(reader, key);
        match entry {
            Some(Entry { node, .. }) => {
                let value = read(reader, node);
                Field {
                    value,
                    at: node.span(),
                    written: true,
                }
            }
            None => {
                let at = self.at();
                if !self.broken {
                    reader.wrong(at.clone(), IS_MISSING);
                }
                Field {
                    value: None,
                    at,
                    written: false,
                }
            }
        }
    }

    /// A key with a default.
    pub(super) fn or<T>(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        default: T,
        read: impl FnOnce(&mut Reader<'_>, &Node<'i>) -> Option<T>,
    ) -> Field<T> {
        match self.optional(reader, key, read) {
            Some(field) => field,
            None => Field {
                value: Some(default),
                at: self.at(),
                written: false,
            },
        }
    }

    /// A key that may be left out.
    pub(super) fn optional<T>(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
        read: impl FnOnce(&mut Reader<'_>, &Node<'i>) -> Option<T>,
    ) -> Option<Field<T>> {
        match self.entry(reader, key) {
            Some(Entry { node, .. }) => {
                let value = read(reader, node);
                Some(Field {
                    value,
                    at: node.span(),
                    written: true,
                })
            }
            None if self.broken => Some(Field {
                value: None,
                at: self.at(),
                written: true,
            }),
            None => None,
        }
    }

    /// A table inside this one.
    pub(super) fn table(&mut self, reader: &mut Reader<'_>, key: &'static str) -> Table<'t, 'i> {
        let entry = self.entry(reader, key);
        let path = join(&self.path, key);
        let pattern = join(&self.pattern, key);
        let entry_found = entry.is_some();
        let (entries, at) = match entry {
            Some(Entry { name, node }) => (table_of(reader, node), name),
            None => (None, self.at()),
        };
        let broken = self.broken || (entries.is_none() && entry_found);
        Table {
            entries,
            broken,
            at,
            path,
            pattern,
            asked: Vec::new(),
        }
    }

    /// The tables of a table whose keys are names, in the order of the file.
    pub(super) fn named(
        &mut self,
        reader: &mut Reader<'_>,
        key: &'static str,
    ) -> Vec<(String, Table<'t, 'i>)> {
        let group = self.table(reader, key);
        let mut found = Vec::new();
        for (name, node) in group.entries.into_iter().flat_map(DeTable::iter) {
            let at = name.span();
            let mut text = name.get_ref().to_string();
            if let Err(error) = holdfast_core::name::check(&text) {
                // What is no name may be a secret that got into the wrong place.
                text = reader.source.shown(&at);
                let message = format!("`{text}` is not a name for one of `{key}`: {error}");
                reader.report(Problem::error(at.clone(), message));
            }
            let path = join(&group.path, &text);
            reader.current.clone_from(&path);
            reader.positions.insert(path.clone(), at.clone());
            let entries = table_of(reader, node);
            let broken = entries.is_none();
            let pattern = join(&group.pattern, "*");
            reader.known.insert(pattern.clone());
            let table = Table {
                entries,
                broken,
                at,
                path,
                pattern,
                asked: Vec::new(),
            };
            found.push((text, table));
        }
        found.sort_by_key(|(_, table)| table.at.start);
        found
    }

    /// Reports the keys that nobody asked for.
    pub(super) fn close(self, reader: &mut Reader<'_>) {
        for (name, _) in self.entries.into_iter().flat_map(DeTable::iter) {
            let key = name.get_ref().as_ref();
            if self.asked.contains(&key) {
                continue;
            }
            let shown = reader.source.shown(&name.span());
            let place = match self.path.as_str() {
                "" => "at the top level".to_owned(),
                path => format!("in [{path}]"),
            };
            let problem = Problem::error(name.span(), format!("unknown key `{shown}` {place}"));
            let help = match suggestion(key, self.asked.iter().copied()) {
                Some(near) => format!("did you mean `{near}`?"),
                None => format!("known here: {}", self.asked.join(", ")),
            };
            reader.report(problem.help(help));
        }
    }
}

struct Entry<'t, 'i> {
    name: Range<usize>,
    node: &'t Node<'i>,
}

fn table_of<'t, 'i>(reader: &mut Reader<'_>, node: &'t Node<'i>) -> Option<&'t DeTable<'i>> {
    let table = node.get_ref().as_table();
    if table.is_none() {
        wrong_type(reader, node, "a table");
    }
    table
}

/// Reports a value of another type than the key takes.
pub(super) fn wrong_type<'p>(
    reader: &'p mut Reader<'_>,
    node: &Node<'_>,
    expected: &str,
) -> &'p mut Problem {
    let found = match node.get_ref() {
        DeValue::String(_) => "a string",
        DeValue::Integer(_) => "an integer",
        DeValue::Float(_) => "a float",
        DeValue::Boolean(_) => "a boolean",
        DeValue::Datetime(_) => "a date or time",
        DeValue::Array(_) => "an array",
        DeValue::Table(_) => "a table",
    };
    reader.wrong(node.span(), &format!("must be {expected}, not {found}"))
}

fn join(path: &str, key: &str) -> String {
    if path.is_empty() {
        key.to_owned()
    } else {
        format!("{path}.{key}")
    }
}

/// The known word that is nearest to a mistyped one, if one is near.
pub(super) fn suggestion<'k>(word: &str, known: impl Iterator<Item = &'k str>) -> Option<&'k str> {
    let plain = word.to_ascii_lowercase().replace('_', "-");
    known
        .map(|candidate| (strsim::jaro_winkler(&plain, candidate), candidate))
        .filter(|(nearness, _)| *nearness > 0.8)
        .max_by(|a, b| a.0.total_cmp(&b.0))
        .map(|(_, candidate)| candidate)
}
