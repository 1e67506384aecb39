//! What an operator lists: names, names below a name, addresses, networks.

use core::net::IpAddr;

use super::Host;
use super::range::{Range, within};

/// Why a text is no entry of `allow-hosts`.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum AllowHostError {
    /// It has a scheme.
    #[error("it is a URL; write the host alone, without `://`")]
    Url,
    /// It has a path.
    #[error("it has a path; only a host, with or without a port, can be allowed")]
    Path,
    /// It is `*` alone, or has a star elsewhere than at the front.
    #[error("a `*` stands alone at the front and replaces names, as in `*.example.com`")]
    Star,
    /// Not a port.
    #[error("its port is not a number from 1 to 65535")]
    Port,
    /// Neither a name nor an address.
    #[error("it is neither a host name nor an address")]
    Host,
    /// A prefix that is too long.
    #[error("its network prefix is not a number that fits the address")]
    Prefix,
    /// Bits are set behind the prefix.
    #[error("it has bits set behind its network prefix; the network is {0}")]
    HostBits(String),
}

/// One entry of `allow-hosts`. A missing port means any.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum AllowHost {
    /// Exactly this name, in lower case.
    Name {
        /// The name.
        name: String,
        /// The port.
        port: Option<u16>,
    },
    /// Every name below this one, in lower case (`*.example.com`); not the
    /// name itself.
    Below {
        /// What follows `*.`.
        domain: String,
        /// The port.
        port: Option<u16>,
    },
    /// Exactly this address.
    Address {
        /// The address.
        ip: IpAddr,
        /// The port.
        port: Option<u16>,
    },
    /// Every address of a network.
    Network {
        /// Its first address.
        ip: IpAddr,
        /// How many leading bits count.
        prefix: u8,
    },
}

impl std::fmt::Display for AllowHost {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let port = match self {
            Self::Name { name, port } => {
                f.write_str(name)?;
                port
            }
            Self::Below { domain, port } => {
                write!(f, "*.{domain}")?;
                port
            }
            Self::Address {
                ip: IpAddr::V6(ip),
                port: Some(port),
            } => return write!(f, "[{ip}]:{port}"),
            Self::Address { ip, port } => {
                write!(f, "{ip}")?;
                port
            }
            Self::Network { ip, prefix } => return write!(f, "{ip}/{prefix}"),
        };
        match port {
            Some(port) => write!(f, ":{port}"),
            None => Ok(()),
        }
    }
}

impl AllowHost {
    /// Reads `host`, `*.host`, either with `:port`, `ip`, `ip:port`,
    /// `[ipv6]:port` or `ip/prefix`.
    ///
    /// # Errors
    /// [`AllowHostError`] says what is wrong with the text.
    pub fn parse(text: &str) -> Result<Self, AllowHostError> {
        if text.contains("://") {
            return Err(AllowHostError::Url);
        }
        if let Some((ip, prefix)) = text.split_once('/') {
            return network(ip, prefix);
        }
        if let Ok(ip) = text.parse::<IpAddr>() {
            return Ok(Self::Address { ip, port: None });
        }
        let (host, port) = split_port(text)?;
        let inner = host
            .strip_prefix('[')
            .and_then(|host| host.strip_suffix(']'));
        if let Some(inner) = inner {
            let ip: IpAddr = inner.parse().map_err(|_| AllowHostError::Host)?;
            return if ip.is_ipv6() {
                Ok(Self::Address { ip, port })
            } else {
                Err(AllowHostError::Host)
            };
        }
        let (star, name) = match host.strip_prefix("*.") {
            Some(domain) => (true, domain),
            None => (false, host),
        };
        if name.contains('*') {
            return Err(AllowHostError::Star);
        }
        match (Host::parse(name), star) {
            (Some(Host::Name(domain)), true) => Ok(Self::Below { domain, port }),
            (Some(Host::Name(name)), false) => Ok(Self::Name { name, port }),
            (Some(Host::Ip(ip)), false) => Ok(Self::Address { ip, port }),
            (Some(Host::Ip(_)), true) => Err(AllowHostError::Star),
            (None, _) => Err(AllowHostError::Host),
        }
    }
}

impl AllowHost {
    /// Does it name this host? Names only; `name` is in lower case.
    pub(super) fn names(&self, name: &str, to: u16) -> bool {
        let (fits, port) = match self {
            Self::Name { name: listed, port } => (listed == name, port),
            Self::Below { domain, port } => {
                let below = name.strip_suffix(domain.as_str());
                (below.is_some_and(|front| front.ends_with('.')), port)
            }
            Self::Address { .. } | Self::Network { .. } => return false,
        };
        fits && port.is_none_or(|port| port == to)
    }

    /// Does it cover this address? A network covers an address of a reserved
    /// range only from within that range: `0.0.0.0/0` says nothing about
    /// loopback.
    pub(super) fn covers(&self, address: IpAddr, to: u16, range: Option<Range>) -> bool {
        match self {
            Self::Address { ip, port } => {
                ip.to_canonical() == address && port.is_none_or(|port| port == to)
            }
            Self::Network { ip, prefix } => {
                let (ip, prefix) = canonical(*ip, *prefix);
                within(address, ip, prefix) && range.is_none_or(|range| range.holds(ip, prefix))
            }
            Self::Name { .. } | Self::Below { .. } => false,
        }
    }
}

/// A network of IPv4 addresses that is written as one of IPv6 is what it is.
fn canonical(ip: IpAddr, prefix: u8) -> (IpAddr, u8) {
    match (ip.to_canonical(), prefix.checked_sub(96)) {
        (v4 @ IpAddr::V4(_), Some(shorter)) if ip.is_ipv6() => (v4, shorter),
        _ => (ip, prefix),
    }
}

fn split_port(text: &str) -> Result<(&str, Option<u16>), AllowHostError> {
    if text.ends_with(']') {
        return Ok((text, None));
    }
    let Some((host, port)) = text.rsplit_once(':') else {
        return Ok((text, None));
    };
    let digits = port.bytes().all(|b| b.is_ascii_digit());
    match port.parse() {
        Ok(port) if digits && port > 0 => Ok((host, Some(port))),
        _ => Err(AllowHostError::Port),
    }
}

fn network(ip: &str, prefix: &str) -> Result<AllowHost, AllowHostError> {
    let Ok(ip) = ip.parse::<IpAddr>() else {
        return Err(AllowHostError::Path);
    };
    let digits = prefix.bytes().all(|b| b.is_ascii_digit());
    let prefix: u8 = prefix
        .parse()
        .ok()
        .filter(|_| digits)
        .ok_or(AllowHostError::Prefix)?;
    let first = match ip {
        IpAddr::V4(v4) => {
            let keep = 32_u32
                .checked_sub(prefix.into())
                .ok_or(AllowHostError::Prefix)?;
            let mask = u32::MAX.checked_shl(keep).unwrap_or(0);
            IpAddr::V4((v4.to_bits() & mask).into())
        }
        IpAddr::V6(v6) => {
            let keep = 128_u32
                .checked_sub(prefix.into())
                .ok_or(AllowHostError::Prefix)?;
            let mask = u128::MAX.checked_shl(keep).unwrap_or(0);
            IpAddr::V6((v6.to_bits() & mask).into())
        }
    };
    if first == ip {
        Ok(AllowHost::Network { ip, prefix })
    } else {
        Err(AllowHostError::HostBits(format!("{first}/{prefix}")))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_form_of_the_interface_is_read() {
        let name = |name: &str, port| AllowHost::Name {
            name: name.into(),
            port,
        };
        let below = |domain: &str, port| AllowHost::Below {
            domain: domain.into(),
            port,
        };
        let address = |ip: &str, port| AllowHost::Address {
            ip: ip.parse().unwrap(),
            port,
        };
        let network = |ip: &str, prefix| AllowHost::Network {
            ip: ip.parse().unwrap(),
            prefix,
        };
        for (text, expected) in [
            ("api.example.com", name("api.example.com", None)),
            ("API.Example.com:443", name("api.example.com", Some(443))),
            ("*.example.com", below("example.com", None)),
            ("*.example.com:8443", below("example.com", Some(8443))),
            ("127.0.0.1:9000", address("127.0.0.1", Some(9000))),
            ("127.0.0.1", address("127.0.0.1", None)),
            ("::1", address("::1", None)),
            ("[::1]", address("::1", None)),
            ("[::1]:80", address("::1", Some(80))),
            ("10.0.0.0/8", network("10.0.0.0", 8)),
            ("0.0.0.0/0", network("0.0.0.0", 0)),
            ("fd00::/8", network("fd00::", 8)),
            ("1.2.3.4/32", network("1.2.3.4", 32)),
        ] {
            assert_eq!(AllowHost::parse(text), Ok(expected), "{text}");
        }
    }

    #[test]
    fn other_texts_are_refused_with_the_reason() {
        for (text, error) in [
            ("", AllowHostError::Host),
            ("https://example.com", AllowHostError::Url),
            ("example.com/path", AllowHostError::Path),
            ("*", AllowHostError::Star),
            ("api.*.com", AllowHostError::Star),
            ("*.10.0.0.1", AllowHostError::Star),
            ("a b", AllowHostError::Host),
            ("999.1.1.1", AllowHostError::Host),
            ("example.com:0", AllowHostError::Port),
            ("example.com:http", AllowHostError::Port),
            ("example.com:+80", AllowHostError::Port),
            ("10.0.0.0/33", AllowHostError::Prefix),
            ("10.0.0.0/", AllowHostError::Prefix),
            ("fd00::/129", AllowHostError::Prefix),
            ("10.0.0.1/8", AllowHostError::HostBits("10.0.0.0/8".into())),
        ] {
            assert_eq!(AllowHost::parse(text), Err(error), "{text}");
        }
    }
}
