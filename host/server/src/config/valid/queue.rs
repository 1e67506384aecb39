//! The queue of a consumer: one, or a numbered row of partitions.

use std::fmt;

/// Most partitions one consumer may have.
const MOST: u32 = 1024;

/// Longest name of a queue, in bytes: room is left for `.delay.<ms>`.
const LONGEST: usize = 200;

/// Why a text names no queue.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueueError {
    /// Empty, or too long with the longest partition number.
    #[error("it must have 1 to {LONGEST} bytes")]
    Length,
    /// A control character.
    #[error("it contains a control character")]
    Control,
    /// A name that brokers keep for themselves.
    #[error("names that begin with `amq.` belong to the broker")]
    Reserved,
    /// Braces that are no pattern `Q.{0..7}`.
    #[error("partitions are written at the end and with a dot before, as in `orders.{{0..7}}`")]
    Pattern,
    /// The last number is below the first.
    #[error("its last partition is below its first")]
    Backwards,
    /// More partitions than allowed.
    #[error("it has {0} partitions, more than {MOST}")]
    TooMany(u64),
}

/// What a consumer reads.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Queue {
    /// One queue.
    One(String),
    /// `NAME.{first..last}`: a queue for each number, each with its own group.
    Partitions {
        /// What stands before the dot.
        name: String,
        /// The first number.
        first: u32,
        /// The last number, included.
        last: u32,
    },
}

/// One queue with the group its messages are claimed in.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Binding {
    /// The broker's queue.
    pub queue: String,
    /// The group, with the partition's number when there are partitions.
    pub group: String,
    /// The partition's number.
    pub partition: Option<u32>,
}

impl Queue {
    /// Reads a queue name or a pattern such as `orders.{0..7}`.
    ///
    /// # Errors
    /// [`QueueError`] says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, QueueError> {
        if text.chars().any(char::is_control) {
            return Err(QueueError::Control);
        }
        if text.starts_with("amq.") {
            return Err(QueueError::Reserved);
        }
        if !text.contains(['{', '}']) {
            let good = (1..=LONGEST).contains(&text.len());
            return if good {
                Ok(Self::One(text.to_owned()))
            } else {
                Err(QueueError::Length)
            };
        }
        let inner = text
            .strip_suffix('}')
            .and_then(|text| text.split_once(".{"));
        let (name, range) = inner.ok_or(QueueError::Pattern)?;
        let (first, last) = range.split_once("..").ok_or(QueueError::Pattern)?;
        let (first_number, last_number) = (number(first)?, number(last)?);
        if name.is_empty() || name.contains(['{', '}']) {
            return Err(QueueError::Pattern);
        }
        if last_number < first_number {
            return Err(QueueError::Backwards);
        }
        let count = u64::from(last_number - first_number) + 1;
        if count > u64::from(MOST) {
            return Err(QueueError::TooMany(count));
        }
        if name.len() + 1 + last.len() > LONGEST {
            return Err(QueueError::Length);
        }
        Ok(Self::Partitions {
            name: name.to_owned(),
            first: first_number,
            last: last_number,
        })
    }

    /// The numbers of the partitions; none for a single queue.
    #[must_use]
    pub fn partitions(&self) -> Option<std::ops::RangeInclusive<u32>> {
        match self {
            Self::One(_) => None,
            Self::Partitions { first, last, .. } => Some(*first..=*last),
        }
    }

    /// Every queue with its group, for a consumer of `group`.
    #[must_use]
    pub fn bindings(&self, group: &str) -> Vec<Binding> {
        match self {
            Self::One(queue) => {
                vec![Binding {
                    queue: queue.clone(),
                    group: group.to_owned(),
                    partition: None,
                }]
            }
            Self::Partitions { name, first, last } => (*first..=*last)
                .map(|n| Binding {
                    queue: format!("{name}.{n}"),
                    group: format!("{group}.{n}"),
                    partition: Some(n),
                })
                .collect(),
        }
    }
}

fn number(text: &str) -> Result<u32, QueueError> {
    let plain = text.bytes().all(|b| b.is_ascii_digit()) && (text == "0" || !text.starts_with('0'));
    if plain {
        text.parse().map_err(|_| QueueError::Pattern)
    } else {
        Err(QueueError::Pattern)
    }
}

impl fmt::Display for Queue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::One(name) => f.write_str(name),
            Self::Partitions { name, first, last } => write!(f, "{name}.{{{first}..{last}}}"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_pattern_is_a_row_of_queues_each_with_its_own_group() {
        let queue = Queue::parse("orders.{0..7}").unwrap();
        let bindings = queue.bindings("sales");
        assert_eq!(bindings.len(), 8);
        assert_eq!(bindings[7].queue, "orders.7");
        assert_eq!(bindings[7].group, "sales.7");
        assert_eq!(queue.to_string(), "orders.{0..7}");
        assert_eq!(Queue::parse("a.b c").unwrap().bindings("g")[0].group, "g");
    }

    #[test]
    fn other_patterns_are_refused_with_the_reason() {
        for (text, error) in [
            ("", QueueError::Length),
            (&"q".repeat(201), QueueError::Length),
            (
                &format!("{}.{{0..10}}", "q".repeat(198)),
                QueueError::Length,
            ),
            ("a\u{7}", QueueError::Control),
            ("amq.topic", QueueError::Reserved),
            ("q{0..7}", QueueError::Pattern),
            ("q.{0..7}.x", QueueError::Pattern),
            ("q.{0-7}", QueueError::Pattern),
            ("q.{0..}", QueueError::Pattern),
            ("q.{a..b}", QueueError::Pattern),
            ("q.{-1..3}", QueueError::Pattern),
            ("q.{00..07}", QueueError::Pattern),
            ("q.{0..99999999999}", QueueError::Pattern),
            (".{0..7}", QueueError::Pattern),
            ("q}", QueueError::Pattern),
            ("q.{0..1}.{0..1}", QueueError::Pattern),
            ("q.{7..0}", QueueError::Backwards),
            ("q.{0..1024}", QueueError::TooMany(1025)),
            ("q.{0..4294967295}", QueueError::TooMany(4_294_967_296)),
        ] {
            assert_eq!(Queue::parse(text), Err(error), "{text}");
        }
    }
}
