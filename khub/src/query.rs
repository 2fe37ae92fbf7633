//! Questions about the kept records: which ones, and who moved most.

use std::collections::HashMap;
use std::net::IpAddr;
use std::ops::ControlFlow;

use serde::Serialize;

use crate::clock;
use crate::hub::{Hub, locked};
use crate::row::Row;

/// Rows looked at before intake gets its turn.
const ROWS_PER_LOCK: usize = 4096;
/// Most bytes of an answer; further records are left out.
const MAX_ANSWER_BYTES: usize = 64 << 20;

/// Which records to list; a record must meet everything that is set.
#[derive(Default)]
pub(crate) struct Filter {
    pub(crate) device_id: Option<u32>,
    pub(crate) src: Option<Network>,
    pub(crate) dst: Option<Network>,
    /// Either port.
    pub(crate) port: Option<u16>,
    pub(crate) protocol: Option<u8>,
    /// Milliseconds since the epoch.
    pub(crate) since_ms: u64,
}

/// An address or prefix.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Network {
    addr: IpAddr,
    bits: u32,
}

impl Network {
    /// `address` or `address/bits`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        let (addr, bits) = text.split_once('/').unzip();
        let addr: IpAddr = addr.unwrap_or(text).parse().ok()?;
        let most = if addr.is_ipv4() { 32 } else { 128 };
        let bits = bits.map_or(Some(most), |bits| bits.parse().ok())?;
        (bits <= most).then_some(Self { addr, bits })
    }

    fn contains(self, other: IpAddr) -> bool {
        let differ = match (self.addr, other) {
            (IpAddr::V4(a), IpAddr::V4(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            (IpAddr::V6(a), IpAddr::V6(b)) => (a.to_bits() ^ b.to_bits()).leading_zeros(),
            _ => return false,
        };
        differ >= self.bits
    }
}

impl Filter {
    fn matches(&self, row: &Row) -> bool {
        self.device_id.is_none_or(|id| id == row.device_id)
            && self.src.is_none_or(|network| network.contains(row.src))
            && self.dst.is_none_or(|network| network.contains(row.dst))
            && self.port.is_none_or(|port| port == row.src_port || port == row.dst_port)
            && self.protocol.is_none_or(|protocol| protocol == row.protocol)
    }
}

/// What to sum by.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum By {
    Src,
    Dst,
    Pair,
    /// The lower of the two ports, taken for the service's; only protocols with ports.
    Port,
    Protocol,
}

impl By {
    /// `src`, `dst`, `pair`, `port` or `protocol`.
    pub(crate) fn parse(text: &str) -> Option<Self> {
        Some(match text {
            "src" => Self::Src,
            "dst" => Self::Dst,
            "pair" => Self::Pair,
            "port" => Self::Port,
            "protocol" => Self::Protocol,
            _ => return None,
        })
    }
}

/// One line of a top list. Bytes and packets are multiplied by the sample rate.
#[derive(Debug, PartialEq, Serialize)]
pub(crate) struct Top {
    pub(crate) key: String,
    pub(crate) bytes: u64,
    pub(crate) packets: u64,
    pub(crate) records: u64,
}

/// The newest records that match, newest first, as a JSON array; cut at 64 MiB.
pub(crate) fn flows(hub: &Hub, filter: &Filter, limit: usize) -> Vec<u8> {
    let (names, devices) = (hub.names(), hub.device_names());
    let mut json = vec![b'['];
    let mut found = 0;
    walk(hub, filter.since_ms, |row| {
        if filter.matches(row) {
            let before = json.len();
            if found > 0 {
                json.push(b',');
            }
            let written = serde_json::to_writer(&mut json, &row.json(devices.name(row), &names));
            if written.is_err() || json.len() > MAX_ANSWER_BYTES {
                json.truncate(before);
                return ControlFlow::Break(());
            }
            found += 1;
        }
        if found < limit { ControlFlow::Continue(()) } else { ControlFlow::Break(()) }
    });
    json.push(b']');
    json
}

/// The largest sums since `since_ms`, largest first, then by key.
pub(crate) fn top(hub: &Hub, by: By, since_ms: u64, limit: usize) -> Vec<Top> {
    let mut sums: HashMap<Key, Sum> = HashMap::new();
    walk(hub, since_ms, |row| {
        if let Some(key) = key(by, row) {
            let sum = sums.entry(key).or_default();
            let rate = u128::from(row.sample_rate_x100);
            sum.bytes_x100 += u128::from(row.bytes) * rate;
            sum.packets_x100 += u128::from(row.packets) * rate;
            sum.records += 1;
        }
        ControlFlow::Continue(())
    });
    let mut sums: Vec<_> = sums.into_iter().collect();
    sums.sort_unstable_by(|(a_key, a), (b_key, b)| {
        b.bytes_x100.cmp(&a.bytes_x100).then_with(|| a_key.cmp(b_key))
    });
    sums.truncate(limit);
    let shown = sums.into_iter().map(|(key, sum)| Top {
        key: key.to_string(),
        bytes: hundredth(sum.bytes_x100),
        packets: hundredth(sum.packets_x100),
        records: sum.records,
    });
    shown.collect()
}

#[derive(PartialEq, Eq, PartialOrd, Ord, Hash)]
enum Key {
    Addr(IpAddr),
    Pair(IpAddr, IpAddr),
    Port(u16, u8),
    Protocol(u8),
}

impl std::fmt::Display for Key {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Addr(addr) => write!(f, "{addr}"),
            Self::Pair(src, dst) => write!(f, "{src} → {dst}"),
            Self::Port(port, protocol) => write!(f, "{port}/{}", protocol_name(*protocol)),
            Self::Protocol(protocol) => f.write_str(&protocol_name(*protocol)),
        }
    }
}

#[derive(Default)]
struct Sum {
    bytes_x100: u128,
    packets_x100: u128,
    records: u64,
}

fn key(by: By, row: &Row) -> Option<Key> {
    Some(match by {
        By::Src => Key::Addr(row.src),
        By::Dst => Key::Addr(row.dst),
        By::Pair => Key::Pair(row.src, row.dst),
        By::Protocol => Key::Protocol(row.protocol),
        By::Port => match row.protocol {
            6 | 17 | 33 | 132 | 136 => Key::Port(row.src_port.min(row.dst_port), row.protocol),
            _ => return None,
        },
    })
}

fn hundredth(sum_x100: u128) -> u64 {
    u64::try_from(sum_x100 / 100).unwrap_or(u64::MAX)
}

/// Visits records from new to old until one is older than `since_ms`, letting intake in between.
fn walk(hub: &Hub, since_ms: u64, mut visit: impl FnMut(&Row) -> ControlFlow<()>) {
    let mut next = Some(locked(&hub.ring).end());
    while let Some(before) = next {
        next = locked(&hub.ring).walk_back(before, ROWS_PER_LOCK, |row| {
            if row.time_ms < since_ms { ControlFlow::Break(()) } else { visit(row) }
        });
    }
}

/// The time `seconds` ago in milliseconds since the epoch.
pub(crate) fn ago(seconds: u64) -> u64 {
    clock::now_ms().saturating_sub(seconds.saturating_mul(1000))
}

const PROTOCOLS: [(u8, &str); 12] = [
    (1, "icmp"),
    (2, "igmp"),
    (4, "ipip"),
    (6, "tcp"),
    (17, "udp"),
    (33, "dccp"),
    (41, "ipv6"),
    (47, "gre"),
    (50, "esp"),
    (58, "ipv6-icmp"),
    (89, "ospf"),
    (132, "sctp"),
];

/// A protocol by number or by the name that top lists show.
pub(crate) fn protocol(text: &str) -> Option<u8> {
    let named = PROTOCOLS.iter().find(|(_, name)| *name == text);
    text.parse().ok().or(named.map(|(number, _)| *number))
}

fn protocol_name(protocol: u8) -> String {
    let named = PROTOCOLS.iter().find(|(number, _)| *number == protocol);
    named.map_or_else(|| protocol.to_string(), |(_, name)| (*name).to_owned())
}

#[cfg(test)]
mod tests {
    use kflow::Flow;

    use super::*;
    use crate::Config;

    fn hub(flows: &[Flow]) -> std::sync::Arc<Hub> {
        let config = Config { print: false, ..Config::dev() };
        let hub = Hub::new(config, std::io::sink()).unwrap();
        hub.absorb(flows, 1);
        hub
    }

    fn flow(src: [u8; 4], dst: [u8; 4], ports: (u32, u32), bytes: u64, rate: u32) -> Flow {
        Flow {
            src: src.into(),
            dst: dst.into(),
            src_port: ports.0,
            dst_port: ports.1,
            protocol: 6,
            out_bytes: bytes,
            out_packets: 1,
            sample_rate: rate,
            ..Flow::default()
        }
    }

    const A: [u8; 4] = [10, 0, 0, 1];
    const B: [u8; 4] = [10, 0, 1, 2];

    fn three() -> [Flow; 3] {
        [
            flow(A, B, (40000, 443), 100, 100),
            flow(B, A, (443, 40000), 30, 1000),
            flow(A, B, (40001, 80), 50, 250),
        ]
    }

    fn keys(top: &[Top]) -> Vec<(&str, u64, u64)> {
        top.iter().map(|top| (top.key.as_str(), top.bytes, top.packets)).collect()
    }

    #[test]
    fn sums_are_multiplied_by_the_sample_rate() {
        let hub = hub(&three());
        assert_eq!(keys(&top(&hub, By::Src, 0, 10)), [("10.0.1.2", 300, 10), ("10.0.0.1", 225, 3)]);
        assert_eq!(keys(&top(&hub, By::Port, 0, 10)), [("443/tcp", 400, 11), ("80/tcp", 125, 2)]);
        assert_eq!(keys(&top(&hub, By::Protocol, 0, 10)), [("tcp", 525, 13)]);
        assert_eq!(keys(&top(&hub, By::Pair, 0, 1)), [("10.0.1.2 → 10.0.0.1", 300, 10)]);
        assert_eq!(top(&hub, By::Dst, u64::MAX, 10), []);
    }

    #[test]
    fn records_are_listed_newest_first_up_to_the_limit() {
        let hub = hub(&three());
        let list = |filter: &Filter, limit| -> Vec<u64> {
            let json: serde_json::Value =
                serde_json::from_slice(&flows(&hub, filter, limit)).unwrap();
            json.as_array().unwrap().iter().map(|row| row["bytes"].as_u64().unwrap()).collect()
        };
        assert_eq!(list(&Filter::default(), 10), [50, 30, 100]);
        assert_eq!(list(&Filter::default(), 2), [50, 30]);
        let from_a = Filter { src: Network::parse("10.0.0.0/24"), ..Filter::default() };
        assert_eq!(list(&from_a, 10), [50, 100]);
        assert_eq!(list(&Filter { port: Some(443), ..Filter::default() }, 10), [30, 100]);
        assert_eq!(list(&Filter { protocol: Some(17), ..Filter::default() }, 10), [0_u64; 0]);
        assert_eq!(list(&Filter { device_id: Some(1), ..Filter::default() }, 1), [50]);
        assert_eq!(list(&Filter { since_ms: u64::MAX, ..Filter::default() }, 1), [0_u64; 0]);
    }

    #[test]
    fn networks_are_addresses_or_prefixes() {
        let inside = |network: &str, addr: &str| {
            Network::parse(network).unwrap().contains(addr.parse().unwrap())
        };
        assert!(inside("10.0.0.1", "10.0.0.1") && !inside("10.0.0.1", "10.0.0.2"));
        assert!(inside("0.0.0.0/0", "255.1.2.3") && !inside("0.0.0.0/0", "::1"));
        assert!(inside("2001:db8::/32", "2001:db8:1::1"));
        for text in ["", "10.0.0.0/33", "10.0.0.0/", "/8", "x", "::/129", "10.0.0.0/-1"] {
            assert_eq!(Network::parse(text), None, "{text}");
        }
    }

    #[test]
    fn protocols_have_numbers_and_names() {
        assert_eq!((protocol("tcp"), protocol("17"), protocol("256")), (Some(6), Some(17), None));
        assert_eq!((protocol_name(58).as_str(), protocol_name(99).as_str()), ("ipv6-icmp", "99"));
    }
}
