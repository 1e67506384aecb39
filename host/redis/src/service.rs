//! What belongs to the whole service: flags and totals.

use holdfast_ports::error::PortError;
use holdfast_ports::store::Addition;
use redis::Value;

use crate::call::Call;
use crate::error::{fenced, unexpected};
use crate::script::Which;
use crate::store::RedisStore;

/// What the fields of runs begin with, beside the totals.
const RUN: &str = ".";

impl RedisStore {
    pub(crate) async fn ask_set_flag(
        &self,
        name: &str,
        value: Option<&str>,
    ) -> Result<(), PortError> {
        let what = "set a flag";
        let keys = [&*self.keys.flags, self.keys.beside(&self.keys.flags)];
        let mut call = Call::new(Which::SetFlag, &keys)
            .arg(&*self.expected())
            .arg(&self.keys.changed)
            .arg(name);
        if let Some(value) = value {
            call.push(value);
        }
        self.ask_done(call, what).await
    }

    pub(crate) async fn ask_flags(&self, prefix: &str) -> Result<Vec<(String, String)>, PortError> {
        let mut flags = self.read(&self.keys.flags, "read the flags").await?;
        flags.retain(|(name, _)| name.starts_with(prefix));
        flags.sort_unstable();
        Ok(flags)
    }

    pub(crate) async fn ask_add_totals(
        &self,
        name: &str,
        of: Addition,
        counts: &[(String, u64)],
    ) -> Result<(), PortError> {
        let name = self.keys.totals(name);
        let keys = [&*name, self.keys.beside(&name)];
        let mut call = Call::new(Which::AddTotals, &keys)
            .arg(&*self.expected())
            .arg(format!("{RUN}{:016x}", of.run))
            .arg(of.number);
        for (name, count) in counts {
            call.push(name);
            call.push(*count);
        }
        self.ask_done(call, "add to the totals").await
    }

    pub(crate) async fn ask_totals(&self, name: &str) -> Result<Vec<(String, u64)>, PortError> {
        let what = "read the totals";
        let name = self.keys.totals(name);
        let mut totals = self
            .read(&name, what)
            .await?
            .into_iter()
            .filter(|(name, _)| !name.starts_with(RUN))
            .map(|(name, digits)| match digits.parse() {
                Ok(count) => Ok((name, count)),
                Err(_) => Err(unexpected(what)),
            })
            .collect::<Result<Vec<(String, u64)>, _>>()?;
        totals.sort_unstable();
        Ok(totals)
    }

    async fn ask_done(&self, call: Call, what: &'static str) -> Result<(), PortError> {
        match self.answer(call, what).await? {
            Value::Int(1) => Ok(()),
            Value::Int(-1) => Err(fenced(what)),
            _ => Err(unexpected(what)),
        }
    }
}
