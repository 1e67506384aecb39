//! What a call does through the host, staged until its claim is committed.

use holdfast_ports::message::{Effects, Header, OWN_PREFIX, Snapshot, Staged, StateChange, Target};

use crate::options::Limits;
use crate::text::{head, size};

/// Longest name of a queue, exchange, routing key or header, in bytes: what
/// brokers can carry.
const NAME: usize = 255;

/// The staged effects of one call.
#[derive(Default)]
pub(crate) struct Stage {
    state_used: bool,
    /// Each name once, with its last value; none when it was deleted.
    state: Vec<(String, Option<Vec<u8>>)>,
    outbox: Vec<Staged>,
    outbox_bytes: usize,
}

impl Stage {
    /// What is to be committed; `version` is that of the state it read.
    pub(crate) fn into_effects(self, version: u64) -> Effects {
        let state = self.state.into_iter().map(|(name, value)| match value {
            Some(value) => StateChange::Set(name, value),
            None => StateChange::Delete(name),
        });
        Effects {
            state: state.collect(),
            state_version: self.state_used.then_some(version),
            outbox: self.outbox,
        }
    }

    /// The value of a name as this call sees it.
    pub(crate) fn get<'a>(&'a mut self, before: &'a Snapshot, name: &str) -> Option<&'a [u8]> {
        self.state_used = true;
        if let Some((_, value)) = self.state.iter().find(|(known, _)| known == name) {
            return value.as_deref();
        }
        let known = before.values.iter().find(|(known, _)| known == name);
        known.map(|(_, value)| value.as_slice())
    }

    /// Sets or deletes a value.
    pub(crate) fn put(
        &mut self,
        limits: &Limits,
        name: String,
        value: Option<Vec<u8>>,
    ) -> Result<(), String> {
        self.state_used = true;
        if name.is_empty() || name.len() > limits.state_name {
            return Err(format!(
                "the name of a state value has 1 to {} bytes, not {}",
                limits.state_name,
                name.len()
            ));
        }
        let bytes = value.as_ref().map_or(0, Vec::len);
        if bytes > limits.state_value {
            return Err(format!(
                "the state value {:?} has {bytes} bytes, more than {}",
                head(&name, 64),
                size(limits.state_value as u64)
            ));
        }
        let place = self.state.iter().position(|(known, _)| *known == name);
        let weight = |(name, value): &(String, Option<Vec<u8>>)| {
            name.len() + value.as_ref().map_or(0, Vec::len)
        };
        let others: usize = self.state.iter().map(weight).sum::<usize>()
            - place.map_or(0, |place| weight(&self.state[place]));
        if others + name.len() + bytes > limits.state_total {
            return Err(format!(
                "one message sets more than {} of state",
                size(limits.state_total as u64)
            ));
        }
        match place {
            Some(place) => self.state[place].1 = value,
            None if self.state.len() >= limits.state_names => {
                return Err(format!(
                    "one message changes more than {} state values",
                    limits.state_names
                ));
            }
            None => self.state.push((name, value)),
        }
        Ok(())
    }

    /// Adds to a whole number. The outer error breaks a limit, the inner one is
    /// for the guest.
    pub(crate) fn increment(
        &mut self,
        before: &Snapshot,
        limits: &Limits,
        name: String,
        by: i64,
    ) -> Result<Result<i64, String>, String> {
        let old = match self.get(before, &name) {
            None => 0,
            Some(value) => {
                let text = std::str::from_utf8(value).ok();
                match text.and_then(|text| text.parse::<i64>().ok()) {
                    Some(number) => number,
                    None => return Ok(Err("the value is not a whole number".to_owned())),
                }
            }
        };
        let Some(sum) = old.checked_add(by) else {
            return Ok(Err("the sum does not fit into 64 bits".to_owned()));
        };
        self.put(limits, name, Some(sum.to_string().into_bytes()))?;
        Ok(Ok(sum))
    }

    /// Stages a message.
    ///
    /// # Errors
    /// What is wrong with it, for the guest; nothing was staged.
    pub(crate) fn publish(&mut self, limits: &Limits, message: Staged) -> Result<(), String> {
        check_target(&message.to)?;
        check_headers(limits, &message.headers)?;
        for (what, text) in [
            ("content type", &message.content_type),
            ("lane", &message.lane),
        ] {
            if let Some(text) = text {
                check_name(what, text)?;
            }
        }
        if self.outbox.len() >= limits.outbox_messages {
            return Err(format!(
                "one message may publish {} others at most",
                limits.outbox_messages
            ));
        }
        let bytes = weight(&message);
        if self.outbox_bytes + bytes > limits.outbox_total {
            return Err(format!(
                "one message may publish {} at most",
                size(limits.outbox_total as u64)
            ));
        }
        self.outbox_bytes += bytes;
        self.outbox.push(message);
        Ok(())
    }
}

/// Splits a queue target whose part before the first colon names a configured
/// broker.
pub(crate) fn queue_target(brokers: &[String], queue: &str) -> (Option<String>, Target) {
    if let Some((broker, rest)) = queue.split_once(':')
        && brokers.iter().any(|known| known == broker)
    {
        return (Some(broker.to_owned()), Target::Queue(rest.to_owned()));
    }
    (None, Target::Queue(queue.to_owned()))
}

fn weight(message: &Staged) -> usize {
    let target = match &message.to {
        Target::Queue(queue) => queue.len(),
        Target::Exchange(exchange, key) => exchange.len() + key.len(),
    };
    let headers = message.headers.iter();
    target
        + message.body.len()
        + headers
            .map(|header| header.name.len() + header.value.len())
            .sum::<usize>()
}

fn check_target(to: &Target) -> Result<(), String> {
    match to {
        Target::Queue(queue) => check_name("queue", queue),
        Target::Exchange(exchange, key) => {
            check_name("exchange", exchange)?;
            if key.is_empty() {
                Ok(())
            } else {
                check_name("routing key", key)
            }
        }
    }
}

fn check_headers(limits: &Limits, headers: &[Header]) -> Result<(), String> {
    if headers.len() > limits.outbox_headers {
        return Err(format!(
            "a message has {} headers at most, not {}",
            limits.outbox_headers,
            headers.len()
        ));
    }
    for header in headers {
        check_name("header", &header.name)?;
        let start = header.name.as_bytes().get(..OWN_PREFIX.len());
        if start.is_some_and(|start| start.eq_ignore_ascii_case(OWN_PREFIX.as_bytes())) {
            return Err(format!(
                "the header {:?} is the host's own: names with {OWN_PREFIX:?} are taken",
                header.name
            ));
        }
    }
    Ok(())
}

fn check_name(what: &str, name: &str) -> Result<(), String> {
    if name.is_empty() {
        Err(format!("the {what} is empty"))
    } else if name.len() > NAME {
        Err(format!(
            "the {what} {:?}… has {} bytes, more than {NAME}",
            head(name, 32),
            name.len()
        ))
    } else if name.chars().any(char::is_control) {
        Err(format!("the {what} {name:?} has control characters"))
    } else {
        Ok(())
    }
}

#[cfg(test)]
#[path = "stage_tests.rs"]
mod tests;
