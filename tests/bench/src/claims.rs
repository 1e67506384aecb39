//! The smallest claim that deserves the name: taken before the handler,
//! finished after it, each in one script.

use std::time::Duration;

use anyhow::{Context, Result};
use redis::aio::MultiplexedConnection;
use redis::{AsyncConnectionConfig, Client, Script};

/// `KEYS[1]` the claim; ARGV: token, lock in milliseconds.
/// 1: ours; otherwise what stands there already.
const BEGIN: &str = "
local held = redis.call('GET', KEYS[1])
if held then return held end
redis.call('SET', KEYS[1], 'running:' .. ARGV[1], 'PX', ARGV[2])
return 1
";

/// `KEYS[1]` the claim; ARGV: token, keep in milliseconds. 0: not ours any more.
const COMMIT: &str = "
if redis.call('GET', KEYS[1]) ~= 'running:' .. ARGV[1] then return 0 end
redis.call('SET', KEYS[1], 'done', 'PX', ARGV[2])
return 1
";

/// The two steps, sent by hash.
pub(crate) struct Claims {
    pub(crate) begin: Script,
    pub(crate) commit: Script,
}

/// How long an attempt excludes others, and a finished claim is remembered.
pub(crate) const LOCK_MS: u64 = 35_000;
pub(crate) const KEEP_MS: u64 = 7 * 24 * 3_600_000;

impl Claims {
    pub(crate) fn new() -> Self {
        Self {
            begin: Script::new(BEGIN),
            commit: Script::new(COMMIT),
        }
    }

    /// Loads both, as a pipeline cannot do so by itself.
    pub(crate) async fn load(&self, store: &mut MultiplexedConnection) -> Result<()> {
        for script in [&self.begin, &self.commit] {
            script
                .load_async(store)
                .await
                .context("failed to load a script")?;
        }
        Ok(())
    }
}

/// One connection, shared by all tasks.
pub(crate) async fn connect(url: &str) -> Result<MultiplexedConnection> {
    // The default of half a second is for other work than 256 at once.
    let config = AsyncConnectionConfig::new().set_response_timeout(Some(Duration::from_secs(10)));
    let client = Client::open(url).context("failed to read the store's address")?;
    client
        .get_multiplexed_async_connection_with_config(&config)
        .await
        .context("failed to connect to the store")
}

/// The key under which a message is claimed.
pub(crate) fn key(delivery: &lapin::message::Delivery) -> Result<String> {
    let id = delivery.properties.message_id().as_ref();
    let id = id.context("a message without an id")?;
    Ok(format!("claim:{id}"))
}

/// A value of its own for each attempt.
pub(crate) fn token(delivery: &lapin::message::Delivery) -> String {
    format!("{:x}-{:x}", std::process::id(), delivery.delivery_tag)
}
