//! Durations and sizes as they are written.

use std::fmt::Write as _;
use std::time::Duration;

/// What is wrong with a duration or a size.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(super) enum UnitError {
    /// Nothing there.
    #[error("it is empty")]
    Empty,
    /// No digits where a number is due.
    #[error("it does not begin with a whole number")]
    NoNumber,
    /// A number without a unit.
    #[error("it has no unit")]
    NoUnit,
    /// A unit that is not known.
    #[error("`{0}` is not a unit of it")]
    UnknownUnit(String),
    /// Units out of order or twice.
    #[error("its units do not go from large to small")]
    Order,
    /// More than fits.
    #[error("it is too large")]
    TooLarge,
}

const DURATIONS: [(&str, u64); 5] = [
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

const SIZES: [(&str, u64); 7] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("kB", 1_000),
    ("MB", 1_000_000),
    ("GB", 1_000_000_000),
];

/// Reads `"250ms"`, `"15s"`, `"1h30m"`, `"7d"`.
pub(super) fn duration(text: &str) -> Result<Duration, UnitError> {
    if text.is_empty() {
        return Err(UnitError::Empty);
    }
    let mut rest = text;
    let mut millis = 0_u64;
    let mut smallest = u64::MAX;
    while !rest.is_empty() {
        let (number, unit, after) = number_and_unit(rest)?;
        let known = DURATIONS.iter().find(|(name, _)| *name == unit);
        let (_, each) = known.ok_or_else(|| UnitError::UnknownUnit(unit.to_owned()))?;
        if *each >= smallest {
            return Err(UnitError::Order);
        }
        smallest = *each;
        let part = number.checked_mul(*each).ok_or(UnitError::TooLarge)?;
        millis = millis.checked_add(part).ok_or(UnitError::TooLarge)?;
        rest = after;
    }
    Ok(Duration::from_millis(millis))
}

/// Reads `"32MiB"`, `"64kB"`, `"100B"`.
pub(super) fn size(text: &str) -> Result<u64, UnitError> {
    if text.is_empty() {
        return Err(UnitError::Empty);
    }
    let (number, unit, after) = number_and_unit(text)?;
    let whole = &text[text.len() - after.len() - unit.len()..];
    let known = SIZES.iter().find(|(name, _)| *name == whole);
    let (_, each) = known.ok_or_else(|| UnitError::UnknownUnit(whole.to_owned()))?;
    number.checked_mul(*each).ok_or(UnitError::TooLarge)
}

fn number_and_unit(text: &str) -> Result<(u64, &str, &str), UnitError> {
    let digits = text
        .find(|c: char| !c.is_ascii_digit())
        .unwrap_or(text.len());
    if digits == 0 {
        return Err(UnitError::NoNumber);
    }
    let number = text[..digits].parse().map_err(|_| UnitError::TooLarge)?;
    let rest = &text[digits..];
    let end = rest
        .find(|c: char| c.is_ascii_digit())
        .unwrap_or(rest.len());
    let (unit, after) = rest.split_at(end);
    if unit.is_empty() {
        Err(UnitError::NoUnit)
    } else {
        Ok((number, unit, after))
    }
}

/// A duration as one would write it: `6m7s`.
#[must_use]
pub fn show_duration(duration: Duration) -> String {
    let mut millis = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    if millis == 0 {
        return "0s".to_owned();
    }
    let mut out = String::new();
    for (unit, each) in DURATIONS {
        if millis >= each {
            let _ = write!(out, "{}{unit}", millis / each);
            millis %= each;
        }
    }
    out
}

/// A size as one would write it: `32MiB`.
pub(super) fn show_size(bytes: u64) -> String {
    for (unit, each) in [("GiB", 1 << 30), ("MiB", 1 << 20), ("KiB", 1 << 10)] {
        if bytes >= each && bytes.is_multiple_of(each) {
            return format!("{}{unit}", bytes / each);
        }
    }
    format!("{bytes}B")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_whole_numbers_with_units_from_large_to_small() {
        for (text, millis) in [
            ("250ms", 250),
            ("15s", 15_000),
            ("7d", 604_800_000),
            ("1h30m", 5_400_000),
            ("1d1h1m1s1ms", 90_061_001),
            ("0s", 0),
        ] {
            assert_eq!(duration(text), Ok(Duration::from_millis(millis)), "{text}");
        }
        for (text, error) in [
            ("", UnitError::Empty),
            ("s", UnitError::NoNumber),
            ("-5s", UnitError::NoNumber),
            ("5", UnitError::NoUnit),
            ("1h5", UnitError::NoUnit),
            ("5 s", UnitError::UnknownUnit(" s".into())),
            ("1.5s", UnitError::UnknownUnit(".".into())),
            ("5w", UnitError::UnknownUnit("w".into())),
            ("5s5m", UnitError::Order),
            ("5s5s", UnitError::Order),
            ("99999999999999999999s", UnitError::TooLarge),
            ("9999999999999999d", UnitError::TooLarge),
        ] {
            assert_eq!(duration(text), Err(error), "{text}");
        }
    }

    #[test]
    fn sizes_know_binary_and_decimal_units() {
        for (text, bytes) in [
            ("32MiB", 32 << 20),
            ("1KiB", 1024),
            ("1kB", 1000),
            ("7B", 7),
            ("2GiB", 2 << 30),
        ] {
            assert_eq!(size(text), Ok(bytes), "{text}");
        }
        for bad in [
            "",
            "32",
            "MiB",
            "32M",
            "32mib",
            "1MiB1KiB",
            "1.5MiB",
            "-1B",
            "99999999999GiB",
        ] {
            assert!(size(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn what_is_shown_reads_back() {
        for text in ["250ms", "6m7s", "1d12h", "7d"] {
            assert_eq!(show_duration(duration(text).unwrap()), text);
        }
        for text in ["64MiB", "1000B", "3KiB"] {
            assert_eq!(show_size(size(text).unwrap()), text);
        }
    }
}
