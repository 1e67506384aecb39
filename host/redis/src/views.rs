//! Claims for people: one, or all that are unfinished.

use std::collections::BTreeMap;

use holdfast_core::claim::{Fingerprint, StateName};
use holdfast_core::key::ClaimKey;
use holdfast_core::name::Group;
use holdfast_ports::error::PortError;
use holdfast_ports::store::{ClaimView, Place, TransitionView};
use redis::Value;

use crate::call::Call;
use crate::cluster::slots::slot;
use crate::error::{fenced, unexpected};
use crate::link::Link;
use crate::reason;
use crate::reply::{Reply, letter};
use crate::script::Which;
use crate::store::RedisStore;

/// How many keys Redis looks at in one step of a listing; a step costs it less
/// than a millisecond.
const STEP: usize = 500;

impl RedisStore {
    pub(crate) async fn ask_show(&self, at: &Place) -> Result<Option<ClaimView>, PortError> {
        let what = "show a claim";
        match self.answer(self.claim_call(Which::Show, at), what).await? {
            Value::Int(4) => Ok(None),
            Value::Int(-1) => Err(fenced(what)),
            value => view(at.key.clone(), value, what).map(Some),
        }
    }

    pub(crate) async fn ask_list(
        &self,
        group: &Group,
        state: Option<StateName>,
        limit: usize,
    ) -> Result<Vec<ClaimView>, PortError> {
        let what = "list claims";
        let mut found: Vec<ClaimView> = Vec::new();
        let links = self.servers.links().await;
        for link in links.map_err(|error| error.into_port(what))? {
            self.list_at(&link, group, state, limit, &mut found).await?;
        }
        found.truncate(limit);
        Ok(found)
    }

    /// Adds those of one server.
    async fn list_at(
        &self,
        link: &Link,
        group: &Group,
        state: Option<StateName>,
        limit: usize,
        found: &mut Vec<ClaimView>,
    ) -> Result<(), PortError> {
        let what = "list claims";
        let pattern = self.keys.claims_pattern(group);
        let mut cursor = String::from("0");
        while found.len() < limit {
            let mut scan = redis::cmd("SCAN");
            scan.arg(&cursor);
            scan.arg("MATCH").arg(&pattern).arg("COUNT").arg(STEP);
            let page = link.send(scan).await;
            let page = page.map_err(|error| error.into_port(what))?;
            let (next, names) = scanned(page).ok_or_else(|| unexpected(what))?;
            let claims: Vec<(ClaimKey, String)> = names
                .into_iter()
                .filter_map(|name| Some((self.keys.claim_key(group, &name)?, name)))
                .collect();
            for claims in self.by_slot(claims) {
                for view in self.ask_views(&claims, state, what).await? {
                    // A scan may come by a key twice.
                    if !found.iter().any(|known| known.key == view.key) {
                        found.push(view);
                    }
                }
            }
            cursor = next;
            if cursor == "0" {
                break;
            }
        }
        Ok(())
    }

    /// Those that one script may look at.
    fn by_slot(&self, claims: Vec<(ClaimKey, String)>) -> Vec<Vec<(ClaimKey, String)>> {
        if !self.servers.is_cluster() {
            return vec![claims];
        }
        let mut slots: BTreeMap<u16, Vec<(ClaimKey, String)>> = BTreeMap::new();
        for (key, name) in claims {
            slots
                .entry(slot(name.as_bytes()))
                .or_default()
                .push((key, name));
        }
        slots.into_values().collect()
    }

    async fn ask_views(
        &self,
        claims: &[(ClaimKey, String)],
        state: Option<StateName>,
        what: &'static str,
    ) -> Result<Vec<ClaimView>, PortError> {
        let Some((_, first)) = claims.first() else {
            return Ok(Vec::new());
        };
        let mut keys = vec![first.as_str(), self.keys.beside(first)];
        keys.extend(claims.iter().map(|(_, name)| name.as_str()));
        let call = Call::new(Which::List, &keys)
            .arg(&*self.expected())
            .arg(state.map_or("", letter));
        let items = match self.answer(call, what).await? {
            Value::Int(-1) => return Err(fenced(what)),
            Value::Array(items) => items,
            _ => return Err(unexpected(what)),
        };
        items
            .into_iter()
            .map(|item| {
                let mut item = Reply::new(item, what)?;
                let (key, _) = usize::try_from(item.code())
                    .ok()
                    .and_then(|at| claims.get(at.checked_sub(1)?))
                    .ok_or_else(|| unexpected(what))?;
                view(key.clone(), Value::Array(item.list()?), what)
            })
            .collect()
    }
}

fn scanned(page: Value) -> Option<(String, Vec<String>)> {
    let Value::Array(page) = page else {
        return None;
    };
    match <[Value; 2]>::try_from(page).ok()? {
        [Value::BulkString(cursor), Value::Array(names)] => {
            let text = |bytes: Vec<u8>| String::from_utf8(bytes).ok();
            // A name that is no text is none of ours.
            let names = names.into_iter().filter_map(|name| match name {
                Value::BulkString(name) => text(name),
                _ => None,
            });
            Some((text(cursor)?, names.collect()))
        }
        _ => None,
    }
}

/// A description as `lua/describe.lua` gives it.
fn view(key: ClaimKey, value: Value, what: &'static str) -> Result<ClaimView, PortError> {
    let mut items = headed(value, what)?;
    let state = items.state()?;
    let stale = items.number()? == 1;
    let side = items.side()?;
    let reason = reason::reason(items.number()?).map(|reason| reason.to_string());
    Ok(ClaimView {
        key,
        side,
        state,
        reason: if stale { Some("stale".into()) } else { reason },
        attempt: items.count()?,
        fence: items.number()?,
        lane: items.optional_text()?,
        error: items.optional_text()?,
        locked_until_ms: items.optional_number()?,
        fingerprint: items
            .optional_bytes()?
            .and_then(|bytes| <[u8; 8]>::try_from(bytes).ok())
            .map(Fingerprint),
        history: items
            .list()?
            .into_iter()
            .map(|event| {
                let mut event = headed(event, what)?;
                Ok(TransitionView {
                    step: event.text()?,
                    at_ms: event.number()?,
                    side: event.text()?,
                    attempt: event.count()?,
                    detail: event.text()?,
                })
            })
            .collect::<Result<_, PortError>>()?,
    })
}

/// An array that has no number in front.
fn headed(value: Value, what: &'static str) -> Result<Reply, PortError> {
    let Value::Array(mut items) = value else {
        return Err(unexpected(what));
    };
    items.insert(0, Value::Int(0));
    Reply::new(Value::Array(items), what)
}
