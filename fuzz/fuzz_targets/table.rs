//! The conversation table under any packets with ticks, sweeps, flushes, capture losses and changes of
//! the sampling rate in any order: it never passes its bounds, every packet is in exactly one record
//! or counted as left out, the parts of its figures never exceed their whole, and decoders keep
//! nothing of conversations that are gone.
//!
//! Input, little-endian: capacity (1), sampling and decoders (1), then steps: what (1), time since the step
//! before (1, squared, in ms), and for a made packet 20 bytes: hosts and ports (1), protocol, family
//! and VLAN (1), flags (1), merged packets (1), sequence number (4), acknowledgment (4), window (2),
//! payload (2), packet time relative to now in ms (1, signed), header length and message (1), option
//! bytes taken from what follows, which are payload, too, unless there is a message (1), IP
//! identification (1); for a frame its length (1) and bytes.
#![no_main]

use decode::{Frame, Link, Outcome, Packet};
use flowtable::tcp::TcpMetrics;
use flowtable::{AppConfig, Config, Cut, FlowTable, Group, Moment, Origin, Record, Sampling};
use libfuzzer_sys::fuzz_target;

const MADE_BYTES: usize = 20;
const MAX_STEPS: usize = 512;
const START_NS: u64 = 1_764_000_000_000_000_000;
const MS: u64 = 1_000_000;
const PORTS: [u16; 4] = [53, 80, 40_000, 40_001];
/// What all decoders may keep.
const BUDGET_BYTES: usize = 8 << 10;
/// Beginnings that protocols know, four for each of three kinds.
const MESSAGES: [&[u8]; 12] = [
    b"GET / HTTP/1.1\r\nHost: a\r\n\r\n",
    b"HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabc",
    b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0",
    b"\x16\x03\x01\0\x40\x01\0\0\x3c\x03\x03",
    b"\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01",
    b"\x12\x34\x81\x80\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01",
    b"\0\x13\x12\x34\x01\0\0\x01\0\0\0\0\0\0\x01a\0\0\x01\0\x01",
    b"\xc0\0\0\0\x01\x08\0\0\0\0\0\0\0\0\0\0\x41",
    b"SSH-2.0-a\r\n",
    b"220 a ESMTP\r\n",
    b"*1\r\n$4\r\nPING\r\n",
    b"\0\0\0\x08\x04\xd2\x16\x2f",
];

/// What the records say together.
#[derive(Default)]
struct Sums {
    records: u64,
    packets: u64,
    bytes: u64,
}

impl Sums {
    fn add(&mut self, cut: &Cut<'_>) {
        let record: &Record = cut.record;
        // Several messages in one packet make several records.
        assert!(record.packets > 0 || cut.event.is_some());
        assert!(u64::from(record.fragments) <= record.packets);
        assert_eq!(record.connection_id != 0, matches!(record.protocol, 6 | 17));
        assert!(cut.tcp.is_none() || record.protocol == 6);
        if let Some(metrics) = cut.tcp {
            check(metrics);
        }
        self.records += 1;
        self.packets += record.packets;
        self.bytes += record.bytes;
    }
}

fn check(metrics: &TcpMetrics) {
    let causes = metrics.retransmitted_fast
        + metrics.retransmitted_timeout
        + metrics.retransmitted_tail_probe;
    assert_eq!(causes + metrics.retransmitted_unknown(), metrics.retransmitted);
    assert!(metrics.lost_upstream <= metrics.retransmitted);
    assert!(metrics.rtt.min_us <= metrics.rtt.max_us);
    let latencies = [metrics.client_nw_latency_ms, metrics.server_nw_latency_ms];
    assert!(latencies.iter().flatten().all(|ms| (1..=20_000).contains(ms)));
    assert!(latencies.contains(&None));
}

/// A packet of one of few conversations, so that they meet, close and come back.
fn made(step: &[u8; MADE_BYTES]) -> Packet {
    let word = |at: usize| u32::from_le_bytes([step[at], step[at + 1], step[at + 2], step[at + 3]]);
    let half = |at: usize| u16::from_le_bytes([step[at], step[at + 1]]);
    let address = |last: u8| {
        let mut address = [0; 16];
        address[15] = last;
        address
    };
    let protocol = [6, 6, 6, 17, 1, 132][usize::from(step[1] & 7) % 6];
    let payload_len = if step[3] & 0x80 != 0 { word(12) } else { u32::from(half(14)) };
    let packets = 1 + u32::from(step[3] & 0x3f);
    Packet {
        src: address(step[0] & 3),
        dst: address(step[0] >> 2 & 3),
        src_port: PORTS[usize::from(step[0] >> 4 & 3)],
        dst_port: PORTS[usize::from(step[0] >> 6)],
        protocol,
        ipv6: step[1] & 8 != 0,
        vlan: u16::from(step[1] >> 4 & 3),
        fragments: if step[3] & 0x40 != 0 { packets } else { 0 },
        packets,
        bytes: 40 + u64::from(payload_len),
        tcp_seq: word(4),
        tcp_ack: word(8),
        tcp_window: half(12),
        tcp_flags: if protocol == 6 { step[2] } else { 0 },
        payload_len,
        l4_at: u32::from(step[19] & 1) * 20,
        l4_header_len: step[17] & 0x3c,
        ..Packet::default()
    }
}

/// Table, clock and what was put in.
struct World<'a> {
    table: FlowTable,
    group: Group<'a>,
    now_ns: u64,
    sums: Sums,
    packets: u64,
    bytes: u64,
    capacity: u64,
}

impl<'a> World<'a> {
    fn now(&self) -> Moment {
        Moment { elapsed_ns: self.now_ns, wall_ns: START_NS + self.now_ns }
    }

    /// Counts the packet in the group's slot.
    fn commit(&mut self, data: &'a [u8], skew_ms: i64, gso_size: u16) {
        let packet = *self.group.slot();
        self.packets += u64::from(packet.packets);
        self.bytes += packet.bytes;
        let now = self.now();
        let time_ns = now.wall_ns.saturating_add_signed(skew_ms * MS as i64);
        self.group.commit(data, Origin { now, time_ns, frame: self.packets, gso_size });
        if self.group.is_full() {
            self.update();
        }
    }

    fn update(&mut self) {
        self.table.update(&self.group, &mut |cut| self.sums.add(&cut));
        self.group.clear();
        let stats = self.table.stats();
        assert!(stats.conversations <= self.capacity);
        assert!(stats.tcp_details <= self.capacity);
        assert_eq!(stats.packets + stats.packets_unsampled, self.packets);
        let gone = stats.closed + stats.expired + stats.evicted;
        assert!(stats.created >= gone);
        assert!(stats.apps.heap_bytes <= BUDGET_BYTES as u64);
    }

    fn flush(&mut self) {
        self.update();
        let now = self.now();
        self.table.flush(now, &mut |cut| self.sums.add(&cut));
        let stats = self.table.stats();
        assert!(self.table.is_empty());
        assert_eq!((stats.conversations, stats.tcp_details), (0, 0));
        assert_eq!((stats.apps.conversations, stats.apps.heap_bytes), (0, 0));
        assert_eq!((stats.records, stats.packets), (self.sums.records, self.sums.packets));
        if stats.packets_unsampled == 0 {
            assert_eq!((self.sums.packets, self.sums.bytes), (self.packets, self.bytes));
        }
    }
}

fuzz_target!(|input: &[u8]| {
    let Some((&[size, sampled], mut rest)) = input.split_first_chunk::<2>() else { return };
    let capacity = 1 + usize::from(size % 24);
    let sampling = Sampling::new(u32::from(sampled % 4));
    let apps = AppConfig { budget_bytes: BUDGET_BYTES, ..AppConfig::default() };
    let apps = (sampled & 4 != 0).then_some(apps);
    let config = Config { capacity, hash_key: 3, sampling, ids_key: 4, apps, ..Config::default() };
    let mut world = World {
        table: FlowTable::new(config).expect("a small table"),
        group: Group::default(),
        now_ns: 0,
        sums: Sums::default(),
        packets: 0,
        bytes: 0,
        capacity: capacity as u64,
    };
    for _ in 0..MAX_STEPS {
        let Some((&[what, wait], left)) = rest.split_first_chunk::<2>() else { break };
        rest = left;
        world.now_ns += u64::from(wait) * u64::from(wait) * MS;
        match what % 16 {
            0 => {
                world.update();
                let now = world.now();
                world.table.tick(now, &mut |cut| world.sums.add(&cut));
            }
            1 => {
                world.update();
                let now = world.now();
                world.table.sweep(now, &mut |cut| world.sums.add(&cut));
            }
            2 => world.flush(),
            3 => world.update(),
            4 => {
                let from_ns = world.now().wall_ns;
                world.table.note_capture_loss(from_ns, from_ns + u64::from(what) * MS);
            }
            7 => {
                world.update();
                let (now, rate) = (world.now(), u32::from(what >> 4) % 4);
                world.table.set_sampling(Sampling::new(rate), now, &mut |cut| world.sums.add(&cut));
            }
            5..=6 => {
                let Some((&len, left)) = rest.split_first() else { break };
                let (data, left) = left.split_at(left.len().min(len.into()));
                rest = left;
                let frame = Frame { data, wire_len: data.len() as u32, ..Frame::default() };
                let outcome = decode::parse(Link::Ethernet, &frame, world.group.slot());
                if outcome == Outcome::Packet {
                    world.commit(data, 0, 0);
                }
            }
            _ => {
                let Some((step, left)) = rest.split_first_chunk::<MADE_BYTES>() else { break };
                let (data, left) = left.split_at(left.len().min((step[18] & 0x3f).into()));
                rest = left;
                *world.group.slot() = made(step);
                let kind = usize::from(step[17] >> 6);
                let data = match kind.checked_sub(1) {
                    Some(kind) => MESSAGES[4 * kind + usize::from(step[18] >> 6)],
                    None => data,
                };
                let packet = world.group.slot();
                packet.payload_captured = packet.payload_len.min(data.len() as u32);
                world.commit(data, i64::from(step[16] as i8), u16::from(step[19]) * 8);
            }
        }
    }
    world.flush();
});
