//! The table as a whole: changes of a capture that change no record, or none of its sums.

use decode::{Frame, Link, Outcome, Packet};
use flowtable::tcp::{Role, TcpMetrics};
use flowtable::{Config, Cut, FlowTable, Group, Origin, Record, Sampling, Ticks, Way};
use proptest::prelude::*;

use crate::generator::{self, Plan, Seen};
use crate::wire::{self, ACK, MS, PSH};

/// A frame of a capture: time, bytes, length on the wire, payload of merged segments.
#[derive(Clone)]
struct Shot {
    time_ns: u64,
    data: Vec<u8>,
    wire_len: u32,
    gso_size: u16,
}

fn shot(seen: &Seen) -> Shot {
    let data = wire::frame(seen.way, &seen.segment, 0);
    let wire_len = data.len() as u32;
    Shot { time_ns: seen.segment.time_ns, data, wire_len, gso_size: 0 }
}

/// All records of a capture, in the order in which they are cut. A group ends before each of the
/// frames numbered in `ends`, as it does where a block or a file ends.
fn play(shots: &[Shot], ends: &[usize]) -> Vec<(Record, Option<TcpMetrics>)> {
    let sampling = Sampling::default();
    let config = Config {
        capacity: 16,
        hash_key: 5,
        local_mac: None,
        sampling,
        ids_key: 6,
        ..Config::default()
    };
    let mut table = FlowTable::new(config).unwrap();
    let mut ticks = Ticks::default();
    let mut cuts = Vec::new();
    let mut sink = |cut: Cut<'_>| cuts.push((cut.record.clone(), cut.tcp.copied()));
    let mut group = Group::default();
    for (number, shot) in shots.iter().enumerate() {
        let now = ticks.advance(shot.time_ns);
        if ticks.is_due() || group.is_full() || ends.contains(&number) {
            table.update(&group, &mut sink);
            group.clear();
        }
        while let Some(tick) = ticks.take(false) {
            table.tick(tick, &mut sink);
        }
        let frame = Frame {
            data: &shot.data,
            wire_len: shot.wire_len,
            gso_size: shot.gso_size,
            ..Frame::default()
        };
        assert_eq!(decode::parse(Link::Ethernet, &frame, group.slot()), Outcome::Packet);
        let origin =
            Origin { now, time_ns: shot.time_ns, frame: number as u64, gso_size: shot.gso_size };
        group.commit(&shot.data, origin);
    }
    table.update(&group, &mut sink);
    table.flush(ticks.now(), &mut sink);
    cuts
}

/// What a direction's records say together; lasting values from the last of them.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
struct Sum {
    packets: u64,
    bytes: u64,
    counts: [u64; 14],
    rtt: (u64, u32, u32, u32),
    windows: (Option<u32>, Option<u32>),
    latencies: (Option<u16>, Option<u16>, Option<u32>, Option<u32>),
    role: Option<Role>,
}

impl Sum {
    fn add(&mut self, record: &Record, m: &TcpMetrics) {
        self.packets += record.packets;
        self.bytes += record.bytes;
        let counts = [
            m.retransmitted,
            m.repeated_retransmits,
            m.out_of_order,
            m.zero_windows,
            m.retransmitted_fast,
            m.retransmitted_timeout,
            m.retransmitted_tail_probe,
            m.retransmitted_needless,
            m.lost_upstream,
            m.duplicates,
            m.dup_acks,
            m.gaps,
            m.holes_dropped,
            m.unseen_bytes as u32,
        ];
        for (sum, count) in self.counts.iter_mut().zip(counts) {
            *sum += u64::from(count);
        }
        if m.rtt.count > 0 {
            let least = if self.rtt.1 == 0 { u32::MAX } else { self.rtt.1 };
            self.rtt.0 += u64::from(m.rtt.count);
            self.rtt.1 = least.min(m.rtt.min_us);
            self.rtt.2 = self.rtt.2.max(m.rtt.max_us);
            self.rtt.3 = m.rtt.last_us;
        }
        self.windows = (m.receive_window, m.initial_window);
        let (client_ms, server_ms) = (m.client_nw_latency_ms, m.server_nw_latency_ms);
        self.latencies = (client_ms, server_ms, m.handshake_rtt_us, record.first_payload_us);
        self.role = m.role;
    }
}

/// Sums by direction: of host 1, and of host 2.
fn sums(cuts: &[(Record, Option<TcpMetrics>)]) -> [Sum; 2] {
    let mut sums = [Sum::default(); 2];
    for (record, tcp) in cuts {
        let first = record.src.to_string().ends_with(".1");
        sums[usize::from(!first)].add(record, tcp.as_ref().unwrap());
    }
    sums
}

/// A conversation of some seconds with all that can go wrong.
fn plan(seed: u64) -> Plan {
    Plan {
        seed,
        segments: 150,
        mss: 1000,
        window: 12,
        near_ns: 20 * MS,
        far_ns: 90 * MS,
        spacing_ns: 40_000,
        loss_before: 30,
        loss_after: 30,
        ack_loss: 20,
        reorder: 30,
        reorder_again: 0,
        duplicate: 10,
        sack: seed.is_multiple_of(2),
        timestamps: seed.is_multiple_of(3),
        ip_ids: seed.is_multiple_of(5),
        delayed_acks: seed.is_multiple_of(7),
        sender_opens: seed % 11 < 6,
        half_open: seed.is_multiple_of(13),
        isn: u32::MAX - 70_000,
    }
}

fn capture(seed: u64) -> Vec<Seen> {
    generator::play(plan(seed)).seen
}

/// Merges what receive offload could: data of one direction in a row, of the same acknowledgment,
/// window and timestamps, none of it empty. Gives the merged frames, and the single ones at the
/// times at which they were merged.
fn merged(seen: &[Seen], most: usize) -> (Vec<Shot>, Vec<Shot>) {
    let (mut merged, mut single) = (Vec::new(), Vec::new());
    let mut at = 0;
    while at < seen.len() {
        let run = run(&seen[at..], most);
        let parts = &seen[at..at + run];
        at += run;
        let last = parts[run - 1].segment;
        let mut whole = Seen { segment: parts[0].segment, ..parts[0] };
        whole.segment.len = parts.iter().map(|part| part.segment.len).sum();
        whole.segment.time_ns = last.time_ns;
        let mut one = shot(&whole);
        one.gso_size = if run > 1 { parts[0].segment.len as u16 } else { 0 };
        merged.push(one);
        for part in parts {
            single.push(Shot { time_ns: last.time_ns, ..shot(part) });
        }
    }
    (merged, single)
}

fn run(seen: &[Seen], most: usize) -> usize {
    let joins = |a: &Seen, b: &Seen| {
        let (a, way, b, other) = (a.segment, a.way, b.segment, b.way);
        way == other
            && (a.len, a.flags, b.flags) == (b.len, ACK | PSH, ACK | PSH)
            && a.len > 0
            && a.seq.wrapping_add(a.len) == b.seq
            && (a.ack, a.window, a.timestamps, a.sack) == (b.ack, b.window, b.timestamps, b.sack)
            && a.ip_id.map(|id| id.wrapping_add(1)) == b.ip_id
    };
    let pairs = seen.windows(2).take(most - 1);
    1 + pairs.take_while(|pair| joins(&pair[0], &pair[1])).count()
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 48, ..ProptestConfig::default() })]

    #[test]
    fn a_capture_in_two_files_gives_the_records_of_one(
        seed in 0u64..100_000,
        cuts in prop::collection::vec(0usize..400, 0..6),
    ) {
        let shots: Vec<_> = capture(seed).iter().map(shot).collect();
        prop_assert_eq!(play(&shots, &[]), play(&shots, &cuts));
    }

    #[test]
    fn a_snap_length_that_keeps_the_headers_changes_no_record(seed in 0u64..100_000) {
        let shots: Vec<_> = capture(seed).iter().map(shot).collect();
        let whole = play(&shots, &[]);
        // A TCP header without options ends at byte 54, with timestamps at 66, with SACK, too, at
        // 94 at the latest.
        let least = match plan(seed) {
            Plan { sack: true, .. } => 94,
            Plan { timestamps: true, .. } => 66,
            _ => 64,
        };
        for snap in [least, 96, 128] {
            let mut cut = shots.clone();
            cut.iter_mut().for_each(|shot| shot.data.truncate(snap));
            prop_assert_eq!(&whole, &play(&cut, &[]));
        }
    }

    #[test]
    fn merging_as_receive_offload_does_changes_no_sum(seed in 0u64..100_000, most in 2usize..17) {
        let (merged, single) = merged(&capture(seed), most);
        prop_assume!(merged.len() < single.len());
        prop_assert_eq!(sums(&play(&merged, &[])), sums(&play(&single, &[])));
    }

    #[test]
    fn swapping_the_ends_swaps_the_sides_and_nothing_else(seed in 0u64..100_000) {
        let seen = capture(seed);
        let swapped: Vec<_> =
            seen.iter().map(|seen| shot(&Seen { way: seen.way.other(), ..*seen })).collect();
        let shots: Vec<_> = seen.iter().map(shot).collect();
        let [up, down] = sums(&play(&shots, &[]));
        let [down_swapped, up_swapped] = sums(&play(&swapped, &[]));
        prop_assert_eq!((up, down), (up_swapped, down_swapped));
        prop_assert_eq!(up.packets + down.packets, seen.len() as u64);
    }
}

#[test]
fn each_packet_is_parsed_as_the_segment_it_was_made_from() {
    let mut packet = Packet::default();
    for seen in capture(6) {
        let shot = shot(&seen);
        let frame = Frame { data: &shot.data, wire_len: shot.wire_len, ..Frame::default() };
        assert_eq!(decode::parse(Link::Ethernet, &frame, &mut packet), Outcome::Packet);
        let segment = flowtable::tcp::Segment::new(&packet, &shot.data, shot.time_ns, 0).unwrap();
        assert_eq!((segment.seq, segment.ack), (seen.segment.seq, seen.segment.ack));
        assert_eq!((segment.len, segment.flags), (seen.segment.len, seen.segment.flags));
        assert_eq!(segment.timestamps, seen.segment.timestamps);
        let up = packet.src < packet.dst;
        assert_eq!(up, seen.way == Way::Up);
    }
}
