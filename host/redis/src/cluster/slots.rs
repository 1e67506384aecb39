//! Hash slots, as Redis Cluster counts them.

use std::sync::LazyLock;

use redis::Value;

/// How many there are.
const COUNT: u16 = 16_384;

/// The slot of a key: of what stands in its first braces, if there is something.
pub(crate) fn slot(key: &[u8]) -> u16 {
    crc16(tag(key)) % COUNT
}

fn tag(key: &[u8]) -> &[u8] {
    let Some(open) = key.iter().position(|b| *b == b'{') else {
        return key;
    };
    let inside = &key[open + 1..];
    match inside.iter().position(|b| *b == b'}') {
        Some(length @ 1..) => &inside[..length],
        _ => key,
    }
}

/// CRC-16/XMODEM.
fn crc16(bytes: &[u8]) -> u16 {
    bytes.iter().fold(0, |crc, byte| {
        (0..8).fold(crc ^ (u16::from(*byte) << 8), |crc, _| {
            (crc << 1) ^ if crc & 0x8000 == 0 { 0 } else { 0x1021 }
        })
    })
}

/// For each slot a number of which it is the slot.
static NUMBERS: LazyLock<Vec<u32>> = LazyLock::new(|| {
    let mut numbers = vec![None; usize::from(COUNT)];
    let mut missing = numbers.len();
    for number in 0.. {
        let found = &mut numbers[usize::from(slot(number.to_string().as_bytes()))];
        if found.is_none() {
            *found = Some(number);
            missing -= 1;
        }
        if missing == 0 {
            break;
        }
    }
    numbers.into_iter().flatten().collect()
});

/// A text of which this is the slot.
pub(crate) fn text_in(slot: u16) -> String {
    NUMBERS[usize::from(slot % COUNT)].to_string()
}

/// A server, by the name or number it gave itself.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) struct Address {
    /// None: where the answer came from.
    pub(crate) host: Option<String>,
    pub(crate) port: u16,
}

/// Slots that are at one primary.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Range {
    pub(crate) first: u16,
    pub(crate) last: u16,
    pub(crate) primary: Address,
}

/// What `CLUSTER SLOTS` says, in the order of the slots; none when it is no such
/// answer, or slots are missing.
pub(crate) fn ranges(answer: &Value) -> Option<Vec<Range>> {
    let Value::Array(rows) = answer else {
        return None;
    };
    let mut ranges = rows.iter().map(range).collect::<Option<Vec<Range>>>()?;
    ranges.sort_by_key(|range| range.first);
    let mut next = 0;
    for range in &ranges {
        if range.first != next {
            return None;
        }
        next = range.last + 1;
    }
    (next == COUNT).then_some(ranges)
}

fn range(row: &Value) -> Option<Range> {
    let Value::Array(row) = row else { return None };
    let [
        Value::Int(first),
        Value::Int(last),
        Value::Array(primary),
        ..,
    ] = row.as_slice()
    else {
        return None;
    };
    let [host, Value::Int(port), ..] = primary.as_slice() else {
        return None;
    };
    let host = match host {
        Value::BulkString(name) => String::from_utf8(name.clone()).ok()?,
        Value::Nil => String::new(),
        _ => return None,
    };
    let (first, last) = (u16::try_from(*first).ok()?, u16::try_from(*last).ok()?);
    (first <= last && last < COUNT).then_some(Range {
        first,
        last,
        primary: Address {
            host: (!host.is_empty() && host != "?").then_some(host),
            port: u16::try_from(*port).ok()?,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn slots_are_those_of_redis() {
        // As `CLUSTER KEYSLOT` answers.
        assert_eq!(slot(b"123456789"), 0x31c3);
        assert_eq!(slot(b"foo"), 12182);
        assert_eq!(slot(b"svc:{foo}:c:1"), 12182);
        assert_eq!(slot(b"{foo}{bar}"), 12182);
        assert_eq!(slot(b"foo{}{bar}"), slot(b"foo{}{bar}"));
        assert_ne!(slot(b"foo{}{bar}"), slot(b"bar"), "empty braces are text");
        assert_eq!(slot(b"foo{bar"), crc16(b"foo{bar") % COUNT);
    }

    #[test]
    fn every_slot_has_a_text() {
        for wanted in [0, 1, 5461, 10_923, COUNT - 1] {
            assert_eq!(slot(text_in(wanted).as_bytes()), wanted);
        }
    }

    #[test]
    fn a_map_with_a_hole_is_none() {
        let row = |first, last| {
            let host = Value::BulkString(b"10.0.0.1".to_vec());
            let primary = Value::Array(vec![host, Value::Int(7000)]);
            Value::Array(vec![Value::Int(first), Value::Int(last), primary])
        };
        let whole = Value::Array(vec![row(8192, 16_383), row(0, 8191)]);
        let found = ranges(&whole).expect("a map");
        assert_eq!(found.iter().map(|r| r.first).collect::<Vec<_>>(), [0, 8192]);
        assert_eq!(found[0].primary.host.as_deref(), Some("10.0.0.1"));
        assert_eq!(ranges(&Value::Array(vec![row(0, 8191)])), None);
        assert_eq!(
            ranges(&Value::Array(vec![row(0, 9), row(11, 16_383)])),
            None
        );
        assert_eq!(ranges(&Value::Nil), None);
    }
}
