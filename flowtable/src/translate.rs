//! Translation of addresses and ports (spec section 10): a service behind an address translator is
//! reported under the address that its clients know.
//!
//! Plain data: made once, then looked up without allocation, by binary search. Without any rule a
//! look-up is one branch. Source and destination are translated independently, once each.

use std::net::IpAddr;
use std::str::FromStr;

use decode::Packet;

/// One rule as configured: `A,p,B,q` or `A,B`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Translation {
    from: End,
    /// `None`: any port, which stays as it is.
    ports: Option<(u16, u16)>,
    to: End,
}

/// An address as packets carry it: the octets of IPv4 at the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
struct End {
    ipv6: bool,
    octets: [u8; 16],
}

/// A text that is no translation. The texts are those of the spec (TRN-6).
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TranslationError {
    /// One part.
    #[error("missing src port")]
    MissingSourcePort,
    /// Two parts, of which the second is no address.
    #[error("missing dst spec")]
    MissingDestination,
    /// Three parts.
    #[error("missing dst port")]
    MissingDestinationPort,
    /// A or B.
    #[error("invalid IP address syntax")]
    Address,
    /// p or q.
    #[error("invalid digit found in string")]
    Digit,
    /// p or q above 65535.
    #[error("number too large to fit in target type")]
    PortTooLarge,
    /// More than four parts.
    #[error("more than four parts")]
    TooManyParts,
    /// A of one family, B of the other.
    #[error("both addresses must be IPv4, or both IPv6")]
    Families,
}

impl FromStr for Translation {
    type Err = TranslationError;

    fn from_str(text: &str) -> Result<Self, TranslationError> {
        use TranslationError as Wrong;
        let parts: Vec<&str> = text.split(',').collect();
        let (from, ports, to) = match parts[..] {
            [from, to] if to.parse::<IpAddr>().is_ok() => (address(from)?, None, address(to)?),
            [from, port, to, to_port] => {
                (address(from)?, Some((number(port)?, number(to_port)?)), address(to)?)
            }
            [] | [_] => return Err(Wrong::MissingSourcePort),
            [_, _] => return Err(Wrong::MissingDestination),
            [_, _, _] => return Err(Wrong::MissingDestinationPort),
            _ => return Err(Wrong::TooManyParts),
        };
        if from.ipv6 != to.ipv6 {
            return Err(Wrong::Families);
        }
        Ok(Self { from, ports, to })
    }
}

fn address(text: &str) -> Result<End, TranslationError> {
    text.parse().map(End::of).map_err(|_| TranslationError::Address)
}

fn number(text: &str) -> Result<u16, TranslationError> {
    if text.is_empty() || !text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Err(TranslationError::Digit);
    }
    text.parse().map_err(|_| TranslationError::PortTooLarge)
}

impl End {
    fn of(address: IpAddr) -> Self {
        let mut octets = [0; 16];
        match address {
            IpAddr::V4(v4) => octets[12..].copy_from_slice(&v4.octets()),
            IpAddr::V6(v6) => octets = v6.octets(),
        }
        Self { ipv6: address.is_ipv6(), octets }
    }
}

/// All rules, ready for look-up. The default has none.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Translations {
    /// By address and port; each left side once.
    exact: Vec<((End, u16), (End, u16))>,
    /// By address; each left side once.
    any_port: Vec<(End, End)>,
}

impl FromIterator<Translation> for Translations {
    /// Of two rules with the same left side the last one wins (TRN-4).
    fn from_iter<T: IntoIterator<Item = Translation>>(rules: T) -> Self {
        let mut all = Self::default();
        for Translation { from, ports, to } in rules {
            match ports {
                Some((port, to_port)) => put(&mut all.exact, (from, port), (to, to_port)),
                None => put(&mut all.any_port, from, to),
            }
        }
        all
    }
}

fn put<K: Ord + Copy, V>(table: &mut Vec<(K, V)>, key: K, value: V) {
    match table.binary_search_by_key(&key, |(key, _)| *key) {
        Ok(at) => {
            if let Some(place) = table.get_mut(at) {
                place.1 = value;
            }
        }
        Err(at) => table.insert(at, (key, value)),
    }
}

fn get<K: Ord + Copy, V: Copy>(table: &[(K, V)], key: &K) -> Option<V> {
    let at = table.binary_search_by_key(key, |(key, _)| *key).ok()?;
    table.get(at).map(|(_, value)| *value)
}

impl Translations {
    /// Whether there is nothing to translate.
    #[inline]
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.exact.is_empty() && self.any_port.is_empty()
    }

    /// Translates the ends of a packet in place. To be called after the sampling decision, after
    /// the decoder was chosen by the original ports, and before counting (TRN-7, TRN-8).
    #[inline]
    pub fn apply(&self, packet: &mut Packet) {
        if !self.is_empty() {
            self.translate(packet);
        }
    }

    #[inline(never)]
    fn translate(&self, packet: &mut Packet) {
        let ipv6 = packet.ipv6;
        self.end(ipv6, &mut packet.src, &mut packet.src_port);
        self.end(ipv6, &mut packet.dst, &mut packet.dst_port);
    }

    /// An exact match wins over one of the address alone (TRN-4).
    fn end(&self, ipv6: bool, octets: &mut [u8; 16], port: &mut u16) {
        let end = End { ipv6, octets: *octets };
        if let Some((to, to_port)) = get(&self.exact, &(end, *port)) {
            (*octets, *port) = (to.octets, to_port);
        } else if let Some(to) = get(&self.any_port, &end) {
            *octets = to.octets;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rules(texts: &[&str]) -> Translations {
        texts.iter().map(|text| text.parse::<Translation>().unwrap()).collect()
    }

    fn packet(src: &str, src_port: u16, dst: &str, dst_port: u16) -> Packet {
        let (src, dst): (IpAddr, IpAddr) = (src.parse().unwrap(), dst.parse().unwrap());
        Packet {
            ipv6: src.is_ipv6(),
            src: End::of(src).octets,
            dst: End::of(dst).octets,
            src_port,
            dst_port,
            ..Packet::default()
        }
    }

    #[test]
    fn addresses_are_where_the_parser_puts_them() {
        let mut parsed = Packet::default();
        let mut data = [0; 34];
        data[12..24].copy_from_slice(&[8, 0, 0x45, 0, 0, 20, 0, 0, 0, 0, 64, 89]);
        data[26..34].copy_from_slice(&[10, 0, 0, 1, 10, 0, 0, 2]);
        let frame = decode::Frame { data: &data, wire_len: 34, ..decode::Frame::default() };
        let outcome = decode::parse(decode::Link::Ethernet, &frame, &mut parsed);
        assert_eq!(outcome, decode::Outcome::Packet);
        let expected = packet("10.0.0.1", 0, "10.0.0.2", 0);
        assert_eq!((parsed.src, parsed.dst), (expected.src, expected.dst));
    }

    #[test]
    fn address_and_port_become_another_address_and_port_in_either_place() {
        let rules = rules(&["10.0.0.1,80,192.0.2.1,8080"]);
        let mut sent = packet("10.0.0.1", 80, "10.0.0.9", 4000);
        rules.apply(&mut sent);
        assert_eq!(sent, packet("192.0.2.1", 8080, "10.0.0.9", 4000));
        let mut received = packet("10.0.0.9", 4000, "10.0.0.1", 80);
        rules.apply(&mut received);
        assert_eq!(received, packet("10.0.0.9", 4000, "192.0.2.1", 8080));
        // The way back is not configured, another port is not meant.
        for (mut other, copy) in [
            (packet("192.0.2.1", 8080, "10.0.0.1", 81), packet("192.0.2.1", 8080, "10.0.0.1", 81)),
            (packet("10.0.0.2", 80, "10.0.0.1", 0), packet("10.0.0.2", 80, "10.0.0.1", 0)),
        ] {
            rules.apply(&mut other);
            assert_eq!(other, copy);
        }
    }

    #[test]
    fn an_address_alone_keeps_its_port() {
        let rules = rules(&["2001:db8::1,2001:db8::2"]);
        let mut both = packet("2001:db8::1", 443, "2001:db8::1", 5000);
        rules.apply(&mut both);
        assert_eq!(both, packet("2001:db8::2", 443, "2001:db8::2", 5000));
    }

    #[test]
    fn an_exact_rule_wins_over_the_address_and_the_last_of_two_alike_wins() {
        let rules = rules(&[
            "10.0.0.1,80,192.0.2.1,1",
            "10.0.0.1,192.0.2.2",
            "10.0.0.1,80,192.0.2.3,3",
            "10.0.0.1,192.0.2.4",
        ]);
        let mut exact = packet("10.0.0.1", 80, "10.0.0.1", 81);
        rules.apply(&mut exact);
        assert_eq!(exact, packet("192.0.2.3", 3, "192.0.2.4", 81));
    }

    #[test]
    fn a_translated_end_is_not_translated_again() {
        let rules = rules(&["10.0.0.1,10.0.0.2", "10.0.0.2,10.0.0.3"]);
        let mut once = packet("10.0.0.1", 1, "10.0.0.2", 2);
        rules.apply(&mut once);
        assert_eq!(once, packet("10.0.0.2", 1, "10.0.0.3", 2));
    }

    #[test]
    fn an_ipv4_address_is_not_the_ipv6_address_of_the_same_octets() {
        // Both end with the octets 10.0.0.1.
        let rules = rules(&["10.0.0.1,192.0.2.1"]);
        let mut v6 = packet("::a00:1", 1, "::a00:1", 2);
        let copy = v6;
        rules.apply(&mut v6);
        assert_eq!(v6, copy);
    }

    #[test]
    fn icmp_type_and_code_take_part_as_destination_port() {
        let rules = rules(&["10.0.0.1,2048,192.0.2.1,0"]);
        let mut echo = Packet { protocol: 1, ..packet("10.0.0.9", 0, "10.0.0.1", 2048) };
        rules.apply(&mut echo);
        assert_eq!((echo.dst[12], echo.dst_port), (192, 0));
    }

    #[test]
    fn what_is_wrong_is_said_in_the_documented_words() {
        for (text, expected) in [
            ("10.0.0.1", "missing src port"),
            ("", "missing src port"),
            ("10.0.0.1,80", "missing dst spec"),
            ("10.0.0.1,80,10.0.0.2", "missing dst port"),
            ("10.0.0.x,80,10.0.0.2,80", "invalid IP address syntax"),
            ("[::1],80,::2,80", "invalid IP address syntax"),
            ("10.0.0.x,10.0.0.2", "invalid IP address syntax"),
            ("10.0.0.1,eighty,10.0.0.2,80", "invalid digit found in string"),
            ("10.0.0.1,+80,10.0.0.2,80", "invalid digit found in string"),
            ("10.0.0.1,80,10.0.0.2,65536", "number too large to fit in target type"),
            ("10.0.0.1,80,10.0.0.2,80,x", "more than four parts"),
            ("10.0.0.1,::2", "both addresses must be IPv4, or both IPv6"),
        ] {
            let error = text.parse::<Translation>().unwrap_err();
            assert_eq!(error.to_string(), expected, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn any_text_is_a_rule_or_an_error(text: String) {
            let _ = text.parse::<Translation>();
        }

        #[test]
        fn look_up_finds_the_last_rule_of_each_end(
            listed in proptest::collection::vec((0u8..6, 0u16..3, 0u8..250), 0..40),
            (host, port) in (0u8..6, 0u16..3),
        ) {
            let all: Translations = listed
                .iter()
                .map(|(host, port, to)| {
                    format!("10.0.0.{host},{port},192.0.2.{to},9").parse::<Translation>().unwrap()
                })
                .collect();
            let expected = listed.iter().rev().find(|rule| (rule.0, rule.1) == (host, port));
            let mut packet = packet(&format!("10.0.0.{host}"), port, "10.9.9.9", 1);
            all.apply(&mut packet);
            let found = (packet.src[12] == 192).then_some(packet.src[15]);
            proptest::prop_assert_eq!(found, expected.map(|rule| rule.2));
        }
    }
}
