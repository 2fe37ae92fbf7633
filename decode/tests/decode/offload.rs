//! Design D6 and limits.md section 4: counts behind segmentation offload.

use decode::{Frame, Link, Outcome, Packet};

use crate::frames::*;

const IPV4: [u8; 2] = [8, 0];
const IPV6: [u8; 2] = [0x86, 0xdd];

/// Parses a frame of which only the headers were captured.
fn offloaded(headers: &[u8], wire_len: u32, gso_size: u16, gso_hdr_len: u16) -> Packet {
    let frame = Frame { wire_len, gso_size, gso_hdr_len, ..frame(headers) };
    let (outcome, packet) = parse_frame(Link::Ethernet, &frame);
    assert_eq!(outcome, Outcome::Packet);
    packet
}

fn counts(packet: &Packet) -> (u32, u64) {
    (packet.packets, packet.bytes)
}

#[test]
fn a_tcp_super_segment_counts_as_its_segments() {
    // 20 + 32 bytes of headers, 45 segments: 44 of 1448 bytes and one of 1400.
    let total = 52 + 44 * 1448 + 1400;
    let headers = ethernet(&[&IPV4, &ipv4(total, 6), &tcp(12)]);
    let packet = offloaded(&headers, 14 + u32::from(total), 1448, 66);
    assert_eq!(counts(&packet), (45, 65_164 + 44 * 52));
    assert_eq!((packet.payload_len, packet.fragments), (65_112, 0));
}

#[test]
fn a_payload_that_fits_one_segment_counts_once() {
    let headers = ethernet(&[&IPV4, &ipv4(40 + 1000, 6), &tcp(0)]);
    assert_eq!(counts(&offloaded(&headers, 1054, 1000, 54)), (1, 1040));
    assert_eq!(counts(&offloaded(&headers, 1054, 999, 54)), (2, 1080));
    let ack = ethernet(&[&IPV4, &ipv4(40, 6), &tcp(0)]);
    assert_eq!(counts(&offloaded(&ack, 54, 1448, 54)), (1, 40));
}

#[test]
fn a_udp_super_datagram_counts_as_its_datagrams() {
    // The measured one: 10,300 bytes at 1,000 are 11 datagrams; each of five made 11 of 55.
    let headers = ethernet(&[&IPV4, &ipv4(28 + 10_300, 17), &udp(8 + 10_300)]);
    assert_eq!(counts(&offloaded(&headers, 14 + 28 + 10_300, 1000, 42)), (11, 10_328 + 10 * 28));
}

#[test]
fn big_tcp_over_ipv6_leaves_out_the_jumbo_header_that_never_reaches_the_wire() {
    let jumbo = [6, 0, 0xc2, 4, 0, 3, 0x07, 0x84];
    let headers = ethernet(&[&IPV6, &ipv6(0, 0), &jumbo, &tcp(12)]);
    // 14 + 40 + 8 + 32 = 94 bytes of headers, then 139 segments of 1428.
    let packet = offloaded(&headers, 94 + 139 * 1428, 1428, 94);
    assert_eq!(counts(&packet), (139, 139 * (1428 + 72)));
    assert_eq!((packet.dst_port, packet.payload_len), (443, 198_492));
}

#[test]
fn a_jumbogram_that_is_not_offloaded_keeps_its_header() {
    let jumbo = [6, 0, 0xc2, 4, 0, 3, 0x07, 0x84];
    let headers = ethernet(&[&IPV6, &ipv6(0, 0), &jumbo, &tcp(12)]);
    assert_eq!(counts(&offloaded(&headers, 94 + 100_000, 0, 0)), (1, 100_080));
}

#[test]
fn big_tcp_over_ipv4_goes_by_the_wire_length() {
    let headers = ethernet(&[&IPV4, &ipv4(0, 6), &tcp(12)]);
    assert_eq!(counts(&offloaded(&headers, 66 + 100 * 1448, 1448, 66)), (100, 100 * 1500));
}

#[test]
fn a_cut_tcp_header_falls_back_to_the_kernels_header_length() {
    let headers = ethernet(&[&IPV4, &ipv4(52 + 14_480, 6), &tcp(12)[..4]]);
    assert_eq!(counts(&offloaded(&headers, 66 + 14_480, 1448, 66)), (10, 10 * 1500));
    // Without a header length that can be, 20 bytes are assumed.
    let headers = ethernet(&[&IPV4, &ipv4(40 + 14_480, 6), &tcp(0)[..4]]);
    assert_eq!(counts(&offloaded(&headers, 54 + 14_480, 1448, 0)), (10, 10 * 1488));
    assert_eq!(counts(&offloaded(&headers, 54 + 14_480, 1448, 200)), (10, 10 * 1488));
}

/// Ethernet, IPv4 and TCP with timestamps: 14 + 52 bytes.
fn inner() -> Vec<u8> {
    ethernet(&[&IPV4, &ipv4(52 + 13_980, 6), &tcp(12)])
}

fn udp_to(port: u16, length: u16) -> Vec<u8> {
    let mut header = udp(length);
    header[2..4].copy_from_slice(&port.to_be_bytes());
    header
}

#[test]
fn tcp_in_vxlan_repeats_all_headers_up_to_the_inner_payload() {
    // limits.md: gso_size 1398, hdr_len 116 = 14 + 20 + 8 + 8 + 14 + 52.
    let outer = 20 + 8 + 8 + 66 + 13_980;
    let vxlan = [8, 0, 0, 0, 0, 0, 42, 0];
    for port in [4789, 8472] {
        let headers =
            ethernet(&[&IPV4, &ipv4(outer, 17), &udp_to(port, outer - 20), &vxlan, &inner()]);
        for hint in [116, 256, 0] {
            let packet = offloaded(&headers, 14 + u32::from(outer), 1398, hint);
            assert_eq!(counts(&packet), (10, 10 * (1398 + 102)));
            assert_eq!(packet.dst_port, port);
        }
        // The header length says that these are datagrams of a program, split as such.
        let packet = offloaded(&headers, 14 + u32::from(outer), 1398, 42);
        assert_eq!(counts(&packet), (11, u64::from(outer) + 10 * 28));
    }
}

#[test]
fn tcp_in_geneve_counts_the_options_too() {
    let outer = 20 + 8 + 16 + 66 + 13_980;
    let geneve = [2, 0, 0x65, 0x58, 0, 0, 42, 0, 0, 0, 0, 1, 1, 2, 3, 4];
    let headers =
        ethernet(&[&IPV4, &ipv4(outer, 17), &udp_to(6081, outer - 20), &geneve, &inner()]);
    let packet = offloaded(&headers, 14 + u32::from(outer), 1398, 124);
    assert_eq!(counts(&packet), (10, 10 * (1398 + 110)));
}

#[test]
fn tcp_in_gre_or_ip_in_ip_repeats_all_headers() {
    let inner_ip = &inner()[14..];
    let outer = 20 + 8 + 52 + 13_980;
    let gre_with_key = [0x20, 0, 8, 0, 0, 0, 0, 7];
    let headers = ethernet(&[&IPV4, &ipv4(outer, 47), &gre_with_key, inner_ip]);
    let packet = offloaded(&headers, 14 + u32::from(outer), 1398, 0);
    assert_eq!(counts(&packet), (10, 10 * (1398 + 80)));
    assert_eq!((packet.protocol, packet.dst_port), (47, 0));

    let outer = 20 + 52 + 13_980;
    let headers = ethernet(&[&IPV4, &ipv4(outer, 4), inner_ip]);
    assert_eq!(
        counts(&offloaded(&headers, 14 + u32::from(outer), 1398, 0)),
        (10, 10 * (1398 + 72))
    );
    // The inner header cut by the snap length: the kernel's header length serves.
    let packet = offloaded(&headers[..50], 14 + u32::from(outer), 1398, 86);
    assert_eq!(counts(&packet), (10, 10 * (1398 + 72)));
}

#[test]
fn protocols_that_no_offload_splits_count_once() {
    let headers = ethernet(&[&IPV4, &ipv4(3000, 50), &[0; 30]]);
    assert_eq!(counts(&offloaded(&headers, 3014, 1000, 64)), (1, 3000));
}
