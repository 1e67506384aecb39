//! Why a message was run or not, in sentences.

use std::time::Duration;

use holdfast_core::claim::{ParkReason, StateName};
use holdfast_core::cutover::Rule;
use holdfast_ports::store::ClaimView;

use super::shown::time;
use crate::config::show_duration;

/// A consumer of the claim's group, as far as an explanation needs it.
#[derive(Clone, Debug)]
pub(super) struct Member {
    /// Its name.
    pub(super) consumer: String,
    /// Its side.
    pub(super) side: String,
    /// How many calls a message gets.
    pub(super) attempts: u32,
    /// Messages of the other side wait here; otherwise they are dropped.
    pub(super) holds: bool,
    /// How long a claim is remembered.
    pub(super) keep: Duration,
    /// The cut-over rule looks at the lane, not at the key.
    pub(super) by_lane: bool,
}

/// What happened to a message and what happens next.
pub(super) fn claim(claim: &ClaimView, rule: Option<&Rule>, members: &[Member]) -> Vec<String> {
    let mut said = vec![state(claim, rule, members)];
    said.extend(counts(claim));
    if !claim.state.is_finished() {
        said.extend(others(claim, members));
    }
    said
}

/// Why there may be no claim.
pub(super) fn nothing(key: &str, rule: Option<&Rule>, members: &[Member]) -> Vec<String> {
    let keep = members.iter().map(|member| member.keep).max();
    let keep = keep.map(show_duration).unwrap_or_default();
    let mut said = vec![
        "No claim is recorded under this key, so no handler was called for it in this group."
            .to_owned(),
        format!(
            "Either no message with it was received yet, or it ended more than {keep} ago, or its \
             message was given up before it was claimed (too-large, no-lane, bad-sequence); then \
             its dead letter is shown by: {}",
            show_letter(key, members)
        ),
    ];
    let by_lane = members.iter().any(|member| member.by_lane);
    match rule {
        Some(rule) if by_lane => said.push(format!(
            "The cut-over rule decides by its lane between the sides {} and {}.",
            rule.from, rule.to
        )),
        Some(rule) => said.push(format!(
            "The cut-over rule gives it to the side {}.",
            rule.owner(key)
        )),
        None => {}
    }
    said
}

fn state(claim: &ClaimView, rule: Option<&Rule>, members: &[Member]) -> String {
    let (side, attempt) = (&claim.side, claim.attempt);
    let error = claim.error.as_deref().unwrap_or("without a text");
    match claim.state {
        StateName::Assigned => {
            let wait = rule.map(|rule| show_duration(rule.assign_timeout));
            let then = wait.map_or_else(String::new, |wait| {
                format!(" Another side may take it over {wait} after it was assigned.")
            });
            format!(
                "It was not run yet: it belongs to the side {side}, which has not begun it.{then}"
            )
        }
        StateName::Running => {
            let until = claim.locked_until_ms.and_then(time);
            let until = until.unwrap_or_else(|| "its lock ends".to_owned());
            format!(
                "Attempt {attempt} of the side {side} runs, or its host died; no other attempt \
                 begins before {until}."
            )
        }
        StateName::Failed if attempt == 0 => {
            format!("It was taken by the side {side}, but its handler was not called yet.")
        }
        StateName::Failed => {
            let limit = members.iter().find(|member| member.side == side.as_str());
            let of = limit.map_or_else(String::new, |member| format!(" of {}", member.attempts));
            format!(
                "Attempt {attempt}{of} failed: {error}. The claim is kept: only the side {side} \
                 tries again."
            )
        }
        StateName::Committed => format!(
            "It was run: attempt {attempt} succeeded and its effects are stored. What it published \
             is still being sent; then the message is acknowledged."
        ),
        StateName::Done if claim.reason.as_deref() == Some("stale") => {
            "It was not run: its sequence was not above the last one applied in its lane."
                .to_owned()
        }
        StateName::Done => format!(
            "It was run: the side {side} finished it. Every further delivery is acknowledged as a \
             duplicate."
        ),
        StateName::Parking => format!(
            "It was given up ({}) and is on its way to the dead-letter queue.",
            reason(claim)
        ),
        StateName::Parked => format!(
            "It was given up ({}). Every further delivery is acknowledged without a call; a replay \
             of its dead letter runs it again, unless that was dropped: {}",
            reason(claim),
            show_letter(claim.key.as_str(), members)
        ),
    }
}

/// What to type to see the letters with a key.
fn show_letter(key: &str, members: &[Member]) -> String {
    let plain = |c: char| c.is_ascii_alphanumeric() || "-._/:@%+,=".contains(c);
    let key = match key.chars().all(plain) {
        true => key.to_owned(),
        false => format!("'{}'", key.replace('\'', "'\\''")),
    };
    let shows = members
        .iter()
        .map(|member| format!("holdfast dead show {} --key {key}", member.consumer));
    shows.collect::<Vec<_>>().join("; ")
}

/// A consumer of the claim's group as it stands in this host.
#[derive(Clone, Debug)]
pub(super) struct Stand {
    /// Its name.
    pub(super) consumer: String,
    /// Why it takes no messages from its queue; none when it does.
    pub(super) idle: Option<String>,
    /// A delivery with the key is in hand.
    pub(super) holds: bool,
}

/// What this host does with deliveries of the key now.
pub(super) fn here(stands: &[Stand]) -> Vec<String> {
    let mut said = Vec::new();
    for Stand {
        consumer,
        idle,
        holds,
    } in stands
    {
        if *holds {
            said.push(format!("A delivery of it is in hand at {consumer} here."));
        }
        if let Some(why) = idle {
            said.push(format!(
                "{consumer} takes no messages from its queue in this host: {why}."
            ));
        }
    }
    said
}

fn reason(claim: &ClaimView) -> String {
    let name = claim.reason.as_deref().unwrap_or_default();
    let meaning = match ParkReason::parse(name) {
        Some(ParkReason::Rejected) => "the handler rejected it",
        Some(ParkReason::AttemptsSpent) => "its attempts were used up",
        Some(ParkReason::OutboxUndeliverable) => {
            "its effects are stored, but a message it published has no target"
        }
        Some(_) => "it could not be claimed",
        None => "the reason is no longer known",
    };
    let mut text = match name {
        "" => meaning.to_owned(),
        name => format!("{name}: {meaning}"),
    };
    if let Some(error) = &claim.error {
        text = format!("{text}; the last error was: {error}");
    }
    text
}

/// How often it was begun, failed, and so on, and since when.
fn counts(claim: &ClaimView) -> Option<String> {
    let first = claim.history.first()?;
    let count = |step: &str| claim.history.iter().filter(|t| t.step == step).count();
    let told: Vec<String> = [
        ("begin", "begun"),
        ("fail", "failed"),
        ("takeover", "taken over"),
        ("abandon", "handed back without being run"),
        ("release", "released by an operator"),
        ("replay", "replayed"),
    ]
    .into_iter()
    .map(|(step, word)| (count(step), word))
    .filter(|(times, _)| *times > 0)
    .map(|(times, word)| match times {
        1 => format!("{word} once"),
        times => format!("{word} {times} times"),
    })
    .collect();
    let since = time(first.at_ms).unwrap_or_default();
    (!told.is_empty()).then(|| format!("Since {since} it was {}.", told.join(", ")))
}

/// What other sides of this host do with the same message.
fn others(claim: &ClaimView, members: &[Member]) -> Vec<String> {
    members
        .iter()
        .filter(|member| member.side != claim.side.as_str())
        .map(|member| {
            let does = if member.holds {
                "waits until the owner is finished"
            } else {
                "is left to the owner and dropped"
            };
            format!(
                "The same message at {} (side {}) {does}.",
                member.consumer, member.side
            )
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use holdfast_core::key::ClaimKey;
    use holdfast_core::name::Side;
    use holdfast_ports::store::TransitionView;

    use super::*;

    fn view(state: StateName, reason: Option<&str>, error: Option<&str>) -> ClaimView {
        let step = |at_ms, step: &str| TransitionView {
            at_ms,
            step: step.to_owned(),
            side: "old".to_owned(),
            attempt: 1,
            detail: String::new(),
        };
        ClaimView {
            key: ClaimKey::from_known("k"),
            side: Side::new("old").expect("a name"),
            state,
            reason: reason.map(str::to_owned),
            attempt: 2,
            fence: 7,
            lane: None,
            error: error.map(str::to_owned),
            locked_until_ms: Some(0),
            fingerprint: None,
            history: vec![
                step(0, "begin"),
                step(1, "fail"),
                step(2, "begin"),
                step(3, "fail"),
            ],
        }
    }

    fn member(side: &str) -> Member {
        Member {
            consumer: format!("orders-{side}"),
            side: side.to_owned(),
            attempts: 8,
            holds: true,
            keep: Duration::from_secs(7 * 86_400),
            by_lane: false,
        }
    }

    #[test]
    fn a_failed_message_says_who_tries_again_and_who_waits() {
        let said = claim(
            &view(StateName::Failed, None, Some("no stock")),
            None,
            &[member("old"), member("new")],
        );
        let text = said.join("\n");
        assert!(text.contains("Attempt 2 of 8 failed: no stock"), "{text}");
        assert!(text.contains("only the side old"), "{text}");
        assert!(text.contains("begun 2 times, failed 2 times"), "{text}");
        assert!(text.contains("orders-new (side new) waits"), "{text}");
    }

    #[test]
    fn every_state_and_reason_has_its_own_explanation() {
        let mut all: Vec<String> = StateName::ALL
            .iter()
            .map(|name| claim(&view(*name, None, None), None, &[]).remove(0))
            .collect();
        all.push(claim(&view(StateName::Done, Some("stale"), None), None, &[]).remove(0));
        for reason in ["rejected", "attempts-spent", "outbox-undeliverable"] {
            all.push(claim(&view(StateName::Parked, Some(reason), None), None, &[]).remove(0));
        }
        let count = all.len();
        all.sort();
        all.dedup();
        assert_eq!(all.len(), count);
    }

    #[test]
    fn a_consumer_that_takes_nothing_says_why_and_what_is_in_hand_is_told() {
        let stand = |idle: Option<&str>, holds| Stand {
            consumer: "orders".to_owned(),
            idle: idle.map(str::to_owned),
            holds,
        };
        assert!(here(&[stand(None, false)]).is_empty());
        let text = here(&[stand(Some("an operator paused it"), true)]).join("\n");
        assert!(text.contains("in hand at orders"), "{text}");
        assert!(text.contains("an operator paused it"), "{text}");
    }

    #[test]
    fn a_command_can_be_typed_as_it_is_shown() {
        let members = [member("old")];
        let shown = |key: &str| show_letter(key, &members);
        assert_eq!(shown("a/1"), "holdfast dead show orders-old --key a/1");
        assert_eq!(
            shown("it's"),
            "holdfast dead show orders-old --key 'it'\\''s'"
        );
    }

    #[test]
    fn an_unknown_key_is_explained_too() {
        let text = nothing("k", None, &[member("old")]).join("\n");
        assert!(text.contains("No claim") && text.contains("7d"), "{text}");
    }
}
