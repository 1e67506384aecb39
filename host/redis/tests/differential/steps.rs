//! What can be done to a claim, with few keys, sides, lanes and tokens, so that
//! steps meet each other.

use proptest::prelude::*;

pub(crate) const KEYS: [&str; 3] = ["one", "two: é", "three"];
pub(crate) const SIDES: [&str; 2] = ["old", "new"];
pub(crate) const LANES: [&str; 2] = ["north", "south/1"];

/// Whose token is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Whose {
    /// That of the claim's last attempt, if it has one.
    Last,
    /// One that nobody has seen.
    Fresh,
}

/// Which epoch is shown.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Epoch {
    None,
    Current,
    Old,
}

#[derive(Clone, Debug)]
pub(crate) struct BeginStep {
    pub(crate) key: usize,
    pub(crate) side: usize,
    pub(crate) owner: usize,
    pub(crate) token: Whose,
    pub(crate) body: Option<u8>,
    pub(crate) lane: Option<usize>,
    pub(crate) sequence: Option<u64>,
    pub(crate) epoch: Epoch,
    /// A lock that lasts, or one that has expired at the next step.
    pub(crate) lock: bool,
    /// Wait for the owner of an assigned key, or take it over at once.
    pub(crate) patient: bool,
    pub(crate) state: bool,
    /// The owner is named by the current rule, or by one that has moved.
    pub(crate) rule: Option<bool>,
}

impl BeginStep {
    /// A first attempt or another one, without anything special.
    pub(crate) fn plain(key: usize) -> Self {
        Self {
            key,
            side: 0,
            owner: 0,
            token: Whose::Fresh,
            body: None,
            lane: None,
            sequence: None,
            epoch: Epoch::None,
            lock: true,
            patient: true,
            state: false,
            rule: None,
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) struct CommitStep {
    pub(crate) key: usize,
    pub(crate) token: Whose,
    pub(crate) epoch: Epoch,
    pub(crate) lane: Option<usize>,
    pub(crate) sequence: Option<u64>,
    /// The state that was read is (not) the one that is there.
    pub(crate) read: Option<bool>,
    /// Names that are set (or deleted).
    pub(crate) changes: Vec<(u8, bool)>,
    /// One published message each, perhaps in a lane.
    pub(crate) outbox: Vec<Option<usize>>,
}

impl CommitStep {
    /// Success without effects.
    pub(crate) fn plain(key: usize) -> Self {
        Self {
            key,
            token: Whose::Last,
            epoch: Epoch::None,
            lane: None,
            sequence: None,
            read: None,
            changes: Vec::new(),
            outbox: Vec::new(),
        }
    }
}

#[derive(Clone, Debug)]
pub(crate) enum Step {
    Begin(BeginStep),
    Commit(CommitStep),
    Fail(usize, Whose, Epoch),
    Park(usize, Whose, Epoch, usize, bool),
    Abandon(usize, Whose, Epoch),
    Published(usize),
    /// The letter of the last giving up, or of one before.
    Buried(usize, bool),
    Undeliverable(usize, u32),
    Release(usize, Option<usize>, bool),
    Replay(usize),
    /// A look at all claims by this side, with a time-out that lasts or has passed.
    Look(usize, bool),
    /// The cut-over rule is changed.
    ChangeRule,
    /// Another instance becomes leader.
    Depose,
    /// Nobody leads any more.
    Resign,
    /// The step that follows is shown to another store.
    OtherStore(Box<Step>),
}

/// Mostly the first, so that one claim goes through a lot.
fn key() -> impl Strategy<Value = usize> {
    prop_oneof![4 => Just(0), 1 => 1..KEYS.len()]
}

fn whose() -> impl Strategy<Value = Whose> {
    prop_oneof![6 => Just(Whose::Last), 1 => Just(Whose::Fresh)]
}

fn epoch() -> impl Strategy<Value = Epoch> {
    prop_oneof![5 => Just(Epoch::None), 4 => Just(Epoch::Current), 1 => Just(Epoch::Old)]
}

fn lane() -> impl Strategy<Value = Option<usize>> {
    prop::option::of(0..LANES.len())
}

fn sequence() -> impl Strategy<Value = Option<u64>> {
    let few = prop_oneof![
        3 => 0..4_u64,
        1 => (1 << 53)..(1 << 53) + 3_u64,
        1 => u64::MAX - 1..=u64::MAX,
    ];
    prop::option::weighted(0.4, few)
}

fn begin() -> impl Strategy<Value = BeginStep> {
    let who = (key(), 0..SIDES.len(), 0..SIDES.len(), 0..4_u8);
    let token = prop_oneof![1 => Just(Whose::Last), 4 => Just(Whose::Fresh)];
    let body = prop::option::of(prop_oneof![5 => Just(1_u8), 1 => Just(2_u8)]);
    let rule = prop::option::weighted(0.3, prop::bool::weighted(0.8));
    let rest = (lane(), sequence(), epoch(), any_of::<[bool; 3]>(), rule);
    (who, token, body, rest).prop_map(|(who, token, body, rest)| {
        let (key, side, other, same) = who;
        let (lane, sequence, epoch, [lock, patient, state], rule) = rest;
        BeginStep {
            key,
            side,
            // Mostly the asking side is the owner.
            owner: if same > 0 { side } else { other },
            token,
            body,
            lane,
            sequence,
            epoch,
            lock,
            patient,
            state,
            rule,
        }
    })
}

fn commit() -> impl Strategy<Value = CommitStep> {
    let plain = (
        Just(None),
        Just(None),
        Just(None),
        Just(vec![]),
        Just(vec![]),
    );
    let rich = (
        lane(),
        sequence(),
        prop::option::weighted(0.5, any_of::<bool>()),
        prop::collection::vec((0..3_u8, any_of::<bool>()), 0..4),
        prop::collection::vec(lane(), 0..4),
    );
    let effects = prop_oneof![1 => plain.boxed(), 2 => rich.boxed()];
    (key(), whose(), epoch(), effects).prop_map(|(key, token, epoch, effects)| {
        let (lane, sequence, read, changes, outbox) = effects;
        CommitStep {
            key,
            token,
            epoch,
            lane,
            sequence,
            read,
            changes,
            outbox,
        }
    })
}

fn plain() -> impl Strategy<Value = Step> {
    prop_oneof![
        10 => begin().prop_map(Step::Begin),
        5 => commit().prop_map(Step::Commit),
        3 => (key(), whose(), epoch()).prop_map(|(k, t, e)| Step::Fail(k, t, e)),
        3 => (key(), whose(), epoch(), 0..9_usize, any_of::<bool>())
            .prop_map(|(k, t, e, reason, error)| Step::Park(k, t, e, reason, error)),
        1 => (key(), whose(), epoch()).prop_map(|(k, t, e)| Step::Abandon(k, t, e)),
        2 => key().prop_map(Step::Published),
        2 => (key(), any_of::<bool>()).prop_map(|(k, late)| Step::Buried(k, late)),
        2 => (key(), 1..4_u32).prop_map(|(k, limit)| Step::Undeliverable(k, limit)),
        1 => (key(), prop::option::of(0..SIDES.len()), any_of::<bool>())
            .prop_map(|(k, to, force)| Step::Release(k, to, force)),
        2 => key().prop_map(Step::Replay),
        2 => (0..SIDES.len(), any_of::<bool>()).prop_map(|(s, p)| Step::Look(s, p)),
        1 => Just(Step::ChangeRule),
        2 => Just(Step::Depose),
        1 => Just(Step::Resign),
    ]
}

pub(crate) fn any() -> impl Strategy<Value = Step> {
    prop_oneof![
        25 => plain(),
        1 => plain().prop_map(|step| Step::OtherStore(Box::new(step))),
    ]
}

fn any_of<T: Arbitrary>() -> impl Strategy<Value = T> {
    prop::arbitrary::any::<T>()
}
