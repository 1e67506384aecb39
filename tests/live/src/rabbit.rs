//! The broker of a test.

use anyhow::{Result, bail};
use holdfast_servers::{RabbitMq, VirtualHost, virtual_host};

/// A broker that only this test uses, or a virtual host that only it uses on a
/// broker of all: the same to a host, but that nobody can end it.
pub enum Rabbit {
    /// A process of its own.
    Own(Box<RabbitMq>),
    /// A virtual host of its own.
    Shared(VirtualHost),
}

impl Rabbit {
    /// A broker that can be killed. Takes seconds of computing.
    ///
    /// # Errors
    /// When it is missing or does not start.
    pub fn own() -> Result<Self> {
        Ok(Self::Own(Box::new(RabbitMq::start()?)))
    }

    /// A virtual host.
    ///
    /// # Errors
    /// When the broker is missing or does not start.
    pub fn shared() -> Result<Self> {
        Ok(Self::Shared(virtual_host()?))
    }

    /// Its address.
    pub fn url(&self) -> String {
        match self {
            Self::Own(broker) => broker.url(),
            Self::Shared(host) => host.url(),
        }
    }

    /// Ends it with SIGKILL.
    ///
    /// # Errors
    /// When it is not the test's own.
    pub fn kill(&mut self) -> Result<()> {
        self.mine()?.kill()
    }

    /// Starts it again, with the same data.
    ///
    /// # Errors
    /// When it is not the test's own, or does not start.
    pub fn restart(&mut self) -> Result<()> {
        self.mine()?.restart()
    }

    fn mine(&mut self) -> Result<&mut RabbitMq> {
        match self {
            Self::Own(broker) => Ok(broker),
            Self::Shared(_) => bail!("this broker belongs to other tests, too; take an own one"),
        }
    }
}
