//! Steps without complications, those of many messages in one call of a script.
//!
//! Most of what a script costs the server is the call itself: finding it, its
//! tables of keys and arguments, the look at the incarnation and at the clock.
//! Nearly all messages begin a claim that is new and commit it without effects,
//! so those that wait together share a call. It decides about each claim as the
//! script for one would, and leaves alone what is not that simple: whoever
//! asked is told so, and asks again alone, under the same token.

use std::sync::Arc;
use std::time::Duration;

use holdfast_core::name::Group;
use redis::Value;

use super::Reply;
use crate::call::Call;
use crate::error::LinkError;
use crate::script::Which;

/// What steps have in common that share a call.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Common {
    /// A script for many.
    pub(crate) which: Which,
    /// Decides the hash slot.
    pub(crate) group: Group,
    /// The key of the incarnation; none in a cluster.
    pub(crate) incarnation: Option<Arc<str>>,
    /// The incarnation that has to be there, or an empty text.
    pub(crate) expected: Arc<str>,
    /// How long a new attempt excludes others, where one begins.
    pub(crate) lock: Option<Duration>,
    pub(crate) keep: Duration,
}

/// One message's step.
#[derive(Clone, Debug)]
pub(crate) struct Plain {
    pub(crate) common: Common,
    /// The name of the claim.
    pub(crate) claim: String,
    /// The argument that is this message's own.
    pub(crate) own: Vec<u8>,
}

/// Steps that share a call, and who waits for them.
#[derive(Debug)]
pub(super) struct Shared {
    common: Common,
    steps: Vec<(String, Vec<u8>)>,
    replies: Vec<Reply>,
}

impl Shared {
    /// The first step of a call, which may take in as many as there is room for.
    pub(super) fn new(step: Plain, reply: Reply, room: usize) -> Self {
        let mut shared = Self {
            common: step.common,
            steps: Vec::with_capacity(room),
            replies: Vec::with_capacity(room),
        };
        shared.steps.push((step.claim, step.own));
        shared.replies.push(reply);
        shared
    }

    /// Takes a step in, or gives it back when it belongs to another call.
    #[expect(
        clippy::result_large_err,
        reason = "the step goes back to its caller, who uses it"
    )]
    pub(super) fn add(&mut self, step: Plain, reply: Reply) -> Result<(), (Plain, Reply)> {
        if step.common != self.common {
            return Err((step, reply));
        }
        self.steps.push((step.claim, step.own));
        self.replies.push(reply);
        Ok(())
    }

    /// The call, and who waits for its answer.
    pub(super) fn into_call(self) -> (Call, Vec<Reply>) {
        let Common {
            which,
            incarnation,
            expected,
            lock,
            keep,
            ..
        } = self.common;
        let claims = self.steps.iter().map(|(claim, _)| claim.as_str());
        // In its place something of the same slot, which is not looked at.
        let last = incarnation.as_deref().or(claims.clone().next());
        let keys: Vec<&str> = claims.clone().chain(last).collect();
        let mut call = Call::new(which, &keys).arg(&*expected);
        if let Some(lock) = lock {
            call = call.micros(lock);
        }
        call = call.millis(keep);
        call.replicated = which == Which::CommitMany;
        for (_, own) in &self.steps {
            call.push(own.as_slice());
        }
        (call, self.replies)
    }
}

/// Gives each step its part of the answer: what the script says of those that it
/// took, or [`Value::Nil`] to one that it left.
pub(super) fn share_out(answer: Result<Value, LinkError>, replies: Vec<Reply>) {
    let (common, left) = match answer {
        Ok(Value::Array(numbers)) => {
            let mut numbers = numbers.into_iter();
            let common = numbers.next().unwrap_or(Value::Nil);
            let left = numbers.filter_map(|number| match number {
                Value::Int(number) => usize::try_from(number).ok(),
                _ => None,
            });
            (Ok(common), left.collect())
        }
        other => (other, Vec::new()),
    };
    let mut left = left.into_iter().peekable();
    for (at, reply) in replies.into_iter().enumerate() {
        let was_left = left.next_if_eq(&(at + 1)).is_some();
        let part = if was_left {
            Ok(Value::Nil)
        } else {
            common.clone()
        };
        // Whoever gave up waiting asks again with the same token.
        let _ = reply.send(part);
    }
}

#[cfg(test)]
mod tests {
    use tokio::sync::oneshot;

    use super::*;

    fn shared_out(answer: Result<Value, LinkError>) -> Vec<Result<Value, LinkError>> {
        let (replies, parts): (Vec<_>, Vec<_>) = (0..3).map(|_| oneshot::channel()).unzip();
        share_out(answer, replies);
        let parts = parts.into_iter();
        parts
            .map(|mut part| part.try_recv().expect("everybody is told"))
            .collect()
    }

    #[test]
    fn each_step_gets_the_common_answer_or_hears_that_it_was_left() {
        let answer = [7, 1, 3].map(Value::Int).to_vec();
        let parts = shared_out(Ok(Value::Array(answer)));
        let parts: Vec<_> = parts.into_iter().map(Result::unwrap).collect();
        assert_eq!(parts, [Value::Nil, Value::Int(7), Value::Nil]);
    }

    #[test]
    fn a_refusal_or_an_error_is_for_everybody() {
        for part in shared_out(Ok(Value::Int(-1))) {
            assert_eq!(part.unwrap(), Value::Int(-1));
        }
        for part in shared_out(Err(LinkError::Lost)) {
            assert!(matches!(part, Err(LinkError::Lost)));
        }
    }
}
