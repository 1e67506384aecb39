//! Faults of the servers, and of the ways to them.

use std::time::Duration;

use anyhow::{Result, bail};

use super::{Done, Kind, Undo, lasts, redis};
use crate::dice::Dice;
use crate::stand::{BROKERS, STORE, Stand};

pub(super) fn broker(stand: &mut Stand, kind: Kind, dice: &mut Dice) -> Result<Done> {
    let chosen = dice.below(BROKERS as u64) as usize;
    let target = format!("broker {}", chosen + 1);
    match kind {
        Kind::BrokerKill => {
            stand.brokers[chosen].kill()?;
            let down = lasts(dice, 0, 3_000);
            Ok(Done::new(target, down, Undo::RestartBroker(chosen)))
        }
        Kind::BrokerRestart => {
            stand.brokers[chosen].stop()?;
            let down = lasts(dice, 0, 2_000);
            Ok(Done::new(target, down, Undo::RestartBroker(chosen)))
        }
        Kind::BrokerFreeze => {
            stand.brokers[chosen].freeze()?;
            let frozen = lasts(dice, 500, 6_000);
            Ok(Done::new(target, frozen, Undo::ThawBroker(chosen)))
        }
        Kind::BrokerCut | Kind::BrokerSilent | Kind::BrokerSlow => {
            Ok(way(stand, kind, chosen, &target, dice))
        }
        Kind::BrokerBlocked => {
            stand.brokers[chosen].ctl(&["set_vm_memory_high_watermark", "0"])?;
            let blocked = lasts(dice, 500, 4_000);
            Ok(Done::new(target, blocked, Undo::UnblockBroker(chosen)))
        }
        Kind::BrokerKicks => {
            stand.brokers[chosen].ctl(&["close_all_connections", "chaos"])?;
            Ok(Done::at_once(target))
        }
        _ => bail!("{} is no fault of a broker", kind.name()),
    }
}

pub(super) fn store(stand: &mut Stand, kind: Kind, dice: &mut Dice) -> Result<Done> {
    let target = "Redis";
    match kind {
        Kind::RedisKill => {
            stand.redis.kill()?;
            let down = lasts(dice, 0, 4_000);
            Ok(Done::new(target, down, Undo::RestartRedis))
        }
        Kind::RedisFreeze => {
            stand.redis.freeze()?;
            let frozen = lasts(dice, 500, 5_000);
            Ok(Done::new(target, frozen, Undo::ThawRedis))
        }
        Kind::RedisCut | Kind::RedisSilent | Kind::RedisSlow => {
            Ok(way(stand, kind, STORE, target, dice))
        }
        Kind::RedisFlushScripts => {
            redis(stand, &["SCRIPT", "FLUSH"])?;
            Ok(Done::at_once(target))
        }
        Kind::RedisFull => {
            redis(stand, &["CONFIG", "SET", "maxmemory", "1"])?;
            let full = lasts(dice, 200, 4_000);
            Ok(Done::new(target, full, Undo::EmptyRedis))
        }
        Kind::RedisReadonly => {
            // There is nothing to copy from there, so it keeps what it has.
            redis(stand, &["REPLICAOF", "127.0.0.1", "1"])?;
            let replica = lasts(dice, 200, 4_000);
            Ok(Done::new(target, replica, Undo::PromoteRedis))
        }
        Kind::RedisKicks => {
            redis(stand, &["CLIENT", "KILL", "TYPE", "normal"])?;
            redis(stand, &["CLIENT", "KILL", "TYPE", "pubsub"])?;
            Ok(Done::at_once(target))
        }
        _ => bail!("{} is no fault of Redis", kind.name()),
    }
}

/// On the way of one host, or of all, to a server.
fn way(stand: &mut Stand, kind: Kind, server: usize, name: &str, dice: &mut Dice) -> Done {
    let count = stand.places.len() as u64;
    let chosen = dice.below(count + 1);
    let (places, target): (Vec<usize>, String) = if chosen == count {
        (
            (0..stand.places.len()).collect(),
            format!("{name}, all hosts"),
        )
    } else {
        (
            vec![chosen as usize],
            format!("{name}, host {}", chosen + 1),
        )
    };
    let time = match kind {
        Kind::BrokerCut | Kind::RedisCut => lasts(dice, 0, 4_000),
        // Longer and shorter than heartbeats and leases.
        Kind::BrokerSilent | Kind::RedisSilent => lasts(dice, 300, 7_000),
        _ => lasts(dice, 2_000, 6_000),
    };
    let late = Duration::from_millis(dice.between(20, 150));
    for place in &places {
        let way = &stand.places[*place].ways[server];
        match kind {
            Kind::BrokerCut | Kind::RedisCut => way.cut(),
            Kind::BrokerSilent | Kind::RedisSilent => way.half_open(),
            _ => way.delay(late),
        }
    }
    Done::new(target, time, Undo::FreeWays(places, server))
}
