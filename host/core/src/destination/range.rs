//! Addresses that are not of the public internet.

use core::fmt;
use core::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// A block of addresses that need an entry of their own.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Range {
    first: IpAddr,
    prefix: u8,
    kind: &'static str,
}

impl Range {
    const fn v4(first: [u8; 4], prefix: u8, kind: &'static str) -> Self {
        let [a, b, c, d] = first;
        Self {
            first: IpAddr::V4(Ipv4Addr::new(a, b, c, d)),
            prefix,
            kind,
        }
    }

    const fn v6(first: u128, prefix: u8, kind: &'static str) -> Self {
        Self {
            first: IpAddr::V6(Ipv6Addr::from_bits(first)),
            prefix,
            kind,
        }
    }

    /// Is this network, or address with its whole length, within the range?
    pub(super) fn holds(&self, ip: IpAddr, prefix: u8) -> bool {
        prefix >= self.prefix && within(ip, self.first, self.prefix)
    }
}

impl fmt::Display for Range {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.kind)
    }
}

const fn at(high: u128) -> u128 {
    high << 112
}

/// The IANA special-purpose registries, multicast, and what is not assigned
/// for unicast; the first that holds an address names it.
const RESERVED: &[Range] = &[
    Range::v4([0, 0, 0, 0], 8, "this host itself"),
    Range::v4([10, 0, 0, 0], 8, "a private address"),
    Range::v4([100, 64, 0, 0], 10, "an address shared behind a carrier"),
    Range::v4([127, 0, 0, 0], 8, "a loopback address"),
    Range::v4(
        [169, 254, 0, 0],
        16,
        "a link-local address, where clouds keep metadata",
    ),
    Range::v4([172, 16, 0, 0], 12, "a private address"),
    Range::v4([192, 0, 0, 0], 24, "a reserved address"),
    Range::v4([192, 0, 2, 0], 24, "a documentation address"),
    Range::v4([192, 88, 99, 0], 24, "a reserved address"),
    Range::v4([192, 168, 0, 0], 16, "a private address"),
    Range::v4([198, 18, 0, 0], 15, "a benchmarking address"),
    Range::v4([198, 51, 100, 0], 24, "a documentation address"),
    Range::v4([203, 0, 113, 0], 24, "a documentation address"),
    Range::v4([224, 0, 0, 0], 4, "a multicast address"),
    Range::v4([240, 0, 0, 0], 4, "a reserved address"),
    Range::v6(0, 128, "this host itself"),
    Range::v6(1, 128, "a loopback address"),
    // These carry an IPv4 address that a gateway would go on to.
    Range::v6(0x64_ff9b << 96, 96, "a translated address"),
    Range::v6(0x64_ff9b_0001 << 80, 48, "a translated address"),
    Range::v6(at(0x2001), 23, "a reserved address"),
    Range::v6(0x2001_0db8 << 96, 32, "a documentation address"),
    Range::v6(at(0x2002), 16, "a translated address"),
    Range::v6(0x3fff << 112, 20, "a documentation address"),
    Range::v6(at(0xfc00), 7, "a unique-local address"),
    Range::v6(at(0xfe80), 10, "a link-local address"),
    Range::v6(at(0xfec0), 10, "a site-local address"),
    Range::v6(at(0xff00), 8, "a multicast address"),
    // Only 2000::/3 is given out for unicast.
    Range::v6(0, 3, "a reserved address"),
    Range::v6(at(0x4000), 2, "a reserved address"),
    Range::v6(at(0x8000), 1, "a reserved address"),
];

/// The range that makes an address need an entry of its own; none for the
/// public internet. An IPv4 address written as IPv6 is taken for what it is.
#[must_use]
pub fn reserved(address: IpAddr) -> Option<Range> {
    let address = address.to_canonical();
    RESERVED
        .iter()
        .copied()
        .find(|range| within(address, range.first, range.prefix))
}

/// Do the first `prefix` bits of two addresses of a kind agree?
pub(super) fn within(address: IpAddr, network: IpAddr, prefix: u8) -> bool {
    let (differ, length) = match (address, network) {
        (IpAddr::V4(a), IpAddr::V4(b)) => (u128::from(a.to_bits() ^ b.to_bits()) << 96, 32),
        (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits(), 128),
        _ => return false,
    };
    differ.leading_zeros() >= u32::from(prefix.min(length))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kind(address: &str) -> Option<String> {
        let address = address.parse().expect("an address");
        reserved(address).map(|range| range.to_string())
    }

    #[test]
    fn addresses_of_the_public_internet_need_nothing_more() {
        for address in [
            "1.1.1.1",
            "9.255.255.255",
            "11.0.0.0",
            "100.63.255.255",
            "100.128.0.0",
            "126.255.255.255",
            "128.0.0.1",
            "172.15.255.255",
            "172.32.0.0",
            "192.167.255.255",
            "223.255.255.255",
            "2600::1",
            "2a00:1450::1",
            "2001:4860::8888",
            "::ffff:1.1.1.1",
        ] {
            assert_eq!(kind(address), None, "{address}");
        }
    }

    #[test]
    fn every_other_range_is_known_by_its_edges() {
        for (address, expected) in [
            ("0.0.0.0", "this host itself"),
            ("10.0.0.0", "a private address"),
            ("10.255.255.255", "a private address"),
            ("100.64.0.0", "an address shared behind a carrier"),
            ("100.127.255.255", "an address shared behind a carrier"),
            ("127.0.0.1", "a loopback address"),
            ("127.255.255.255", "a loopback address"),
            (
                "169.254.169.254",
                "a link-local address, where clouds keep metadata",
            ),
            ("172.16.0.0", "a private address"),
            ("172.31.255.255", "a private address"),
            ("192.168.1.1", "a private address"),
            ("198.19.255.255", "a benchmarking address"),
            ("224.0.0.1", "a multicast address"),
            ("255.255.255.255", "a reserved address"),
            ("::", "this host itself"),
            ("::1", "a loopback address"),
            ("::127.0.0.1", "a reserved address"),
            ("::ffff:127.0.0.1", "a loopback address"),
            ("::ffff:10.1.2.3", "a private address"),
            ("64:ff9b::7f00:1", "a translated address"),
            ("64:ff9b:1::1", "a translated address"),
            ("2001::1", "a reserved address"),
            ("2001:db8::1", "a documentation address"),
            ("2002:7f00:1::", "a translated address"),
            ("3fff:fff::1", "a documentation address"),
            ("fc00::1", "a unique-local address"),
            ("fdff::1", "a unique-local address"),
            ("fe80::1", "a link-local address"),
            ("febf::1", "a link-local address"),
            ("fec0::1", "a site-local address"),
            ("ff02::1", "a multicast address"),
            ("4000::1", "a reserved address"),
            ("fe00::1", "a reserved address"),
        ] {
            assert_eq!(kind(address).as_deref(), Some(expected), "{address}");
        }
    }
}
