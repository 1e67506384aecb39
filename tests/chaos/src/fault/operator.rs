//! What operators do while messages flow.

use std::fs;
use std::time::Duration;

use anyhow::{Context as _, Result, bail, ensure};
use holdfast_live::{Host, prebuilt};
use holdfast_servers::wait_for;
use serde_json::{Value, json};

use super::{Done, Kind, Undo, lasts};
use crate::dice::Dice;
use crate::load::{LOADS, Load};
use crate::stand::Stand;

/// How long an operator tries to be heard, by one host after another.
const PATIENCE: Duration = Duration::from_secs(60);

pub(super) fn make(stand: &mut Stand, kind: Kind, dice: &mut Dice) -> Result<Done> {
    match kind {
        Kind::PluginReload => {
            for place in &stand.places {
                exchange(&place.setup.plugins().join("probe.wasm"), dice)?;
            }
            Ok(Done::at_once("all hosts"))
        }
        Kind::RuleFlip => {
            let groups: Vec<&Load> = LOADS.iter().filter(|load| load.has_sides()).collect();
            let group = dice.one(&groups).group;
            let percent = dice.one(&[0, 100, 10, 30, 50, 70]);
            heard(stand, |host| flip(host, group, percent))?;
            Ok(Done::at_once(format!("{group} to {percent} %")))
        }
        Kind::StepDown => {
            let leased = LOADS.iter().filter(|load| load.lanes > 0);
            let consumers: Vec<&str> = leased.flat_map(|l| l.ends).map(|end| end.name).collect();
            let consumer = dice.one(&consumers);
            // Right now nobody may lead, but soon somebody has to.
            heard(stand, |host| {
                let path = format!("/api/v1/consumers/{consumer}/step-down");
                Ok(host.post(&path, &[], b"")?.0 == 200)
            })?;
            Ok(Done::at_once(consumer))
        }
        Kind::Pause => {
            let ends: Vec<&str> = LOADS.iter().flat_map(|l| l.ends).map(|e| e.name).collect();
            let consumer = dice.one(&ends);
            heard(stand, |host| {
                let path = format!("/api/v1/consumers/{consumer}/pause");
                Ok(host.post(&path, &[], b"")?.0 == 200)
            })?;
            let paused = lasts(dice, 500, 3_000);
            Ok(Done::new(consumer, paused, Undo::Resume(consumer)))
        }
        Kind::ConfigReload => {
            let concurrency = dice.between(8, 32);
            for place in &stand.places {
                let tables = stand.tables(&place.ways, concurrency);
                place.setup.configure(&tables)?;
            }
            Ok(Done::at_once(format!("concurrency {concurrency}")))
        }
        _ => bail!("{} is nothing that an operator does", kind.name()),
    }
}

pub(super) fn resume(stand: &Stand, consumer: &str) -> Result<()> {
    heard(stand, |host| {
        let path = format!("/api/v1/consumers/{consumer}/resume");
        Ok(host.post(&path, &[], b"{}")?.0 == 200)
    })
}

/// Asks one host after another until one has done it.
fn heard(stand: &Stand, mut ask: impl FnMut(&Host) -> Result<bool>) -> Result<()> {
    wait_for("a host that does what an operator asks", PATIENCE, || {
        let hosts = stand.places.iter().filter_map(|place| place.host.as_ref());
        // One that is down or cannot now is asked again.
        let mut hosts = hosts.filter(|host| ask(host).unwrap_or(false));
        Ok(hosts.next().map(|_| ()))
    })
}

/// Moves a percentage.
fn flip(host: &Host, group: &str, percent: u64) -> Result<bool> {
    let path = format!("/api/v1/cutover/{group}");
    let rule: Value = host.json(&path)?;
    let change = json!({ "revision": rule["revision"], "percent": percent });
    let (status, answer) = host.put(&path, change.to_string().as_bytes())?;
    ensure!(status == 200 || status == 409, "{status} {answer}");
    Ok(status == 200)
}

/// The same component with another note in it, put in place by a rename.
fn exchange(file: &std::path::Path, dice: &mut Dice) -> Result<()> {
    let mut component = fs::read(prebuilt("probe"))?;
    let note = format!("{:08}", dice.below(100_000_000));
    component.extend([0, 14, 5]);
    component.extend(b"test:");
    component.extend(note.as_bytes());
    let aside = file.with_extension("aside");
    fs::write(&aside, component)?;
    fs::rename(&aside, file).context("failed to put a component in place")
}
