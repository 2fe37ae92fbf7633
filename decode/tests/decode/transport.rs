//! Spec 6.4: transport headers.

use decode::{Link, Outcome, Packet};

use crate::frames::*;

/// Parses `l4` in an IPv4 packet of which `captured` bytes of `l4` were captured.
fn cut(protocol: u8, l4: &[u8], captured: usize) -> Packet {
    let data = [ipv4(20 + l4.len() as u16, protocol), l4.to_vec()].concat();
    let frame = decode::Frame { wire_len: data.len() as u32, ..frame(&data[..20 + captured]) };
    let (outcome, packet) = parse_frame(Link::RawIp, &frame);
    assert_eq!(outcome, Outcome::Packet);
    assert_eq!((packet.packets, packet.bytes), (1, 20 + l4.len() as u64));
    packet
}

fn whole(protocol: u8, l4: &[u8]) -> Packet {
    cut(protocol, l4, l4.len())
}

#[test]
fn tcp_gives_ports_sequence_flags_window_and_payload() {
    let packet = whole(6, &[&tcp(12)[..], b"hello"].concat());
    assert_eq!((packet.src_port, packet.dst_port), (40_000, 443));
    assert_eq!((packet.tcp_seq, packet.tcp_ack, packet.tcp_window), (7, 9, 0x2000));
    assert_eq!((packet.tcp_flags, packet.l4_header_len), (0x18, 32));
    assert_eq!((packet.l4_at, packet.payload_at, packet.payload_len), (20, 52, 5));
}

#[test]
fn all_eight_tcp_flags_are_kept_and_the_ninth_is_not() {
    let mut header = tcp(0);
    header[12] |= 1;
    header[13] = 0xff;
    assert_eq!(whole(6, &header).tcp_flags, 0xff);
}

#[test]
fn udp_payload_is_bounded_by_the_udp_length() {
    let l4 = |length| [&udp(length)[..], &[7; 10]].concat();
    assert_eq!(whole(17, &l4(18)).payload_len, 10);
    assert_eq!(whole(17, &l4(12)).payload_len, 4);
    assert_eq!(whole(17, &l4(8)).payload_len, 0);
    assert_eq!(whole(17, &l4(3)).payload_len, 0);
    assert_eq!(whole(17, &l4(400)).payload_len, 10);
    // A jumbogram, RFC 2675.
    assert_eq!(whole(17, &l4(0)).payload_len, 10);
}

#[test]
fn icmp_type_and_code_take_the_place_of_the_destination_port() {
    for protocol in [1, 58] {
        let packet = whole(protocol, &[3, 4, 0, 0, 9, 9]);
        assert_eq!((packet.src_port, packet.dst_port), (0, 772));
        assert_eq!((packet.l4_header_len, packet.payload_at, packet.payload_len), (4, 24, 2));
    }
}

#[test]
fn other_protocols_have_no_ports_and_all_payload() {
    for protocol in [4, 41, 47, 50, 132, 0] {
        let packet = whole(protocol, &[0xff; 30]);
        assert_eq!((packet.protocol, packet.src_port, packet.dst_port), (protocol, 0, 0));
        assert_eq!((packet.l4_header_len, packet.payload_at, packet.payload_len), (0, 20, 30));
    }
}

#[test]
fn a_malformed_transport_header_leaves_a_packet_with_ports_zero() {
    let mut short_offset = tcp(0);
    short_offset[12] = 0x40;
    let mut long_offset = tcp(0);
    long_offset[12] = 0x60;
    for (protocol, l4) in [
        (6, tcp(0)[..19].to_vec()),
        (6, short_offset),
        (6, long_offset),
        (17, udp(8)[..7].to_vec()),
        (1, vec![8, 1, 0]),
        (58, vec![128, 1, 0]),
        (6, vec![]),
    ] {
        let packet = whole(protocol, &l4);
        assert_eq!(packet.protocol, protocol);
        assert_eq!((packet.src_port, packet.dst_port, packet.tcp_flags), (0, 0, 0));
        assert_eq!((packet.l4_header_len, packet.payload_len), (0, 0));
    }
}

#[test]
fn a_tcp_header_cut_by_the_snap_length_keeps_what_was_seen() {
    let l4 = [&tcp(4)[..], &[1; 100]].concat();
    let seen = |captured| {
        let packet = cut(6, &l4, captured);
        (
            packet.src_port,
            packet.dst_port,
            packet.tcp_flags,
            packet.l4_header_len,
            packet.payload_len,
        )
    };
    assert_eq!(seen(3), (0, 0, 0, 0, 0));
    assert_eq!(seen(4), (40_000, 443, 0, 0, 0));
    assert_eq!(seen(13), (40_000, 443, 0, 0, 0));
    assert_eq!(seen(14), (40_000, 443, 0x18, 0, 0));
    assert_eq!(seen(16), (40_000, 443, 0x18, 24, 100));
    assert_eq!(cut(6, &l4, 30).payload_captured, 6);
    assert_eq!(cut(6, &l4, 20).payload_captured, 0);
}

#[test]
fn a_udp_header_cut_by_the_snap_length_keeps_ports_and_payload_length() {
    let l4 = [&udp(20)[..], &[1; 12]].concat();
    let seen = |captured| {
        let packet = cut(17, &l4, captured);
        (packet.src_port, packet.dst_port, packet.payload_len, packet.payload_captured)
    };
    assert_eq!(seen(3), (0, 0, 12, 0));
    assert_eq!(seen(4), (5000, 53, 12, 0));
    assert_eq!(seen(10), (5000, 53, 12, 2));
}

#[test]
fn a_payload_is_never_taken_from_other_shorter_bytes() {
    let packet = whole(17, &[&udp(12)[..], &[1, 2, 3, 4]].concat());
    assert_eq!(packet.payload(&[0; 30]), []);
}
