//! Private servers for tests, the demo and the benchmark: [`Redis`] and
//! [`RabbitMq`] on free loopback ports with their data in temporary folders,
//! and a [`Proxy`] to put between them and a client; a [`ThirdParty`] that
//! handlers ask over HTTP. A [`Program`] is any other
//! process that has to end with the test, such as a host under test.
//!
//! Nothing is shared with a server that the machine runs, and nothing is left
//! behind: processes and folders go when the value is dropped, when a test
//! panics, and when the process is killed. A server that is not installed is
//! an error that names the command to install it, never a reason to skip.
//!
//! All calls block; from async code use `spawn_blocking`.
//!
//! ```
//! # fn main() -> anyhow::Result<()> {
//! use holdfast_servers::Redis;
//!
//! let mut redis = Redis::builder().durable(true).start()?;
//! redis.cli(&["SET", "colour", "green"])?;
//! redis.kill()?;
//! redis.restart()?;
//! assert_eq!(redis.cli(&["GET", "colour"])?, "green");
//! # Ok(())
//! # }
//! ```

mod install;
mod port;
mod process;
mod program;
mod proxy;
mod rabbitmq;
mod redis;
mod redis_cluster;
mod resp;
mod sentinel;
mod shared;
mod signal;
mod third_party;
mod wait;
mod watchdog;

pub use port::Port;
pub use program::Program;
pub use proxy::Proxy;
pub use rabbitmq::{RabbitMq, RabbitMqBuilder};
pub use redis::{Redis, RedisBuilder};
pub use redis_cluster::RedisCluster;
pub use sentinel::Sentinel;
pub use shared::{VirtualHost, shared_rabbitmq, shared_redis, unique, virtual_host};
pub use third_party::{Asked, ThirdParty, answer};
pub use wait::{PATIENCE, wait_for};
