//! Faults of host processes.

use std::time::Duration;

use anyhow::{Result, bail};
use holdfast_live::Host;
use holdfast_servers::wait_for;

use super::{Done, Kind, Undo, lasts};
use crate::dice::Dice;
use crate::stand::Stand;

/// How long a drain may take beside another fault before the host is killed.
const BESIDE: Duration = Duration::from_secs(15);

pub(super) fn make(stand: &mut Stand, kind: Kind, alone: bool, dice: &mut Dice) -> Result<Done> {
    let chosen = dice.below(stand.places.len() as u64) as usize;
    let target = format!("host {}", chosen + 1);
    match kind {
        Kind::HostKill => {
            stand.places[chosen].take()?.kill()?;
            let down = lasts(dice, 0, 3_000);
            Ok(Done::new(target, down, Undo::StartHost(chosen)))
        }
        Kind::HostFreeze => {
            stand.places[chosen].host()?.freeze()?;
            // The leases live for 3 s.
            let frozen = lasts(dice, 1_000, 6_000);
            Ok(Done::new(target, frozen, Undo::ThawHost(chosen)))
        }
        Kind::HostStop => {
            let wrong = drain(stand, chosen, alone)?;
            let down = lasts(dice, 0, 2_000);
            let mut done = Done::new(target, down, Undo::StartHost(chosen));
            done.wrong.extend(wrong);
            Ok(done)
        }
        Kind::HostLeave => {
            let host = stand.places[chosen].take()?;
            host.terminate()?;
            std::thread::sleep(lasts(dice, 0, 300));
            // It may have drained already.
            let _ = host.terminate();
            end(host)?;
            let down = lasts(dice, 0, 2_000);
            Ok(Done::new(target, down, Undo::StartHost(chosen)))
        }
        Kind::HostRolling => {
            let mut done = Done::at_once("all hosts");
            for place in 0..stand.places.len() {
                done.wrong.extend(drain(stand, place, alone)?);
                stand.places[place].start()?;
                let host = stand.places[place].host()?;
                if alone {
                    host.wait_ready()?;
                }
            }
            Ok(done)
        }
        _ => bail!("{} is no fault of a host", kind.name()),
    }
}

/// SIGTERM, and the end of the host. Gives what was wrong about it.
fn drain(stand: &mut Stand, place: usize, alone: bool) -> Result<Option<String>> {
    let host = stand.places[place].take()?;
    host.terminate()?;
    if !alone {
        end(host)?;
        return Ok(None);
    }
    let name = format!("host {}", place + 1);
    Ok(match host.wait() {
        Ok(status) if status.success() => None,
        Ok(status) => Some(format!("{name} drained and ended with {status}")),
        Err(error) => Some(format!("{name} did not drain: {error:#}")),
    })
}

/// Waits for the end of a host that cannot be held to anything; at last it is
/// killed.
fn end(host: Host) -> Result<()> {
    match wait_for("the end of the host", BESIDE, || host.ended()) {
        Ok(_) => Ok(()),
        Err(_) => host.kill(),
    }
}
