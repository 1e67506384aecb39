//! Replaying and dropping letters.

use std::collections::BTreeMap;
use std::sync::Arc;

use holdfast_core::claim::{Fingerprint, ReleaseAnswer};
use holdfast_core::key::ClaimKey;
use holdfast_core::replay::{self, Facts, Known, Replay};
use holdfast_core::settle::Confirmed;
use holdfast_ports::error::{Kind, PortError};
use holdfast_ports::look::Look;
use holdfast_ports::message::{Header, Incoming, Outgoing, Target};
use holdfast_ports::store::{ClaimView, Place};

use super::{DeadLetters, Letter, Reason, Which};
use crate::route::{Route, route};
use crate::spec::Source;

/// Letters that are looked at for one change.
const LOOKED_AT: usize = 100_000;
/// Letters, and bytes of their bodies, in memory at once.
const CHUNK: usize = 100;
const CHUNK_BYTES: u64 = 16 << 20;
/// A claim that changes while it is decided about is looked at again.
const TRIES: u32 = 5;

/// How to replay.
#[derive(Clone, Debug, Default)]
pub struct Replaying {
    /// The message gets this key; only for one letter.
    pub new_key: Option<String>,
    /// Only tell.
    pub dry_run: bool,
    /// Letters at most, not counting those that are refused.
    pub limit: usize,
}

/// What became of the letters that were meant.
#[derive(Clone, Debug)]
pub struct Changed {
    /// Letters in the queue when the look began.
    pub ready: u64,
    /// Each, and what was done with it (or would be).
    pub letters: Vec<(Letter, Did)>,
    /// There may be more that are meant.
    pub more: bool,
    /// Why it ended before all of these were done; what is left is as it was.
    pub stopped: Option<String>,
}

/// What was done with a letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Did {
    /// Its message is in the work queue again.
    Replayed {
        /// Its claim was given up and is open now.
        reopened: bool,
    },
    /// It was removed, since its message needs no replay.
    Removed(&'static str),
    /// It was thrown away.
    Dropped,
    /// Nothing: it stays.
    Refused(String),
}

impl Did {
    /// One word for tables and programs.
    #[must_use]
    pub fn as_str(&self) -> &'static str {
        match self {
            Self::Replayed { .. } => "replayed",
            Self::Removed(_) => "removed",
            Self::Dropped => "dropped",
            Self::Refused(_) => "refused",
        }
    }

    /// More about it.
    #[must_use]
    pub fn why(&self) -> Option<&str> {
        match self {
            Self::Replayed { .. } | Self::Dropped => None,
            Self::Removed(why) => Some(why),
            Self::Refused(why) => Some(why),
        }
    }
}

/// Messages that went out already, by key: a second letter of one needs nothing
/// more.
type Sent = BTreeMap<ClaimKey, Fingerprint>;

impl DeadLetters<'_> {
    /// Runs letters again, in their order: reopens the claim, publishes to the
    /// work queue, removes the letter. None when there is no dead-letter queue.
    ///
    /// # Errors
    /// [`PortError`] of the broker when nothing was done; later ones are told
    /// with what was done before.
    pub async fn replay(
        &self,
        which: &Which,
        how: &Replaying,
    ) -> Result<Option<Changed>, PortError> {
        let Some(mut run) = self.begin(which, how.limit).await? else {
            return Ok(None);
        };
        let mut sent = Sent::new();
        while run.goes_on() {
            for letter in run.chunk().await {
                if !run.goes_on() {
                    run.changed.more = true;
                    break;
                }
                let did = self.replay_one(&mut run.look, &letter, how, &mut sent);
                let did = did.await;
                run.note(letter, did);
                if how.new_key.is_some() {
                    // A key is given to one letter only.
                    run.limit = 0;
                }
            }
        }
        Ok(Some(run.end().await))
    }

    /// Throws letters away; their claims stay as they are. Letters that no host
    /// wrote only go when they are asked for by their reason.
    ///
    /// # Errors
    /// As for [`DeadLetters::replay`].
    pub async fn drop_letters(
        &self,
        which: &Which,
        dry_run: bool,
        limit: usize,
    ) -> Result<Option<Changed>, PortError> {
        let Some(mut run) = self.begin(which, limit).await? else {
            return Ok(None);
        };
        while run.goes_on() {
            for letter in run.chunk().await {
                if !run.goes_on() {
                    run.changed.more = true;
                    break;
                }
                let mut did = self.may_drop(which, &letter).await;
                if did == Ok(Did::Dropped) && !dry_run {
                    match run.look.remove(letter.spot).await {
                        Ok(()) => tracing::info!(
                            consumer = %self.context.spec.name, name = letter.name(),
                            reason = %letter.reason(), "a dead letter is dropped"
                        ),
                        Err(error) => did = Err(error.to_string()),
                    }
                }
                run.note(letter, did);
            }
        }
        Ok(Some(run.end().await))
    }

    async fn begin<'w>(
        &self,
        which: &'w Which,
        limit: usize,
    ) -> Result<Option<Run<'w>>, PortError> {
        let look = self.context.broker.look(&self.queue(), LOOKED_AT).await?;
        Ok(look.map(|look| Run {
            changed: Changed {
                ready: look.ready(),
                letters: Vec::new(),
                more: false,
                stopped: None,
            },
            look,
            which,
            limit,
            over: false,
        }))
    }

    async fn replay_one(
        &self,
        look: &mut Box<dyn Look>,
        letter: &Letter,
        how: &Replaying,
        sent: &mut Sent,
    ) -> Result<Did, String> {
        let spec = &self.context.spec;
        let Some(told) = &letter.told else {
            let why = "no host wrote it; take it out with the broker's own tools";
            return Ok(Did::Refused(why.to_owned()));
        };
        let message = match &how.new_key {
            None => Arc::clone(&letter.message),
            Some(key) => match with_key(&letter.message, &spec.key, key) {
                Ok(message) => Arc::new(message),
                Err(why) => return Ok(Did::Refused(why)),
            },
        };
        let route = match route(spec, &message) {
            Ok(route) => route,
            Err(refusal) => {
                let why = format!("it would be given up again: {}", refusal.error);
                return Ok(Did::Refused(why));
            }
        };
        let body = Fingerprint::of(&message.body);
        if sent.get(&route.key) == Some(&body) {
            if !how.dry_run {
                look.remove(letter.spot).await.map_err(text)?;
            }
            return Ok(Did::Removed("a letter before it has the same message"));
        }
        let at = self.place(route.key.clone());
        for _ in 0..TRIES {
            let claim = match self.context.store.show(&at).await {
                Ok(claim) => claim,
                Err(error) if error.kind == Kind::BadRecord => {
                    return Ok(Did::Refused(format!(
                        "{error}; it can be replayed under a new key"
                    )));
                }
                Err(error) => return Err(error.to_string()),
            };
            let facts = Facts {
                side: &spec.side,
                reason: told.reason,
                fingerprint: route.fingerprint,
                sequenced: spec.order.sequence.is_some(),
                new_key: how.new_key.is_some(),
                claim: claim.as_ref().map(known),
            };
            let reopened = match replay::replay(&facts) {
                Replay::Refused(why) => return Ok(Did::Refused(why.to_string())),
                Replay::Finished => {
                    if !how.dry_run {
                        look.remove(letter.spot).await.map_err(text)?;
                    }
                    return Ok(Did::Removed("its message was run since"));
                }
                Replay::Publish => false,
                Replay::Reopen if how.dry_run => true,
                Replay::Reopen => match self.reopen(&at).await? {
                    true => true,
                    // It changed in between.
                    false => continue,
                },
            };
            if !how.dry_run {
                let confirmed = self.publish(&message, &route).await?;
                published(look, letter, confirmed).await?;
            }
            sent.insert(route.key, body);
            return Ok(Did::Replayed { reopened });
        }
        let why = "its claim changes all the time; try again";
        Ok(Did::Refused(why.to_owned()))
    }

    async fn reopen(&self, at: &Place) -> Result<bool, String> {
        let answer = self.context.store.replay(at).await.map_err(text)?;
        Ok(answer == ReleaseAnswer::Released)
    }

    /// Back to the work queue, under its own id and headers. What was kept aside
    /// stays so: it would expire, be copied to others or be refused.
    async fn publish(&self, message: &Incoming, route: &Route) -> Result<Confirmed, String> {
        let spec = &self.context.spec;
        let again = Outgoing {
            to: Target::Queue(spec.queue.clone()),
            body: message.body.clone(),
            id: message.id.clone(),
            content_type: message.content_type.clone(),
            headers: message.headers.clone(),
            timestamp_ms: message.timestamp_ms,
        };
        let confirmed = self.context.broker.publish(again).await;
        match &confirmed {
            Ok(_) => {
                tracing::info!(consumer = %spec.name, key = %route.key, "a dead letter is replayed");
            }
            Err(error) => {
                tracing::warn!(consumer = %spec.name, key = %route.key, %error, "a dead letter is not replayed");
            }
        }
        confirmed.map_err(|error| format!("{}: {error}", route.key))
    }

    async fn may_drop(&self, which: &Which, letter: &Letter) -> Result<Did, String> {
        let spec = &self.context.spec;
        let Some(told) = &letter.told else {
            return Ok(match which.reason {
                Some(Reason::Foreign) => Did::Dropped,
                _ => Did::Refused(format!(
                    "no host wrote it; it is dropped only with the reason {}",
                    Reason::FOREIGN
                )),
            });
        };
        let claim = match self.claim(letter).await {
            Ok(claim) => claim,
            // Nothing can be said about it, and it is not changed.
            Err(error) if error.kind == Kind::BadRecord => None,
            Err(error) => return Err(error.to_string()),
        };
        let facts = Facts {
            side: &spec.side,
            reason: told.reason,
            fingerprint: spec
                .fingerprint
                .then(|| Fingerprint::of(&letter.message.body)),
            sequenced: false,
            new_key: false,
            claim: claim.as_ref().map(known),
        };
        Ok(match replay::drop_letter(&facts) {
            Ok(()) => Did::Dropped,
            Err(why) => Did::Refused(why.to_string()),
        })
    }
}

/// Removes a letter whose message is in the work queue again.
async fn published(
    look: &mut Box<dyn Look>,
    letter: &Letter,
    confirmed: Confirmed,
) -> Result<(), String> {
    let Confirmed { .. } = confirmed;
    look.remove(letter.spot).await.map_err(text)
}

/// A walk through the letters that are meant.
struct Run<'w> {
    look: Box<dyn Look>,
    which: &'w Which,
    changed: Changed,
    /// Letters that may still be changed.
    limit: usize,
    /// The look has no more.
    over: bool,
}

impl Run<'_> {
    fn goes_on(&self) -> bool {
        !self.over && self.limit > 0 && self.changed.stopped.is_none()
    }

    /// The next letters that are meant, few enough to be kept in memory.
    async fn chunk(&mut self) -> Vec<Letter> {
        let (mut letters, mut bytes) = (Vec::new(), 0);
        while letters.len() < CHUNK.min(self.limit) && bytes < CHUNK_BYTES {
            match self.look.next().await {
                Ok(Some(seen)) => {
                    let letter = Letter::read(seen);
                    if self.which.matches(&letter) {
                        bytes += letter.size;
                        letters.push(letter);
                    }
                }
                Ok(None) => {
                    self.over = letters.is_empty();
                    break;
                }
                Err(error) => {
                    self.changed.stopped = Some(error.to_string());
                    break;
                }
            }
        }
        letters
    }

    fn note(&mut self, letter: Letter, did: Result<Did, String>) {
        match did {
            Ok(did) => {
                if !matches!(did, Did::Refused(_)) {
                    self.limit -= 1;
                }
                self.changed.letters.push((letter.without_body(), did));
            }
            Err(why) => self.changed.stopped = Some(why),
        }
    }

    /// Puts back what stays; what could not be put back or removed is told.
    async fn end(self) -> Changed {
        let mut changed = self.changed;
        changed.more |= !self.over;
        if let Err(error) = self.look.leave().await {
            changed.stopped.get_or_insert(error.to_string());
        }
        changed
    }
}

fn known(claim: &ClaimView) -> Known<'_> {
    Known {
        side: &claim.side,
        state: claim.state,
        stale: claim.reason.as_deref() == Some("stale"),
        fingerprint: claim.fingerprint,
    }
}

/// The message under another key, where the key can be changed without touching
/// the body.
fn with_key(message: &Incoming, source: &Source, key: &str) -> Result<Incoming, String> {
    let mut message = message.clone();
    match source {
        Source::MessageId => message.id = Some(key.to_owned()),
        Source::Header(name) => {
            message.headers.retain(|header| header.name != *name);
            message.headers.push(Header::text(name, key));
        }
        Source::Json(pointer) => {
            return Err(format!(
                "its key is in the body, at {pointer}; publish it anew with another one, then \
                 drop the letter"
            ));
        }
    }
    Ok(message)
}

fn text(error: PortError) -> String {
    error.to_string()
}
