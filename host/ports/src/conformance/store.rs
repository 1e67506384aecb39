//! The rules that every claim store keeps, each as a case with a sentence for a
//! name.
//!
//! ```ignore
//! #[tokio::test]
//! async fn the_store_keeps_every_rule() {
//!     store::run(async || connect().await).await;
//! }
//! ```
//!
//! Every case works in a group of its own, so that cases, test runs and
//! processes can share one server. What a case waits for (a lock that expires, a
//! lease that runs out) it asks for again and again, up to a deadline.

mod attempts;
mod bed;
mod effects;
mod giving_up;
mod groups;
mod instances;
mod leases;
mod order_of_answers;
mod outbox;
mod ownership;
mod sequences;
mod whole_store;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use self::bed::Bed;
use crate::store::Store;

/// A named rule and the steps that show it.
type Case = (&'static str, fn(Bed) -> Pin<Box<dyn Future<Output = ()>>>);

/// Lists async functions that take a [`Bed`] as cases under their own names.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub(super) const CASES: &[$crate::conformance::store::Case] = &[
            $((stringify!($name), |bed| Box::pin($name(bed)))),*
        ];
    };
}
use cases;

const SUITE: &[&[Case]] = &[
    attempts::CASES,
    ownership::CASES,
    order_of_answers::CASES,
    sequences::CASES,
    effects::CASES,
    outbox::CASES,
    giving_up::CASES,
    leases::CASES,
    groups::CASES,
    instances::CASES,
    whole_store::CASES,
];

/// Runs every case, each against a store that `make` gives. The stores may be
/// fresh or share their data.
///
/// # Panics
/// When a case fails, after all have run; the message names each that failed
/// and says what it found.
pub async fn run<F>(make: F)
where
    F: AsyncFn() -> Arc<dyn Store>,
{
    let mut failed = Vec::new();
    let mut count = 0;
    for (name, case) in SUITE.iter().copied().flatten() {
        count += 1;
        let bed = Bed::new(make().await);
        let local = tokio::task::LocalSet::new();
        let run = local.spawn_local(case(bed));
        if let Err(error) = local.run_until(run).await {
            failed.push(format!("{}: {}", name.replace('_', " "), reason(error)));
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {count} rules of a store do not hold:\n  {}",
        failed.len(),
        failed.join("\n  ")
    );
}

fn reason(error: tokio::task::JoinError) -> String {
    match error.try_into_panic() {
        Ok(payload) => match payload.downcast::<String>() {
            Ok(text) => *text,
            Err(payload) => payload
                .downcast::<&str>()
                .map_or_else(|_| "it panicked".to_owned(), |text| (*text).to_owned()),
        },
        Err(error) => error.to_string(),
    }
}
