//! What a host compares before it claims anything: the rules of its groups, and
//! which store it is.

use holdfast_core::incarnation::Incarnation;

/// What all sides of a group have in common.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupRules {
    /// Names and values, for comparison and for the error that shows them:
    /// `slot`, `key`, `lane`, `sequence`, `fingerprint`, `ordered`.
    pub rules: Vec<(String, String)>,
}

/// Do this host's rules agree with those of the group?
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Agreement {
    /// Yes, or this host is the first.
    Agreed,
    /// No: the rule, ours and theirs.
    Differs(Vec<(String, String, String)>),
}

/// How to open a store.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Open {
    /// Only look.
    Look,
    /// Look, and make an incarnation where there is none.
    Create,
    /// Give it a new incarnation, which stands for the one that it had and for
    /// these ids: an operator accepted it.
    Accept(Vec<String>),
    /// Check every call of this process against this one from now on: the id is
    /// the same, and the pulse not lower.
    Expect(Incarnation),
}

/// Which store it is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Opened {
    /// Its incarnation.
    pub incarnation: Incarnation,
    /// The ids that it stands for since an operator accepted it in their place.
    pub replaced: Vec<String>,
}
