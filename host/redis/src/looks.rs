//! Looks at the claims of messages that wait for the other side.

use std::time::Duration;

use futures_util::future::try_join_all;
use holdfast_core::claim::Look;
use holdfast_core::name::Side;
use holdfast_ports::error::PortError;
use holdfast_ports::store::{Place, Slot};
use redis::Value;

use crate::call::Call;
use crate::error::{fenced, unexpected};
use crate::script::Which;
use crate::store::RedisStore;

/// Claims in one call; a call costs Redis about a tenth of a millisecond.
const AT_ONCE: usize = 128;

impl RedisStore {
    pub(crate) async fn ask_look_at(
        &self,
        held: &[Place],
        side: &Side,
        assign_timeout: Duration,
    ) -> Result<Vec<Look>, PortError> {
        // Claims with hash slots of their own cannot be looked at together.
        let together = match held.first() {
            Some(first) if first.slot == Slot::Key => 1,
            _ => AT_ONCE,
        };
        let calls = held
            .chunks(together)
            .map(|held| self.ask_some(held, side, assign_timeout));
        Ok(try_join_all(calls).await?.concat())
    }

    async fn ask_some(
        &self,
        held: &[Place],
        side: &Side,
        assign_timeout: Duration,
    ) -> Result<Vec<Look>, PortError> {
        let what = "look at claims of the other side";
        let names: Vec<String> = held.iter().map(|at| self.keys.claim(at)).collect();
        let Some(first) = names.first() else {
            return Ok(Vec::new());
        };
        let mut keys = vec![first.as_str(), self.keys.beside(first)];
        keys.extend(names.iter().map(String::as_str));
        let call = Call::new(Which::LookAt, &keys)
            .arg(&*self.expected())
            .arg(side.as_str())
            .micros(assign_timeout);
        let numbers = match self.answer(call, what).await? {
            Value::Int(-1) => return Err(fenced(what)),
            Value::Array(numbers) if numbers.len() == 2 * held.len() => numbers,
            _ => return Err(unexpected(what)),
        };
        numbers
            .chunks(2)
            .map(|pair| match pair {
                [Value::Int(0), _] => Ok(Look::Ask),
                [Value::Int(age), Value::Int(left)] => Ok(Look::Foreign {
                    age: Duration::from_micros(age.unsigned_abs()),
                    overdue_in: u64::try_from(*left).ok().map(Duration::from_micros),
                }),
                _ => Err(unexpected(what)),
            })
            .collect()
    }
}
