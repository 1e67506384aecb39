//! Short ways to make things, for tests and `inputs`.

use std::time::Duration;

use holdfast_core::claim::OnForeign;
use holdfast_core::name::{Consumer, Group, Side};
use holdfast_core::retry::Backoff;
use holdfast_ports::store::Slot;

use crate::spec::{Batch, ConsumerSpec, Mode, OnPoison, Order, Source};

/// A consumer named `orders` of queue `orders` with the defaults.
pub(crate) fn spec() -> ConsumerSpec {
    ConsumerSpec {
        name: Consumer::new("orders").expect("a name"),
        broker: "main".into(),
        queue: "orders".into(),
        plugin: "orders".into(),
        concurrency: 8,
        prefetch: 32,
        declare: true,
        batch: Batch {
            max: 64,
            wait: Duration::from_millis(5),
        },
        max_body: 1 << 20,
        group: Group::new("orders").expect("a name"),
        side: Side::new("rabbit").expect("a name"),
        key: Source::MessageId,
        keep: Duration::from_secs(7 * 86_400),
        slot: Slot::Group,
        fingerprint: true,
        on_foreign: OnForeign::Hold,
        backoff: Backoff::default(),
        order: Order {
            mode: Mode::None,
            lane: None,
            sequence: None,
            on_poison: OnPoison::Park,
        },
        lease: None,
        row: None,
        deadline: Duration::from_secs(30),
    }
}
