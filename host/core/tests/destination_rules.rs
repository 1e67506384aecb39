//! What may be reached, and what may not.

use core::net::IpAddr;

use holdfast_core::destination::{AllowHost, Destination, Host, Refusal};
use proptest::prelude::*;

fn entries(texts: &[&str]) -> Vec<AllowHost> {
    let parsed = texts.iter().map(|text| AllowHost::parse(text));
    parsed.collect::<Result<_, _>>().expect("entries")
}

fn to(host: &str, port: u16) -> Destination {
    Destination::parse(host, port).unwrap_or_else(|| panic!("{host} is no host"))
}

fn ip(text: &str) -> IpAddr {
    text.parse().expect("an address")
}

/// May a request to `host:port` be sent, when the name leads to `address`?
fn passes(listed: &[&str], host: &str, port: u16, address: &str) -> bool {
    let (listed, destination) = (entries(listed), to(host, port));
    destination.admit(&listed).is_ok() && destination.reach(&listed, ip(address)).is_ok()
}

#[test]
fn nothing_is_reached_without_an_entry() {
    for (host, address) in [
        ("api.example.com", "93.184.216.34"),
        ("93.184.216.34", "93.184.216.34"),
        ("[2606:2800::1]", "2606:2800::1"),
        ("localhost", "127.0.0.1"),
    ] {
        assert!(!passes(&[], host, 443, address), "{host}");
    }
}

#[test]
fn a_listed_name_is_reached_on_its_port_and_on_public_addresses() {
    let listed = ["api.example.com", "pay.example.com:8443"];
    let public = "93.184.216.34";
    assert!(passes(&listed, "api.example.com", 443, public));
    assert!(passes(&listed, "API.Example.COM.", 9, public));
    assert!(passes(&listed, "pay.example.com", 8443, public));
    assert!(!passes(&listed, "pay.example.com", 443, public));
    assert!(!passes(&listed, "www.api.example.com", 443, public));
    assert!(!passes(&listed, "xapi.example.com", 443, public));
    assert!(!passes(&listed, "api.example.com.evil.com", 443, public));
    // The address alone is not what was listed.
    assert!(!passes(&listed, public, 443, public));
}

#[test]
fn a_star_stands_for_names_below_and_not_for_the_name_itself() {
    let listed = ["*.example.com:8443"];
    let public = "93.184.216.34";
    assert!(passes(&listed, "a.example.com", 8443, public));
    assert!(passes(&listed, "a.b.example.com", 8443, public));
    assert!(!passes(&listed, "a.example.com", 443, public));
    assert!(!passes(&listed, "example.com", 8443, public));
    assert!(!passes(&listed, "notexample.com", 8443, public));
}

#[test]
fn a_listed_name_that_leads_inside_needs_the_address_listed_too() {
    for inside in [
        "127.0.0.1",
        "10.1.2.3",
        "172.16.0.1",
        "192.168.0.1",
        "169.254.169.254",
        "100.64.0.1",
        "0.0.0.0",
        "224.0.0.1",
        "255.255.255.255",
        "::1",
        "::",
        "fe80::1",
        "fd00::1",
        "::ffff:127.0.0.1",
        "64:ff9b::a00:1",
    ] {
        assert!(!passes(&["api.example.com"], "api.example.com", 80, inside));
        let both = ["api.example.com", inside];
        assert!(passes(&both, "api.example.com", 80, inside), "{inside}");
        // The address alone does not make the name a listed one.
        assert!(
            !passes(&[inside], "api.example.com", 80, inside),
            "{inside}"
        );
    }
}

#[test]
fn an_entry_for_one_port_of_an_address_opens_no_other() {
    let listed = ["api.internal", "127.0.0.1:9000"];
    assert!(passes(&listed, "api.internal", 9000, "127.0.0.1"));
    assert!(!passes(&listed, "api.internal", 9001, "127.0.0.1"));
    assert!(passes(&listed, "127.0.0.1", 9000, "127.0.0.1"));
    assert!(!passes(&listed, "127.0.0.1", 9001, "127.0.0.1"));
    assert!(!passes(&listed, "127.0.0.2", 9000, "127.0.0.2"));
}

#[test]
fn a_network_covers_a_reserved_address_only_from_within_its_range() {
    assert!(passes(&["10.0.0.0/8"], "10.9.8.7", 80, "10.9.8.7"));
    assert!(passes(&["10.9.0.0/16"], "10.9.8.7", 80, "10.9.8.7"));
    assert!(passes(&["fd00::/8"], "[fd12::1]", 80, "fd12::1"));
    assert!(!passes(&["10.0.0.0/8"], "11.0.0.1", 80, "11.0.0.1"));
    for everything in ["0.0.0.0/0", "0.0.0.0/1", "8.0.0.0/5"] {
        assert!(passes(&[everything], "9.9.9.9", 80, "9.9.9.9"));
        assert!(!passes(&[everything], "10.9.8.7", 80, "10.9.8.7"));
    }
    assert!(passes(&["::/0"], "[2606:4700::1]", 80, "2606:4700::1"));
    assert!(!passes(&["::/0"], "[::1]", 80, "::1"));
    assert!(!passes(&["::/0"], "[::ffff:127.0.0.1]", 80, "127.0.0.1"));
}

#[test]
fn an_address_is_the_same_in_both_its_forms() {
    let (mapped, plain) = ("::ffff:10.0.0.7", "10.0.0.7");
    assert!(passes(&[mapped], plain, 80, plain));
    assert!(passes(&[plain], "[::ffff:10.0.0.7]", 80, mapped));
    assert!(passes(&["::ffff:10.0.0.0/104"], plain, 80, plain));
    let checked = to("[::ffff:10.0.0.7]", 80).reach(&entries(&[plain]), ip(mapped));
    let checked = checked.expect("it is listed");
    assert_eq!(checked.address().to_string(), "10.0.0.7:80");
}

#[test]
fn what_resolvers_take_for_an_address_in_disguise_is_no_host() {
    for odd in [
        "",
        "2130706433",
        "0x7f000001",
        "0x7f.0.0.1",
        "0177.0.0.1",
        "127.1",
        "127.0.0.01",
        "1.2.3.4.5",
        "example.0x1",
        "user@example.com",
        "example.com:80",
        "[::1",
        "::1",
        "[fe80::1%eth0]",
        "[fe80::1%25eth0]",
        "[127.0.0.1]",
        "ex ample.com",
        "ex\nample.com",
        "exämple.com",
        "example..com",
        ".",
        "*.example.com",
        "%6cocalhost",
    ] {
        assert_eq!(Destination::parse(odd, 80), None, "{odd:?}");
    }
    assert_eq!(
        to("xn--exmple-cua.com", 80).host(),
        &Host::Name("xn--exmple-cua.com".into())
    );
}

#[test]
fn a_refusal_names_the_entry_that_would_let_the_request_pass() {
    let refused = |listed: &[&str], host: &str, address: &str| {
        let (listed, destination) = (entries(listed), to(host, 8080));
        let refusal = destination
            .admit(&listed)
            .and_then(|()| destination.reach(&listed, ip(address)).map(drop));
        refusal.expect_err("it is refused")
    };
    let unlisted = refused(&[], "api.example.com", "1.1.1.1");
    assert_eq!(unlisted.to_string(), "api.example.com:8080 is not listed");
    assert_eq!(unlisted.remedy().to_string(), "api.example.com:8080");

    let inside = refused(&["api.example.com"], "api.example.com", "10.0.0.7");
    assert!(matches!(inside, Refusal::Reserved { .. }));
    assert_eq!(
        inside.to_string(),
        "api.example.com:8080 leads to 10.0.0.7, a private address, which needs an entry of its own"
    );
    assert_eq!(inside.remedy().to_string(), "10.0.0.7:8080");

    let number = refused(&["0.0.0.0/0"], "127.0.0.1", "127.0.0.1");
    assert_eq!(
        number.to_string(),
        "127.0.0.1:8080, a loopback address, which needs an entry of its own"
    );
    let number = refused(&[], "[2606:4700::1]", "2606:4700::1");
    assert_eq!(number.remedy().to_string(), "[2606:4700::1]:8080");
}

proptest! {
    /// Whatever is asked for: the entry that a refusal names is enough for that
    /// gate, and opens neither another port nor another host.
    #[test]
    fn the_named_entry_is_enough_and_no_more(bits: u32, port in 1..u16::MAX, other: u32) {
        let (address, other) = (IpAddr::V4(bits.into()), IpAddr::V4(other.into()));
        let named = to("api.example.com", port);
        let mut listed = Vec::new();
        for _ in 0..2 {
            let refusal = named.admit(&listed).and_then(|()| named.reach(&listed, address).map(drop));
            if let Err(refusal) = refusal {
                listed.push(refusal.remedy());
            }
        }
        prop_assert!(named.reach(&listed, address).is_ok());
        prop_assert!(to("api.example.com", port + 1).admit(&listed).is_err());
        prop_assert!(to("b.example.com", port).admit(&listed).is_err());
        let number = to(&other.to_string(), port);
        prop_assert!(other == address || number.admit(&listed).is_err());
    }

    /// A connection is only ever opened to what was looked up.
    #[test]
    fn a_checked_address_is_the_one_that_was_asked_about(bits: u128, port: u16) {
        let address = IpAddr::V6(bits.into());
        let listed = [AllowHost::Address { ip: address, port: None }, AllowHost::Name { name: "a.example.com".into(), port: None }];
        let checked = to("a.example.com", port).reach(&listed, address).expect("listed");
        prop_assert_eq!(checked.address().ip(), address.to_canonical());
        prop_assert_eq!(checked.address().port(), port);
    }
}
