//! What is left when everything has come to rest.

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast_core::claim::{BeginAnswer, BeginFacts, Token};
use holdfast_core::key::{ClaimKey, Lane};
use holdfast_core::name::Side;
use holdfast_history::What;
use holdfast_ports::store::{Begin, Place, Slot, Store as _};

use crate::guest::APPLIED;
use crate::setup::{EFFECTS, group};
use crate::world::World;

/// What is not finished yet, in words.
pub(crate) async fn left_over(world: &World) -> Option<String> {
    let mut left = Vec::new();
    for (side, broker) in &world.brokers {
        for queue in broker.queues() {
            let kept = queue.name == EFFECTS || queue.name.ends_with(".dead");
            if !kept && queue.ready + queue.unsettled > 0 {
                left.push(format!(
                    "{side}: {} has {} ready, {} unsettled",
                    queue.name, queue.ready, queue.unsettled
                ));
            }
        }
    }
    match world.store.list(&group(), None, 1000).await {
        Ok(claims) => {
            let letters = letters(world);
            let unfinished = claims
                .iter()
                .filter(|claim| !letters.contains(claim.key.as_str()));
            left.extend(unfinished.map(|claim| {
                let (key, state, side) = (claim.key.as_str(), claim.state, &claim.side);
                format!("{key} is {state} at {side}")
            }));
        }
        Err(error) => left.push(error.to_string()),
    }
    (!left.is_empty()).then(|| left.join("; "))
}

/// The keys of all letters. An unfinished claim whose letter is there waits for
/// an operator: a call that reopened it came late.
fn letters(world: &World) -> BTreeSet<String> {
    let record = world.record();
    let letters = record.history.iter().filter_map(|event| match &event.what {
        What::Letter { key, reason } if reason != "key-conflict" => key.clone(),
        _ => None,
    });
    letters.collect()
}

/// Adds to the history what the state of each lane says, and looks for letters
/// of messages without a key.
pub(crate) async fn final_state(world: &World, wrong: &mut Vec<(&'static str, String)>) {
    if world.plan.setup.lanes {
        let lanes = world.plan.messages.iter().filter_map(|m| m.lane.clone());
        let lanes: BTreeSet<String> = lanes.collect();
        for lane in lanes {
            match applied(world, &lane).await {
                Some(applied) => world.happened(What::State { lane, applied }),
                None => wrong.push(("state", format!("the state of {lane} cannot be read"))),
            }
        }
    }
    let letters = world.known().nameless_letters;
    if world.plan.nameless > letters {
        wrong.push(("lost", "a message without a key has no letter".to_owned()));
    }
}

/// The state of a lane, as a new message of it would see it.
async fn applied(world: &World, lane: &str) -> Option<Vec<String>> {
    let side = Side::new("old").expect("a name");
    let begin = Begin {
        at: Place {
            group: group(),
            key: ClaimKey::from_known(&format!("look-{lane}")),
            slot: Slot::Group,
            lease: None,
            keep: Duration::from_secs(1),
        },
        facts: BeginFacts {
            side: side.clone(),
            owner_if_new: side,
            token: Token(1),
            fingerprint: None,
            lane: Some(Lane::from_known(lane)),
            sequence: None,
            epoch: None,
            lock: Duration::from_secs(1),
            assign_timeout: Duration::from_secs(1),
            rule: None,
        },
        state: true,
    };
    let Ok(BeginAnswer::Granted { state, .. }) = world.store.begin(begin).await else {
        return None;
    };
    let values = state.values.into_iter();
    let applied = values.filter(|(name, _)| name == APPLIED).map(|(_, v)| v);
    let text = applied.map(|value| String::from_utf8_lossy(&value).into_owned());
    let keys = text.flat_map(|text| {
        let keys: Vec<String> = text.split_whitespace().map(str::to_owned).collect();
        keys
    });
    Some(keys.collect())
}
