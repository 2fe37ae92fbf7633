//! How far an address reaches. A name that is allowed may still resolve to a place that no client
//! should get at through the proxy.

use std::net::{IpAddr, Ipv4Addr, Ipv6Addr};

/// Kinds of addresses, from the proxy's point of view.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reach {
    /// Anywhere on the Internet.
    Public,
    /// A private network: RFC 1918, RFC 6598 (shared), RFC 4193 (unique local), site-local.
    Private,
    /// This machine.
    Loopback,
    /// One link, where clouds keep the metadata of a machine (RFC 3927, `fe80::/10`).
    LinkLocal,
    /// Nothing that could be connected to: unspecified, multicast, broadcast, reserved.
    Nowhere,
}

impl Reach {
    /// The kind of an address. What IPv6 wraps (mapped, compatible, NAT64, 6to4) counts.
    pub fn of(address: IpAddr) -> Self {
        match address.to_canonical() {
            IpAddr::V4(address) => Self::of_v4(address),
            IpAddr::V6(address) => Self::of_v6(address),
        }
    }

    fn of_v4(address: Ipv4Addr) -> Self {
        match address.octets() {
            [0, ..] | [224..=255, ..] => Self::Nowhere,
            [127, ..] => Self::Loopback,
            [169, 254, ..] => Self::LinkLocal,
            [10, ..] | [172, 16..=31, ..] | [192, 168, ..] | [100, 64..=127, ..] => Self::Private,
            // Benchmark networks (RFC 2544) are somebody's laboratory.
            [198, 18..=19, ..] => Self::Private,
            _ => Self::Public,
        }
    }

    fn of_v6(address: Ipv6Addr) -> Self {
        let embedded = |high: u16, low: u16| {
            let [a, b] = high.to_be_bytes();
            let [c, d] = low.to_be_bytes();
            Self::of_v4(Ipv4Addr::new(a, b, c, d))
        };
        match address.segments() {
            [0, 0, 0, 0, 0, 0, 0, 0] => Self::Nowhere,
            [0, 0, 0, 0, 0, 0, 0, 1] => Self::Loopback,
            // IPv4-compatible (RFC 4291), NAT64 (RFC 6052), 6to4 (RFC 3056).
            [0, 0, 0, 0, 0, 0, high, low] | [0x64, 0xff9b, 0, 0, 0, 0, high, low] => {
                embedded(high, low)
            }
            [0x2002, high, low, ..] => embedded(high, low),
            // NAT64 of one's own network (RFC 8215), Teredo (RFC 4380).
            [0x64, 0xff9b, 1, ..] => Self::Private,
            [0x2001, 0, ..] => Self::Nowhere,
            [0xfe80..=0xfebf, ..] => Self::LinkLocal,
            [0xfc00..=0xfdff, ..] | [0xfec0..=0xfeff, ..] => Self::Private,
            [0xff00..=0xffff, ..] => Self::Nowhere,
            _ => Self::Public,
        }
    }

    /// Whether the proxy may connect. `listed`: the address itself stands in the allow list;
    /// `private`: the flag for private addresses is on.
    pub fn is_permitted(self, listed: bool, private: bool) -> bool {
        match self {
            Self::Public => true,
            Self::Private | Self::Loopback => listed || private,
            Self::LinkLocal => listed,
            Self::Nowhere => false,
        }
    }

    /// For messages.
    pub fn text(self) -> &'static str {
        match self {
            Self::Public => "public",
            Self::Private => "private",
            Self::Loopback => "loopback",
            Self::LinkLocal => "link-local",
            Self::Nowhere => "reserved",
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn addresses_are_of_the_kind_their_documents_say() {
        for (text, kind) in [
            ("8.8.8.8", Reach::Public),
            ("172.15.255.255", Reach::Public),
            ("172.16.0.0", Reach::Private),
            ("172.31.255.255", Reach::Private),
            ("172.32.0.0", Reach::Public),
            ("10.1.2.3", Reach::Private),
            ("192.168.0.1", Reach::Private),
            ("100.64.0.1", Reach::Private),
            ("100.128.0.1", Reach::Public),
            ("127.0.0.1", Reach::Loopback),
            ("127.255.0.9", Reach::Loopback),
            ("169.254.169.254", Reach::LinkLocal),
            ("0.0.0.0", Reach::Nowhere),
            ("0.1.2.3", Reach::Nowhere),
            ("224.0.0.1", Reach::Nowhere),
            ("255.255.255.255", Reach::Nowhere),
            ("::", Reach::Nowhere),
            ("::1", Reach::Loopback),
            ("::ffff:127.0.0.1", Reach::Loopback),
            ("::ffff:8.8.8.8", Reach::Public),
            ("::10.0.0.1", Reach::Private),
            ("64:ff9b::a9fe:a9fe", Reach::LinkLocal),
            ("64:ff9b::808:808", Reach::Public),
            ("64:ff9b:1::1", Reach::Private),
            ("2002:7f00:1::", Reach::Loopback),
            ("2002:808:808::1", Reach::Public),
            ("2001::1", Reach::Nowhere),
            ("2606:4700::1", Reach::Public),
            ("fe80::1", Reach::LinkLocal),
            ("fd00::1", Reach::Private),
            ("fec0::1", Reach::Private),
            ("ff02::1", Reach::Nowhere),
        ] {
            assert_eq!(Reach::of(text.parse().unwrap()), kind, "{text}");
        }
    }

    #[test]
    fn what_is_not_public_needs_leave() {
        assert!(Reach::Public.is_permitted(false, false));
        for kind in [Reach::Private, Reach::Loopback] {
            assert!(!kind.is_permitted(false, false));
            assert!(kind.is_permitted(false, true));
            assert!(kind.is_permitted(true, false));
        }
        assert!(!Reach::LinkLocal.is_permitted(false, true));
        assert!(Reach::LinkLocal.is_permitted(true, false));
        assert!(!Reach::Nowhere.is_permitted(true, true));
    }

    proptest! {
        #[test]
        fn a_mapped_address_is_of_the_kind_of_the_plain_one(address: Ipv4Addr) {
            let plain = Reach::of(address.into());
            prop_assert_eq!(Reach::of(address.to_ipv6_mapped().into()), plain);
        }
    }
}
