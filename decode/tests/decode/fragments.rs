//! Spec section 7, rule by rule.

use decode::fragments::{Reassembler, ReassemblyStats};
use decode::{Fragment, Outcome, Packet};

use crate::frames::*;

const SECOND_NS: u64 = 1_000_000_000;
const START_NS: u64 = 1_700_000_000 * SECOND_NS;

/// A UDP datagram of `len` bytes with its header; byte i of it is i modulo 251 from byte 8 on.
fn udp_datagram(len: usize) -> Vec<u8> {
    let mut datagram = udp(len as u16);
    datagram.extend((8..len).map(|i| (i % 251) as u8));
    datagram
}

/// An IPv4 fragment with bytes `from..to` of `datagram`.
fn piece(id: u16, datagram: &[u8], from: usize, to: usize) -> Vec<u8> {
    raw(id, from, to < datagram.len(), &datagram[from..to])
}

fn raw(id: u16, offset_bytes: usize, more: bool, payload: &[u8]) -> Vec<u8> {
    let mut data = ipv4(20 + payload.len() as u16, 17);
    data[4..6].copy_from_slice(&id.to_be_bytes());
    let place = (offset_bytes / 8) as u16 | if more { 0x2000 } else { 0 };
    data[6..8].copy_from_slice(&place.to_be_bytes());
    data.extend(payload);
    data
}

/// An IPv6 fragment.
fn raw6(id: u32, next: u8, offset_bytes: u16, more: bool, payload: &[u8]) -> Vec<u8> {
    let mut data = ipv6(8 + payload.len() as u16, 44);
    data.extend([next, 0]);
    data.extend((offset_bytes | u16::from(more)).to_be_bytes());
    data.extend(id.to_be_bytes());
    data.extend(payload);
    data
}

/// A reassembler with what came out of it.
struct Rig {
    reassembler: Reassembler,
    now_ns: u64,
    whole: Vec<(Packet, Vec<u8>)>,
    credited: Vec<Packet>,
}

impl Rig {
    fn new() -> Self {
        Self::with(Reassembler::new())
    }

    fn with(reassembler: Reassembler) -> Self {
        Self { reassembler, now_ns: START_NS, whole: Vec::new(), credited: Vec::new() }
    }

    fn push(&mut self, data: &[u8]) -> &mut Self {
        self.push_cut(data, data.len())
    }

    /// Pushes a frame of raw IP of which `captured` bytes were captured.
    fn push_cut(&mut self, data: &[u8], captured: usize) -> &mut Self {
        let frame = decode::Frame { wire_len: data.len() as u32, ..frame(&data[..captured]) };
        let (outcome, packet) = parse_frame(decode::Link::RawIp, &frame);
        let Outcome::Fragment(fragment) = outcome else { panic!("{outcome:?}") };
        self.push_parsed(&packet, &fragment, packet.payload(frame.data));
        self
    }

    fn push_parsed(&mut self, packet: &Packet, fragment: &Fragment, payload: &[u8]) {
        let credited = &mut self.credited;
        let mut credit = |packet: &Packet| credited.push(*packet);
        if let Some(datagram) =
            self.reassembler.push(self.now_ns, packet, fragment, payload, &mut credit)
        {
            self.whole.push((datagram.packet, datagram.bytes.to_vec()));
        }
    }

    fn expire_after(&mut self, seconds: u64) -> &mut Self {
        self.now_ns += seconds * SECOND_NS;
        let credited = &mut self.credited;
        self.reassembler.expire(self.now_ns, &mut |packet| credited.push(*packet));
        self
    }

    #[track_caller]
    fn only(&self) -> &(Packet, Vec<u8>) {
        assert_eq!(self.whole.len(), 1);
        &self.whole[0]
    }

    fn stats(&self) -> ReassemblyStats {
        self.reassembler.stats()
    }
}

fn credit(packet: &Packet) -> (u32, u32, u64, u16, u16) {
    (packet.packets, packet.fragments, packet.bytes, packet.src_port, packet.dst_port)
}

#[test]
fn fragments_in_any_order_make_one_datagram() {
    let datagram = udp_datagram(100);
    let pieces =
        [piece(1, &datagram, 0, 40), piece(1, &datagram, 40, 80), piece(1, &datagram, 80, 100)];
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let mut rig = Rig::new();
        for i in order {
            rig.push(&pieces[i]);
        }
        let (packet, bytes) = rig.only();
        assert_eq!(bytes, &datagram);
        assert_eq!(credit(packet), (3, 3, 160, 5000, 53));
        assert_eq!((packet.l4_at, packet.l4_header_len, packet.payload_at), (0, 8, 8));
        assert_eq!((packet.payload_len, packet.payload_captured), (92, 92));
        assert!(rig.reassembler.is_empty());
        assert_eq!(rig.reassembler.memory_bytes(), 0);
        assert_eq!(rig.stats(), ReassemblyStats { used: 3, completed: 1, ..Default::default() });
    }
}

#[test]
fn datagrams_are_told_apart_by_addresses_identification_and_protocol() {
    let datagram = udp_datagram(48);
    let first = piece(1, &datagram, 0, 24);
    let mut other_source = piece(1, &datagram, 24, 48);
    other_source[15] = 99;
    let mut other_destination = piece(1, &datagram, 24, 48);
    other_destination[19] = 99;
    let mut other_protocol = piece(1, &datagram, 24, 48);
    other_protocol[9] = 1;
    let other_id = piece(2, &datagram, 24, 48);
    let mut rig = Rig::new();
    rig.push(&first)
        .push(&other_source)
        .push(&other_destination)
        .push(&other_protocol)
        .push(&other_id);
    assert!(rig.whole.is_empty());
    assert_eq!(rig.reassembler.len(), 5);
    rig.push(&piece(1, &datagram, 24, 48));
    assert_eq!(rig.only().1, datagram);
}

#[test]
fn marks_of_the_completing_fragment_are_those_of_the_datagram() {
    let datagram = udp_datagram(48);
    let mut last = piece(1, &datagram, 24, 48);
    last[1] = 0xb8;
    let mut rig = Rig::new();
    rig.push(&piece(1, &datagram, 0, 24)).push(&last);
    assert_eq!(rig.only().0.tos, 0xb8);
}

#[test]
fn a_duplicate_is_neither_stored_nor_counted() {
    let datagram = udp_datagram(48);
    let first = piece(1, &datagram, 0, 24);
    let mut rig = Rig::new();
    rig.push(&first);
    let memory_bytes = rig.reassembler.memory_bytes();
    rig.push(&first).push(&first);
    assert_eq!(rig.reassembler.memory_bytes(), memory_bytes);
    rig.push(&piece(1, &datagram, 24, 48));
    assert_eq!(credit(&rig.only().0), (2, 2, 88, 5000, 53));
    assert_eq!(rig.stats().duplicates, 2);
}

#[test]
fn a_fragment_over_several_holes_fills_all_of_them() {
    let datagram = udp_datagram(80);
    let mut rig = Rig::new();
    rig.push(&piece(1, &datagram, 16, 24)).push(&piece(1, &datagram, 40, 48));
    // Holes 0–15, 24–39 and 48 on; the whole once more but for its last 8 bytes.
    rig.push(&piece(1, &datagram, 0, 72)).push(&piece(1, &datagram, 72, 80));
    let (packet, bytes) = rig.only();
    assert_eq!(bytes, &datagram);
    assert_eq!((packet.packets, packet.bytes), (4, 28 + 28 + 92 + 28));
}

#[test]
fn the_first_byte_received_wins() {
    let datagram = udp_datagram(64);
    let mut rig = Rig::new();
    rig.push(&piece(1, &datagram, 24, 40));
    // Other content for bytes 8–55, of which 24–39 are there already.
    rig.push(&raw(1, 8, true, &[0xff; 48]));
    rig.push(&piece(1, &datagram, 0, 16)).push(&piece(1, &datagram, 48, 64));
    let (_, bytes) = rig.only();
    assert_eq!(bytes[..8], datagram[..8]);
    assert_eq!(bytes[8..24], [0xff; 16]);
    assert_eq!(bytes[24..40], datagram[24..40]);
    assert_eq!(bytes[40..56], [0xff; 16]);
    assert_eq!(bytes[56..], datagram[56..]);
}

#[test]
fn a_last_fragment_below_data_received_does_not_end_the_datagram() {
    let datagram = udp_datagram(64);
    let mut rig = Rig::new();
    rig.push(&piece(1, &datagram, 0, 8)).push(&piece(1, &datagram, 32, 40));
    rig.push(&raw(1, 8, false, &datagram[8..16]));
    assert!(rig.whole.is_empty());
    rig.push(&piece(1, &datagram, 16, 32)).push(&piece(1, &datagram, 40, 64));
    assert_eq!(rig.only().1, datagram);
}

#[test]
fn nothing_is_taken_beyond_the_last_fragment() {
    let datagram = udp_datagram(64);
    let mut rig = Rig::new();
    rig.push(&piece(1, &datagram, 40, 64)).push(&raw(1, 64, true, &[0xff; 8]));
    assert_eq!(rig.stats().duplicates, 1);
    rig.push(&raw(1, 32, true, &[&datagram[32..40], &[0xff; 64]].concat()));
    rig.push(&piece(1, &datagram, 0, 32));
    assert_eq!(rig.only().1, datagram);
}

#[test]
fn a_fragment_that_ends_at_byte_zero_or_beyond_65534_is_ignored() {
    let mut rig = Rig::new();
    rig.push(&raw(1, 0, true, &[1]));
    rig.push(&raw(1, 8, true, &[]));
    rig.push(&raw(1, 65_528, false, &[0; 8]));
    rig.push(&raw(1, 64_000, true, &[0; 1536]));
    assert_eq!(rig.stats().out_of_range, 4);
    assert!(rig.reassembler.is_empty());
    // The last byte that can be.
    rig.push(&raw(1, 65_528, false, &[0; 7]));
    assert_eq!((rig.stats().used, rig.reassembler.len()), (1, 1));
}

#[test]
fn the_longest_datagram_is_joined() {
    let datagram = udp_datagram(65_535);
    let mut rig = Rig::new();
    for from in (0..65_535).step_by(1480).rev() {
        rig.push(&piece(1, &datagram, from, (from + 1480).min(65_535)));
    }
    let (packet, bytes) = rig.only();
    assert_eq!(bytes, &datagram);
    assert_eq!((packet.packets, packet.bytes, packet.payload_len), (45, 65_535 + 45 * 20, 65_527));
}

#[test]
fn ipv6_fragments_are_joined_whatever_protocol_the_later_ones_name() {
    let datagram = udp_datagram(48);
    let mut rig = Rig::new();
    rig.push(&raw6(70_000, 99, 24, false, &datagram[24..]));
    rig.push(&raw6(70_001, 17, 0, true, &datagram[..24]));
    assert!(rig.whole.is_empty());
    rig.push(&raw6(70_000, 17, 0, true, &datagram[..24]));
    let (packet, bytes) = rig.only();
    assert_eq!(bytes, &datagram);
    assert!(packet.ipv6);
    assert_eq!(packet.protocol, 17);
    assert_eq!(credit(packet), (2, 2, 144, 5000, 53));
}

#[test]
fn extension_headers_behind_the_fragment_header_are_skipped() {
    let datagram = [&[17, 0, 1, 4, 0, 0, 0, 0][..], &udp_datagram(40)].concat();
    let mut rig = Rig::new();
    rig.push(&raw6(1, 60, 0, true, &datagram[..24])).push(&raw6(1, 60, 24, false, &datagram[24..]));
    let (packet, bytes) = rig.only();
    assert_eq!(
        (packet.protocol, packet.l4_at, packet.payload_at, packet.payload_len),
        (17, 8, 16, 32)
    );
    assert_eq!(packet.payload(bytes), &datagram[16..]);
    assert_eq!(credit(packet), (2, 2, 48 + 24 + 48 + 24, 5000, 53));
}

#[test]
fn a_datagram_cut_by_the_snap_length_counts_in_full_and_gives_its_beginning() {
    let datagram = udp_datagram(200);
    let mut rig = Rig::new();
    rig.push_cut(&piece(1, &datagram, 0, 96), 20 + 40)
        .push_cut(&piece(1, &datagram, 96, 200), 20 + 40);
    let (packet, bytes) = rig.only();
    assert_eq!(bytes, &datagram[..40]);
    assert_eq!(credit(packet), (2, 2, 240, 5000, 53));
    assert_eq!((packet.payload_len, packet.payload_captured), (192, 32));
}

#[test]
fn fragments_without_any_captured_payload_still_count() {
    let datagram = udp_datagram(200);
    let mut rig = Rig::new();
    rig.push_cut(&piece(1, &datagram, 96, 200), 20).push_cut(&piece(1, &datagram, 0, 96), 20);
    let (packet, bytes) = rig.only();
    assert!(bytes.is_empty());
    assert_eq!(credit(packet), (2, 2, 240, 0, 0));
}

#[test]
fn an_incomplete_datagram_is_credited_to_its_transport_flow_within_62_seconds() {
    let datagram = udp_datagram(100);
    let mut rig = Rig::new();
    rig.push(&piece(1, &datagram, 0, 40)).push(&piece(1, &datagram, 40, 80));
    rig.expire_after(60);
    assert!(rig.credited.is_empty());
    rig.expire_after(2);
    assert_eq!(rig.credited.len(), 1);
    assert_eq!(credit(&rig.credited[0]), (2, 2, 120, 5000, 53));
    assert_eq!((rig.credited[0].protocol, rig.credited[0].payload_len), (17, 0));
    assert_eq!(rig.reassembler.memory_bytes(), 0);
    assert_eq!(rig.stats().expired, 1);
}

#[test]
fn without_its_first_fragment_a_datagram_is_credited_with_ports_zero() {
    let datagram = udp_datagram(100);
    let mut rig = Rig::new();
    rig.push(&piece(1, &datagram, 40, 80)).expire_after(61);
    assert_eq!(credit(&rig.credited[0]), (1, 1, 60, 0, 0));
    assert_eq!((rig.credited[0].protocol, rig.credited[0].src[15]), (17, 1));
}

#[test]
fn a_second_first_fragment_does_not_change_the_flow_that_is_credited() {
    let mut other = udp_datagram(100);
    other[..4].copy_from_slice(&[0, 1, 0, 2]);
    let mut rig = Rig::new();
    rig.push(&piece(1, &udp_datagram(100), 0, 16)).push(&piece(1, &other, 0, 40));
    rig.expire_after(61);
    assert_eq!(credit(&rig.credited[0]), (2, 2, 96, 5000, 53));
}

#[test]
fn a_credited_tcp_datagram_keeps_its_flags_but_no_sequence() {
    let mut data = raw(1, 0, true, &[&tcp(0)[..], &[0; 20]].concat());
    data[9] = 6;
    let mut rig = Rig::new();
    rig.push(&data).expire_after(61);
    let packet = &rig.credited[0];
    assert_eq!((packet.dst_port, packet.tcp_flags), (443, 0x18));
    assert_eq!((packet.tcp_seq, packet.tcp_window, packet.l4_header_len), (0, 0, 0));
}

#[test]
fn each_used_fragment_starts_the_wait_anew_and_a_duplicate_does_not() {
    let datagram = udp_datagram(100);
    let mut rig = Rig::new();
    rig.push(&piece(1, &datagram, 0, 40)).expire_after(50);
    rig.push(&piece(1, &datagram, 40, 80)).expire_after(50);
    assert!(rig.credited.is_empty());
    rig.push(&piece(1, &datagram, 40, 80)).expire_after(11);
    assert_eq!(rig.credited.len(), 1);
}

#[test]
fn a_clock_set_back_keeps_nothing_waiting() {
    let datagram = udp_datagram(100);
    let mut rig = Rig::new();
    rig.push(&piece(1, &datagram, 0, 40));
    rig.now_ns -= 3600 * SECOND_NS;
    rig.push(&piece(2, &datagram, 0, 40)).expire_after(61);
    assert_eq!(rig.credited.len(), 2);
}

#[test]
fn frames_in_slight_disorder_do_not_hasten_the_clock() {
    let datagram = udp_datagram(100);
    let mut rig = Rig::new();
    rig.push(&piece(1, &datagram, 0, 40));
    for _ in 0..1000 {
        rig.now_ns -= SECOND_NS / 2;
        rig.expire_after(0);
        rig.now_ns += SECOND_NS / 2;
        rig.expire_after(0);
    }
    assert!(rig.credited.is_empty());
}

#[test]
fn at_the_bound_on_datagrams_the_oldest_is_credited_and_gives_way() {
    let datagram = udp_datagram(48);
    let mut rig = Rig::with(Reassembler::with_limits(3, 1 << 20));
    for id in [1, 2, 3] {
        rig.push(&piece(id, &datagram, 0, 24));
    }
    // A further fragment makes the first datagram the newest.
    rig.push(&raw(1, 24, true, &datagram[24..40])).push(&piece(4, &datagram, 0, 24));
    assert_eq!(rig.reassembler.len(), 3);
    assert_eq!(rig.credited.len(), 1);
    assert_eq!((rig.stats().evicted_for_count, rig.stats().evicted_for_memory), (1, 0));
    rig.push(&raw(1, 40, false, &datagram[40..]));
    assert_eq!(rig.only().1, datagram);
    rig.push(&piece(2, &datagram, 24, 48));
    assert_eq!(rig.whole.len(), 1);
}

#[test]
fn a_flood_of_first_fragments_stays_below_16_mib_and_is_counted_in_full() {
    let datagram = udp_datagram(9000);
    let mut rig = Rig::new();
    let mut packets = 0;
    for high in 0..=1 {
        for id in 0..=u16::MAX {
            let mut data = piece(id, &datagram, 0, 8976);
            data[14] = high;
            rig.push(&data);
            assert!(rig.reassembler.memory_bytes() <= 16 << 20);
            packets += 1;
        }
    }
    assert!(rig.stats().evicted_for_memory > 100_000);
    let Rig { reassembler, credited, .. } = &mut rig;
    reassembler.flush(&mut |packet| credited.push(*packet));
    assert_eq!(credited.iter().map(|packet| packet.packets).sum::<u32>(), packets);
    assert_eq!(credited.iter().map(|packet| packet.bytes).sum::<u64>(), 131_072 * 8996);
    assert!(reassembler.is_empty());
}

#[test]
fn a_flood_of_tiny_fragments_stays_at_4096_datagrams() {
    let datagram = udp_datagram(48);
    let mut rig = Rig::new();
    for id in 0..10_000 {
        rig.push(&piece(id, &datagram, 8, 16));
    }
    assert_eq!(rig.reassembler.len(), 4096);
    assert_eq!(rig.stats().evicted_for_count, 10_000 - 4096);
    assert!(rig.reassembler.memory_bytes() < 4 << 20);
}

#[test]
fn the_most_scattered_datagram_fits_the_smallest_bound() {
    let mut rig = Rig::with(Reassembler::with_limits(1, 0));
    let datagram = udp_datagram(65_528);
    for from in (0..65_528).step_by(16) {
        rig.push(&raw(1, from, true, &datagram[from..from + 1 + usize::from(from == 0)]));
    }
    for length in 2..=8 {
        for from in (0..65_520).step_by(8) {
            rig.push(&raw(1, from, true, &datagram[from..from + length]));
            assert!(rig.reassembler.memory_bytes() <= 1 << 20);
        }
    }
    assert!(rig.whole.is_empty());
    rig.push(&raw(1, 65_520, false, &datagram[65_520..]));
    assert_eq!(rig.only().1, datagram);
}
