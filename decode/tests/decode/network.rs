//! Spec 6.3: IPv4 and IPv6.

use decode::{Fragment, Frame, Link, Malformed, Outcome};

use crate::frames::*;

#[track_caller]
fn assert_malformed(data: &[u8], kind: Malformed) {
    assert_eq!(parse_as(Link::RawIp, data).0, Outcome::Malformed(kind));
}

#[test]
fn ethernet_padding_is_neither_counted_nor_payload() {
    let data = ethernet(&[&[8, 0], &ipv4(31, 17), &udp(11), &[1, 2, 3], &[0; 15]]);
    let packet = packet(&data);
    assert_eq!((packet.bytes, packet.payload_len, packet.payload_captured), (31, 3, 3));

    let data = ethernet(&[&[0x86, 0xdd], &ipv6(8, 17), &udp(8), &[0; 20]]);
    let packet = crate::frames::packet(&data);
    assert_eq!((packet.bytes, packet.payload_len, packet.payload_captured), (48, 0, 0));
}

#[test]
fn ipv4_options_are_skipped() {
    let mut header = ipv4(24 + 8 + 2, 17);
    header[0] = 0x46;
    let data = ethernet(&[&[8, 0], &header, &[1, 1, 1, 1], &udp(10), &[5, 6]]);
    let packet = packet(&data);
    assert_eq!((packet.l4_at, packet.payload_at), (14 + 24, 14 + 32));
    assert_eq!(packet.payload(&data), [5, 6]);
}

#[test]
fn the_type_of_service_keeps_all_eight_bits() {
    let mut header = ipv4(28, 17);
    header[1] = 0xb9;
    assert_eq!(packet(&ethernet(&[&[8, 0], &header, &udp(8)])).tos, 0xb9);
    let mut header = ipv6(8, 17);
    header[..2].copy_from_slice(&[0x6b, 0x9f]);
    assert_eq!(packet(&ethernet(&[&[0x86, 0xdd], &header, &udp(8)])).tos, 0xb9);
}

#[test]
fn a_total_length_of_zero_means_the_wire_length() {
    let data = ethernet(&[&[8, 0], &ipv4(0, 6), &tcp(0), &[7; 100]]);
    let packet = packet(&data);
    assert_eq!((packet.bytes, packet.payload_len), (140, 100));

    let (_, packet) = parse_frame(Link::Ethernet, &Frame { wire_len: 70_014, ..frame(&data) });
    assert_eq!((packet.bytes, packet.payload_len, packet.payload_captured), (70_000, 69_960, 100));
}

#[test]
fn an_ipv6_payload_length_of_zero_means_the_wire_length() {
    let data = ethernet(&[&[0x86, 0xdd], &ipv6(0, 6), &tcp(0), &[7; 100]]);
    let (_, packet) = parse_frame(Link::Ethernet, &Frame { wire_len: 70_014, ..frame(&data) });
    assert_eq!((packet.bytes, packet.payload_len, packet.payload_captured), (70_000, 69_940, 100));
}

#[test]
fn an_empty_ipv6_packet_has_no_payload_but_padding() {
    let packet = packet(&ethernet(&[&[0x86, 0xdd], &ipv6(0, 59), &[0; 6]]));
    assert_eq!((packet.protocol, packet.bytes, packet.payload_len), (59, 40, 0));
}

#[test]
fn a_wire_length_below_the_captured_length_is_not_believed() {
    let data = ethernet(&[&[8, 0], &ipv4(0, 17), &udp(0), &[1; 4]]);
    let (_, packet) = parse_frame(Link::Ethernet, &Frame { wire_len: 0, ..frame(&data) });
    assert_eq!(packet.bytes, 32);
}

#[test]
fn broken_ip_headers_are_malformed_by_kind() {
    assert_malformed(&ipv4(20, 17)[..19], Malformed::IpTruncated);
    assert_malformed(&ipv6(0, 59)[..39], Malformed::IpTruncated);
    let mut header = ipv4(20, 17);
    header[0] = 0x44;
    assert_malformed(&header, Malformed::IpHeaderLength);
    assert_malformed(&ipv4(19, 17), Malformed::IpTotalLength);
    let mut header = ipv4(0, 17);
    header[0] = 0x46;
    assert_malformed(&header, Malformed::IpTotalLength);

    let version = Outcome::Malformed(Malformed::IpVersion);
    assert_eq!(parse_as(Link::Ethernet, &ethernet(&[&[8, 0], &ipv6(0, 59)])).0, version);
    assert_eq!(
        parse_as(Link::Ethernet, &ethernet(&[&[0x86, 0xdd], &ipv4(40, 6), &tcp(0)])).0,
        version
    );
}

#[test]
fn ipv6_extension_headers_are_skipped_to_the_transport() {
    let hop_by_hop = [43, 0, 1, 4, 0, 0, 0, 0];
    let routing = [60, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0];
    let destination = [51, 0, 1, 4, 0, 0, 0, 0];
    let authentication = [135, 1, 0, 0, 0, 0, 0, 1, 0, 0, 0, 2];
    let mobility = [17, 0, 0, 0, 0, 0, 0, 0];
    let data = ethernet(&[
        &[0x86, 0xdd],
        &ipv6(8 + 16 + 8 + 12 + 8 + 10, 0),
        &hop_by_hop,
        &routing,
        &destination,
        &authentication,
        &mobility,
        &udp(10),
        &[8, 9],
    ]);
    let packet = packet(&data);
    assert_eq!((packet.protocol, packet.src_port, packet.dst_port), (17, 5000, 53));
    assert_eq!((packet.bytes, packet.l4_at), (102, 14 + 40 + 52));
    assert_eq!(packet.payload(&data), [8, 9]);
}

#[test]
fn eight_extension_headers_are_skipped_and_nine_leave_the_ninth_as_protocol() {
    let chain = |n: usize| {
        let mut parts = ipv6((8 * n + 8) as u16, 60);
        for left in (0..n).rev() {
            parts.extend([if left == 0 { 17 } else { 60 }, 0, 1, 4, 0, 0, 0, 0]);
        }
        parts.extend(udp(8));
        parse_as(Link::RawIp, &parts)
    };
    let (outcome, packet) = chain(8);
    assert_eq!((outcome, packet.protocol, packet.dst_port), (Outcome::Packet, 17, 53));
    let (outcome, packet) = chain(9);
    assert_eq!((outcome, packet.protocol, packet.dst_port), (Outcome::Packet, 60, 0));
    assert_eq!((packet.packets, packet.bytes), (1, 40 + 72 + 8));
}

#[test]
fn an_extension_header_longer_than_the_packet_ends_the_walk() {
    let data = [ipv6(16, 60), vec![17, 2, 1, 4, 0, 0, 0, 0], udp(8)].concat();
    let (outcome, packet) = parse_as(Link::RawIp, &data);
    assert_eq!(
        (outcome, packet.protocol, packet.dst_port, packet.bytes),
        (Outcome::Packet, 60, 0, 56)
    );
}

#[test]
fn an_extension_header_cut_by_the_snap_length_still_tells_the_protocol() {
    let data = [ipv6(24 + 8, 60), vec![17, 2]].concat();
    let (outcome, packet) = parse_as(Link::RawIp, &data);
    assert_eq!(
        (outcome, packet.protocol, packet.dst_port, packet.bytes),
        (Outcome::Packet, 17, 0, 72)
    );
}

#[test]
fn an_ipv4_fragment_tells_its_place() {
    for (flags, offset_bytes, more) in
        [([0x20, 0], 0, true), ([0x20, 2], 16, true), ([0x1f, 0xff], 65_528, false)]
    {
        let mut header = ipv4(28, 17);
        header[6..8].copy_from_slice(&flags);
        let data = ethernet(&[&[8, 0], &header, &udp(100), &[0; 6]]);
        let (outcome, packet) = parse_as(Link::Ethernet, &data);
        assert_eq!(outcome, Outcome::Fragment(Fragment { id: 0x1234, offset_bytes, more }));
        assert_eq!((packet.packets, packet.fragments, packet.bytes), (1, 1, 28));
        assert_eq!((packet.src_port, packet.dst_port), (0, 0));
        assert_eq!(packet.payload(&data), udp(100));
    }
}

#[test]
fn the_dont_fragment_and_reserved_bits_make_no_fragment() {
    for flags in [0x40, 0x80, 0xc0] {
        let mut header = ipv4(28, 17);
        header[6] = flags;
        assert_eq!(packet(&ethernet(&[&[8, 0], &header, &udp(8)])).fragments, 0);
    }
}

#[test]
fn an_ipv6_fragment_tells_its_place() {
    let fragment = [17, 0, 0x05, 0xa9, 0xde, 0xad, 0xbe, 0xef];
    let data =
        [&ipv6(8 + 8 + 4, 60)[..], &[44, 0, 1, 4, 0, 0, 0, 0], &fragment, &[1, 2, 3, 4]].concat();
    let (outcome, packet) = parse_as(Link::RawIp, &data);
    let place = Fragment { id: 0xdead_beef, offset_bytes: 1448, more: true };
    assert_eq!(outcome, Outcome::Fragment(place));
    assert_eq!((packet.protocol, packet.bytes, packet.fragments), (17, 60, 1));
    assert_eq!(packet.payload(&data), [1, 2, 3, 4]);
}

#[test]
fn an_atomic_ipv6_fragment_is_a_whole_packet() {
    // The reserved bits are set, which RFC 8200 tells to ignore.
    let fragment = [17, 0xff, 0, 0x06, 0, 0, 0, 1];
    let data = [&ipv6(8 + 8, 44)[..], &fragment, &udp(8)].concat();
    let (outcome, packet) = parse_as(Link::RawIp, &data);
    assert_eq!(outcome, Outcome::Packet);
    assert_eq!((packet.protocol, packet.dst_port, packet.fragments, packet.bytes), (17, 53, 0, 56));
}
