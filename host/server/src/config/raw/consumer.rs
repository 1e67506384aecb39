//! The settings of a consumer as they are read.

use std::ops::Range;
use std::time::Duration;

use super::super::reader::{Field, Reader, Table};
use super::super::valid::{OnForeign, OnPoison, Place, Queue, Slot};
use super::super::values::{
    DAY, MILLI, SECOND, YEAR, boolean, choice, duration, integer, name, number, parsed, size,
};

pub(in crate::config) struct ConsumerKeys {
    pub(in crate::config) at: Range<usize>,
    pub(in crate::config) broker: Field<String>,
    pub(in crate::config) queue: Field<Queue>,
    pub(in crate::config) plugin: Field<String>,
    pub(in crate::config) concurrency: Field<u32>,
    pub(in crate::config) prefetch: Option<Field<u16>>,
    pub(in crate::config) declare: Field<bool>,
    pub(in crate::config) batch: Option<BatchKeys>,
    pub(in crate::config) max_body: Field<u64>,
    pub(in crate::config) claim: ClaimKeys,
    pub(in crate::config) retry: RetryKeys,
    pub(in crate::config) order: OrderKeys,
    pub(in crate::config) lease: Option<LeaseKeys>,
}

pub(in crate::config) struct BatchKeys {
    pub(in crate::config) max: Field<u32>,
    pub(in crate::config) wait: Field<Duration>,
}

pub(in crate::config) struct ClaimKeys {
    pub(in crate::config) group: Option<Field<String>>,
    pub(in crate::config) side: Option<Field<String>>,
    pub(in crate::config) key: Field<Place>,
    pub(in crate::config) keep: Field<Duration>,
    pub(in crate::config) slot: Field<Slot>,
    pub(in crate::config) fingerprint: Field<bool>,
    pub(in crate::config) on_foreign: Field<OnForeign>,
}

pub(in crate::config) struct RetryKeys {
    pub(in crate::config) attempts: Field<u32>,
    pub(in crate::config) initial: Option<Field<Duration>>,
    pub(in crate::config) factor: Field<f64>,
    pub(in crate::config) max: Field<Duration>,
    pub(in crate::config) jitter: Field<f64>,
    pub(in crate::config) hold_below: Option<Field<Duration>>,
}

#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::config) enum OrderMode {
    None,
    Lanes,
    Strict,
}

pub(in crate::config) struct OrderKeys {
    pub(in crate::config) at: Range<usize>,
    pub(in crate::config) mode: Field<OrderMode>,
    pub(in crate::config) key: Option<Field<Place>>,
    pub(in crate::config) sequence: Option<Field<Place>>,
    pub(in crate::config) on_poison: Field<OnPoison>,
}

pub(in crate::config) struct LeaseKeys {
    pub(in crate::config) ttl: Field<Duration>,
    pub(in crate::config) renew: Option<Field<Duration>>,
    pub(in crate::config) retry: Option<Field<Duration>>,
}

impl ConsumerKeys {
    pub(super) fn read(r: &mut Reader<'_>, mut table: Table<'_, '_>) -> Self {
        const QUEUE_HELP: &str = "write a name, or a row of partitions such as \"orders.{0..7}\"";
        let at = table.at();
        let broker = table.required(r, "broker", name);
        let queue = table.required(r, "queue", parsed("a queue", QUEUE_HELP, Queue::parse));
        let plugin = table.required(r, "plugin", name);
        let concurrency = table.or(r, "concurrency", 64, integer(1..=65_535));
        let prefetch = table.optional(r, "prefetch", integer(1..=65_535));
        let declare = table.or(r, "declare", true, boolean);
        let max_body = table.or(r, "max-body", 1 << 20, size(1..=128 << 20));
        let batch = table.table(r, "batch");
        let batch = BatchKeys::read(r, batch);
        let claim = table.table(r, "claim");
        let claim = ClaimKeys::read(r, claim);
        let retry = table.table(r, "retry");
        let retry = RetryKeys::read(r, retry);
        let order = table.table(r, "order");
        let order = OrderKeys::read(r, order);
        let lease = table.table(r, "lease");
        let lease = LeaseKeys::read(r, lease);
        table.close(r);
        Self {
            at,
            broker,
            queue,
            plugin,
            concurrency,
            prefetch,
            declare,
            batch,
            max_body,
            claim,
            retry,
            order,
            lease,
        }
    }
}

impl BatchKeys {
    fn read(r: &mut Reader<'_>, mut table: Table<'_, '_>) -> Option<Self> {
        let present = table.is_present();
        let five = Duration::from_millis(5);
        let keys = Self {
            max: table.or(r, "max", 64, integer(1..=65_535)),
            wait: table.or(r, "wait", five, duration(MILLI..=60 * SECOND)),
        };
        table.close(r);
        present.then_some(keys)
    }
}

const PLACE: &str = "a place in the message";

impl ClaimKeys {
    fn read(r: &mut Reader<'_>, mut table: Table<'_, '_>) -> Self {
        let help = "write \"message-id\", \"header:NAME\" or \"json:/pointer\"";
        let slots = &[("group", Slot::Group), ("key", Slot::Key)];
        let foreign = &[("hold", OnForeign::Hold), ("drop", OnForeign::Drop)];
        let keys = Self {
            group: table.optional(r, "group", name),
            side: table.optional(r, "side", name),
            key: table.or(
                r,
                "key",
                Place::MessageId,
                parsed(PLACE, help, Place::parse),
            ),
            keep: table.or(r, "keep", 7 * DAY, duration(SECOND..=YEAR)),
            slot: table.or(r, "slot", Slot::Group, choice(slots)),
            fingerprint: table.or(r, "fingerprint", true, boolean),
            on_foreign: table.or(r, "on-foreign", OnForeign::Hold, choice(foreign)),
        };
        table.close(r);
        keys
    }
}

impl RetryKeys {
    fn read(r: &mut Reader<'_>, mut table: Table<'_, '_>) -> Self {
        let wait = || duration(MILLI..=30 * DAY);
        let keys = Self {
            attempts: table.or(r, "attempts", 8, integer(1..=10_000)),
            initial: table.optional(r, "initial", wait()),
            factor: table.or(r, "factor", 2.0, number(1.0..=1000.0)),
            max: table.or(r, "max", 300 * SECOND, wait()),
            jitter: table.or(r, "jitter", 0.1, number(0.0..=1.0)),
            hold_below: table.optional(r, "hold-below", duration(Duration::ZERO..=30 * DAY)),
        };
        table.close(r);
        keys
    }
}

impl OrderKeys {
    fn read(r: &mut Reader<'_>, mut table: Table<'_, '_>) -> Self {
        let modes = &[
            ("none", OrderMode::None),
            ("lanes", OrderMode::Lanes),
            ("strict", OrderMode::Strict),
        ];
        let poison = &[("park", OnPoison::Park), ("halt", OnPoison::Halt)];
        let lane_help = "write \"json:/pointer\", \"header:NAME\" or \"message-id\"";
        let sequence_help = "write \"json:/pointer\" or \"header:NAME\"";
        let sequence = parsed(PLACE, sequence_help, Place::parse_header_or_json);
        let keys = Self {
            at: table.at(),
            mode: table.or(r, "mode", OrderMode::None, choice(modes)),
            key: table.optional(r, "key", parsed(PLACE, lane_help, Place::parse)),
            sequence: table.optional(r, "sequence", sequence),
            on_poison: table.or(r, "on-poison", OnPoison::Park, choice(poison)),
        };
        table.close(r);
        keys
    }
}

impl LeaseKeys {
    fn read(r: &mut Reader<'_>, mut table: Table<'_, '_>) -> Option<Self> {
        let present = table.is_present();
        let keys = Self {
            ttl: table.or(r, "ttl", 15 * SECOND, duration(SECOND..=DAY)),
            renew: table.optional(r, "renew", duration(MILLI..=DAY)),
            retry: table.optional(r, "retry", duration(MILLI..=DAY)),
        };
        table.close(r);
        present.then_some(keys)
    }
}
