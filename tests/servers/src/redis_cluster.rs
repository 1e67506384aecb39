//! A private Redis Cluster.

use std::net::SocketAddr;

use anyhow::{Context, Result};

use crate::port::Port;
use crate::redis::Redis;
use crate::wait::{PATIENCE, wait_for};

const SLOTS: usize = 16_384;

/// Primaries that share the slots, each with a replica if wanted, on loopback
/// ports of their own. It ends like a [`Redis`].
#[derive(Debug)]
pub struct RedisCluster {
    nodes: Vec<Redis>,
    primaries: usize,
    _buses: Vec<Port>,
}

impl RedisCluster {
    /// Starts the servers and waits until each knows all. A primary that is gone
    /// for two seconds is replaced by its replica, if it has one.
    ///
    /// # Errors
    /// As [`crate::RedisBuilder::start`], or when they do not find each other.
    pub fn start(primaries: usize, with_replicas: bool) -> Result<Self> {
        let count = if with_replicas {
            2 * primaries
        } else {
            primaries
        };
        let (mut nodes, mut buses) = (Vec::new(), Vec::new());
        for _ in 0..count {
            let bus = Port::free()?;
            let node = Redis::builder()
                .config("cluster-enabled", "yes")
                .config("cluster-node-timeout", "2000")
                .config("cluster-port", &bus.number().to_string())
                .start()?;
            nodes.push(node);
            buses.push(bus);
        }
        for (n, node) in nodes.iter().take(primaries).enumerate() {
            let [first, last] = [n, n + 1].map(|n| n * SLOTS / primaries);
            let (first, last) = (first.to_string(), (last - 1).to_string());
            node.cli(&["CLUSTER", "ADDSLOTSRANGE", &first, &last])?;
        }
        for (node, bus) in nodes.iter().zip(&buses).skip(1) {
            let (port, bus) = (node.port().to_string(), bus.number().to_string());
            nodes[0].cli(&["CLUSTER", "MEET", "127.0.0.1", &port, &bus])?;
        }
        let cluster = Self {
            nodes,
            primaries,
            _buses: buses,
        };
        cluster.until_each("to know all", |node| {
            Ok(node.cli(&["CLUSTER", "NODES"])?.lines().count() == count)
        })?;
        for (n, replica) in cluster.nodes.iter().enumerate().skip(primaries) {
            let of = cluster.nodes[n - primaries].cli(&["CLUSTER", "MYID"])?;
            replica.cli(&["CLUSTER", "REPLICATE", &of])?;
        }
        cluster.until_whole()?;
        for replica in &cluster.nodes[primaries..] {
            wait_for("a replica to follow", PATIENCE, || {
                let up = replica.replication("master_link_status")? == "up";
                Ok(up.then_some(()))
            })?;
        }
        Ok(cluster)
    }

    /// The servers: primaries as they were at the start, then their replicas in
    /// the same order.
    pub fn nodes(&self) -> &[Redis] {
        &self.nodes
    }

    /// One of them, to be killed or restarted.
    pub fn node(&mut self, number: usize) -> &mut Redis {
        &mut self.nodes[number]
    }

    /// The number of the primary that has a key's slot, as at the start.
    ///
    /// # Errors
    /// When no server answers.
    pub fn primary_of(&self, key: &str) -> Result<usize> {
        let slot: usize = self.nodes[0].cli(&["CLUSTER", "KEYSLOT", key])?.parse()?;
        let owner = (0..self.primaries).find(|n| slot < (n + 1) * SLOTS / self.primaries);
        owner.context("a slot beyond the last")
    }

    /// The address of a server, for a client that finds the others by it.
    pub fn url(&self) -> String {
        format!("redis://{}", self.nodes[0].address())
    }

    /// The addresses of all servers.
    pub fn addresses(&self) -> Vec<SocketAddr> {
        self.nodes.iter().map(Redis::address).collect()
    }

    /// Waits until every server says that all slots are served.
    ///
    /// # Errors
    /// When that takes too long.
    pub fn until_whole(&self) -> Result<()> {
        self.until_each("to serve all slots", |node| {
            Ok(node.cli(&["CLUSTER", "INFO"])?.contains("cluster_state:ok"))
        })
    }

    fn until_each(&self, what: &str, holds: impl Fn(&Redis) -> Result<bool>) -> Result<()> {
        for node in &self.nodes {
            wait_for(what, PATIENCE, || Ok(holds(node)?.then_some(())))?;
        }
        Ok(())
    }
}
