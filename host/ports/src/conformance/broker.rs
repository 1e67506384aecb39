//! The rules that every broker adapter keeps, each as a case with a sentence
//! for a name.
//!
//! ```ignore
//! #[tokio::test]
//! async fn the_broker_keeps_every_rule() {
//!     broker::run(async || connect().await).await;
//! }
//! ```
//!
//! Every case works on queues of its own, so that cases, test runs and
//! processes can share one server.

mod bed;
mod closing;
mod consuming;
mod keeping;
mod looking;
mod publishing;
mod settling;
mod waiting;

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use self::bed::Bed;
use crate::broker::Broker;

/// A named rule and the steps that show it.
type Case = (
    &'static str,
    fn(Bed) -> Pin<Box<dyn Future<Output = ()> + Send>>,
);

/// Lists async functions that take a [`Bed`] as cases under their own names.
macro_rules! cases {
    ($($name:ident),* $(,)?) => {
        pub(super) const CASES: &[super::Case] = &[
            $((stringify!($name), |bed| Box::pin($name(bed)))),*
        ];
    };
}
use cases;

const SUITE: &[&[Case]] = &[
    consuming::CASES,
    settling::CASES,
    closing::CASES,
    publishing::CASES,
    waiting::CASES,
    keeping::CASES,
    looking::CASES,
];

/// Runs every case, each with two clients of the same broker that `make` gives
/// (two connections, or the same value twice where there is no connection).
///
/// # Panics
/// When a case fails, after all have run; the message names each that failed
/// and says what it found.
pub async fn run<F>(make: F)
where
    F: AsyncFn() -> Arc<dyn Broker>,
{
    let mut failed = Vec::new();
    let mut count = 0;
    for (name, case) in SUITE.iter().copied().flatten() {
        count += 1;
        let bed = Bed::new(make().await, make().await);
        if let Err(error) = tokio::spawn(case(bed)).await {
            failed.push(format!("{}: {}", name.replace('_', " "), reason(error)));
        }
    }
    assert!(
        failed.is_empty(),
        "{} of {count} rules of a broker do not hold:\n  {}",
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
