//! The captures of spec section 17 and the values written there.
//!
//! They are looked for in `KPROBE_PCAPS`, by default beside the checkout; without them these tests
//! say so and pass.

use std::collections::BTreeMap;
use std::net::Ipv4Addr;
use std::path::PathBuf;

use decode::{Frame, Link, Outcome, Packet};
use flowtable::Way;
use flowtable::tcp::{Close, Details, Ending, FirstPayload, Role, Segment, TcpMetrics, TcpState};

/// Time in ns and bytes of each frame; classic format, little-endian, microseconds.
fn read(name: &str) -> Option<Vec<(u64, Vec<u8>)>> {
    let default = concat!(env!("CARGO_MANIFEST_DIR"), "/../../shared/pcaps");
    let folder = std::env::var_os("KPROBE_PCAPS").unwrap_or_else(|| default.into());
    let path = PathBuf::from(folder).join(name);
    let Ok(file) = std::fs::read(&path) else {
        eprintln!("skipped: no {}", path.display());
        return None;
    };
    assert_eq!(file[..4], [0xd4, 0xc3, 0xb2, 0xa1]);
    let mut frames = Vec::new();
    let mut rest = &file[24..];
    while rest.len() >= 16 {
        let word = |at: usize| u32::from_le_bytes(rest[at..at + 4].try_into().unwrap());
        let (seconds, us, len) = (u64::from(word(0)), u64::from(word(4)), word(8) as usize);
        frames.push((seconds * 1_000_000_000 + us * 1_000, rest[16..16 + len].to_vec()));
        rest = &rest[16 + len..];
    }
    Some(frames)
}

type Endpoint = ([u8; 16], u16);

/// All conversations of a capture, by their endpoints in order.
struct Table {
    states: BTreeMap<[Endpoint; 2], (TcpState, FirstPayload)>,
    details: Details,
    now_ns: u64,
}

impl Table {
    fn new() -> Self {
        let details = Details::with_capacity(16).unwrap();
        Self { states: BTreeMap::new(), details, now_ns: 0 }
    }

    fn feed(&mut self, time_ns: u64, data: &[u8], wire_len: u32) {
        let mut packet = Packet::default();
        let frame = Frame { data, wire_len, ..Frame::default() };
        assert_eq!(decode::parse(Link::Ethernet, &frame, &mut packet), Outcome::Packet);
        let segment = Segment::new(&packet, data, time_ns, 0).unwrap();
        let (way, key) = oriented((packet.src, packet.src_port), (packet.dst, packet.dst_port));
        let (state, payload) = self.states.entry(key).or_default();
        state.update(way, &segment, &mut self.details);
        if segment.len > 0 {
            payload.note(way, time_ns);
        }
        self.now_ns = time_ns;
    }

    fn take(&mut self, from: (&str, u16), to: (&str, u16)) -> TcpMetrics {
        let (way, key) = Self::key(from, to);
        let (state, _) = self.states.get_mut(&key).unwrap();
        state.take(way, self.now_ns, Ending::Open, &mut self.details)
    }

    fn fpex_ms(&self, from: (&str, u16), to: (&str, u16)) -> Option<u16> {
        let (way, key) = Self::key(from, to);
        self.states[&key].1.latency_ms(way)
    }

    fn key(from: (&str, u16), to: (&str, u16)) -> (Way, [Endpoint; 2]) {
        let endpoint = |(address, port): (&str, u16)| {
            let mut bytes = [0; 16];
            bytes[12..].copy_from_slice(&address.parse::<Ipv4Addr>().unwrap().octets());
            (bytes, port)
        };
        oriented(endpoint(from), endpoint(to))
    }
}

fn oriented(from: Endpoint, to: Endpoint) -> (Way, [Endpoint; 2]) {
    if from <= to { (Way::Up, [from, to]) } else { (Way::Down, [to, from]) }
}

fn whole(frames: &[(u64, Vec<u8>)], snap: usize) -> Table {
    let mut table = Table::new();
    for (time_ns, data) in frames {
        let cut = data.get(..snap).unwrap_or(data);
        table.feed(*time_ns, cut, data.len() as u32);
    }
    table
}

const MAC: &str = "10.211.55.2";
const LINUX: &str = "10.211.55.16";

#[test]
fn retransmits_are_eight_and_six_with_one_repeat_each() {
    let Some(frames) = read("tcp/retransmits.pcap") else { return };
    for snap in [65_535, 96, 80] {
        let mut table = whole(&frames, snap);
        for (port, retransmitted) in [(52_952, 8), (52_953, 6)] {
            let up = table.take((MAC, port), (LINUX, 2222));
            assert_eq!((up.retransmitted, up.repeated_retransmits), (retransmitted, 1));
            assert_eq!((up.out_of_order, up.duplicates, up.gaps), (0, 0, 0));
            let down = table.take((LINUX, 2222), (MAC, port));
            assert_eq!((down.retransmitted, down.out_of_order), (0, 0));
        }
    }
}

#[test]
fn the_causes_of_those_retransmits_are_timeouts_but_for_the_first() {
    let Some(frames) = read("tcp/retransmits.pcap") else { return };
    let up = whole(&frames, 65_535).take((MAC, 52_952), (LINUX, 2222));
    // The first two come after 151 and 149 ms, long after two round trips of 0.2 ms.
    assert_eq!((up.retransmitted_tail_probe, up.retransmitted_timeout), (2, 6));
}

#[test]
fn windows_of_the_first_six_packets_and_ten_zero_windows() {
    let Some(frames) = read("tcp/zero_windows.pcap") else { return };
    let mut table = Table::new();
    let (client, server) = ((MAC, 58_377), (LINUX, 2222));
    let mut windows = Vec::new();
    let mut zero_windows = 0;
    for (number, (time_ns, data)) in frames.iter().enumerate() {
        table.feed(*time_ns, data, data.len() as u32);
        let from_server = data[34..36] == 2222u16.to_be_bytes();
        let (from, to) = if from_server { (server, client) } else { (client, server) };
        let metrics = table.take(from, to);
        if number < 6 {
            windows.push(metrics.receive_window.unwrap());
        }
        zero_windows += if from_server { metrics.zero_windows } else { 0 };
        assert_eq!((metrics.retransmitted, metrics.out_of_order), (0, 0));
    }
    assert_eq!(windows, [65_535, 1024, 131_744, 131_744, 0, 1024]);
    assert_eq!(zero_windows, 10);
    let (up, down) = (table.take(client, server), table.take(server, client));
    assert_eq!((up.client_nw_latency_ms, down.server_nw_latency_ms), (Some(1), Some(1)));
    assert_eq!((up.handshake_rtt_us, down.handshake_rtt_us), (Some(52), Some(192)));
}

#[test]
fn closed_windows_last_as_long_as_the_packets_say() {
    let Some(frames) = read("tcp/zero_windows.pcap") else { return };
    let down = whole(&frames, 65_535).take((LINUX, 2222), (MAC, 58_377));
    assert_eq!((down.zero_windows, down.zero_window_transitions), (10, 10));
    // Packets 5–6, 8–9, 11–12, … 29–30; packet 32 closes it again.
    let closed_us = 208
        + 955_954
        + 1_000_243
        + 1_000_017
        + 1_001_179
        + 1_000_276
        + 1_000_247
        + 1_000_402
        + 1_001_107;
    assert_eq!(down.zero_window_us, closed_us);
    assert_eq!((down.initial_window, down.min_window), (Some(1024), Some(0)));
}

#[test]
fn without_the_handshake_there_are_no_windows() {
    let Some(frames) = read("tcp/zero_windows.pcap") else { return };
    let mut table = whole(&frames[2..], 65_535);
    let (client, server) = ((MAC, 58_377), (LINUX, 2222));
    for metrics in [table.take(client, server), table.take(server, client)] {
        assert_eq!((metrics.receive_window, metrics.client_nw_latency_ms), (None, None));
        assert_eq!((metrics.server_nw_latency_ms, metrics.role), (None, None));
    }
}

#[test]
fn one_http_request_has_the_values_of_the_table() {
    let Some(frames) = read("http/google.com.pcap") else { return };
    let (client, server) = ((LINUX, 42_370), ("172.217.25.110", 80));
    let mut table = whole(&frames[..4], 65_535);
    let up = table.take(client, server);
    assert_eq!((up.client_nw_latency_ms, up.receive_window), (Some(1), Some(29_312)));
    for (time_ns, data) in &frames[4..6] {
        table.feed(*time_ns, data, data.len() as u32);
    }
    let down = table.take(server, client);
    assert_eq!((down.server_nw_latency_ms, table.fpex_ms(server, client)), (Some(3), Some(7)));
    assert_eq!(down.receive_window, Some(32_768));
    for (time_ns, data) in &frames[6..] {
        table.feed(*time_ns, data, data.len() as u32);
    }
    let (up, down) = (table.take(client, server), table.take(server, client));
    assert_eq!((up.client_nw_latency_ms, up.receive_window), (Some(1), Some(30_336)));
    assert_eq!((down.server_nw_latency_ms, table.fpex_ms(server, client)), (Some(3), Some(7)));
    assert_eq!((up.close, down.close), (Some(Close::Fin), Some(Close::Fin)));
    assert_eq!((up.retransmitted, down.retransmitted), (0, 0));
}

#[test]
fn data_on_the_fin_is_in_order() {
    let Some(frames) = read("http/http-1.0-fin-data.pcap") else { return };
    let (client, server) = (("10.0.1.2", 43_103), ("10.0.1.3", 80));
    let mut table = whole(&frames, 65_535);
    let (up, down) = (table.take(client, server), table.take(server, client));
    assert_eq!((down.server_nw_latency_ms, table.fpex_ms(server, client)), (Some(1), Some(1)));
    assert_eq!(down.receive_window, Some(29_056));
    assert_eq!((up.role, down.role), (Some(Role::Client), Some(Role::Server)));
    assert_eq!((up.retransmitted, down.retransmitted, down.out_of_order), (0, 0, 0));
    assert_eq!((up.unseen_bytes, down.unseen_bytes), (0, 0));
}

#[test]
fn a_tls_connection_of_forty_ms_has_all_its_latencies() {
    let Some(frames) = read("tls/google.com-tls-1.2.pcap") else { return };
    let (client, server) = (("10.0.0.53", 51_486), ("216.58.220.238", 443));
    let mut table = whole(&frames, 65_535);
    let (up, down) = (table.take(client, server), table.take(server, client));
    assert_eq!((up.handshake_rtt_us, down.handshake_rtt_us), (Some(27), Some(6_959)));
    assert_eq!((up.client_nw_latency_ms, down.server_nw_latency_ms), (Some(1), Some(3)));
    // First payloads: packets 4 and 6, 6.426 ms apart.
    assert_eq!(table.fpex_ms(server, client), Some(6));
    assert_eq!((up.retransmitted, down.retransmitted, up.out_of_order), (0, 0, 0));
    assert!(down.rtt.min_us >= 4_900 && down.rtt.max_us <= 7_000, "{:?}", down.rtt);
    assert_eq!(up.close, Some(Close::Fin));
}
