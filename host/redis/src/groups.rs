//! What belongs to a group: its rules, its cut-over, the leases of its consumers.

use std::collections::BTreeSet;
use std::time::Duration;

use holdfast_core::cutover::{Percent, Rule};
use holdfast_core::name::Group;
use holdfast_ports::error::PortError;
use holdfast_ports::store::{Agreement, GroupRules, LeaseAnswer, LeaseName, LeaseView};
use redis::Value;

use crate::call::Call;
use crate::error::{fenced, unexpected};
use crate::link::Plain;
use crate::reply::{Reply, hash, side};
use crate::script::Which;
use crate::store::RedisStore;

impl RedisStore {
    pub(crate) async fn ask_acquire(
        &self,
        of: &LeaseName,
        owner: u64,
        ttl: Duration,
    ) -> Result<LeaseAnswer, PortError> {
        let (lease, epoch) = (
            self.keys.lease(&of.group, &of.consumer),
            self.keys.epoch(of),
        );
        let keys = [&*lease, self.keys.beside(&lease), &epoch];
        let call = self.lease_call(Which::Acquire, &keys, owner).millis(ttl);
        self.ask_lease(call, "acquire a lease").await
    }

    pub(crate) async fn ask_renew(
        &self,
        of: &LeaseName,
        owner: u64,
        ttl: Duration,
    ) -> Result<LeaseAnswer, PortError> {
        let lease = self.keys.lease(&of.group, &of.consumer);
        let keys = [&*lease, self.keys.beside(&lease)];
        let call = self.lease_call(Which::Renew, &keys, owner).millis(ttl);
        self.ask_lease(call, "renew a lease").await
    }

    pub(crate) async fn ask_give_back(
        &self,
        of: &LeaseName,
        owner: u64,
    ) -> Result<LeaseAnswer, PortError> {
        let lease = self.keys.lease(&of.group, &of.consumer);
        let keys = [&*lease, self.keys.beside(&lease)];
        let call = self
            .lease_call(Which::GiveBack, &keys, owner)
            .arg(&self.keys.changed);
        self.ask_lease(call, "give a lease back").await
    }

    pub(crate) async fn ask_leader(&self, of: &LeaseName) -> Result<Option<LeaseView>, PortError> {
        let what = "see who leads";
        let lease = self.keys.lease(&of.group, &of.consumer);
        let keys = [&*lease, self.keys.beside(&lease)];
        match self
            .answer(self.lease_call(Which::Leader, &keys, 0), what)
            .await?
        {
            Value::Nil => Ok(None),
            Value::Int(-1) => Err(fenced(what)),
            Value::Array(items) => match items.as_slice() {
                [
                    Value::BulkString(owner),
                    Value::Int(epoch),
                    Value::Int(left),
                ] => Ok(Some(LeaseView {
                    owner: std::str::from_utf8(owner)
                        .ok()
                        .and_then(|owner| u64::from_str_radix(owner, 16).ok())
                        .ok_or_else(|| unexpected(what))?,
                    epoch: u64::try_from(*epoch).map_err(|_| unexpected(what))?,
                    left: millis(*left),
                })),
                _ => Err(unexpected(what)),
            },
            _ => Err(unexpected(what)),
        }
    }

    fn lease_call(&self, which: Which, keys: &[&str], owner: u64) -> Call {
        Call::new(which, keys)
            .arg(&*self.expected())
            .arg(format!("{owner:016x}"))
    }

    async fn ask_lease(&self, call: Call, what: &'static str) -> Result<LeaseAnswer, PortError> {
        let mut reply = self.ask(call, what).await?;
        Ok(match reply.code() {
            -1 => return Err(fenced(what)),
            1 => LeaseAnswer::Ours {
                epoch: reply.number()?,
            },
            2 => LeaseAnswer::Held {
                left: Duration::from_millis(reply.number()?),
            },
            3 => LeaseAnswer::Gone,
            _ => return Err(reply.unexpected()),
        })
    }

    pub(crate) async fn ask_agree(
        &self,
        group: &Group,
        rules: &GroupRules,
    ) -> Result<Agreement, PortError> {
        let what = "agree on the rules of a group";
        let name = self.keys.rules(group);
        let mut call =
            Call::new(Which::Agree, &[&name, self.keys.beside(&name)]).arg(&*self.expected());
        for (name, value) in &rules.rules {
            call.push(name);
            call.push(value);
        }
        let theirs = hash(self.answer(call, what).await?, what)?;
        let value_in = |rules: &[(String, String)], name: &str| {
            let found = rules.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.clone()).unwrap_or_default()
        };
        let names: BTreeSet<&String> = rules
            .rules
            .iter()
            .chain(&theirs)
            .map(|(name, _)| name)
            .collect();
        let differing: Vec<_> = names
            .into_iter()
            .map(|name| {
                let (ours, theirs) = (value_in(&rules.rules, name), value_in(&theirs, name));
                (name.clone(), ours, theirs)
            })
            .filter(|(_, ours, theirs)| ours != theirs)
            .collect();
        Ok(if differing.is_empty() {
            Agreement::Agreed
        } else {
            Agreement::Differs(differing)
        })
    }

    pub(crate) async fn ask_rule(&self, group: &Group) -> Result<Option<Rule>, PortError> {
        let what = "read a cut-over rule";
        let name = self.keys.rule(group);
        rule_of(self.read(&name, what).await?, what)
    }

    pub(crate) async fn ask_set_rule(
        &self,
        group: &Group,
        rule: &Rule,
        expected: u64,
    ) -> Result<Result<Rule, Rule>, PortError> {
        let what = "set a cut-over rule";
        let name = self.keys.rule(group);
        let micros = u64::try_from(rule.assign_timeout.as_micros()).unwrap_or(u64::MAX);
        let mut call = Call::new(Which::SetRule, &[&name, self.keys.beside(&name)])
            .arg(&*self.expected())
            .arg(expected)
            .arg(&self.keys.changed)
            .arg(FROM)
            .arg(rule.from.as_str())
            .arg(TO)
            .arg(rule.to.as_str())
            .arg(ENABLED)
            .arg(u8::from(rule.enabled))
            .arg(HUNDREDTHS)
            .arg(rule.percent.hundredths())
            .arg(ASSIGN_TIMEOUT)
            .arg(micros);
        for key in &rule.allow {
            call.push(format!("{ALLOW}{key}"));
            call.push("");
        }
        let mut reply = self.ask(call, what).await?;
        let set = match reply.code() {
            -1 => return Err(fenced(what)),
            code => code == 1,
        };
        let fields = hash(Value::Array(reply.list()?), what)?;
        match rule_of(fields, what)? {
            Some(rule) if set => Ok(Ok(rule)),
            Some(rule) => Ok(Err(rule)),
            None => Err(PortError::permanent(format!(
                "{what}: group {group} has none to change, revision {expected} was expected"
            ))),
        }
    }

    /// A hash by its name.
    pub(crate) async fn read(
        &self,
        name: &str,
        what: &'static str,
    ) -> Result<Vec<(String, String)>, PortError> {
        let call = Call::new(Which::Read, &[name, self.keys.beside(name)]).arg(&*self.expected());
        hash(self.answer(call, what).await?, what)
    }

    /// Runs a script whose answer begins with a number.
    pub(crate) async fn ask(&self, call: Call, what: &'static str) -> Result<Reply, PortError> {
        Reply::new(self.answer(call, what).await?, what)
    }

    /// Runs a script.
    pub(crate) async fn answer(&self, call: Call, what: &'static str) -> Result<Value, PortError> {
        self.must_trust(what)?;
        let answer = self.servers.call(call).await;
        answer.map_err(|error| error.into_port(what))
    }

    /// Takes a step together with those of others. None when it was left, and
    /// has to be asked for by a script of its own.
    pub(crate) async fn ask_plain(
        &self,
        step: Plain,
        what: &'static str,
    ) -> Result<Option<Reply>, PortError> {
        self.must_trust(what)?;
        match self.servers.plain(step).await {
            Ok(Value::Nil) => Ok(None),
            Ok(answer) => Reply::new(answer, what).map(Some),
            Err(error) => Err(error.into_port(what)),
        }
    }
}

const FROM: &str = "from";
const TO: &str = "to";
const ENABLED: &str = "enabled";
const HUNDREDTHS: &str = "hundredths";
const ASSIGN_TIMEOUT: &str = "assign-timeout-us";
const REVISION: &str = "revision";
const ALLOW: &str = "allow:";

/// The rule in the fields of its hash; none when it has none.
fn rule_of(fields: Vec<(String, String)>, what: &str) -> Result<Option<Rule>, PortError> {
    if fields.is_empty() {
        return Ok(None);
    }
    let broken = |name: &str| {
        PortError::bad_record(format!("{what}: its field {name:?} is missing or broken"))
    };
    let text = |name: &str| {
        let found = fields.iter().find(|(known, _)| known == name);
        found
            .map(|(_, value)| value.as_str())
            .ok_or_else(|| broken(name))
    };
    let number = |name: &str| text(name)?.parse::<u64>().map_err(|_| broken(name));
    let allowed = |(name, _): &(String, String)| name.strip_prefix(ALLOW).map(str::to_owned);
    Ok(Some(Rule {
        from: side(text(FROM)?, what)?,
        to: side(text(TO)?, what)?,
        enabled: text(ENABLED)? == "1",
        percent: u16::try_from(number(HUNDREDTHS)?)
            .ok()
            .and_then(Percent::from_hundredths)
            .ok_or_else(|| broken(HUNDREDTHS))?,
        allow: fields.iter().filter_map(allowed).collect(),
        assign_timeout: Duration::from_micros(number(ASSIGN_TIMEOUT)?),
        revision: number(REVISION)?,
    }))
}

/// Milliseconds as Redis gives them; negative ones mean none are left.
fn millis(number: i64) -> Duration {
    Duration::from_millis(u64::try_from(number).unwrap_or(0))
}
