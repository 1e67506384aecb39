//! Answers of the scripts: a number, or an array that begins with one.

use holdfast_core::claim::{FencedBy, StateName};
use holdfast_core::name::Side;
use holdfast_ports::error::PortError;
use holdfast_ports::message::{Outbox, Snapshot, decode_outbox};
use redis::Value;

use crate::error::{fenced, unexpected};

/// An answer, read from front to back.
#[derive(Debug)]
pub(crate) struct Reply {
    code: i64,
    rest: std::vec::IntoIter<Value>,
    what: &'static str,
}

impl Reply {
    /// Takes an answer apart; `what` completes "failed to …".
    pub(crate) fn new(value: Value, what: &'static str) -> Result<Self, PortError> {
        match value {
            Value::Int(code) => Ok(Self {
                code,
                rest: Vec::new().into_iter(),
                what,
            }),
            Value::Array(items) => {
                let mut rest = items.into_iter();
                match rest.next() {
                    Some(Value::Int(code)) => Ok(Self { code, rest, what }),
                    _ => Err(unexpected(what)),
                }
            }
            _ => Err(unexpected(what)),
        }
    }

    /// The number that says which answer it is.
    pub(crate) fn code(&self) -> i64 {
        self.code
    }

    /// What made the step void, if anything did.
    pub(crate) fn fenced(&self) -> Option<FencedBy> {
        match self.code {
            -1 => Some(FencedBy::Store),
            -2 => Some(FencedBy::Epoch),
            _ => None,
        }
    }

    /// An answer that no script gives.
    pub(crate) fn unexpected(&self) -> PortError {
        unexpected(self.what)
    }

    fn next(&mut self) -> Result<Value, PortError> {
        self.rest.next().ok_or_else(|| self.unexpected())
    }

    /// A number out of a record; one that cannot be is the record's fault.
    pub(crate) fn number(&mut self) -> Result<u64, PortError> {
        let number = match self.next()? {
            Value::Int(number) => u64::try_from(number).ok(),
            value => text(value).and_then(|digits| digits.parse().ok()),
        };
        number.ok_or_else(|| self.out_of_range())
    }

    pub(crate) fn count(&mut self) -> Result<u32, PortError> {
        u32::try_from(self.number()?).map_err(|_| self.out_of_range())
    }

    fn out_of_range(&self) -> PortError {
        PortError::bad_record(format!(
            "{}: a number in its record is impossible",
            self.what
        ))
    }

    pub(crate) fn optional_number(&mut self) -> Result<Option<u64>, PortError> {
        match self.rest.as_slice().first() {
            None => Ok(None),
            Some(Value::Nil) => self.next().map(|_| None),
            Some(_) => self.number().map(Some),
        }
    }

    /// None for nothing, and where the answer ends before.
    pub(crate) fn optional_bytes(&mut self) -> Result<Option<Vec<u8>>, PortError> {
        match self.rest.next() {
            None | Some(Value::Nil) => Ok(None),
            Some(Value::BulkString(bytes)) => Ok(Some(bytes)),
            Some(_) => Err(self.unexpected()),
        }
    }

    pub(crate) fn optional_text(&mut self) -> Result<Option<String>, PortError> {
        Ok(self
            .optional_bytes()?
            .map(|bytes| String::from_utf8_lossy(&bytes).into_owned()))
    }

    pub(crate) fn text(&mut self) -> Result<String, PortError> {
        self.optional_text()?.ok_or_else(|| self.unexpected())
    }

    pub(crate) fn side(&mut self) -> Result<Side, PortError> {
        side(&self.text()?, self.what)
    }

    pub(crate) fn state(&mut self) -> Result<StateName, PortError> {
        state(&self.text()?).ok_or_else(|| self.unexpected())
    }

    /// The bytes of an outbox and the numbers minted for it.
    pub(crate) fn outbox(&mut self) -> Result<Outbox, PortError> {
        let bytes = self.optional_bytes()?.unwrap_or_default();
        let minted = self.minted()?;
        if bytes.is_empty() {
            return Ok(Outbox::default());
        }
        let messages = decode_outbox(&bytes).map_err(|why| {
            PortError::bad_record(format!("{}: its stored outbox: {why}", self.what))
        })?;
        Ok(Outbox { messages, minted })
    }

    pub(crate) fn minted(&mut self) -> Result<Vec<Option<u64>>, PortError> {
        let text = self.optional_text()?.unwrap_or_default();
        if text.is_empty() {
            return Ok(Vec::new());
        }
        text.split(',')
            .map(|digits| match digits {
                "" => Ok(None),
                digits => digits.parse().map(Some).map_err(|_| self.unexpected()),
            })
            .collect()
    }

    /// A state hash; the empty one where there is none.
    pub(crate) fn snapshot(&mut self) -> Result<Snapshot, PortError> {
        let mut snapshot = Snapshot::default();
        let value = match self.rest.next() {
            None | Some(Value::Nil) => return Ok(snapshot),
            Some(value) => value,
        };
        for (name, value) in pairs(value).ok_or_else(|| self.unexpected())? {
            if name == b"v" {
                let version = std::str::from_utf8(&value).ok();
                snapshot.version = version
                    .and_then(|digits| digits.parse().ok())
                    .ok_or_else(|| self.unexpected())?;
            } else if let Some(name) = name.strip_prefix(b".") {
                let name = String::from_utf8_lossy(name).into_owned();
                snapshot.values.push((name, value));
            }
        }
        // The order in a hash is nobody's; a handler sees one order always.
        snapshot.values.sort_unstable();
        Ok(snapshot)
    }

    /// A nested array.
    pub(crate) fn list(&mut self) -> Result<Vec<Value>, PortError> {
        match self.next()? {
            Value::Array(items) => Ok(items),
            _ => Err(self.unexpected()),
        }
    }
}

/// A whole hash as text. The one number an error can be is that of another store.
pub(crate) fn hash(value: Value, what: &'static str) -> Result<Vec<(String, String)>, PortError> {
    if value == Value::Int(-1) {
        return Err(fenced(what));
    }
    let text = |bytes: Vec<u8>| String::from_utf8_lossy(&bytes).into_owned();
    let pairs = pairs(value).ok_or_else(|| unexpected(what))?;
    Ok(pairs
        .map(|(name, value)| (text(name), text(value)))
        .collect())
}

fn pairs(value: Value) -> Option<impl Iterator<Item = (Vec<u8>, Vec<u8>)>> {
    let Value::Array(items) = value else {
        return None;
    };
    let bytes: Option<Vec<Vec<u8>>> = items
        .into_iter()
        .map(|item| match item {
            Value::BulkString(bytes) => Some(bytes),
            _ => None,
        })
        .collect();
    let mut bytes = bytes?.into_iter();
    Some(std::iter::from_fn(move || {
        Some((bytes.next()?, bytes.next()?))
    }))
}

fn text(value: Value) -> Option<String> {
    match value {
        Value::BulkString(bytes) => String::from_utf8(bytes).ok(),
        _ => None,
    }
}

pub(crate) fn side(text: &str, what: &str) -> Result<Side, PortError> {
    Side::new(text).map_err(|why| PortError::bad_record(format!("{what}: its side: {why}")))
}

/// The letter of a state in a record (see `lua/record.lua`).
pub(crate) fn letter(state: StateName) -> &'static str {
    match state {
        StateName::Assigned => "A",
        StateName::Running => "R",
        StateName::Failed => "F",
        StateName::Committed => "C",
        StateName::Parking => "K",
        StateName::Done => "D",
        StateName::Parked => "P",
    }
}

fn state(text: &str) -> Option<StateName> {
    StateName::ALL
        .into_iter()
        .find(|state| letter(*state) == text)
}
