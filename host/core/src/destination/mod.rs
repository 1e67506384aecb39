//! Where the outbound requests of a handler may go.
//!
//! Two gates stand on the way, and both read the same list of [`AllowHost`]s.
//! [`Destination::admit`] is asked before a name is looked up, so that a name
//! that is not listed never reaches a name server. [`Destination::reach`] is
//! asked for every address that the look-up gave, and only it makes the
//! [`Checked`] address that a connection is opened to: what was checked is what
//! is connected to, however the name resolves the next time.
//!
//! A listed name is enough for addresses of the public internet. Loopback,
//! private, link-local and every other [`reserved`] range need an entry of
//! their own, an address or a network within that range: whoever controls the
//! name must not be able to turn the host against its own surroundings.
//!
//! Nothing here resolves a name or connects.

mod entry;
mod host;
mod range;

use core::net::{IpAddr, SocketAddr};

pub use entry::{AllowHost, AllowHostError};
pub use host::Host;
pub use range::{Range, reserved};

/// A host and a port that a request names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Destination {
    host: Host,
    port: u16,
}

impl Destination {
    /// From the host of a URL, an IPv6 address in brackets, and a port. None
    /// when it is neither a name nor an address: a user, a zone, an address in
    /// octal or as one number.
    #[must_use]
    pub fn parse(host: &str, port: u16) -> Option<Self> {
        let inner = host
            .strip_prefix('[')
            .and_then(|rest| rest.strip_suffix(']'));
        let host = match inner {
            Some(inner) => Host::Ip(IpAddr::V6(inner.parse().ok()?)),
            // The dot of the root may be written.
            None => match Host::parse(host.strip_suffix('.').unwrap_or(host))? {
                Host::Ip(IpAddr::V6(_)) => return None,
                host => host,
            },
        };
        Some(Self { host, port })
    }

    /// The host.
    #[must_use]
    pub fn host(&self) -> &Host {
        &self.host
    }

    /// The port.
    #[must_use]
    pub fn port(&self) -> u16 {
        self.port
    }

    /// The first gate: may this host be looked up at all?
    ///
    /// # Errors
    /// [`Refusal`] when no entry names it.
    pub fn admit(&self, entries: &[AllowHost]) -> Result<(), Refusal> {
        match &self.host {
            Host::Ip(ip) => self.reach(entries, *ip).map(|_| ()),
            Host::Name(name) => {
                let listed = entries.iter().any(|entry| entry.names(name, self.port));
                listed.then_some(()).ok_or_else(|| Refusal::NotListed {
                    destination: self.clone(),
                })
            }
        }
    }

    /// The second gate: may a connection be opened to this address of it? For
    /// a host that is a number, that number is the address.
    ///
    /// # Errors
    /// [`Refusal`] when no entry covers what needs one.
    pub fn reach(&self, entries: &[AllowHost], address: IpAddr) -> Result<Checked, Refusal> {
        let address = address.to_canonical();
        let range = reserved(address);
        let covered = entries
            .iter()
            .any(|entry| entry.covers(address, self.port, range));
        let listed = match &self.host {
            Host::Name(name) => entries.iter().any(|entry| entry.names(name, self.port)),
            Host::Ip(ip) => ip.to_canonical() == address && (covered || range.is_some()),
        };
        let destination = || self.clone();
        match range {
            _ if !listed => Err(Refusal::NotListed {
                destination: destination(),
            }),
            Some(range) if !covered => Err(Refusal::Reserved {
                destination: destination(),
                address,
                range,
            }),
            _ => Ok(Checked(SocketAddr::new(address, self.port))),
        }
    }
}

impl core::fmt::Display for Destination {
    fn fmt(&self, f: &mut core::fmt::Formatter<'_>) -> core::fmt::Result {
        write!(f, "{}:{}", self.host, self.port)
    }
}

/// An address that passed both gates. Only [`Destination::reach`] makes one.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Checked(SocketAddr);

impl Checked {
    /// Where to connect.
    #[must_use]
    pub fn address(self) -> SocketAddr {
        self.0
    }
}

/// Why a request may not go there. Nothing was sent; trying again without a
/// change of the configuration changes nothing.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Refusal {
    /// No entry names the host.
    #[error("{destination} is not listed")]
    NotListed {
        /// What was asked for.
        destination: Destination,
    },
    /// The address is one that needs an entry of its own.
    #[error("{}, {range}, which needs an entry of its own", leads_to(destination, *address))]
    Reserved {
        /// What was asked for.
        destination: Destination,
        /// Where it leads.
        address: IpAddr,
        /// What that address is.
        range: Range,
    },
}

impl Refusal {
    /// The narrowest entry that would let the request pass this gate.
    #[must_use]
    pub fn remedy(&self) -> AllowHost {
        match self {
            Self::NotListed { destination } => {
                let port = Some(destination.port);
                match &destination.host {
                    Host::Name(name) => AllowHost::Name {
                        name: name.clone(),
                        port,
                    },
                    Host::Ip(ip) => AllowHost::Address {
                        ip: ip.to_canonical(),
                        port,
                    },
                }
            }
            Self::Reserved {
                destination,
                address,
                ..
            } => AllowHost::Address {
                ip: *address,
                port: Some(destination.port),
            },
        }
    }
}

fn leads_to(destination: &Destination, address: IpAddr) -> String {
    match destination.host {
        Host::Ip(ip) if ip == address => destination.to_string(),
        _ => format!("{destination} leads to {address}"),
    }
}
