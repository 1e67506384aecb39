//! Which side owns a new key while a queue moves from one broker to another.

use std::collections::BTreeSet;
use std::time::Duration;

use xxhash_rust::xxh64::xxh64;

use crate::name::Side;

/// A share in hundredths of a percent, 0 to 10 000.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct Percent(u16);

/// Why a text is no percentage.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum PercentError {
    /// Not digits with at most one point.
    #[error("a percentage is a number such as 12.5")]
    NotANumber,
    /// More than two decimals cannot be exact.
    #[error("a percentage has at most two decimals")]
    TooFine,
    /// Outside 0 to 100.
    #[error("a percentage is between 0 and 100")]
    OutOfRange,
}

impl Percent {
    /// Everything.
    pub const ALL: Self = Self(10_000);

    /// The share in hundredths of a percent; none above 10 000.
    #[must_use]
    pub fn from_hundredths(hundredths: u16) -> Option<Self> {
        (hundredths <= 10_000).then_some(Self(hundredths))
    }

    /// Reads a decimal number exactly, without going through a float.
    ///
    /// # Errors
    /// [`PercentError`] for anything but 0 to 100 with at most two decimals.
    pub fn parse(text: &str) -> Result<Self, PercentError> {
        let text = text.trim();
        if let Some(rest) = text.strip_prefix('-') {
            if rest.starts_with(['+', '-']) {
                return Err(PercentError::NotANumber);
            }
            return match Self::parse(rest) {
                Ok(Self(0)) => Ok(Self(0)),
                Ok(_) | Err(PercentError::OutOfRange) => Err(PercentError::OutOfRange),
                Err(other) => Err(other),
            };
        }
        let text = text.strip_prefix('+').unwrap_or(text);
        let (whole, decimals) = text.split_once('.').unwrap_or((text, "0"));
        let digits = |t: &str| !t.is_empty() && t.bytes().all(|b| b.is_ascii_digit());
        if !digits(whole) || !digits(decimals) {
            return Err(PercentError::NotANumber);
        }
        let decimals = decimals.trim_end_matches('0');
        if decimals.len() > 2 {
            return Err(PercentError::TooFine);
        }
        let whole: u32 = whole.parse().map_err(|_| PercentError::OutOfRange)?;
        let fraction: u32 = format!("{decimals:0<2}")
            .parse()
            .map_err(|_| PercentError::NotANumber)?;
        let hundredths = whole.checked_mul(100).and_then(|w| w.checked_add(fraction));
        match hundredths
            .and_then(|h| u16::try_from(h).ok())
            .and_then(Self::from_hundredths)
        {
            Some(percent) => Ok(percent),
            None => Err(PercentError::OutOfRange),
        }
    }

    /// Hundredths of a percent.
    #[must_use]
    pub fn hundredths(self) -> u16 {
        self.0
    }
}

impl std::fmt::Display for Percent {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}.{:02}", self.0 / 100, self.0 % 100)
    }
}

/// The rule of one group. It decides for a key when it is first seen; the
/// answer is recorded in the claim and never computed again for that key.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Rule {
    /// Where the queue moves away from.
    pub from: Side,
    /// Where it moves to.
    pub to: Side,
    /// Off: everything new stays with `from`.
    pub enabled: bool,
    /// The share of new keys that goes to `to`.
    pub percent: Percent,
    /// Keys (lanes, in an ordered group) that always go to `to`.
    pub allow: BTreeSet<String>,
    /// After how long a key that its owner never began may be taken over.
    pub assign_timeout: Duration,
    /// Grows with every change.
    pub revision: u64,
}

impl Rule {
    /// The owner of a new key. `hashed` is the lane in an ordered group, so
    /// that a lane moves as a whole, and the claim key otherwise.
    #[must_use]
    pub fn owner(&self, hashed: &str) -> &Side {
        let moves = self.enabled
            && (self.allow.contains(hashed)
                || xxh64(hashed.as_bytes(), 0) % 10_000 < u64::from(self.percent.hundredths()));
        if moves { &self.to } else { &self.from }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rule(percent: &str) -> Rule {
        Rule {
            from: Side::new("old").unwrap(),
            to: Side::new("new").unwrap(),
            enabled: true,
            percent: Percent::parse(percent).unwrap(),
            allow: BTreeSet::from(["vip".to_owned()]),
            assign_timeout: Duration::from_secs(60),
            revision: 1,
        }
    }

    fn share(rule: &Rule) -> usize {
        (0..10_000)
            .filter(|n| rule.owner(&format!("key-{n}")) == &rule.to)
            .count()
    }

    #[test]
    fn percentages_are_exact_to_two_decimals() {
        for (text, hundredths) in [
            ("0", 0),
            ("100", 10_000),
            ("12.5", 1250),
            ("0.01", 1),
            ("33.330", 3333),
        ] {
            assert_eq!(
                Percent::parse(text).map(Percent::hundredths),
                Ok(hundredths),
                "{text}"
            );
        }
        for text in ["-1", "101", "100.01", "70000", "99999999999"] {
            assert_eq!(
                Percent::parse(text),
                Err(PercentError::OutOfRange),
                "{text}"
            );
        }
        for text in ["nan", "inf", "1e2", "", ".", "5.", "1.2.3", "--1"] {
            assert_eq!(
                Percent::parse(text),
                Err(PercentError::NotANumber),
                "{text}"
            );
        }
        assert_eq!(Percent::parse("1.234"), Err(PercentError::TooFine));
    }

    #[test]
    fn none_all_and_a_share_of_the_keys_move() {
        assert_eq!(share(&rule("0")), 0);
        assert_eq!(share(&rule("100")), 10_000);
        let third = share(&rule("33.33"));
        assert!((3100..3550).contains(&third), "{third}");
    }

    #[test]
    fn a_larger_percentage_only_adds_keys() {
        let (small, large) = (rule("10"), rule("40"));
        for n in 0..2_000 {
            let key = format!("key-{n}");
            if small.owner(&key) == &small.to {
                assert_eq!(large.owner(&key), &large.to);
            }
        }
    }

    #[test]
    fn the_allow_list_moves_and_a_disabled_rule_moves_nothing() {
        let mut rule = rule("0");
        assert_eq!(rule.owner("vip"), &rule.to);
        rule.enabled = false;
        assert_eq!(rule.owner("vip"), &rule.from);
    }

    #[test]
    fn the_hash_is_xxh64_with_seed_zero() {
        assert_eq!(xxh64(b"", 0), 0xEF46_DB37_51D8_E999);
    }
}
