//! The table's rules, on packets written out by hand.

mod apps;
mod rates;
mod tcp;

use decode::Packet;
use proptest::prelude::*;

use crate::*;

const S: u64 = 1_000_000_000;
const FIN_ACK: u8 = 0x11;
const SYN: u8 = 0x02;
const SYN_ACK: u8 = 0x12;
const RST: u8 = 0x04;
const ACK: u8 = 0x10;
const LOCAL: [u8; 6] = [2, 0, 0, 0, 0, 1];
const REMOTE: [u8; 6] = [2, 0, 0, 0, 0, 9];

fn table(capacity: usize) -> FlowTable {
    let sampling = Sampling::default();
    let local_mac = Some(LOCAL);
    FlowTable::new(Config {
        capacity,
        hash_key: 7,
        local_mac,
        sampling,
        ids_key: 8,
        ..Config::default()
    })
    .unwrap()
}

fn at(seconds: u64) -> Moment {
    Moment { elapsed_ns: seconds * S, wall_ns: (1000 + seconds) * S }
}

fn address(last: u32) -> [u8; 16] {
    let mut address = [0; 16];
    address[12..].copy_from_slice(&(0x0a00_0000 + last).to_be_bytes());
    address
}

/// One packet of 100 bytes from the local host (10.0.0.1) to host `to`, port 80.
fn out(to: u32, protocol: u8, tcp_flags: u8) -> Packet {
    Packet {
        src: address(1),
        dst: address(to),
        src_port: 40_000,
        dst_port: 80,
        src_mac: LOCAL,
        dst_mac: REMOTE,
        protocol,
        tcp_flags,
        packets: 1,
        bytes: 100,
        ..Packet::default()
    }
}

fn back(packet: Packet, tcp_flags: u8) -> Packet {
    Packet {
        src: packet.dst,
        dst: packet.src,
        src_port: packet.dst_port,
        dst_port: packet.src_port,
        src_mac: packet.dst_mac,
        dst_mac: packet.src_mac,
        tcp_flags,
        ..packet
    }
}

fn feed(table: &mut FlowTable, now: Moment, packets: &[Packet]) -> Vec<Record> {
    let mut records = Vec::new();
    let mut group = Group::default();
    for (i, chunk) in packets.chunks(GROUP).enumerate() {
        group.clear();
        for (j, packet) in chunk.iter().enumerate() {
            *group.slot() = *packet;
            let frame = (i * GROUP + j) as u64;
            group.commit(&[], Origin { now, time_ns: now.wall_ns, frame, gso_size: 0 });
        }
        table.update(&group, &mut |cut| records.push(cut.record.clone()));
    }
    records
}

fn tick(table: &mut FlowTable, now: Moment) -> Vec<Record> {
    let mut records = Vec::new();
    table.tick(now, &mut |cut| records.push(cut.record.clone()));
    records
}

fn flush(table: &mut FlowTable, now: Moment) -> Vec<Record> {
    let mut records = Vec::new();
    table.flush(now, &mut |cut| records.push(cut.record.clone()));
    records
}

#[test]
fn a_conversation_gives_one_record_for_each_direction() {
    let mut table = table(10);
    let syn = Packet { tos: 1, ..out(2, 6, SYN) };
    let ack = Packet { tos: 2, bytes: 60, ..out(2, 6, ACK) };
    let reply = Packet { bytes: 1500, vlan: 0, ..back(syn, SYN_ACK) };
    feed(&mut table, at(0), &[syn, reply, ack]);
    let records = flush(&mut table, at(1));
    assert_eq!(records.len(), 2);
    let first = &records[0];
    assert_eq!((first.src, first.dst), ("10.0.0.1".parse().unwrap(), "10.0.0.2".parse().unwrap()));
    assert_eq!((first.src_port, first.dst_port, first.protocol), (40_000, 80, 6));
    assert_eq!((first.packets, first.bytes, first.tos, first.tcp_flags), (2, 160, 3, 0x12));
    assert_eq!((first.direction, first.src_mac), (Direction::Out, LOCAL));
    assert_eq!((first.time_ns, first.first_frame), (1001 * S, 0));
    let second = &records[1];
    assert_eq!((second.src_port, second.dst_port), (80, 40_000));
    assert_eq!((second.packets, second.bytes, second.tcp_flags), (1, 1500, 0x12));
    assert_eq!((second.direction, second.src_mac), (Direction::In, REMOTE));
    assert!(table.is_empty());
}

#[test]
fn the_same_endpoints_on_two_vlans_are_two_conversations() {
    let mut table = table(10);
    let tagged = Packet { vlan: 7, ..out(2, 17, 0) };
    feed(&mut table, at(0), &[out(2, 17, 0), tagged, tagged]);
    let records = flush(&mut table, at(0));
    let seen: Vec<_> = records.iter().map(|r| (r.vlan, r.packets)).collect();
    assert_eq!(seen, [(0, 1), (7, 2)]);
}

#[test]
fn an_ipv6_host_and_the_ipv4_host_of_the_same_bytes_are_told_apart() {
    let mut table = table(10);
    let six = Packet { ipv6: true, ..out(2, 17, 0) };
    feed(&mut table, at(0), &[out(2, 17, 0), six]);
    let records = flush(&mut table, at(0));
    assert_eq!(records.len(), 2);
    assert!(records[1].src.is_ipv6());
}

#[test]
fn counters_pass_four_gigabytes() {
    let mut table = table(10);
    let big = Packet { packets: 1000, fragments: 3, bytes: 0xf000_0000, ..out(2, 17, 0) };
    feed(&mut table, at(0), &[big; 5]);
    let records = flush(&mut table, at(0));
    assert_eq!(records[0].bytes, 5 * 0xf000_0000);
    assert_eq!((records[0].packets, records[0].fragments), (5000, 15));
}

#[test]
fn the_first_record_comes_within_fifteen_seconds_and_the_next_fifteen_later() {
    let mut table = table(1000);
    let flows: Vec<Packet> = (2..500).map(|to| out(to, 17, 0)).collect();
    let mut first = std::collections::HashMap::new();
    let mut second = std::collections::HashMap::new();
    for second_count in 0..20 {
        let now = at(second_count * 2);
        for record in tick(&mut table, now) {
            let seen = if first.contains_key(&record.dst) { &mut second } else { &mut first };
            seen.entry(record.dst).or_insert(second_count * 2);
        }
        feed(&mut table, now, &flows);
    }
    assert_eq!(first.len(), flows.len());
    assert!(first.values().all(|&t| (2..=16).contains(&t)));
    let distinct: std::collections::HashSet<_> = first.values().collect();
    assert!(distinct.len() >= 8, "spread over the ticks: {distinct:?}");
    for (flow, t) in &first {
        let gap = second[flow] - t;
        assert!(gap == 14 || gap == 16, "{gap}");
    }
}

#[test]
fn a_closed_connection_is_due_at_the_next_tick_and_then_gone() {
    let mut table = table(10);
    let syn = out(2, 6, SYN);
    feed(&mut table, at(0), &[syn, back(syn, SYN_ACK), out(2, 6, FIN_ACK), back(syn, FIN_ACK)]);
    feed(&mut table, at(1), &[out(2, 6, ACK)]);
    let records = tick(&mut table, at(2));
    assert_eq!(records.iter().map(|r| r.packets).collect::<Vec<_>>(), [3, 2]);
    assert!(table.is_empty());
    assert_eq!(table.stats().closed, 1);
}

#[test]
fn a_reset_closes_and_the_same_ports_start_a_new_conversation() {
    let mut table = table(10);
    let syn = out(2, 6, SYN);
    let records = feed(&mut table, at(0), &[syn, back(syn, RST), syn, back(syn, SYN_ACK)]);
    assert_eq!(
        records.iter().map(|r| (r.packets, r.tcp_flags)).collect::<Vec<_>>(),
        [(1, SYN), (1, RST)]
    );
    let rest = flush(&mut table, at(0));
    assert_eq!(
        rest.iter().map(|r| (r.packets, r.tcp_flags, r.first_frame)).collect::<Vec<_>>(),
        [(1, SYN, 2), (1, SYN_ACK, 2)]
    );
}

#[test]
fn an_idle_conversation_is_forgotten_after_a_minute() {
    let mut table = table(10);
    feed(&mut table, at(0), &[out(2, 17, 0), out(3, 1, 0)]);
    for t in (2..=60).step_by(2) {
        tick(&mut table, at(t));
        let left = table.stats().conversations;
        assert_eq!(left > 0, t < 60, "at {t} s");
        // ICMP keeps no state: gone as soon as its record is out and nothing more came.
        assert!(t < 20 || left <= 1);
    }
    assert_eq!(table.stats().expired, 2);
    assert_eq!(table.stats().one_sided, 1, "only UDP and TCP have another side to miss");
}

#[test]
fn a_full_table_exports_what_it_evicts() {
    let mut table = table(64);
    let mut records = Vec::new();
    for n in 0..1000 {
        records.extend(feed(&mut table, at(n / 100), &[out(2 + n as u32, 17, 0)]));
    }
    assert_eq!(table.stats().conversations, 64);
    assert_eq!(table.stats().evicted, 936);
    records.extend(flush(&mut table, at(10)));
    assert_eq!(records.len(), 1000);
    assert_eq!(records.iter().map(|r| r.packets).sum::<u64>(), 1000);
}

#[test]
fn a_table_of_one_still_counts_everything() {
    let mut table = table(1);
    let mut records = feed(&mut table, at(0), &[out(2, 17, 0), out(3, 17, 0), out(2, 17, 0)]);
    records.extend(flush(&mut table, at(0)));
    assert_eq!(records.len(), 3);
}

#[test]
fn the_clock_hand_comes_round_in_two_seconds() {
    let mut table = table(10_000);
    let flows: Vec<Packet> = (2..9_000).map(|to| out(to, 17, 0)).collect();
    feed(&mut table, at(0), &flows);
    let mut records = Vec::new();
    for step in 0..=180 {
        let elapsed_ns = step * S / 10;
        let now = Moment { elapsed_ns, wall_ns: elapsed_ns };
        table.sweep(now, &mut |cut| records.push(cut.record.clone()));
    }
    assert_eq!(records.len(), flows.len());
    assert!(records.iter().all(|r| r.time_ns <= 17 * S + S / 5));
}

#[test]
fn unsampled_flows_touch_no_table_and_are_counted() {
    let sampling = Sampling::new(4);
    let config = Config {
        capacity: 5000,
        hash_key: 1,
        local_mac: None,
        sampling,
        ids_key: 2,
        ..Config::default()
    };
    let mut table = FlowTable::new(config).unwrap();
    let flows: Vec<Packet> = (0..4000).map(|to| out(to, 1, 0)).collect();
    feed(&mut table, at(0), &flows);
    let stats = table.stats();
    assert!((850..1150).contains(&stats.packets), "{stats:?}");
    assert_eq!(stats.packets + stats.packets_unsampled, 4000);
    assert_eq!(stats.conversations, stats.packets);
    let records = flush(&mut table, at(0));
    assert!(records.iter().all(|r| r.sample_rate == 4 && r.direction == Direction::Unknown));
}

#[test]
fn a_direction_that_sampling_leaves_out_was_seen_all_the_same() {
    let sampling = Sampling::new(4);
    let config = Config {
        capacity: 5000,
        hash_key: 1,
        local_mac: None,
        sampling,
        ids_key: 2,
        ..Config::default()
    };
    let mut table = FlowTable::new(config).unwrap();
    let there: Vec<Packet> = (0..1000).map(|to| out(to, 17, 0)).collect();
    let and_back: Vec<Packet> = there.iter().map(|packet| back(*packet, 0)).collect();
    feed(&mut table, at(0), &there);
    feed(&mut table, at(0), &and_back);
    let tracked = table.stats().conversations;
    let records = flush(&mut table, at(0)).len() as u64;
    assert!(tracked > 0 && records < 2 * tracked, "{records} records of {tracked}");
    assert_eq!(table.stats().one_sided, 0);
}

/// Few endpoints, so that conversations meet, close and come back.
fn any_packet() -> impl Strategy<Value = (Packet, u64)> {
    let addresses = (0u32..12, 0u32..12, any::<bool>());
    let rest = (0u16..2, prop_oneof![Just(6u8), Just(17), Just(1)], any::<u8>(), 0u64..3);
    (addresses, rest).prop_map(|((src, dst, ipv6), (port, protocol, flags, wait))| {
        let packet = Packet {
            src: address(src),
            dst: address(dst),
            src_port: port,
            dst_port: 1,
            ipv6,
            protocol,
            tcp_flags: if protocol == 6 { flags } else { 0 },
            packets: 1 + u32::from(flags & 3),
            bytes: 40 + u64::from(flags),
            vlan: u16::from(flags >> 7),
            ..Packet::default()
        };
        (packet, wait)
    })
}

proptest! {
    #[test]
    fn every_packet_is_in_exactly_one_record_whatever_happens(
        steps in prop::collection::vec(any_packet(), 1..300),
        capacity in 1usize..40,
        live in any::<bool>(),
    ) {
        let mut table = table(capacity);
        let mut records = Vec::new();
        let mut clock = 0;
        let (mut packets, mut bytes) = (0, 0);
        for (packet, wait) in &steps {
            clock += wait * 7;
            if live {
                table.sweep(at(clock), &mut |cut| records.push(cut.record.clone()));
            } else {
                records.extend(tick(&mut table, at(clock)));
            }
            records.extend(feed(&mut table, at(clock), &[*packet]));
            packets += u64::from(packet.packets);
            bytes += packet.bytes;
            prop_assert!(table.stats().conversations <= capacity as u64);
        }
        records.extend(flush(&mut table, at(clock)));
        prop_assert_eq!(records.iter().map(|r| r.packets).sum::<u64>(), packets);
        prop_assert_eq!(records.iter().map(|r| r.bytes).sum::<u64>(), bytes);
        prop_assert_eq!(table.stats().packets, packets);
        prop_assert_eq!(table.stats().records, records.len() as u64);
        prop_assert!(table.is_empty());
    }
}
