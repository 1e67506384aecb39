//! Stores on real servers, and claims to try them with.

#![expect(
    dead_code,
    reason = "each file of tests is a program of its own and uses a part of this"
)]

use std::time::Duration;

use holdfast_core::claim::steps::Shown;
use holdfast_core::claim::{BeginAnswer, BeginFacts, CommitAnswer, Fingerprint, Token};
use holdfast_core::key::ClaimKey;
use holdfast_core::name::{Group, Side};
use holdfast_ports::error::PortError;
use holdfast_ports::message::{Effects, Outbox, Snapshot};
use holdfast_ports::store::{Begin, Commit, Place, Slot, Store as _};
use holdfast_redis::{RedisOptions, RedisStore};
use holdfast_servers::{Redis, shared_redis, unique};

pub(crate) type Begun = BeginAnswer<Snapshot, Outbox>;

/// A store for a service of its own on the server that all tests of a file share.
pub(crate) async fn shared() -> anyhow::Result<RedisStore> {
    let server = tokio::task::spawn_blocking(shared_redis).await??;
    Ok(at(&server.url()).await?)
}

/// A store for a service of its own.
pub(crate) async fn at(url: &str) -> Result<RedisStore, PortError> {
    RedisStore::connect(options(url)).await
}

/// Patient, so that a loaded machine is no fault of the store.
pub(crate) fn options(url: &str) -> RedisOptions {
    let mut options = RedisOptions::new(url, unique("svc"));
    options.response_timeout = Duration::from_secs(10);
    options
}

pub(crate) fn place(key: &str) -> Place {
    Place {
        group: Group::new("orders").unwrap(),
        key: ClaimKey::from_known(key),
        slot: Slot::Group,
        lease: None,
        keep: Duration::from_secs(3600),
    }
}

pub(crate) fn shown(token: u64) -> Shown {
    Shown {
        token: Token(token),
        epoch: None,
    }
}

pub(crate) fn side(name: &str) -> Side {
    Side::new(name).unwrap()
}

pub(crate) fn begin(key: &str, token: u64) -> Begin {
    Begin {
        at: place(key),
        facts: BeginFacts {
            side: side("main"),
            owner_if_new: side("main"),
            token: Token(token),
            fingerprint: Some(Fingerprint(*b"12345678")),
            lane: None,
            sequence: None,
            epoch: None,
            lock: Duration::from_secs(60),
            assign_timeout: Duration::from_secs(60),
            rule: None,
        },
        state: false,
    }
}

pub(crate) fn plain() -> Commit {
    Commit {
        lane: None,
        sequence: None,
        effects: Effects::default(),
    }
}

pub(crate) async fn commit(
    store: &RedisStore,
    key: &str,
    token: u64,
) -> Result<CommitAnswer, PortError> {
    store.commit(&place(key), shown(token), &plain()).await
}

pub(crate) fn is_granted(answer: &Begun) -> bool {
    matches!(answer, BeginAnswer::Granted { .. })
}

/// How long a key is kept.
pub(crate) fn milliseconds_left(server: &Redis, name: &str) -> anyhow::Result<i64> {
    Ok(server.cli(&["PTTL", name])?.parse()?)
}
