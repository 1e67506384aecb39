//! Whole hosts, as users run them, against private RabbitMQ and Redis servers.
//!
//! The host is the `holdfast` binary: the one that `HOLDFAST_BIN` names, else
//! one built now. The client side is plain lapin and HTTP, and shares nothing
//! with the host.

mod client;
mod cluster;
mod glance;
mod host;
mod many;
mod migration;
mod rabbit;
mod stand;

pub use client::{Client, Got};
pub use cluster::{Cluster, Report, reports};
pub use glance::Glance;
pub use host::{Host, Setup, claim_path, explain_path, prebuilt, put};
pub use migration::{
    Effect, Migration, SIDES, change_rule, expect_closed_audit, expect_closed_books,
    expect_each_once, move_to,
};
pub use rabbit::Rabbit;
pub use stand::{Stand, probe_tables, wait_settled};
