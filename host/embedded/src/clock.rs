//! The clock that embedded parts decide by, so that a simulation can bring its
//! own.

use std::sync::Arc;
use std::time::{SystemTime, UNIX_EPOCH};

use holdfast_core::time::Micros;

/// Tells the time as microseconds since 1970. It is kept in files, so it has to
/// mean the same after a restart.
pub type Clock = Arc<dyn Fn() -> Micros + Send + Sync>;

/// The system's clock.
#[must_use]
pub fn system() -> Clock {
    Arc::new(|| {
        let since = SystemTime::now()
            .duration_since(UNIX_EPOCH)
            .unwrap_or_default();
        Micros(u64::try_from(since.as_micros()).unwrap_or(u64::MAX))
    })
}
