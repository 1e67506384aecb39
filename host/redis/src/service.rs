//! What belongs to the whole service: which store it is, flags and totals.

use holdfast_ports::error::PortError;
use holdfast_ports::store::{Addition, Identity, Open};
use redis::Value;

use crate::call::Call;
use crate::error::{fenced, unexpected};
use crate::script::Which;
use crate::store::RedisStore;

/// What the fields of runs begin with, beside the totals.
const RUN: &str = ".";

impl RedisStore {
    pub(crate) async fn ask_open(&self, mode: Open) -> Result<Option<Identity>, PortError> {
        let what = "see which store it is";
        let id = match &mode {
            Open::Create => format!("{:032x}", rand::random::<u128>()),
            Open::Look | Open::Expect(_) => String::new(),
        };
        if let Open::Expect(id) = mode {
            self.expect(&id);
        }
        let keys = [&*self.keys.incarnation, &*self.keys.pulse];
        let text = |value: &Value| match value {
            Value::BulkString(bytes) => String::from_utf8(bytes.clone()).ok(),
            _ => None,
        };
        match self
            .answer(Call::new(Which::Open, &keys).arg(id), what)
            .await?
        {
            Value::Nil => Ok(None),
            Value::Array(items) => match items.as_slice() {
                [id, pulse] => Ok(Some(Identity {
                    id: text(id).ok_or_else(|| unexpected(what))?,
                    pulse: text(pulse)
                        .and_then(|digits| digits.parse().ok())
                        .ok_or_else(|| unexpected(what))?,
                })),
                _ => Err(unexpected(what)),
            },
            _ => Err(unexpected(what)),
        }
    }

    pub(crate) async fn ask_pulse(&self) -> Result<Option<u64>, PortError> {
        let what = "raise the pulse";
        let keys = [&*self.keys.incarnation, &*self.keys.pulse];
        let call = Call::new(Which::Pulse, &keys).arg(&*self.expected());
        match self.answer(call, what).await? {
            Value::Nil => Ok(None),
            Value::Int(pulse) => Ok(u64::try_from(pulse).ok()),
            _ => Err(unexpected(what)),
        }
    }

    pub(crate) async fn ask_set_flag(
        &self,
        name: &str,
        value: Option<&str>,
    ) -> Result<(), PortError> {
        let what = "set a flag";
        let keys = [&*self.keys.flags, &*self.keys.incarnation];
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
        let keys = [&*name, &*self.keys.incarnation];
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
