//! The orders of the demo, good and bad.

use std::fmt::Write as _;

const GOOD: usize = 240;
const TWICE: usize = 30;
const FAILING: usize = 15;
const POISON: usize = 10;
const LOOPING: usize = 1;

/// One order as it is published.
#[derive(Clone)]
pub(super) struct Order {
    pub(super) id: String,
    pub(super) body: String,
}

/// All deliveries, in the order in which they are published.
pub(super) struct Plan {
    orders: Vec<Order>,
}

impl Plan {
    pub(super) fn new() -> Self {
        let mut orders: Vec<Order> = Vec::new();
        let kinds = [
            (GOOD, ""),
            (FAILING, "fail-twice"),
            (LOOPING, "loop"),
            (POISON, "poison"),
        ];
        for (count, kind) in kinds {
            for n in 0..count {
                orders.push(order(kind, n));
            }
        }
        // Spread the odd ones among the good ones, always in the same way.
        let total = orders.len();
        let mut spread: Vec<Order> = (0..total)
            .map(|n| orders[(n * 97) % total].clone())
            .collect();
        let twice: Vec<Order> = spread
            .iter()
            .filter(|o| o.id.starts_with("order-"))
            .take(TWICE)
            .cloned()
            .collect();
        spread.extend(twice);
        Self { orders: spread }
    }

    pub(super) fn halves(&self) -> (Vec<Order>, Vec<Order>) {
        let (first, second) = self.orders.split_at(self.orders.len() / 2);
        (first.to_vec(), second.to_vec())
    }

    /// Messages published.
    pub(super) fn deliveries(&self) -> usize {
        self.orders.len()
    }

    /// Orders that end other than as a duplicate.
    pub(super) fn endings(&self) -> u64 {
        self.completed() + self.dead()
    }

    pub(super) fn completed(&self) -> u64 {
        (GOOD + FAILING) as u64
    }

    pub(super) fn duplicates(&self) -> u64 {
        TWICE as u64
    }

    pub(super) fn dead(&self) -> u64 {
        (POISON + LOOPING) as u64
    }

    /// Attempts that are followed by another: two for each that fails twice.
    /// The looping one adds its own, as many as its consumer allows.
    pub(super) fn retries(&self, attempts: u64) -> u64 {
        (FAILING * 2) as u64 + (attempts - 1) * LOOPING as u64
    }
}

fn order(kind: &str, n: usize) -> Order {
    let name = if kind.is_empty() { "order" } else { kind };
    let id = format!("{name}-{n}");
    let amount = if kind == "poison" {
        -1
    } else {
        100 + i64::try_from(n).unwrap_or(0)
    };
    let customer = n % 12;
    let mut body = format!(
        r#"{{"id":"{id}","customer":"customer-{customer}","amount_cents":{amount},"currency":"EUR""#
    );
    if matches!(kind, "fail-twice" | "loop") {
        let _ = write!(body, r#","simulate":"{kind}""#);
    }
    body.push('}');
    Order { id, body }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::collections::BTreeSet;

    #[test]
    fn every_order_is_published_and_some_twice() {
        let plan = Plan::new();
        let ids: BTreeSet<&str> = plan.orders.iter().map(|order| order.id.as_str()).collect();
        assert_eq!(ids.len() as u64, plan.endings());
        assert_eq!(plan.deliveries() as u64, plan.endings() + plan.duplicates());
    }
}
