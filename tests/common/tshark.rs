//! The second opinion: packets and IP bytes by flow, as tshark reads the same file.

use std::collections::HashMap;
use std::net::IpAddr;
use std::path::Path;
use std::process::Command;

use super::{Counts, Flow, Sums};

/// Each packet is one line with these fields; a field that occurs several times, as in a tunnel,
/// has its values joined by commas, outermost first.
const FIELDS: [&str; 31] = [
    "frame.protocols",
    "ip.src",
    "ip.dst",
    "ip.proto",
    "ip.len",
    "ip.id",
    "ip.frag_offset",
    "ip.flags.mf",
    "ipv6.src",
    "ipv6.dst",
    "ipv6.nxt",
    "ipv6.plen",
    "ipv6.hopopts.nxt",
    "ipv6.dstopts.nxt",
    "ipv6.routing.nxt",
    "ipv6.fraghdr.nxt",
    "ipv6.fraghdr.ident",
    "ipv6.fraghdr.offset",
    "ipv6.fraghdr.more",
    "tcp.srcport",
    "tcp.dstport",
    "tcp.flags",
    "udp.srcport",
    "udp.dstport",
    "icmp.type",
    "icmp.code",
    "icmpv6.type",
    "icmpv6.code",
    "vlan.id",
    "ieee8021ad.id",
    "ieee8021ad.cvid",
];

/// What tshark counts in a capture; `None`, with a word on standard error, where it is missing.
/// The ports of a fragment are those of its datagram's first.
pub fn sums(capture: &Path) -> Option<Sums> {
    let mut command = Command::new("tshark");
    command.arg("-r").arg(capture).args(["-n", "-T", "fields", "-E", "occurrence=a"]);
    for preference in ["ip.defragment:FALSE", "ipv6.defragment:FALSE", "ip.tso_support:FALSE"] {
        command.args(["-o", preference]);
    }
    for field in FIELDS {
        command.args(["-e", field]);
    }
    let Ok(output) = command.output() else {
        eprintln!("skipped: no tshark to compare with");
        return None;
    };
    let text = String::from_utf8(output.stdout).expect("UTF-8");
    assert!(output.status.success(), "tshark: {}", String::from_utf8_lossy(&output.stderr));
    let packets: Vec<Packet> = text.lines().filter_map(Packet::new).collect();
    let mut ports = HashMap::new();
    for packet in packets.iter().filter(|packet| packet.fragment.is_some_and(|f| f.first)) {
        ports.insert(packet.datagram(), (packet.flow.src_port, packet.flow.dst_port));
    }
    let mut sums = Sums::new();
    for packet in &packets {
        let mut flow = packet.flow;
        if packet.fragment.is_some() {
            (flow.src_port, flow.dst_port) =
                ports.get(&packet.datagram()).copied().unwrap_or_default();
        }
        sums.entry(flow).or_default().add(packet.counts);
    }
    Some(sums)
}

#[derive(Clone, Copy)]
struct Fragment {
    id: u64,
    first: bool,
}

struct Packet {
    flow: Flow,
    counts: Counts,
    fragment: Option<Fragment>,
}

/// The values of one line.
struct Line<'a>(HashMap<&'static str, &'a str>);

impl<'a> Line<'a> {
    fn new(line: &'a str) -> Self {
        let values = line.split('\t').zip(FIELDS);
        Self(values.filter(|(value, _)| !value.is_empty()).map(|(v, name)| (name, v)).collect())
    }

    fn outermost(&self, field: &str) -> Option<&'a str> {
        self.0.get(field)?.split(',').next()
    }

    fn number(&self, field: &str) -> Option<u64> {
        let text = self.outermost(field)?;
        let number = match text.strip_prefix("0x") {
            Some(digits) => u64::from_str_radix(digits, 16).ok(),
            None => text.parse().ok(),
        };
        Some(number.unwrap_or_else(|| panic!("{field} is {text}")))
    }

    /// The innermost tag, in whichever of the two protocols tshark found it.
    fn vlan(&self) -> u16 {
        ["vlan.id", "ieee8021ad.cvid", "ieee8021ad.id"]
            .iter()
            .find_map(|field| self.0.get(field)?.rsplit(',').next()?.parse().ok())
            .unwrap_or(0)
    }

    /// Whether the outermost IP is version 4; `None` without IP.
    fn is_ipv4(&self) -> Option<bool> {
        let mut protocols = self.0.get("frame.protocols")?.split(':');
        protocols.find(|name| ["ip", "ipv6"].contains(name)).map(|name| name == "ip")
    }

    /// The protocol behind IPv6 extension headers.
    fn protocol(&self, is_ipv4: bool) -> u64 {
        if is_ipv4 {
            return self.number("ip.proto").expect("a protocol");
        }
        let mut protocol = self.number("ipv6.nxt");
        for _ in 0..4 {
            let next = match protocol {
                Some(0) => self.number("ipv6.hopopts.nxt"),
                Some(43) => self.number("ipv6.routing.nxt"),
                Some(44) => self.number("ipv6.fraghdr.nxt"),
                Some(60) => self.number("ipv6.dstopts.nxt"),
                _ => None,
            };
            protocol = next.or(protocol);
        }
        protocol.expect("a protocol")
    }

    fn fragment(&self, is_ipv4: bool) -> Option<Fragment> {
        let number = |field| self.number(field).unwrap_or(0);
        if is_ipv4 {
            let (offset, more) = (number("ip.frag_offset"), number("ip.flags.mf"));
            let fragment = Fragment { id: number("ip.id"), first: offset == 0 };
            return (offset > 0 || more > 0).then_some(fragment);
        }
        let id = self.number("ipv6.fraghdr.ident")?;
        // An atomic fragment (RFC 6946) is a whole packet.
        let (offset, more) = (number("ipv6.fraghdr.offset"), number("ipv6.fraghdr.more"));
        (offset > 0 || more > 0).then_some(Fragment { id, first: offset == 0 })
    }
}

impl Packet {
    /// `None` for what is no IP.
    fn new(line: &str) -> Option<Self> {
        let line = Line::new(line);
        let is_ipv4 = line.is_ipv4()?;
        let (src, dst) = if is_ipv4 { ("ip.src", "ip.dst") } else { ("ipv6.src", "ipv6.dst") };
        let address = |field| line.outermost(field).expect("an address").parse().expect("an IP");
        let protocol = line.protocol(is_ipv4);
        let fragment = line.fragment(is_ipv4);
        let number = |field| line.number(field).unwrap_or(0);
        let (src_port, dst_port) = match protocol {
            1 => (0, number("icmp.type") << 8 | number("icmp.code")),
            6 => (number("tcp.srcport"), number("tcp.dstport")),
            17 => (number("udp.srcport"), number("udp.dstport")),
            58 => (0, number("icmpv6.type") << 8 | number("icmpv6.code")),
            _ => (0, 0),
        };
        let counts = Counts {
            packets: 1,
            bytes: if is_ipv4 { number("ip.len") } else { number("ipv6.plen") + 40 },
            tcp_flags: if protocol == 6 { number("tcp.flags") & 0xff } else { 0 },
            fragments: fragment.is_some().into(),
        };
        let flow = Flow {
            src: address(src),
            src_port: src_port as u16,
            dst: address(dst),
            dst_port: dst_port as u16,
            protocol: protocol as u8,
            vlan: line.vlan(),
        };
        Some(Self { flow, counts, fragment })
    }

    fn datagram(&self) -> (IpAddr, IpAddr, u8, Option<u64>) {
        let Flow { src, dst, protocol, .. } = self.flow;
        (src, dst, protocol, self.fragment.map(|fragment| fragment.id))
    }
}
