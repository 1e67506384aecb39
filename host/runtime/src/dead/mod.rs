//! Dead letters, for operators: looked at, replayed, dropped.
//!
//! A letter leaves its queue only after its message is safe elsewhere, or an
//! operator said that it may go. Each step can be the last one of a process:
//!
//! | it dies after | the next replay finds | and |
//! |---|---|---|
//! | reopening the claim | a failed claim that was not begun | publishes |
//! | publishing | an open claim, or a done one | publishes once more (one runs, one is a duplicate), or only removes the letter |
//! | removing | no letter | – |

mod change;
mod letter;

use std::collections::BTreeMap;

use holdfast_ports::broker::dead_queue;
use holdfast_ports::error::PortError;
use holdfast_ports::store::{ClaimView, Place};

pub use self::change::{Changed, Did, Replaying};
pub use self::letter::{Letter, Reason, Told, Which};
use crate::session::Context;

/// The dead letters of one consumer.
#[derive(Clone, Copy)]
pub struct DeadLetters<'c> {
    context: &'c Context,
}

/// What a look at the dead letters found.
#[derive(Clone, Debug)]
pub struct Looked {
    /// Their queue.
    pub queue: String,
    /// Letters in it when the look began.
    pub ready: u64,
    /// How many of them were looked at.
    pub looked_at: u64,
    /// Those that were meant, by reason.
    pub groups: BTreeMap<&'static str, Group>,
    /// The first of those that were meant.
    pub letters: Vec<Letter>,
}

/// Letters with one reason.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Group {
    /// How many there are.
    pub count: u64,
    /// When the first of them was given up, in UTC; empty for foreign ones.
    pub oldest: String,
    /// When the last one was.
    pub newest: String,
    /// The last one's error.
    pub error: String,
}

impl<'c> DeadLetters<'c> {
    /// Those of this consumer.
    #[must_use]
    pub fn of(context: &'c Context) -> Self {
        Self { context }
    }

    fn queue(&self) -> String {
        dead_queue(&self.context.spec.queue)
    }

    /// Looks at the first `limit` letters and keeps the first `show` of those
    /// that are meant, with their bodies if need be. None when there is no
    /// dead-letter queue.
    ///
    /// # Errors
    /// [`PortError`] of the broker.
    pub async fn list(
        &self,
        which: &Which,
        limit: usize,
        show: usize,
        bodies: bool,
    ) -> Result<Option<Looked>, PortError> {
        let queue = self.queue();
        let Some(mut look) = self.context.broker.look(&queue, limit).await? else {
            return Ok(None);
        };
        let mut looked = Looked {
            queue,
            ready: look.ready(),
            looked_at: 0,
            groups: BTreeMap::new(),
            letters: Vec::new(),
        };
        while let Some(seen) = look.next().await? {
            looked.looked_at += 1;
            let letter = Letter::read(seen);
            if !which.matches(&letter) {
                continue;
            }
            let group = looked.groups.entry(letter.reason().as_str()).or_default();
            group.count += 1;
            if let Some(told) = &letter.told {
                if group.oldest.is_empty() || told.dead_at < group.oldest {
                    group.oldest.clone_from(&told.dead_at);
                }
                if told.dead_at >= group.newest {
                    group.newest.clone_from(&told.dead_at);
                    group.error.clone_from(&told.error);
                }
            }
            if looked.letters.len() < show {
                looked.letters.push(match bodies {
                    true => letter,
                    false => letter.without_body(),
                });
            }
        }
        look.leave().await?;
        Ok(Some(looked))
    }

    /// The claim of a letter, if there is one.
    ///
    /// # Errors
    /// [`PortError`] of the store.
    pub async fn claim(&self, letter: &Letter) -> Result<Option<ClaimView>, PortError> {
        let key = letter.told.as_ref().and_then(|told| told.key.clone());
        match key {
            Some(key) => self.context.store.show(&self.place(key)).await,
            None => Ok(None),
        }
    }

    fn place(&self, key: holdfast_core::key::ClaimKey) -> Place {
        let spec = &self.context.spec;
        Place {
            group: spec.group.clone(),
            key,
            slot: spec.slot,
            lease: None,
            keep: spec.keep,
        }
    }
}
