//! Which instances are there.

use std::time::Duration;

use holdfast_ports::error::PortError;
use holdfast_ports::store::Present;
use redis::Value;

use crate::call::Call;
use crate::error::fenced;
use crate::script::Which;
use crate::store::RedisStore;

impl RedisStore {
    pub(crate) async fn ask_attend(
        &self,
        roster: &str,
        instance: u64,
        stay: Option<Duration>,
    ) -> Result<Vec<Present>, PortError> {
        let what = "say that this instance is there";
        let name = self.keys.roster(roster);
        let mut call = Call::new(Which::Attend, &[&name, self.keys.beside(&name)])
            .arg(&*self.expected())
            .arg(format!("{instance:016x}"))
            .arg(&self.keys.changed);
        if let Some(stay) = stay {
            call = call.millis(stay);
        }
        let mut reply = self.ask(call, what).await?;
        match reply.code() {
            -1 => return Err(fenced(what)),
            1 => {}
            _ => return Err(reply.unexpected()),
        }
        let items = reply.list()?;
        let present = |pair: &[Value]| present(pair).ok_or_else(|| reply.unexpected());
        items.chunks(2).map(present).collect()
    }
}

fn present(pair: &[Value]) -> Option<Present> {
    let [Value::BulkString(digits), Value::Int(left)] = pair else {
        return None;
    };
    let digits = std::str::from_utf8(digits).ok()?;
    Some(Present {
        instance: u64::from_str_radix(digits, 16).ok()?,
        left: Duration::from_micros(u64::try_from(*left).unwrap_or(0)),
    })
}
