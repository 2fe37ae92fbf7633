//! The packet path allocates nothing once it has started: counted by the allocator itself.
//!
//! Here and not beside the flow table, because an allocator is unsafe code and this crate may have
//! some. Fragments are off this path: they wait for each other in memory of their own.

#![expect(clippy::unwrap_used, reason = "a test that cannot set up its world should stop")]

mod counting;

use std::io::Write as _;
use std::net::UdpSocket;
use std::time::{Duration, Instant};

use capture::{CaptureFile, Interface, RingConfig, RingStats, Source};
use counting::allocations;
use decode::{Link, Outcome};
use flowtable::{Cut, FlowTable, GROUP, Group, Moment, Origin, Sampling, TableStats};

const CONVERSATIONS: u32 = 100_000;
const PACKETS: u64 = 1_000_000;
/// Time between packets: a million of them last 200 s, so that conversations idle out, too.
const GAP_NS: u64 = 200_000;
/// Headers without payload, the frame of IPv4 filled up to the least that Ethernet carries.
const IPV4_BYTES: usize = 60;
const IPV6_BYTES: usize = 74;

/// Frames of many conversations, each written over the one before.
struct Frames {
    random: u64,
    bytes: [u8; IPV6_BYTES],
}

impl Frames {
    fn new() -> Self {
        Self { random: 1, bytes: [0; IPV6_BYTES] }
    }

    fn next(&mut self) -> &[u8] {
        // xorshift64 (Marsaglia 2003).
        self.random ^= self.random << 13;
        self.random ^= self.random >> 7;
        self.random ^= self.random << 17;
        let conversation = (self.random >> 32) as u32 % CONVERSATIONS;
        let [flags, back, ..] = self.random.to_le_bytes();
        let flags = match flags {
            0..8 => 0x02,
            8..16 => 0x11,
            16..18 => 0x14,
            _ => 0x10,
        };
        let protocol = if conversation.is_multiple_of(2) { 6 } else { 17 };
        let l4 = match conversation % 10 {
            9 => self.ipv6(conversation, back < 128, protocol),
            _ => self.ipv4(conversation, back < 128, protocol),
        };
        let [client, server] = [40_000_u16, 5000].map(u16::to_be_bytes);
        let (src, dst) = if back < 128 { (client, server) } else { (server, client) };
        self.bytes[l4..l4 + 2].copy_from_slice(&src);
        self.bytes[l4 + 2..l4 + 4].copy_from_slice(&dst);
        if protocol == 6 {
            self.bytes[l4 + 12..l4 + 14].copy_from_slice(&[0x50, flags]);
        } else {
            self.bytes[l4 + 4..l4 + 8].copy_from_slice(&[0, 20, 0, 0]);
        }
        if conversation % 10 == 9 { &self.bytes } else { &self.bytes[..IPV4_BYTES] }
    }

    /// Everything before the transport header, which starts where it says.
    fn ipv4(&mut self, conversation: u32, forth: bool, protocol: u8) -> usize {
        let client = (0x0a00_0000 | conversation).to_be_bytes();
        let (src, dst) = if forth { (client, [192, 0, 2, 1]) } else { ([192, 0, 2, 1], client) };
        self.bytes[12..14].copy_from_slice(&[0x08, 0x00]);
        self.bytes[14..26].copy_from_slice(&[0x45, 0, 0, 40, 0, 1, 0, 0, 64, protocol, 0, 0]);
        self.bytes[26..30].copy_from_slice(&src);
        self.bytes[30..34].copy_from_slice(&dst);
        34
    }

    fn ipv6(&mut self, conversation: u32, forth: bool, protocol: u8) -> usize {
        let client = (0xfd00_u128 << 112 | u128::from(conversation)).to_be_bytes();
        let server = (0xfd01_u128 << 112).to_be_bytes();
        let (src, dst) = if forth { (client, server) } else { (server, client) };
        self.bytes[12..14].copy_from_slice(&[0x86, 0xdd]);
        self.bytes[14..22].copy_from_slice(&[0x60, 0, 0, 0, 0, 20, protocol, 64]);
        self.bytes[22..38].copy_from_slice(&src);
        self.bytes[38..54].copy_from_slice(&dst);
        54
    }
}

fn table(capacity: usize) -> FlowTable {
    let sampling = Sampling::default();
    let (hash_key, ids_key) = (7, 8);
    let config = flowtable::Config {
        capacity,
        hash_key,
        local_mac: None,
        sampling,
        ids_key,
        ..flowtable::Config::default()
    };
    FlowTable::new(config).unwrap()
}

/// What the records of a run add up to.
#[derive(Default)]
struct Sums {
    tcp: u64,
    records: u64,
    packets: u64,
}

impl Sums {
    fn add(&mut self, cut: &Cut<'_>) {
        self.records += 1;
        self.packets += cut.record.packets;
        self.tcp += u64::from(cut.tcp.is_some());
    }
}

/// Parses, groups and counts the frames of one run, with the clock hand behind, as a reader does.
fn count(frames: &mut Frames, table: &mut FlowTable, sums: &mut Sums) {
    let mut bytes = [[0; IPV6_BYTES]; GROUP];
    let mut lengths = [0; GROUP];
    for first in (0..PACKETS).step_by(GROUP) {
        for (bytes, length) in bytes.iter_mut().zip(&mut lengths) {
            let data = frames.next();
            *length = data.len();
            bytes[..data.len()].copy_from_slice(data);
        }
        let mut group = Group::default();
        let mut now = Moment::default();
        let count = GROUP.min((PACKETS - first) as usize);
        for (number, (bytes, length)) in (first..).zip(bytes.iter().zip(lengths)).take(count) {
            let elapsed_ns = number * GAP_NS;
            now = Moment { elapsed_ns, wall_ns: 1_800_000_000_000_000_000 + elapsed_ns };
            let data = &bytes[..length];
            let wire_len = length as u32;
            let frame = decode::Frame { data, wire_len, ..decode::Frame::default() };
            assert_eq!(decode::parse(Link::Ethernet, &frame, group.slot()), Outcome::Packet);
            let origin = Origin { now, time_ns: now.wall_ns, frame: number, gso_size: 0 };
            group.commit(data, origin);
        }
        table.update(&group, &mut |cut| sums.add(&cut));
        table.sweep(now, &mut |cut| sums.add(&cut));
    }
}

#[test]
fn a_million_packets_with_evictions_allocate_nothing() {
    let (mut frames, mut table) = (Frames::new(), table(30_000));
    let mut sums = Sums::default();
    let allocations = allocations(|| {
        count(&mut frames, &mut table, &mut sums);
    });
    assert_eq!(allocations, 0);
    let TableStats { packets, records, evicted, closed, conversations, .. } = table.stats();
    assert_eq!((packets, records), (PACKETS, sums.records));
    assert!(sums.tcp > 100_000, "{} records with TCP metrics", sums.tcp);
    assert!(evicted > 100_000 && closed > 100, "{evicted} evicted, {closed} closed");
    assert_eq!(conversations, 30_000, "the table stays full");
}

#[test]
fn a_million_packets_of_conversations_that_idle_out_allocate_nothing() {
    let (mut frames, mut table) = (Frames::new(), table(200_000));
    let mut sums = Sums::default();
    let allocations = allocations(|| {
        count(&mut frames, &mut table, &mut sums);
        // An hour later nothing is left.
        for late in 0..100 {
            let elapsed_ns = PACKETS * GAP_NS + (3600 + 2 * late) * 1_000_000_000;
            let now = Moment { elapsed_ns, wall_ns: elapsed_ns };
            table.sweep(now, &mut |cut| sums.add(&cut));
        }
    });
    assert_eq!(allocations, 0);
    let TableStats { packets, evicted, expired, conversations, .. } = table.stats();
    assert_eq!((packets, evicted, conversations), (PACKETS, 0, 0));
    assert_eq!(sums.packets, PACKETS);
    assert!(expired > 50_000, "{expired} expired");
}

#[test]
fn the_walk_of_a_capture_file_allocates_nothing() {
    let folder = tempfile::tempdir().unwrap();
    let path = folder.path().join("frames.pcap");
    // Microseconds, little endian, Ethernet.
    let mut bytes = vec![0xd4, 0xc3, 0xb2, 0xa1, 2, 0, 4, 0];
    bytes.extend([0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 4, 0, 1, 0, 0, 0]);
    let mut frames = Frames::new();
    for number in 0..100_000_u32 {
        let frame = frames.next();
        let length = frame.len() as u32;
        let record = [1_800_000_000 + number, 0, length, length];
        bytes.extend(record.iter().flat_map(|word| word.to_le_bytes()));
        bytes.extend_from_slice(frame);
    }
    std::fs::File::create(&path).unwrap().write_all(&bytes).unwrap();
    let mut file = CaptureFile::open(&path).unwrap();
    let mut walked = 0;
    let allocations = allocations(|| {
        while let Some(mut block) = file.next_block().unwrap() {
            walked += block.frames().count();
        }
    });
    assert_eq!((allocations, walked), (0, 100_000));
}

#[test]
fn the_walk_of_a_ring_allocates_nothing() {
    if !nix::unistd::geteuid().is_root() {
        eprintln!("skipped: needs root for a ring");
        return;
    }
    let config = RingConfig { block_bytes: 1 << 20, blocks: 8, ..RingConfig::default() };
    let (mut source, _) = Source::open(&Interface::find("lo").unwrap(), &config).unwrap();
    let receiver = UdpSocket::bind("127.0.0.1:0").unwrap();
    let sender = UdpSocket::bind("127.0.0.1:0").unwrap();
    sender.connect(receiver.local_addr().unwrap()).unwrap();
    for _ in 0..5000 {
        sender.send(&[0x5a; 100]).unwrap();
    }
    let mut walked = 0;
    let mut stats = RingStats::default();
    let allocations = allocations(|| {
        let start = Instant::now();
        while walked < 5000 && start.elapsed() < Duration::from_secs(10) {
            source.wait(Duration::from_millis(50)).unwrap();
            while let Some(mut block) = source.next_block() {
                walked += block.frames().count();
            }
        }
        stats = source.stats().unwrap();
    });
    assert_eq!(allocations, 0);
    assert!(walked >= 5000 && stats.drops == 0, "{walked} frames, {stats:?}");
}
