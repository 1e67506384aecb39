//! The consumers that are compared.

use std::fmt;

use clap::ValueEnum;

/// One way to consume a queue.
#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
pub(super) enum Variant {
    /// Bare loop, no claims, each acknowledgement awaited
    #[value(alias = "a")]
    Bare,
    /// By hand: two claim scripts per message, acknowledged one by one
    #[value(alias = "b")]
    Native,
    /// By hand, at its best: scripts pipelined by 128, multiple acknowledgements
    #[value(alias = "c")]
    Ceiling,
    /// Holdfast, a fresh instance for each message
    #[value(alias = "d")]
    Fresh,
    /// Holdfast, instances reused
    #[value(alias = "e")]
    Reuse,
}

impl Variant {
    /// These, or all when none is named; each once, in order.
    pub(super) fn chosen(only: &[Self]) -> Vec<Self> {
        let all = Self::value_variants().iter().copied();
        all.filter(|variant| only.is_empty() || only.contains(variant))
            .collect()
    }

    /// As in the report's fields.
    pub(super) fn name(self) -> &'static str {
        match self {
            Self::Bare => "bare",
            Self::Native => "native",
            Self::Ceiling => "ceiling",
            Self::Fresh => "fresh",
            Self::Reuse => "reuse",
        }
    }

    /// The `instances` setting, for those that are Holdfast.
    pub(super) fn instances(self) -> Option<&'static str> {
        match self {
            Self::Bare | Self::Native | Self::Ceiling => None,
            Self::Fresh => Some("fresh"),
            Self::Reuse => Some("reuse"),
        }
    }

    /// Whether its latency says something.
    pub(super) fn has_latency(self) -> bool {
        matches!(self, Self::Native | Self::Fresh | Self::Reuse)
    }
}

impl fmt::Display for Variant {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Bare => "bare lapin, ack each, no claims",
            Self::Native => "by hand, two scripts each (reference)",
            Self::Ceiling => "by hand, pipelined by 128 (ceiling)",
            Self::Fresh => "Holdfast, fresh instances",
            Self::Reuse => "Holdfast, reused instances",
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn variants_are_chosen_by_name_or_letter_and_run_in_order() {
        let parse = |text| Variant::from_str(text, false).unwrap();
        let chosen = Variant::chosen(&[parse("d"), parse("native"), parse("b")]);
        assert_eq!(chosen, [Variant::Native, Variant::Fresh]);
        assert_eq!(Variant::chosen(&[]).len(), 5);
    }
}
