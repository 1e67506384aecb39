//! The one table of a file: typed rows with an optional time to live.
//!
//! A row's key begins with a byte for its kind. Its value is a format byte, the
//! time at which it expires (0: never) and its content. A row past its time is
//! as good as gone; it is removed later, in small steps, with the help of index
//! rows whose keys begin with that time.

use holdfast_core::time::Micros;
use holdfast_ports::error::PortError;
use redb::{
    ReadableTable as _, StorageError, Table, TableDefinition, TableError, WriteTransaction,
};
use serde::Serialize;
use serde::de::DeserializeOwned;

const ROWS: TableDefinition<&[u8], &[u8]> = TableDefinition::new("rows");

/// The format of a row's value.
const FORMAT: u8 = 1;
/// The format byte and the time of expiry.
const HEAD: usize = 9;
/// The first byte of an index row.
const INDEX: u8 = b'~';
/// How many rows one transaction looks at for removal.
const SWEEP: usize = 64;

/// Why a job gave no answer.
#[derive(Debug)]
pub(crate) enum Stop {
    /// The file cannot be read or written: the whole transaction is undone.
    Storage(StorageError),
    /// This call is refused; it has not written anything.
    Refused(PortError),
}

impl From<StorageError> for Stop {
    fn from(error: StorageError) -> Self {
        Self::Storage(error)
    }
}

impl From<PortError> for Stop {
    fn from(error: PortError) -> Self {
        Self::Refused(error)
    }
}

/// A row's key: its kind, then parts with a NUL between them.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Key(Vec<u8>);

impl Key {
    pub(crate) fn new(kind: u8, parts: &[&str]) -> Self {
        let mut bytes = vec![kind];
        for (at, part) in parts.iter().enumerate() {
            if at > 0 {
                bytes.push(0);
            }
            bytes.extend_from_slice(part.as_bytes());
        }
        Self(bytes)
    }

    /// The key followed by a number, so that rows sort by it.
    pub(crate) fn numbered(mut self, number: u64) -> Self {
        self.0.push(0);
        self.0.extend_from_slice(&number.to_be_bytes());
        self
    }

    /// The key of a row of another kind with the same parts.
    pub(crate) fn as_kind(&self, kind: u8) -> Self {
        let mut bytes = self.0.clone();
        bytes[0] = kind;
        Self(bytes)
    }
}

/// The rows within one transaction.
pub(crate) struct Rows<'t> {
    table: Table<'t, &'static [u8], &'static [u8]>,
    now: Micros,
    wrote: bool,
}

impl<'t> Rows<'t> {
    pub(crate) fn open(txn: &'t WriteTransaction) -> Result<Self, TableError> {
        Ok(Self {
            table: txn.open_table(ROWS)?,
            now: Micros::default(),
            wrote: false,
        })
    }

    /// The time of the decision that is being made.
    pub(crate) fn now(&self) -> Micros {
        self.now
    }

    pub(crate) fn set_now(&mut self, now: Micros) {
        self.now = now;
    }

    /// Is there anything to commit?
    pub(crate) fn wrote(&self) -> bool {
        self.wrote
    }

    /// The content of a row; none when there is none or its time has passed.
    pub(crate) fn get<T: DeserializeOwned>(&self, key: &Key) -> Result<Option<T>, Stop> {
        match self.table.get(key.0.as_slice())? {
            Some(value) => read(value.value(), self.now),
            None => Ok(None),
        }
    }

    /// Writes a row that stays for `keep`, or for good.
    pub(crate) fn put<T: Serialize>(
        &mut self,
        key: &Key,
        content: &T,
        keep: Option<std::time::Duration>,
    ) -> Result<(), Stop> {
        let expires = keep.map_or(0, |keep| self.now.plus(keep).0.max(1));
        let mut value = Vec::with_capacity(HEAD + 64);
        value.push(FORMAT);
        value.extend_from_slice(&expires.to_le_bytes());
        let value = postcard::to_extend(content, value)
            .map_err(|error| PortError::permanent("encode a row").because(error))?;
        self.wrote = true;
        let before = self.table.insert(key.0.as_slice(), value.as_slice())?;
        // A row that expires has an index row at or before its time.
        let indexed = before.is_some_and(|before| expiry(before.value()) != 0);
        if expires != 0 && !indexed {
            self.table
                .insert(index(expires, &key.0).as_slice(), [].as_slice())?;
        }
        Ok(())
    }

    /// Removes a row and says whether there was one.
    pub(crate) fn delete(&mut self, key: &Key) -> Result<bool, Stop> {
        let there = self.table.remove(key.0.as_slice())?.is_some();
        self.wrote |= there;
        Ok(there)
    }

    /// Goes through the rows whose keys begin like this, in their order, as long
    /// as `each` wants more. It gets what follows the prefix.
    pub(crate) fn scan<T: DeserializeOwned>(
        &self,
        prefix: &Key,
        mut each: impl FnMut(&[u8], T) -> Result<bool, Stop>,
    ) -> Result<(), Stop> {
        for row in self.table.range(prefix.0.as_slice()..)? {
            let (key, value) = row?;
            let Some(rest) = key.value().strip_prefix(prefix.0.as_slice()) else {
                break;
            };
            if let Some(content) = read(value.value(), self.now)?
                && !each(rest, content)?
            {
                break;
            }
        }
        Ok(())
    }

    /// Removes some rows whose time has passed, and with each the row of the
    /// same parts and the kind that `companion` names. Says whether there may
    /// be more.
    pub(crate) fn sweep(
        &mut self,
        companion: impl Fn(u8) -> Option<u8>,
    ) -> Result<bool, StorageError> {
        let end = index(self.now.0.saturating_add(1), &[]);
        let mut due = Vec::new();
        for row in self.table.range([INDEX].as_slice()..end.as_slice())? {
            due.push(row?.0.value().to_vec());
            if due.len() == SWEEP {
                break;
            }
        }
        self.wrote |= !due.is_empty();
        for entry in &due {
            self.table.remove(entry.as_slice())?;
            let key = &entry[HEAD..];
            let Some(expires) = self.table.get(key)?.map(|value| expiry(value.value())) else {
                continue;
            };
            if expires == 0 {
                continue;
            }
            if expires > self.now.0 {
                self.table
                    .insert(index(expires, key).as_slice(), [].as_slice())?;
                continue;
            }
            self.table.remove(key)?;
            if let Some(kind) = key.first().copied().and_then(&companion) {
                let with = Key(key.to_vec()).as_kind(kind);
                self.table.remove(with.0.as_slice())?;
            }
        }
        Ok(due.len() == SWEEP)
    }

    /// All rows, index rows included.
    #[cfg(test)]
    pub(crate) fn count(&self) -> u64 {
        use redb::ReadableTableMetadata as _;
        self.table.len().unwrap_or(0)
    }
}

fn index(expires: u64, key: &[u8]) -> Vec<u8> {
    let mut bytes = Vec::with_capacity(HEAD + key.len());
    bytes.push(INDEX);
    bytes.extend_from_slice(&expires.to_be_bytes());
    bytes.extend_from_slice(key);
    bytes
}

fn expiry(value: &[u8]) -> u64 {
    value
        .get(1..HEAD)
        .and_then(|bytes| bytes.try_into().ok())
        .map_or(0, u64::from_le_bytes)
}

fn read<T: DeserializeOwned>(value: &[u8], now: Micros) -> Result<Option<T>, Stop> {
    if value.first() != Some(&FORMAT) || value.len() < HEAD {
        return Err(PortError::bad_record("read a row of another format").into());
    }
    let expires = expiry(value);
    if expires != 0 && expires <= now.0 {
        return Ok(None);
    }
    postcard::from_bytes(&value[HEAD..])
        .map(Some)
        .map_err(|error| PortError::bad_record("decode a row").because(error).into())
}
